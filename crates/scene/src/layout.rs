//! What lies where: terrain, land-use zones, water, roads, and the material of every pixel.
//!
//! A scene is painted from the ground up: a height field, land-use zones (a warped Voronoi
//! diagram), the inside of each zone (parcels, city blocks, tree stands), patches and villages on
//! top, then water, then roads. All lengths are pixels of 10 m.

use crate::noise::{cell, fbm, hash, lerp, ridged, smoothstep, uniform, unit, value1, value2};
use crate::{BARE, CITY, FARMLAND, FOREST, GRASSLAND, ROAD, WATER};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Pixels computed beyond each edge, so that blurs and slopes have no border.
pub(crate) const PAD_PX: usize = 4;

/// Random numbers for one scene: only `next_u32`, whose stream is fixed by the ChaCha standard.
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }
    pub(crate) fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }
    pub(crate) fn unit(&mut self) -> f32 {
        unit(self.0.next_u32())
    }
    pub(crate) fn range(&mut self, lo: f32, hi: f32) -> f32 {
        lerp(lo, hi, self.unit())
    }
    pub(crate) fn chance(&mut self, p: f32) -> bool {
        self.unit() < p
    }
    fn pick(&mut self, weights: &[f32]) -> usize {
        pick(weights, self.unit())
    }
}

/// The index that `u` in `[0, 1)` selects when each index weighs `weights[i]`.
fn pick(weights: &[f32], u: f32) -> usize {
    let total: f32 = weights.iter().sum();
    let mut rest = u * total;
    for (i, &w) in weights.iter().enumerate() {
        rest -= w;
        if rest < 0.0 {
            return i;
        }
    }
    weights.len() - 1
}

/// The material of one pixel before light, relief and speckle.
#[derive(Clone, Copy)]
pub(crate) struct Surface {
    pub(crate) label: u8,
    /// Surface reflectance, red, green, blue.
    pub(crate) rgb: [f32; 3],
    /// Mean VH backscatter, dB.
    pub(crate) db: f32,
    /// Extra backscattered power of a point target (linear, 1 = 0 dB).
    pub(crate) point: f32,
    /// How much the relief modulates this pixel: 0 flat (water), 1 open ground.
    pub(crate) relief: f32,
}

/// A painted scene on the padded grid.
pub(crate) struct Layout {
    /// Side of the padded grid.
    pub(crate) side_px: usize,
    /// `[side_px, side_px]`.
    pub(crate) surface: Vec<Surface>,
    /// Terrain slope (rise over run) towards +x and +y.
    pub(crate) slope: Vec<[f32; 2]>,
    /// Sun direction in the image plane (unit vector towards the sun), x right, y down.
    pub(crate) sun: [f32; 2],
}

type Rgb = [f32; 3];

/// `f32::floor` without the call.
fn floor(x: f32) -> f32 {
    cell(x) as f32
}

fn scale(c: Rgb, k: f32) -> Rgb {
    [c[0] * k, c[1] * k, c[2] * k]
}

fn mix(a: Rgb, b: Rgb, t: f32) -> Rgb {
    [
        lerp(a[0], b[0], t),
        lerp(a[1], b[1], t),
        lerp(a[2], b[2], t),
    ]
}

/// Land use of a zone, in the order of [`Biome::zones`].
#[derive(Clone, Copy, PartialEq)]
enum Use {
    Forest,
    City,
    Farm,
    Grass,
    Bare,
}

/// What a kind of landscape is made of.
struct Biome {
    /// How often this landscape is drawn.
    weight: f32,
    /// Weights of forest, city, farmland, grassland, bare land.
    zones: [f32; 5],
    /// Chance of sea, of lakes in the valleys, of rivers.
    water: [f32; 3],
    /// Slopes: least and most (rise over run, about one standard deviation).
    slope: [f32; 2],
    /// Greenness of the season: least and most.
    green: [f32; 2],
    /// Chance that a cell of the village lattice holds a village.
    village: f32,
}

const BIOMES: [Biome; 7] = [
    // Temperate: woods, pastures, small fields, villages.
    Biome {
        weight: 0.18,
        zones: [0.34, 0.12, 0.27, 0.27, 0.0],
        water: [0.04, 0.25, 0.5],
        slope: [0.01, 0.1],
        green: [0.5, 1.0],
        village: 0.3,
    },
    // Dry hills and suburbs, as around Los Angeles.
    Biome {
        weight: 0.15,
        zones: [0.14, 0.34, 0.06, 0.16, 0.30],
        water: [0.08, 0.3, 0.3],
        slope: [0.03, 0.22],
        green: [0.0, 0.35],
        village: 0.15,
    },
    // Agricultural plain.
    Biome {
        weight: 0.18,
        zones: [0.07, 0.08, 0.66, 0.14, 0.05],
        water: [0.0, 0.15, 0.45],
        slope: [0.0, 0.02],
        green: [0.1, 1.0],
        village: 0.25,
    },
    // Coast.
    Biome {
        weight: 0.15,
        zones: [0.20, 0.27, 0.14, 0.22, 0.17],
        water: [1.0, 0.1, 0.3],
        slope: [0.01, 0.16],
        green: [0.1, 0.9],
        village: 0.2,
    },
    // Mountains.
    Biome {
        weight: 0.13,
        zones: [0.44, 0.02, 0.02, 0.22, 0.30],
        water: [0.0, 0.45, 0.35],
        slope: [0.15, 0.42],
        green: [0.1, 0.9],
        village: 0.05,
    },
    // City.
    Biome {
        weight: 0.12,
        zones: [0.06, 0.76, 0.02, 0.09, 0.07],
        water: [0.12, 0.15, 0.4],
        slope: [0.0, 0.06],
        green: [0.1, 0.9],
        village: 0.0,
    },
    // Desert and steppe, with irrigated fields.
    Biome {
        weight: 0.09,
        zones: [0.0, 0.07, 0.17, 0.20, 0.56],
        water: [0.05, 0.12, 0.25],
        slope: [0.01, 0.25],
        green: [0.0, 0.2],
        village: 0.1,
    },
];

