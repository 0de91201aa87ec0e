//! Land-use zones: a Voronoi diagram of a jittered lattice with warped borders.

use crate::biome::LandUse;
use crate::curve::{TURN, direction};
use crate::dice::pick;
use crate::noise::{cell, fbm, hash, uniform};
use crate::salt;

/// Eight numbers in `[0, 1)` of a zone. Each land use reads those that it needs under its own name.
#[derive(Clone, Copy)]
pub struct Traits(pub [f32; 8]);

/// One land-use zone.
#[derive(Clone, Copy)]
pub struct Zone {
    pub land_use: LandUse,
    pub seed: u32,
    /// Place of the site inside its lattice cell, each in `[0.15, 0.85)`.
    site: [f32; 2],
    /// Direction of streets and parcels.
    pub cos: f32,
    pub sin: f32,
    pub traits: Traits,
}

/// The zones of a scene.
pub struct ZoneMap {
    seed: u32,
    /// Distance of lattice cells.
    cell_px: f32,
    /// How far borders are moved.
    warp_px: f32,
    /// Cells a row; there are as many rows.
    columns: i32,
    zones: Vec<Zone>,
}

/// First cell of the lattice, so that cells left of and above the grid exist.
const FIRST_CELL: i32 = -3;

impl Traits {
    /// Where grass lies between dry and green.
    pub fn grass_greenness(self) -> f32 {
        self.0[0]
    }
    pub fn grass_brightness(self) -> f32 {
        self.0[1]
    }
    /// Above one half, there are shrubs.
    pub fn shrub_presence(self) -> f32 {
        self.0[2]
    }
    pub fn shrub_density(self) -> f32 {
        self.0[3]
    }
    pub fn grass_backscatter(self) -> f32 {
        self.0[4]
    }

    pub fn bare_roughness(self) -> f32 {
        self.0[0]
    }
    /// Share of the second soil.
    pub fn bare_mixture(self) -> f32 {
        self.0[1]
    }

    /// Size of parcels and blocks of parcels.
    pub fn parcel_size(self) -> f32 {
        self.0[0]
    }
    /// Below a threshold, parcels are rectangles.
    pub fn parcel_shape(self) -> f32 {
        self.0[1]
    }
    /// Above a threshold, lanes lie between parcels.
    pub fn field_lanes(self) -> f32 {
        self.0[5]
    }

    /// Below a threshold, streets are bent.
    pub fn street_shape(self) -> f32 {
        self.0[0]
    }
    pub fn street_bend(self) -> f32 {
        self.0[1]
    }
    pub fn district_length(self) -> f32 {
        self.0[2]
    }
    pub fn district_width(self) -> f32 {
        self.0[3]
    }
    pub fn arterial_width(self) -> f32 {
        self.0[4]
    }
    pub fn arterial_brightness(self) -> f32 {
        self.0[5]
    }
    pub fn garden_trees(self) -> f32 {
        self.0[5]
    }
    /// Share of industry.
    pub fn industry(self) -> f32 {
        self.0[6]
    }
    /// Above a threshold, many districts have towers.
    pub fn towers(self) -> f32 {
        self.0[7]
    }
}

impl Zone {
    /// The zone of a seed: its land use, each with a weight, and whether it follows `main_angle`.
    pub fn draw(seed: u32, uses: &[(LandUse, f32)], main_angle: f32) -> Self {
        let draw = |i: i32| uniform(seed, i, salt::ZONE_STREAM);
        let angle = if draw(1) < 0.55 {
            main_angle
        } else {
            draw(2) * TURN / 4.0
        };
        let (cos, sin) = direction(angle);
        let traits = Traits(std::array::from_fn(|i| draw(3 + i as i32)));
        let site = [0.15 + 0.7 * draw(21), 0.15 + 0.7 * draw(22)];
        Self {
            land_use: pick_use(uses, draw(0)),
            seed,
            site,
            cos,
            sin,
            traits,
        }
    }

    /// A built-up zone that lies in no lattice, for a village.
    pub fn village(seed: u32, angle: f32, traits: Traits) -> Self {
        let (cos, sin) = direction(angle);
        Self {
            land_use: LandUse::City,
            seed,
            site: [0.5, 0.5],
            cos,
            sin,
            traits,
        }
    }
}

/// The land use that `u` in `[0, 1)` selects.
fn pick_use(uses: &[(LandUse, f32)], u: f32) -> LandUse {
    let weights: Vec<f32> = uses.iter().map(|&(_, weight)| weight).collect();
    uses[pick(&weights, u)].0
}

impl ZoneMap {
    /// The zones of a scene of `side_px`; `seed` is that of the noise in their borders, `base` that
    /// of the zones themselves.
    pub fn new(
        seed: u32,
        side_px: usize,
        [cell_px, warp_px]: [f32; 2],
        uses: &[(LandUse, f32)],
        main_angle: f32,
        base: u32,
    ) -> Self {
        let columns = (side_px as f32 / cell_px) as i32 + 2 - 2 * FIRST_CELL;
        let mut zones = Vec::with_capacity((columns * columns) as usize);
        for row in 0..columns {
            for column in 0..columns {
                zones.push(Zone::draw(hash(base, column, row), uses, main_angle));
            }
        }
        Self {
            seed,
            cell_px,
            warp_px,
            columns,
            zones,
        }
    }

    /// The zone of the first lattice cell.
    pub fn first(&self) -> &Zone {
        &self.zones[0]
    }

    /// The zone at a point.
    pub fn at(&self, x: f32, y: f32) -> &Zone {
        let w = self.warp_px;
        let wx = x + w * fbm(self.seed ^ salt::ZONE_WARP_X, x / 24.0, y / 24.0, 2);
        let wy = y + w * fbm(self.seed ^ salt::ZONE_WARP_Y, x / 24.0, y / 24.0, 2);
        let (gx, gy) = (wx / self.cell_px, wy / self.cell_px);
        let (ix, iy) = (cell(gx), cell(gy));
        let (mut nearest, mut found) = (f32::MAX, &self.zones[0]);
        for dy in -1..=1 {
            for dx in -1..=1 {
                let (cx, cy) = (ix + dx, iy + dy);
                let column = (cx - FIRST_CELL).clamp(0, self.columns - 1);
                let row = (cy - FIRST_CELL).clamp(0, self.columns - 1);
                let zone = &self.zones[(row * self.columns + column) as usize];
                let px = cx as f32 + zone.site[0] - gx;
                let py = cy as f32 + zone.site[1] - gy;
                let d = px * px + py * py;
                if d < nearest {
                    nearest = d;
                    found = zone;
                }
            }
        }
        found
    }
}
