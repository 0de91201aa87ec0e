//! Small-scale farmland: smallholders' plots, terraces, orchards, paddies; and plantations.

use crate::classes::{FARMLAND, FOREST, IGNORE};
use crate::dice::pick;
use crate::farm::irregular_parcel;
use crate::noise::{cell, fbm, floor, hash, lerp, uniform, unit, value2};
use crate::plan::ScenePlan;
use crate::rangeland::crown_cover;
use crate::salt;
use crate::surface::{Surface, mix, scale};
use crate::zone::Zone;

impl ScenePlan {
    /// Coordinates along and across a zone's direction.
    fn along(zone: &Zone, x: f32, y: f32) -> (f32, f32) {
        (x * zone.cos + y * zone.sin, y * zone.cos - x * zone.sin)
    }

    /// Plots of 20 to 100 m, each its own crop or bare, with scattered trees and single tin roofs.
    pub fn smallholder(&self, zone: &Zone, x: f32, y: f32) -> Surface {
        let p = &self.palette;
        let t = zone.traits.0;
        let (u, v) = Self::along(zone, x, y);
        let bend = 2.5 * t[0];
        let u = u + bend * value2(zone.seed ^ salt::PLOT_BEND, x / 14.0, y / 14.0);
        let plot_px = lerp(2.2, 9.0, t[1] * t[1]);
        let (id, edge, inside) = irregular_parcel(zone.seed, u, v, plot_px);
        let mut crop = self.crop(zone, id, u, v, x, y, edge);
        // In the dry season all plots look alike but for how they were left.
        let soil = mix(p.bare, p.grass_dry, unit(id));
        crop.rgb = mix(
            crop.rgb,
            scale(soil, 0.75 + 0.5 * unit(id ^ 0x1F)),
            0.75 * (1.0 - p.green),
        );
        if !inside && t[2] > 0.4 {
            crop.rgb = mix(crop.rgb, mix(p.grass_dry, p.grass_green, p.green), 0.4);
        }
        let (gx, gy) = (x / 4.0, y / 4.0);
        let tree = crown_cover(self.seed ^ salt::FIELD_TREES, gx, gy, 0.25, 0.25 * t[3]);
        crop.rgb = mix(crop.rgb, scale(p.forest, 1.2), 0.8 * tree);
        crop.db += 3.0 * tree;
        if uniform(self.seed ^ salt::FIELD_ROOFS, cell(x), cell(y)) < 0.004 * t[4] {
            crop.rgb = [0.34, 0.34, 0.35];
            crop.point = 0.25;
        }
        crop
    }

    /// Steps along the contour lines. `height_px` is that of the ground.
    pub fn terraces(&self, zone: &Zone, x: f32, y: f32, height_px: f32) -> Surface {
        let p = &self.palette;
        let t = zone.traits.0;
        let (u, v) = Self::along(zone, x, y);
        let step_px = lerp(0.5, 1.6, t[0]);
        let wobble = 0.3 * value2(zone.seed ^ salt::TERRACE_EDGE, x / 9.0, y / 9.0);
        let level = height_px / step_px + wobble;
        let index = floor(level);
        let length_px = lerp(12.0, 40.0, t[1]);
        let id = hash(zone.seed ^ salt::TERRACE, index as i32, cell(u / length_px));
        let edge = (level - index).min(index + 1.0 - level);
        let mut crop = self.crop(zone, id, u, v, x, y, 9.0);
        if edge < 0.16 {
            // The wall and its shadow, or a line of shrubs.
            crop.rgb = mix(crop.rgb, scale(mix(p.forest, p.bare, t[2]), 0.8), 0.7);
        }
        if t[3] > 0.6 && unit(id ^ 0x3C) < 0.5 {
            // Flooded for rice.
            crop.rgb = mix(crop.rgb, p.water, 0.7);
            crop.db -= 3.5;
        }
        crop
    }

    /// Rows of fruit trees, olives, palms or vines over soil or grass, beside fields.
    pub fn orchard(&self, zone: &Zone, x: f32, y: f32) -> Surface {
        let p = &self.palette;
        let t = zone.traits.0;
        let (u, v) = Self::along(zone, x, y);
        let (id, edge, inside) = irregular_parcel(zone.seed, u, v, lerp(6.0, 22.0, t[0]));
        if unit(id) > 0.75 {
            return self.crop(zone, id, u, v, x, y, edge);
        }
        // Trees are 5 to 20 m apart: at 10 m rows alias into stripes and plaids.
        let (du, dv) = (
            lerp(0.7, 2.2, unit(id ^ 0x11)),
            lerp(0.7, 2.2, unit(id ^ 0x22)),
        );
        let (su, sv) = (u / du, v / dv);
        let (cu, cv) = (su - floor(su) - 0.5, sv - floor(sv) - 0.5);
        let gap = uniform(id ^ salt::ORCHARD_GAPS, cell(su), cell(sv)) < 0.06;
        let near = (1.0 - 2.2 * (cu * cu + cv * cv).sqrt()).clamp(0.0, 1.0);
        let age = 0.35 + 0.65 * unit(id ^ 0x33);
        let crown = if gap { 0.0 } else { near * age };
        let floor_green = p.green * unit(id ^ 0x44);
        let ground = mix(mix(p.bare, p.grass_dry, 0.4), p.grass_green, floor_green);
        let tree = mix(p.forest, p.grass_green, 0.25 + 0.4 * unit(id ^ 0x55));
        let mean = 0.35 * age;
        let track = if inside { 0.0 } else { 0.5 };
        Surface {
            label: FARMLAND,
            rgb: mix(
                mix(ground, tree, 0.5 * mean + 0.75 * crown),
                scale(p.bare, 1.1),
                track,
            ),
            db: -17.5 + 3.5 * age + 1.5 * (unit(id ^ 0x66) - 0.5),
            vv_gain_db: 2.0 * (unit(id ^ 0x77) - 0.5),
            point: 0.0,
            relief: 1.0,
        }
    }