/// Per-scene colours and habits, drawn once.
struct Palette {
    water: Rgb,
    forest: Rgb,
    grass_green: Rgb,
    grass_dry: Rgb,
    bare: Rgb,
    bare_second: Rgb,
    asphalt: Rgb,
    highway: Rgb,
    green: f32,
    water_db: f32,
    bare_db: f32,
    forest_db: f32,
    red_roofs: f32,
    street_trees: f32,
    hedges: f32,
    pivots: f32,
    irregular: f32,
}

/// One land-use zone.
#[derive(Clone, Copy)]
struct Zone {
    kind: Use,
    seed: u32,
    /// Place of the site inside its lattice cell, each in `[0.15, 0.85)`.
    site: [f32; 2],
    cos: f32,
    sin: f32,
    /// Free parameters in `[0, 1)`.
    f: [f32; 8],
}

/// A curve across the scene: `v = offset + wiggle(u)` in a frame turned by an angle.
struct Curve {
    cos: f32,
    sin: f32,
    offset: f32,
    seed: u32,
    bend_px: f32,
    wave_px: f32,
    half_px: f32,
    colour: f32,
}

impl Curve {
    /// A curve through a random point of the scene in a random direction; pairs are ranges.
    fn draw(
        dice: &mut Dice,
        side: f32,
        half: (f32, f32),
        bend: (f32, f32),
        wave: (f32, f32),
    ) -> Self {
        let mut curve = Self {
            cos: 1.0,
            sin: 0.0,
            offset: 0.0,
            seed: dice.bits(),
            bend_px: dice.range(bend.0, bend.1),
            wave_px: dice.range(wave.0, wave.1),
            half_px: dice.range(half.0, half.1),
            colour: 0.0,
        };
        let angle = dice.range(0.0, TURN);
        curve.turn(angle, dice, side);
        curve
    }

    /// Turns the curve and sends it through a new random point.
    fn turn(&mut self, angle: f32, dice: &mut Dice, side: f32) {
        (self.cos, self.sin) = direction(angle);
        let (x, y) = (dice.range(0.1, 0.9) * side, dice.range(0.1, 0.9) * side);
        self.offset = y * self.cos - x * self.sin;
    }

    fn wiggle(&self, u: f32) -> f32 {
        self.bend_px
            * (value1(self.seed, u / self.wave_px)
                + 0.3 * value1(self.seed ^ 0x55, u * 2.7 / self.wave_px))
    }

    /// Whether a point is surely further than `reach` px from the curve: a cheap first test.
    fn is_beyond(&self, x: f32, y: f32, reach: f32) -> bool {
        let v = y * self.cos - x * self.sin;
        (v - self.offset).abs() > 1.3 * self.bend_px + 2.5 * reach
    }

    /// Distance to the centre line, px (first order).
    fn distance(&self, x: f32, y: f32) -> f32 {
        let u = x * self.cos + y * self.sin;
        let v = y * self.cos - x * self.sin;
        let here = self.wiggle(u);
        let bend = self.wiggle(u + 1.0) - here;
        (v - self.offset - here).abs() / (1.0 + bend * bend).sqrt()
    }
}

fn direction(angle: f32) -> (f32, f32) {
    (libm::cosf(angle), libm::sinf(angle))
}

const TURN: f32 = core::f32::consts::TAU;

/// Everything drawn once for a scene.
struct World {
    palette: Palette,
    zone_px: f32,
    zone_warp_px: f32,
    zone_columns: i32,
    zones: Vec<Zone>,
    seed: u32,
    woods_px: f32,
    woods_bias: f32,
    village: f32,
    roads: Vec<Curve>,
    river: Option<Curve>,
    river_warp_px: f32,
    bank_px: f32,
    sea: Option<Sea>,
    sun: [f32; 2],
    /// Typical slope, rise over run.
    slope_scale: f32,
    hill_px: f32,
    /// 0 soft hills, 1 sharp crests.
    crests: f32,
    /// Share of the scene below the lakes' level.
    lake_share: f32,
    /// Centre x, centre y, radius (px), roughness.
    pond: Option<[f32; 4]>,
}

struct Sea {
    cos: f32,
    sin: f32,
    offset: f32,
    rough_px: f32,
    wave_px: f32,
    beach_px: f32,
    surf: f32,
}

/// First zone cell of the lattice, so that cells left of and above the grid exist.
const ZONE_FIRST: i32 = -3;

