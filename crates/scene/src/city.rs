//! Built-up land: arterials, districts, streets, lots and buildings; and where villages are.

use crate::classes::CITY;
use crate::curve::TURN;
use crate::dice::pick;
use crate::noise::{cell, floor, hash, lerp, uniform, value2};
use crate::plan::ScenePlan;
use crate::salt;
use crate::surface::{Surface, mix, scale};
use crate::zone::{Traits, Zone};

impl ScenePlan {
    /// Built-up land: arterials (labelled road), districts between them, buildings inside.
    pub fn city(&self, zone: &Zone, x: f32, y: f32, village: bool) -> Surface {
        let p = &self.palette;
        let s = zone.seed;
        let curvy = if zone.traits.street_shape() < 0.35 || village {
            3.0 + 5.0 * zone.traits.street_bend()
        } else {
            0.0
        };
        let (mut u, mut v) = (x * zone.cos + y * zone.sin, y * zone.cos - x * zone.sin);
        if curvy > 0.0 {
            u += curvy * value2(s ^ salt::STREET_BEND_U, x / 23.0, y / 23.0);
            v += curvy * value2(s ^ salt::STREET_BEND_V, x / 23.0, y / 23.0);
        }
        let (au, av) = (
            lerp(26.0, 70.0, zone.traits.district_length()),
            lerp(22.0, 56.0, zone.traits.district_width()),
        );
        let (iu, iv) = (floor(u / au), floor(v / av));
        let (pu, pv) = (u - iu * au, v - iv * av);
        let half = 0.55 + 0.55 * zone.traits.arterial_width();
        if !village {
            let nearest = pu.min(au - pu).min(pv.min(av - pv));
            if nearest < half {
                return self.road_surface(0.35 * zone.traits.arterial_brightness(), x, y);
            }
        }
        let district = hash(s ^ salt::DISTRICT, iu as i32, iv as i32);
        let d = |i: i32| uniform(district, i, salt::DISTRICT_STREAM);
        let industry = 0.12 + 0.5 * zone.traits.industry() * zone.traits.industry();
        let tower = if zone.traits.towers() > 0.75 {
            0.35
        } else {
            0.03
        };
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
        let lot = hash(s ^ salt::LOT, lu as i32, lv as i32);
        let l = |i: i32| uniform(lot, i, salt::LOT_STREAM);
        let grain = uniform(self.seed ^ salt::ROOF_GRAIN, cell(x), cell(y));
        let spark = uniform(self.seed ^ salt::POINT_TARGETS, cell(x), cell(y));
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
                vv_gain_db: 0.0,
                point: 0.0,
                relief: 0.5,
            };
        }
        let (rgb, db, point) = match kind {
            0 => {
                let trees = p.street_trees * (0.5 + zone.traits.garden_trees());
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
            vv_gain_db: 0.0,
            point,
            relief: 0.5,
        }
    }

    /// The village at a point, if any: a zone to draw its houses with.
    pub fn village(&self, x: f32, y: f32) -> Option<Zone> {
        const CELL_PX: f32 = 58.0;
        let (cx, cy) = (floor(x / CELL_PX), floor(y / CELL_PX));
        let seed = hash(self.seed ^ salt::VILLAGE, cx as i32, cy as i32);
        let f = |i: i32| uniform(seed, i, salt::VILLAGE_STREAM);
        if f(0) >= self.village_chance {
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
        let traits = Traits([0.2, f(5), f(6), f(7), f(8), f(9), 0.0, 0.0]);
        Some(Zone::village(seed, f(4) * TURN / 4.0, traits))
    }
}
