//! Materials with scattered plants: savanna, shrubland; and the lattice of crowns that orchards
//! share.

use crate::classes::{FOREST, GRASSLAND, IGNORE};
use crate::noise::{cell, fbm, hash, remix, smoothstep, unit, value2};
use crate::plan::ScenePlan;
use crate::salt;
use crate::surface::{Rgb, Surface, mix, scale};
use crate::zone::Zone;

/// Share of a pixel that crowns cover, 0 to 1: one crown of `radius` in each lattice cell of a unit
/// with probability `density`. All arguments but the seed and `density` are in cells.
pub fn crown_cover(seed: u32, gx: f32, gy: f32, radius: f32, density: f32) -> f32 {
    let (ix, iy) = (cell(gx), cell(gy));
    let mut cover = 0.0_f32;
    for dy in -1..=1 {
        for dx in -1..=1 {
            let h = hash(seed, ix + dx, iy + dy);
            if unit(h) >= density {
                continue;
            }
            let size = radius * (0.6 + 0.8 * unit(remix(h)));
            let px = (ix + dx) as f32 + 0.1 + 0.8 * unit(h ^ 0x5A5A) - gx;
            let py = (iy + dy) as f32 + 0.1 + 0.8 * unit(remix(h ^ 0xA5A5)) - gy;
            let d = (px * px + py * py).sqrt();
            cover = cover.max(1.0 - smoothstep(size * 0.6, size * 1.4, d));
        }
    }
    cover
}

impl ScenePlan {
    /// Grass and soil under scattered trees, with bright termite mounds in some zones. Grassland,
    /// or forest where trees stand close.
    pub fn savanna(&self, zone: &Zone, x: f32, y: f32) -> Surface {
        let p = &self.palette;
        let s = self.seed;
        let t = zone.traits.0;
        let broad = fbm(s ^ salt::SAVANNA_SOIL, x / 34.0, y / 34.0, 4);
        let fine = value2(s ^ salt::SAVANNA_FINE, x / 1.8, y / 1.8);
        let soil = smoothstep(-0.5, 0.6, broad + t[0] - 0.5);
        let green = (p.green + 0.5 * (t[1] - 0.5) - 0.3 * broad).clamp(0.0, 1.0);
        let ground = mix(mix(p.grass_dry, p.grass_green, green), p.bare, 0.75 * soil);
        let ground = scale(ground, 1.0 + 0.06 * fine + 0.2 * broad);
        let woods = fbm(s ^ salt::WOODS, x / self.woods_px, y / self.woods_px, 4);
        let density = (0.08 + 0.55 * t[2] + 0.7 * woods).clamp(0.0, 0.95);
        let spacing_px = 2.0 + 4.5 * t[3];
        let crown = crown_cover(
            s ^ salt::SAVANNA_TREES,
            x / spacing_px,
            y / spacing_px,
            0.22 + 0.2 * t[4],
            density,
        );
        let mound = if t[5] > 0.7 {
            let (gx, gy) = (x / 4.5, y / 4.5);
            crown_cover(s ^ salt::MOUNDS, gx, gy, 0.24, 0.5 + 0.5 * broad)
        } else {
            0.0
        };
        let tree = scale(mix(p.forest, p.grass_green, 0.3), 1.1);
        let rgb = mix(
            mix(ground, scale(p.bare_second, 1.5), 0.8 * mound),
            tree,
            0.85 * crown,
        );
        let is_dense = density > 0.62 && spacing_px < 4.0;
        Surface {
            label: if is_dense { FOREST } else { GRASSLAND },
            rgb,
            db: p.bare_db + 0.5 + 1.5 * green + 1.0 * broad + 4.5 * crown * t[6].max(0.3),
            vv_gain_db: 3.0 * (t[7] - 0.5),
            point: 0.0,
            relief: 1.0,
        }
    }

    /// Shrubs of knee to head height over soil. No class of ours names them.
    pub fn shrubland(&self, zone: &Zone, x: f32, y: f32) -> Surface {
        let p = &self.palette;
        let t = zone.traits.0;
        let broad = fbm(self.seed ^ salt::SHRUB_PATCHES, x / 24.0, y / 24.0, 4);
        let density = (0.55 + 0.5 * (t[0] - 0.5) + 0.5 * broad).clamp(0.05, 1.0);
        let spacing_px = 1.4 + 1.6 * t[1];
        let crown = crown_cover(
            self.seed ^ salt::SHRUBS,
            x / spacing_px,
            y / spacing_px,
            0.4,
            density,
        );
        let shrub: Rgb = mix(
            p.forest,
            mix(p.grass_dry, p.grass_green, 0.4),
            0.35 + 0.3 * t[2],
        );
        let soil = mix(p.bare, p.grass_dry, 0.5);
        Surface {
            label: IGNORE,
            rgb: scale(mix(soil, shrub, 0.8 * crown), 1.0 + 0.15 * broad),
            db: p.bare_db + 1.0 + 2.6 * density + 0.8 * broad,
            vv_gain_db: 2.0 * (t[3] - 0.5),
            point: 0.0,
            relief: 1.0,
        }
    }
}