fn draw_palette(dice: &mut Dice, biome: &Biome) -> Palette {
    let dry = biome.zones[4] > 0.25;
    let green = dice.range(biome.green[0], biome.green[1]);
    let waters = [
        [0.012, 0.022, 0.034],
        [0.008, 0.018, 0.020],
        [0.030, 0.055, 0.045],
        [0.070, 0.085, 0.065],
        [0.020, 0.060, 0.065],
        [0.110, 0.100, 0.070],
    ];
    let forests = [
        [0.022, 0.036, 0.022],
        [0.020, 0.044, 0.018],
        [0.030, 0.060, 0.024],
        [0.052, 0.054, 0.036],
    ];
    let soils = [
        [0.21, 0.135, 0.095],
        [0.25, 0.18, 0.125],
        [0.19, 0.165, 0.14],
        [0.33, 0.265, 0.195],
        [0.40, 0.34, 0.27],
        [0.14, 0.105, 0.08],
    ];
    let jitter = |dice: &mut Dice, c: Rgb, s: f32| {
        let k = 1.0 + dice.range(-s, s);
        [
            c[0] * k * (1.0 + dice.range(-s, s) * 0.4),
            c[1] * k,
            c[2] * k * (1.0 + dice.range(-s, s) * 0.4),
        ]
    };
    let water = waters[dice.pick(&[0.32, 0.2, 0.2, 0.12, 0.1, 0.06])];
    let forest = forests[dice.pick(&if dry {
        [0.2, 0.1, 0.1, 0.6]
    } else {
        [0.35, 0.3, 0.25, 0.1]
    })];
    let bare = soils[dice.pick(&[0.28, 0.24, 0.16, 0.14, 0.08, 0.1])];
    let second = soils[dice.pick(&[0.2, 0.2, 0.2, 0.15, 0.1, 0.15])];
    Palette {
        water: jitter(dice, water, 0.25),
        forest: jitter(dice, forest, 0.2),
        grass_green: jitter(dice, [0.050, 0.082, 0.036], 0.25),
        grass_dry: jitter(dice, [0.165, 0.132, 0.082], 0.2),
        bare: jitter(dice, bare, 0.15),
        bare_second: jitter(dice, second, 0.15),
        asphalt: jitter(dice, [0.105, 0.105, 0.105], 0.2),
        highway: jitter(dice, [0.19, 0.185, 0.175], 0.25),
        green,
        water_db: dice.range(-25.5, -21.5),
        bare_db: dice.range(-20.5, -17.5),
        forest_db: dice.range(-14.4, -12.8),
        red_roofs: if dice.chance(0.4) {
            dice.range(0.2, 0.7)
        } else {
            dice.range(0.0, 0.12)
        },
        street_trees: dice.range(0.08, 0.4),
        hedges: if dry { 0.0 } else { dice.unit() },
        pivots: if dice.chance(0.3) {
            dice.range(0.2, 0.8)
        } else {
            0.0
        },
        irregular: dice.unit(),
    }
}

impl World {
    fn draw(seed: u64, side_px: usize) -> Self {
        let mut dice = Dice::new(seed);
        let biome = &BIOMES[dice.pick(&BIOMES.map(|b| b.weight))];
        let palette = draw_palette(&mut dice, biome);
        let zone_px = dice.range(45.0, 130.0);
        let main_angle = dice.range(0.0, TURN / 4.0);
        let common = Self::zone_weights(&mut dice, biome);
        let base = dice.bits();
        let columns = (side_px as f32 / zone_px) as i32 + 2 - 2 * ZONE_FIRST;
        let mut zones = Vec::with_capacity((columns * columns) as usize);
        for row in 0..columns {
            for column in 0..columns {
                zones.push(Self::draw_zone(
                    hash(base, column, row),
                    &common,
                    main_angle,
                ));
            }
        }
        let slope_scale = dice.range(biome.slope[0], biome.slope[1]);
        let side = side_px as f32;
        let mut world = Self {
            palette,
            zone_px,
            zone_warp_px: dice.range(2.0, 16.0),
            zone_columns: columns,
            zones,
            seed: dice.bits(),
            woods_px: dice.range(14.0, 50.0),
            woods_bias: dice.range(-0.12, 0.12),
            village: biome.village,
            roads: Vec::new(),
            river: None,
            river_warp_px: dice.range(4.0, 40.0),
            bank_px: dice.range(-2.0, 6.0),
            sea: None,
            sun: [0.0, 0.0],
            slope_scale,
            hill_px: dice.range(30.0, 90.0),
            // One in three scenes blends the two kinds of hills.
            crests: dice.range(-1.0, 2.0).clamp(0.0, 1.0),
            lake_share: 0.0,
            pond: None,
        };
        // The sun of the northern hemisphere's morning, sometimes of the southern one's.
        let (sun_x, sun_y) = direction(dice.range(0.02, 0.30) * TURN);
        world.sun = if dice.chance(0.15) {
            [sun_x, -sun_y]
        } else {
            [sun_x, sun_y]
        };

        if dice.chance(biome.water[0]) {
            let (cos, sin) = direction(dice.range(0.0, TURN));
            world.sea = Some(Sea {
                cos,
                sin,
                offset: dice.range(-0.42, 0.38) * side,
                rough_px: if dice.chance(0.5) {
                    dice.range(2.0, 8.0)
                } else {
                    dice.range(10.0, 45.0)
                },
                wave_px: dice.range(30.0, 110.0),
                beach_px: dice.range(-2.0, 6.0),
                surf: if dice.chance(0.5) {
                    dice.range(0.05, 0.35)
                } else {
                    0.0
                },
            });
        }
        if dice.chance(biome.water[1]) {
            if dice.chance(0.5) {
                world.lake_share = dice.range(0.03, 0.2);
            } else {
                world.pond = Some([
                    dice.range(0.0, 1.0) * side,
                    dice.range(0.0, 1.0) * side,
                    dice.range(8.0, 60.0),
                    dice.range(0.2, 0.9),
                ]);
            }
        }
        if dice.chance(biome.water[2]) {
            let width = if dice.chance(0.4) {
                (4.0, 13.0)
            } else {
                (0.9, 3.2)
            };
            let bend = (6.0, 26.0);
            world.river = Some(Curve::draw(&mut dice, side, width, bend, (25.0, 90.0)));
        }
        let count = 1 + dice.pick(&[0.15, 0.3, 0.3, 0.25]);
        for _ in 0..count {
            let highway = dice.chance(0.3);
            let width = if highway { (1.1, 2.2) } else { (0.55, 1.1) };
            let bend = if slope_scale > 0.08 {
                (5.0, 22.0)
            } else {
                (0.0, 7.0)
            };
            let mut road = Curve::draw(&mut dice, side, width, bend, (60.0, 180.0));
            if dice.chance(0.5) {
                // Half of the roads follow the main street direction of the country.
                let turn = if dice.chance(0.5) { 0.0 } else { TURN / 4.0 };
                road.turn(main_angle + turn, &mut dice, side);
            }
            road.colour = if highway {
                dice.range(0.4, 1.0)
            } else {
                dice.range(0.0, 0.4)
            };
            world.roads.push(road);
        }
        world
    }