    /// Blocks of one tree, cut by straight tracks: timber (forest), or oil palms and rubber, which
    /// maps call either forest or farmland and which therefore have no label.
    pub fn plantation(&self, zone: &Zone, x: f32, y: f32) -> Surface {
        let p = &self.palette;
        let t = zone.traits.0;
        let (u, v) = Self::along(zone, x, y);
        let (bu, bv) = (lerp(20.0, 100.0, t[0]), lerp(15.0, 40.0, t[1]));
        let (iu, iv) = (floor(u / bu), floor(v / bv));
        let id = hash(zone.seed ^ salt::PLANTATION, iu as i32, iv as i32);
        let (pu, pv) = (u - iu * bu, v - iv * bv);
        let track = pu.min(bu - pu).min(pv.min(bv - pv)) < 0.5;
        let is_timber = t[2] < 0.5;
        let age = unit(id);
        let young = age < 0.2;
        let fine = value2(self.seed ^ salt::CANOPY_CROWNS, x / 1.2, y / 1.2);
        let patchy = fbm(id ^ salt::CROP_PATCHES, x / 15.0, y / 15.0, 2);
        let canopy = mix(p.forest, scale(p.grass_green, 0.7), 0.3 + 0.4 * age);
        let rgb = if young {
            mix(p.bare, canopy, 0.35)
        } else {
            canopy
        };
        let rgb = scale(
            rgb,
            0.9 + 0.2 * unit(id ^ 0x9) + 0.07 * fine + 0.08 * patchy,
        );
        Surface {
            label: if is_timber && !young { FOREST } else { IGNORE },
            rgb: if track { mix(rgb, p.bare, 0.55) } else { rgb },
            db: p.forest_db - if young { 3.0 } else { 0.3 } + 0.4 * patchy,
            vv_gain_db: 0.0,
            point: 0.0,
            relief: 1.0,
        }
    }

    /// Bunded rice fields: flooded, green, ripe or fallow.
    pub fn paddy(&self, zone: &Zone, x: f32, y: f32) -> Surface {
        let p = &self.palette;
        let t = zone.traits.0;
        let (u, v) = Self::along(zone, x, y);
        let (id, _, inside) = self.cadastre(zone, u, v, lerp(14.0, 40.0, t[0]));
        // Most fields of one zone are at one stage.
        let flooded = 0.15 + 0.7 * t[1] * t[1];
        let stage = pick(
            &[flooded, 0.2 + 0.6 * p.green, 0.3 * t[2], 0.25],
            uniform(id, 0, salt::PADDY_STREAM),
        );
        let (base, db, vv) = match stage {
            0 => (
                mix(p.water, mix(p.bare, p.grass_green, 0.3), 0.35),
                -22.0,
                -1.0,
            ),
            1 => (
                mix(p.grass_green, [0.035, 0.095, 0.03], 0.4),
                -16.0,
                3.0 * t[3],
            ),
            2 => ([0.19, 0.165, 0.07], -16.5, -2.0),
            _ => (mix(p.bare, p.grass_dry, 0.5), -18.0, 2.0 * (t[3] - 0.5)),
        };
        let k = 0.85 + 0.3 * uniform(id, 1, salt::PADDY_STREAM);
        let patchy = fbm(id ^ salt::CROP_PATCHES, x / 8.0, y / 8.0, 2);
        let rgb = scale(base, k * (1.0 + 0.1 * patchy));
        let bund = mix(p.grass_green, p.grass_dry, 1.0 - p.green);
        Surface {
            label: FARMLAND,
            rgb: if inside { rgb } else { mix(rgb, bund, 0.5) },
            db: db + 1.5 * (uniform(id, 2, salt::PADDY_STREAM) - 0.5) + 0.5 * patchy,
            vv_gain_db: vv,
            point: 0.0,
            relief: if stage == 0 { 0.2 } else { 1.0 },
        }
    }
}
