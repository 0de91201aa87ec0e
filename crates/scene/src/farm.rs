//! Farmland: how it is cut into parcels, and what grows on them.

use crate::classes::FARMLAND;
use crate::dice::pick;
use crate::noise::{cell, fbm, floor, hash, lerp, remix, uniform, unit, value2};
use crate::plan::ScenePlan;
use crate::salt;
use crate::surface::{Surface, mix, scale};
use crate::zone::Zone;

impl ScenePlan {
    /// Farmland: parcels with one crop each, hedges or lanes between them, irrigated circles.
    pub fn farm(&self, zone: &Zone, x: f32, y: f32) -> Surface {
        let p = &self.palette;
        let u = x * zone.cos + y * zone.sin;
        let v = y * zone.cos - x * zone.sin;
        let block = lerp(26.0, 62.0, zone.traits.parcel_size());
        let (id, edge, inside) = if zone.traits.parcel_shape() < 0.3 + 0.4 * p.irregular {
            self.cadastre(zone, u, v, block)
        } else {
            irregular_parcel(zone.seed, u, v, lerp(10.0, 30.0, zone.traits.parcel_size()))
        };
        // Square blocks may hold one irrigated circle; what the arm misses lies bare or fallow.
        let (bu, bv) = (floor(u / block), floor(v / block));
        let circle = hash(zone.seed ^ salt::PIVOT, bu as i32, bv as i32);
        if unit(circle) < p.pivots {
            let du = u / block - bu - 0.5;
            let dv = v / block - bv - 0.5;
            let r = (du * du + dv * dv).sqrt() * block;
            let radius = 0.47 * block;
            if r > radius {
                return if unit(circle ^ salt::PIVOT_CORNER) < 0.5 {
                    self.bare(zone, x, y)
                } else {
                    self.grass(zone, x, y)
                };
            }
            return self.crop(zone, circle, u, v, x, y, radius - r);
        }
        if !inside {
            // The lane or hedge between parcels.
            if p.hedges > 0.55 && unit(id ^ salt::HEDGE) < p.hedges {
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
    pub fn cadastre(&self, zone: &Zone, u: f32, v: f32, block: f32) -> (u32, f32, bool) {
        let (bu, bv) = (floor(u / block), floor(v / block));
        let b = hash(zone.seed ^ salt::PARCEL_BLOCK, bu as i32, bv as i32);
        let (mut a, mut c) = (u / block - bu, v / block - bv);
        if b & 1 == 0 {
            core::mem::swap(&mut a, &mut c);
        }
        let strips = 1 + (unit(remix(b)) * (block / 9.0)) as i32;
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
    pub fn crop(&self, zone: &Zone, id: u32, u: f32, v: f32, x: f32, y: f32, edge: f32) -> Surface {
        let p = &self.palette;
        let f = |i: i32| uniform(id, i, salt::CROP_STREAM);
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
        let patchy = fbm(id ^ salt::CROP_PATCHES, x / 11.0, y / 11.0, 2);
        let fine = value2(self.seed ^ salt::CROP_FINE, x / 1.5, y / 1.5);
        let k = (0.8 + 0.4 * f(3))
            * (1.0 + 0.06 * f(4) * row + (0.05 + 0.15 * f(5) * f(5)) * patchy + 0.035 * fine);
        let lane = if edge < 0.6 && zone.traits.field_lanes() > 0.35 {
            0.45
        } else {
            0.0
        };
        let rgb = mix(scale(base, k), scale(p.grass_dry, 1.1), lane);
        Surface {
            label: FARMLAND,
            rgb,
            db: db + 2.2 * (f(6) - 0.5) + 0.5 * patchy,
            // Upright stems absorb VV; rough wet soil returns it.
            vv_gain_db: 9.0 * (f(8) - 0.5),
            point: 0.0,
            relief: 1.0,
        }
    }
}

/// Irregular parcels: the cells of a jittered lattice, longer in `u` than in `v`. Returns the
/// parcel's hash, the distance to its edge (px) and whether the point is off the edge.
pub fn irregular_parcel(seed: u32, u: f32, v: f32, cell_px: f32) -> (u32, f32, bool) {
    let (gu, gv) = (u / (1.5 * cell_px), v / cell_px);
    let (iu, iv) = (cell(gu), cell(gv));
    let (mut best, mut second, mut id) = (f32::MAX, f32::MAX, 0);
    for dv in -1..=1 {
        for du in -1..=1 {
            let h = hash(seed ^ salt::PARCEL_SITE, iu + du, iv + dv);
            let a = (iu + du) as f32 + 0.1 + 0.8 * unit(h) - gu;
            let b = (iv + dv) as f32 + 0.1 + 0.8 * unit(remix(h)) - gv;
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