    /// The weights of land uses in this scene: those of the landscape, unevenly disturbed, so
    /// that some scenes hold one class nearly alone.
    fn zone_weights(dice: &mut Dice, biome: &Biome) -> [f32; 5] {
        biome.zones.map(|w| {
            let u = dice.unit();
            w * (0.15 + 2.4 * u * u)
        })
    }

    fn draw_zone(seed: u32, weights: &[f32; 5], main_angle: f32) -> Zone {
        let draw = |i: i32| uniform(seed, i, 77);
        let kinds = [Use::Forest, Use::City, Use::Farm, Use::Grass, Use::Bare];
        let angle = if draw(1) < 0.55 {
            main_angle
        } else {
            draw(2) * TURN / 4.0
        };
        let (cos, sin) = direction(angle);
        let mut f = [0.0; 8];
        for (i, value) in f.iter_mut().enumerate() {
            *value = draw(3 + i as i32);
        }
        let site = [0.15 + 0.7 * draw(21), 0.15 + 0.7 * draw(22)];
        Zone {
            kind: kinds[pick(weights, draw(0))],
            seed,
            site,
            cos,
            sin,
            f,
        }
    }

    /// Terrain height in pixels (10 m).
    fn height(&self, x: f32, y: f32) -> f32 {
        if self.slope_scale < 0.004 && self.lake_share == 0.0 {
            return 0.0; // A plain: no relief to see.
        }
        let (u, v) = (x / self.hill_px, y / self.hill_px);
        let soft = if self.crests < 1.0 {
            fbm(self.seed ^ 0x11, u, v, 5)
        } else {
            0.0
        };
        let sharp = if self.crests > 0.0 {
            ridged(self.seed ^ 0x12, u * 0.8, v * 0.8, 6) * 2.0 - 0.8
        } else {
            0.0
        };
        lerp(soft, sharp, self.crests) * self.slope_scale * self.hill_px * 0.7
    }

    /// The zone at a point.
    fn zone(&self, x: f32, y: f32) -> &Zone {
        let w = self.zone_warp_px;
        let wx = x + w * fbm(self.seed ^ 0x21, x / 24.0, y / 24.0, 2);
        let wy = y + w * fbm(self.seed ^ 0x22, x / 24.0, y / 24.0, 2);
        let (gx, gy) = (wx / self.zone_px, wy / self.zone_px);
        let (ix, iy) = (cell(gx), cell(gy));
        let (mut nearest, mut found) = (f32::MAX, &self.zones[0]);
        for dy in -1..=1 {
            for dx in -1..=1 {
                let (cx, cy) = (ix + dx, iy + dy);
                let column = (cx - ZONE_FIRST).clamp(0, self.zone_columns - 1);
                let row = (cy - ZONE_FIRST).clamp(0, self.zone_columns - 1);
                let zone = &self.zones[(row * self.zone_columns + column) as usize];
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

    fn forest(&self, x: f32, y: f32) -> Surface {
        let s = self.seed ^ 0x31;
        let crown = value2(s, x / 1.3, y / 1.3);
        let clump = value2(s ^ 1, x / 3.7, y / 3.7);
        let stand = fbm(s ^ 2, x / 22.0, y / 22.0, 2);
        let k = 1.0 + 0.20 * crown + 0.12 * clump + 0.22 * stand;
        let warm = (0.5 + 0.9 * fbm(s ^ 3, x / 40.0, y / 40.0, 2)).clamp(0.0, 1.0);
        let p = &self.palette;
        let base = mix(p.forest, scale(p.grass_green, 0.62), 0.35 * warm);
        Surface {
            label: FOREST,
            rgb: scale(base, k.max(0.3)),
            db: p.forest_db + 0.7 * stand + 0.5 * clump,
            point: 0.0,
            relief: 1.0,
        }
    }

    fn grass(&self, zone: &Zone, x: f32, y: f32) -> Surface {
        let s = self.seed ^ 0x41;
        let p = &self.palette;
        let mottle = fbm(s, x / 26.0, y / 26.0, 3);
        let fine = value2(s ^ 1, x / 2.1, y / 2.1);
        let green = (p.green + 0.5 * (zone.f[0] - 0.5) + 0.45 * mottle).clamp(0.0, 1.0);
        let k = 1.0 + 0.07 * fine + 0.12 * mottle + 0.2 * (zone.f[1] - 0.5);
        // Scattered shrubs: dark dots, denser in some rangelands.
        let shrub = zone.f[2] > 0.5 && uniform(s ^ 2, cell(x), cell(y)) < 0.10 * zone.f[3];
        Surface {
            label: GRASSLAND,
            rgb: scale(
                mix(p.grass_dry, p.grass_green, green),
                if shrub { 0.65 * k } else { k },
            ),
            db: -17.4 + 1.2 * (zone.f[4] - 0.5) + 0.6 * mottle + 0.4 * fine,
            point: 0.0,
            relief: 1.0,
        }
    }

    fn bare(&self, zone: &Zone, x: f32, y: f32) -> Surface {
        let s = self.seed ^ 0x51;
        let p = &self.palette;
        let broad = fbm(s, x / 30.0, y / 30.0, 3);
        let gully = ridged(s ^ 1, x / 16.0, y / 16.0, 4);
        let fine = value2(s ^ 2, x / 1.7, y / 1.7);
        let rough = zone.f[0];
        let base = mix(
            p.bare,
            p.bare_second,
            smoothstep(-0.5, 0.7, broad + zone.f[1] - 0.5),
        );
        let k = 1.0 + rough * (0.55 * gully - 0.2) + 0.05 * fine + 0.14 * broad;
        Surface {
            label: BARE,
            rgb: scale(base, k.max(0.2)),
            db: p.bare_db + 1.6 * (rough - 0.5) + 0.7 * broad + 0.4 * fine,
            point: 0.0,
            relief: 1.0,
        }
    }

    fn farm(&self, zone: &Zone, x: f32, y: f32) -> Surface {
        let p = &self.palette;
        let u = x * zone.cos + y * zone.sin;
        let v = y * zone.cos - x * zone.sin;
        let block = lerp(26.0, 62.0, zone.f[0]);
        let (id, edge, inside) = if zone.f[1] < 0.3 + 0.4 * p.irregular {
            self.cadastre(zone, u, v, block)
        } else {
            irregular_parcel(zone.seed, u, v, lerp(10.0, 30.0, zone.f[0]))
        };
        // Square blocks may hold one irrigated circle; what the arm misses lies bare or fallow.
        let (bu, bv) = (floor(u / block), floor(v / block));
        let circle = hash(zone.seed ^ 0x61, bu as i32, bv as i32);
        if unit(circle) < p.pivots {
            let du = u / block - bu - 0.5;
            let dv = v / block - bv - 0.5;
            let r = (du * du + dv * dv).sqrt() * block;
            let radius = 0.47 * block;
            if r > radius {
                return if unit(circle ^ 0x9E37) < 0.5 {
                    self.bare(zone, x, y)
                } else {
                    self.grass(zone, x, y)
                };
            }
            return self.crop(zone, circle, u, v, x, y, radius - r);
        }
        if !inside {
            // The lane or hedge between parcels.
            if p.hedges > 0.55 && unit(id ^ 0x77) < p.hedges {
                let mut s = self.forest(x, y);
                s.label = FARMLAND;
                s.db -= 1.0;
                return s;
            }
        }
        self.crop(zone, id, u, v, x, y, edge)
    }

    /// Rectangular parcels: square blocks, each cut into strips. Returns the parcel's hash, the
    /// distance to its edge (px) and whether the point is off the edge.
    fn cadastre(&self, zone: &Zone, u: f32, v: f32, block: f32) -> (u32, f32, bool) {
        let (bu, bv) = (floor(u / block), floor(v / block));
        let b = hash(zone.seed ^ 0x62, bu as i32, bv as i32);
        let (mut a, mut c) = (u / block - bu, v / block - bv);
        if b & 1 == 0 {
            core::mem::swap(&mut a, &mut c);
        }
        let strips = 1 + (unit(b.wrapping_mul(0x9E37_79B1)) * (block / 9.0)) as i32;
        let halves = if (b >> 3) & 3 == 0 { 2 } else { 1 };
        let sa = a * strips as f32;
        let sc = c * halves as f32;
        let (ia, ic) = (floor(sa), floor(sc));
        let id = hash(b, ia as i32, ic as i32);
        let across = (sa - ia).min(ia + 1.0 - sa) * block / strips as f32;
        let along = (sc - ic).min(ic + 1.0 - sc) * block / halves as f32;
        let edge = across.min(along);
        (id, edge, edge > 0.7)
    }

    /// A field with one crop.
    #[allow(clippy::too_many_arguments, reason = "one point in three frames")]
    fn crop(&self, zone: &Zone, id: u32, u: f32, v: f32, x: f32, y: f32, edge: f32) -> Surface {
        let p = &self.palette;
        let f = |i: i32| uniform(id, i, 5);
        let g = p.green;
        let (base, db) = match pick(
            &[
                0.10 + 0.30 * g,
                0.08 + 0.22 * g,
                0.16,
                0.24 - 0.1 * g,
                0.16,
                0.12,
            ],
            f(0),
        ) {
            0 => ([0.042, 0.088, 0.034], -15.2),
            1 => ([0.026, 0.058, 0.028], -14.4),
            2 => (mix([0.24, 0.195, 0.125], [0.13, 0.135, 0.06], f(7)), -16.6),
            3 => (scale(p.bare, 0.9), -17.6),
            4 => ([0.105, 0.085, 0.066], -17.0),
            _ => (mix(p.grass_dry, p.bare, 0.4), -17.2),
        };
        let along_rows = if f(1) < 0.5 { u } else { v };
        let period = lerp(2.1, 5.0, f(2));
        let phase = along_rows / period;
        let row = ((phase - floor(phase)) * 2.0 - 1.0).abs() * 2.0 - 1.0;
        let patchy = fbm(id ^ 0x63, x / 11.0, y / 11.0, 2);
        let fine = value2(self.seed ^ 0x64, x / 1.5, y / 1.5);
        let k = (0.8 + 0.4 * f(3))
            * (1.0 + 0.06 * f(4) * row + (0.05 + 0.15 * f(5) * f(5)) * patchy + 0.035 * fine);
        let lane = if edge < 0.6 && zone.f[5] > 0.35 {
            0.45
        } else {
            0.0
        };
        let rgb = mix(scale(base, k), scale(p.grass_dry, 1.1), lane);
        Surface {
            label: FARMLAND,
            rgb,
            db: db + 2.2 * (f(6) - 0.5) + 0.5 * patchy,
            point: 0.0,
            relief: 1.0,
        }
    }

    fn road_surface(&self, light: f32, x: f32, y: f32) -> Surface {
        let p = &self.palette;
        let wear = value2(self.seed ^ 0x71, x / 2.5, y / 2.5);
        Surface {
            label: ROAD,
            rgb: scale(mix(p.asphalt, p.highway, light), 1.0 + 0.08 * wear),
            db: -20.3 + 0.5 * wear,
            point: 0.0,
            relief: 0.6,
        }
    }

    /// Built-up land: arterials (labelled road), districts between them, buildings inside.
    fn city(&self, zone: &Zone, x: f32, y: f32, village: bool) -> Surface {
        let p = &self.palette;
        let s = zone.seed;
        let curvy = if zone.f[0] < 0.35 || village {
            3.0 + 5.0 * zone.f[1]
        } else {
            0.0
        };
        let (mut u, mut v) = (x * zone.cos + y * zone.sin, y * zone.cos - x * zone.sin);
        if curvy > 0.0 {
            u += curvy * value2(s ^ 0x81, x / 23.0, y / 23.0);
            v += curvy * value2(s ^ 0x82, x / 23.0, y / 23.0);
        }
        let (au, av) = (lerp(26.0, 70.0, zone.f[2]), lerp(22.0, 56.0, zone.f[3]));
        let (iu, iv) = (floor(u / au), floor(v / av));
        let (pu, pv) = (u - iu * au, v - iv * av);
        let half = 0.55 + 0.55 * zone.f[4];
        if !village {
            let nearest = pu.min(au - pu).min(pv.min(av - pv));
            if nearest < half {
                return self.road_surface(0.35 * zone.f[5], x, y);
            }
        }
        let district = hash(s ^ 0x83, iu as i32, iv as i32);
        let d = |i: i32| uniform(district, i, 3);
        let industry = 0.12 + 0.5 * zone.f[6] * zone.f[6];
        let tower = if zone.f[7] > 0.75 { 0.35 } else { 0.03 };
        let kind = if village {
            0
        } else {
            pick(&[1.0, industry, tower, 0.06, 0.05], d(0))
        };
        match kind {
            3 => return self.grass(zone, x, y),
            4 => return self.bare(zone, x, y),
            _ => {}
        }
        // Streets and lots.
        let (bu, bv) = match kind {
            0 => (lerp(7.0, 18.0, d(1)), lerp(4.6, 8.0, d(2))),
            1 => (lerp(12.0, 24.0, d(1)), lerp(10.0, 18.0, d(2))),
            _ => (lerp(7.0, 11.0, d(1)), lerp(6.0, 10.0, d(2))),
        };
        let (nu, nv) = (floor(au / bu).max(1.0), floor(av / bv).max(1.0));
        let (bu, bv) = (au / nu, av / nv);
        let (cu, cv) = (floor(u / bu), floor(v / bv));
        let (qu, qv) = (u - cu * bu, v - cv * bv);
        let street = qu.min(qv) < 0.9;
        let (lot_u, lot_v) = match kind {
            0 => (1.5 + 0.9 * d(3), 1.5 + 0.9 * d(4)),
            1 => (lerp(4.0, 13.0, d(3)), lerp(4.0, 11.0, d(4))),
            _ => (lerp(2.4, 4.6, d(3)), lerp(2.4, 4.6, d(4))),
        };
        let (lu, lv) = (floor(u / lot_u), floor(v / lot_v));
        let lot = hash(s ^ 0x84, lu as i32, lv as i32);
        let l = |i: i32| uniform(lot, i, 9);
        let grain = uniform(self.seed ^ 0x85, cell(x), cell(y));
        let spark = uniform(self.seed ^ 0x86, cell(x), cell(y));
        let strength =
            |r: f32, lo_db: f32, hi_db: f32| libm::exp2f(lerp(lo_db, hi_db, r) * 0.332_192_8);
        // Streets square to the radar's track return more (the cardinal effect).
        let facing = (zone.cos * zone.cos - zone.sin * zone.sin).abs();
        let cardinal = 3.2 * (facing * facing - 0.45);
        let paved = scale(p.asphalt, 0.95 + 0.35 * grain);
        if street {
            return Surface {
                label: CITY,
                rgb: paved,
                db: -17.0 + cardinal * 0.4,
                point: 0.0,
                relief: 0.5,
            };
        }
        let (rgb, db, point) = match kind {
            0 => {
                let trees = p.street_trees * (0.5 + zone.f[5]);
                let colour = if l(0) < trees {
                    scale(p.forest, 1.4 + 0.6 * l(1))
                } else if l(0) < trees + 0.12 {
                    mix(p.grass_dry, p.grass_green, 0.3 + 0.7 * p.green)
                } else if l(2) < p.red_roofs {
                    scale([0.20, 0.118, 0.088], 0.7 + 0.6 * l(3))
                } else {
                    let r = l(3);
                    scale(
                        [0.98, 0.985, 0.98],
                        0.075 + 0.085 * r + 0.17 * r * r * r * r * r * r,
                    )
                };
                let colour = scale(colour, 0.82 + 0.36 * grain);
                let dense = if village { 0.07 } else { 0.09 + 0.08 * d(5) };
                let point = if spark < dense {
                    strength(l(4), -10.0, -1.0)
                } else {
                    0.0
                };
                (colour, -12.6 + cardinal + 2.4 * (l(5) - 0.5), point)
            }
            1 | 2 => {
                let (fu, fv) = (u - lu * lot_u, v - lv * lot_v);
                let margin = if kind == 1 { 0.9 } else { 0.35 };
                let built = fu > margin && fv > margin && l(0) < 0.82;
                // The neighbour towards the sun throws a shadow across the gap.
                let to_sun_u = self.sun[0] * zone.cos + self.sun[1] * zone.sin;
                let to_sun_v = self.sun[1] * zone.cos - self.sun[0] * zone.sin;
                let gap_in_shadow =
                    (to_sun_u < -0.3 && fu < margin) || (to_sun_v < -0.3 && fv < margin);
                if built {
                    let r = l(1);
                    let bright = if kind == 1 {
                        0.14 + 0.5 * r * r
                    } else {
                        0.07 + 0.3 * r * r
                    };
                    let tint = if l(2) < 0.08 {
                        [0.55, 0.8, 1.2]
                    } else if l(2) < 0.08 + 0.4 * p.red_roofs {
                        [1.15, 0.72, 0.55]
                    } else {
                        [1.0, 0.99, 0.975]
                    };
                    let colour = [tint[0] * bright, tint[1] * bright, tint[2] * bright];
                    let colour = scale(colour, 0.94 + 0.12 * grain);
                    let wall = fu < margin + 1.1 || fv < margin + 1.1;
                    let dense = if wall { 0.30 } else { 0.10 };
                    let point = if spark < dense {
                        strength(l(4), -5.0, 3.5)
                    } else {
                        0.0
                    };
                    (colour, -12.0 + cardinal + 4.0 * (l(5) - 0.5), point)
                } else {
                    let dark = if gap_in_shadow { 0.5 } else { 1.0 };
                    (scale(paved, dark * (0.9 + 0.5 * l(6))), -15.5, 0.0)
                }
            }
            _ => (paved, -16.0, 0.0),
        };
        Surface {
            label: CITY,
            rgb,
            db,
            point,
            relief: 0.5,
        }
    }

    fn water(&self, shallow: f32, x: f32, y: f32) -> Surface {
        let p = &self.palette;
        let ripple = value2(self.seed ^ 0x91, x / 1.6, y / 1.6);
        let swell = fbm(self.seed ^ 0x92, x / 60.0, y / 60.0, 3);
        let rgb = mix(p.water, [0.085, 0.11, 0.09], 0.5 * shallow);
        Surface {
            label: WATER,
            rgb: scale(rgb, 1.0 + 0.03 * ripple + 0.15 * swell),
            db: p.water_db + 1.2 * swell,
            point: 0.0,
            relief: 0.0,
        }
    }

    /// Land at a point, before villages, water and roads.
    fn land(&self, x: f32, y: f32, slope: [f32; 2]) -> Surface {
        let zone = self.zone(x, y);
        if zone.kind == Use::City && slope[0] * slope[0] + slope[1] * slope[1] < 0.35 {
            return self.city(zone, x, y, false);
        }
        let woods =
            fbm(self.seed ^ 0xA1, x / self.woods_px, y / self.woods_px, 4) + self.woods_bias;
        // Slopes away from the sun keep moisture and trees.
        let shade = -(slope[0] * self.sun[0] + slope[1] * self.sun[1]);
        let aspect = 0.8 * (-shade).clamp(-0.5, 0.5);
        let steep = (slope[0] * slope[0] + slope[1] * slope[1]).sqrt();
        match zone.kind {
            Use::Forest => {
                if woods < -0.34 {
                    self.grass(zone, x, y)
                } else {
                    self.forest(x, y)
                }
            }
            // Too steep to build on.
            Use::City => self.grass(zone, x, y),
            Use::Farm if steep > 0.35 || woods > 0.42 => self.forest(x, y),
            Use::Farm => self.farm(zone, x, y),
            Use::Grass => {
                if woods + aspect > 0.30 {
                    self.forest(x, y)
                } else {
                    self.grass(zone, x, y)
                }
            }
            Use::Bare => {
                if self.palette.green > 0.1 && woods + 1.3 * aspect > 0.42 {
                    self.forest(x, y)
                } else {
                    self.bare(zone, x, y)
                }
            }
        }
    }

    /// The village at a point, if any: a zone to draw its houses with.
    fn village(&self, x: f32, y: f32) -> Option<Zone> {
        const CELL_PX: f32 = 58.0;
        let (cx, cy) = (floor(x / CELL_PX), floor(y / CELL_PX));
        let seed = hash(self.seed ^ 0xB1, cx as i32, cy as i32);
        let f = |i: i32| uniform(seed, i, 1);
        if f(0) >= self.village {
            return None;
        }
        let radius = 4.0 + 11.0 * f(1);
        let dx = x - (cx + 0.3 + 0.4 * f(2)) * CELL_PX;
        let dy = y - (cy + 0.3 + 0.4 * f(3)) * CELL_PX;
        let square = dx * dx + dy * dy;
        if square > 2.2 * radius * radius {
            return None;
        }
        let rough = 1.0 + 0.45 * value2(seed, x / 5.0, y / 5.0);
        if square > radius * radius * rough * rough {
            return None;
        }
        let (cos, sin) = direction(f(4) * TURN / 4.0);
        Some(Zone {
            kind: Use::City,
            seed,
            site: [0.5, 0.5],
            cos,
            sin,
            f: [0.2, f(5), f(6), f(7), f(8), f(9), 0.0, 0.0],
        })
    }

    /// The material at a point, everything painted. `level` is the height of the lakes' surface.
    fn paint(&self, x: f32, y: f32, height: f32, slope: [f32; 2], level: f32) -> Surface {
        let mut open_water = None;
        let mut sand = false;
        if let Some(sea) = &self.sea {
            let d = x * sea.cos + y * sea.sin - sea.offset
                + sea.rough_px * fbm(self.seed ^ 0xC1, x / sea.wave_px, y / sea.wave_px, 4);
            if d < 0.0 {
                let surf = if d > -4.0 && value2(self.seed ^ 0xC2, x / 4.0, y / 4.0) > 0.1 {
                    sea.surf
                } else {
                    0.0
                };
                let mut w = self.water((1.0 + d / 14.0).clamp(0.0, 1.0), x, y);
                w.rgb = [w.rgb[0] + surf, w.rgb[1] + surf, w.rgb[2] + surf];
                // Ships: a few bright points on open water.
                let ship = uniform(self.seed ^ 0xC3, cell(x), cell(y));
                if d < -8.0 && ship < 0.00006 {
                    w.rgb = [0.3, 0.3, 0.3];
                    w.point = 1.5;
                }
                open_water = Some(w);
            } else if d < sea.beach_px {
                sand = true;
            }
        }
        if open_water.is_none() && height < level {
            open_water = Some(self.water(0.15, x, y));
        }
        if open_water.is_none()
            && let Some([px, py, radius, rough]) = self.pond
        {
            let (dx, dy) = (x - px, y - py);
            let r = (dx * dx + dy * dy).sqrt();
            let shore = radius * (1.0 + rough * fbm(self.seed ^ 0xC4, x / 28.0, y / 28.0, 4));
            if r < shore {
                open_water = Some(self.water(0.1, x, y));
            }
        }
        if let Some(w) = open_water {
            return w;
        }
        let mut bank = f32::MAX;
        if let Some(river) = &self.river
            && !river.is_beyond(
                x,
                y,
                1.35 * river.half_px + self.bank_px.max(0.0) + 1.5 * self.river_warp_px,
            )
        {
            let w = self.river_warp_px;
            let wx = x + w * fbm(self.seed ^ 0xC5, x / 48.0, y / 48.0, 2);
            let wy = y + w * fbm(self.seed ^ 0xC6, x / 48.0, y / 48.0, 2);
            let swell = 1.0 + 0.35 * value2(self.seed ^ 0xC7, x / 20.0, y / 20.0);
            bank = river.distance(wx, wy) - river.half_px * swell;
        }
        let mut surface = if sand {
            let mut s = self.water(0.0, x, y);
            let k = 1.0 + 0.1 * value2(self.seed ^ 0xC8, x / 3.0, y / 3.0);
            s.label = BARE;
            s.rgb = scale([0.42, 0.38, 0.31], k);
            s.db = -20.0;
            s
        } else if bank <= 0.0 {
            self.water(0.3, x, y)
        } else if bank < self.bank_px {
            if self.palette.green < 0.15 && self.bank_px > 3.0 {
                self.bare(&self.zones[0], x, y)
            } else {
                self.forest(x, y)
            }
        } else if let Some(zone) = self.village(x, y) {
            self.city(&zone, x, y, true)
        } else {
            self.land(x, y, slope)
        };
        for road in &self.roads {
            if road.is_beyond(x, y, road.half_px + 1.0) {
                continue;
            }
            let d = road.distance(x, y);
            let cover = (road.half_px + 0.5 - d).clamp(0.0, 1.0);
            if cover > 0.0 {
                let over = self.road_surface(road.colour, x, y);
                let label = if cover >= 0.5 { ROAD } else { surface.label };
                surface = Surface {
                    label,
                    rgb: mix(surface.rgb, over.rgb, cover),
                    db: lerp(surface.db, over.db, cover),
                    point: surface.point * (1.0 - cover),
                    relief: lerp(surface.relief, over.relief, cover),
                };
            }
        }
        surface
    }
}

/// Irregular parcels: the cells of a jittered lattice, longer in `u` than in `v`. Returns the
/// parcel's hash, the distance to its edge (px) and whether the point is off the edge.
fn irregular_parcel(seed: u32, u: f32, v: f32, cell_px: f32) -> (u32, f32, bool) {
    let (gu, gv) = (u / (1.5 * cell_px), v / cell_px);
    let (iu, iv) = (cell(gu), cell(gv));
    let (mut best, mut second, mut id) = (f32::MAX, f32::MAX, 0);
    for dv in -1..=1 {
        for du in -1..=1 {
            let h = hash(seed ^ 0x65, iu + du, iv + dv);
            let a = (iu + du) as f32 + 0.1 + 0.8 * unit(h) - gu;
            let b = (iv + dv) as f32 + 0.1 + 0.8 * unit(h.wrapping_mul(0x9E37_79B1)) - gv;
            let d = a * a + b * b;
            if d < best {
                second = best;
                best = d;
                id = h;
            } else if d < second {
                second = d;
            }
        }
    }
    let edge = (second.sqrt() - best.sqrt()) * cell_px * 0.5;
    (hash(id, 1, 1), edge, edge > 0.7)
}

/// Paints a scene of `size_px` plus [`PAD_PX`] on every side.
pub(crate) fn paint(seed: u64, size_px: usize) -> Layout {
    let side_px = size_px + 2 * PAD_PX;
    let world = World::draw(seed, size_px);
    // One more row and column on every side, for central differences.
    let wide = side_px + 2;
    let at = |i: usize| i as f32 - PAD_PX as f32 - 1.0;
    let mut height = Vec::with_capacity(wide * wide);
    for row in 0..wide {
        for column in 0..wide {
            height.push(world.height(at(column), at(row)));
        }
    }
    let level = if world.lake_share > 0.0 && world.slope_scale > 0.0 {
        let mut sorted = height.clone();
        let rank = (world.lake_share * (sorted.len() - 1) as f32) as usize;
        let (_, level, _) = sorted.select_nth_unstable_by(rank, f32::total_cmp);
        *level
    } else {
        f32::MIN
    };
    let mut surface = Vec::with_capacity(side_px * side_px);
    let mut slope = Vec::with_capacity(side_px * side_px);
    for row in 0..side_px {
        for column in 0..side_px {
            let here = (row + 1) * wide + column + 1;
            let grad = [
                (height[here + 1] - height[here - 1]) * 0.5,
                (height[here + wide] - height[here - wide]) * 0.5,
            ];
            slope.push(grad);
            surface.push(world.paint(at(column + 1), at(row + 1), height[here], grad, level));
        }
    }
    Layout {
        side_px,
        surface,
        slope,
        sun: world.sun,
    }
}
