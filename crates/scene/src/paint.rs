//! Puts a plan's parts together: water over land use, roads over both, for every pixel.
//!
//! All lengths are pixels of 10 m.

use crate::biome::LandUse;
use crate::classes::{BARE, ROAD};
use crate::noise::{cell, fbm, lerp, uniform, value2};
use crate::plan::ScenePlan;
use crate::salt;
use crate::surface::{Layout, PAD_PX, Surface, mix, scale};

/// What the coast makes of a point.
enum Coast {
    Land,
    Beach,
    Water(Surface),
}

impl ScenePlan {
    /// Land at a point, before villages, water and roads.
    fn land(&self, x: f32, y: f32, slope: [f32; 2], height_px: f32) -> Surface {
        let zone = self.zones.at(x, y);
        let steep = (slope[0] * slope[0] + slope[1] * slope[1]).sqrt();
        if zone.land_use == LandUse::City && slope[0] * slope[0] + slope[1] * slope[1] < 0.35 {
            return self.city(zone, x, y, false);
        }
        let (u, v) = (x / self.woods_px, y / self.woods_px);
        let woods = fbm(self.seed ^ salt::WOODS, u, v, 4) + self.woods_bias;
        // Slopes away from the sun keep moisture and trees.
        let shade = -(slope[0] * self.sun[0] + slope[1] * self.sun[1]);
        let aspect = 0.8 * (-shade).clamp(-0.5, 0.5);
        match zone.land_use {
            LandUse::Forest => {
                if woods < -0.34 {
                    self.grass(zone, x, y)
                } else {
                    self.forest(x, y)
                }
            }
            // Too steep to build on.
            LandUse::City => self.grass(zone, x, y),
            LandUse::Farm if steep > 0.35 || woods > 0.42 => self.forest(x, y),
            LandUse::Farm => self.farm(zone, x, y),
            LandUse::Grass => {
                if woods + aspect > 0.30 {
                    self.forest(x, y)
                } else {
                    self.grass(zone, x, y)
                }
            }
            LandUse::Bare => {
                if self.palette.green > 0.1 && woods + 1.3 * aspect > 0.42 {
                    self.forest(x, y)
                } else {
                    self.bare(zone, x, y)
                }
            }
            LandUse::Savanna => self.savanna(zone, x, y),
            LandUse::Shrubland => self.shrubland(zone, x, y),
            LandUse::Smallholder if steep > 0.35 || woods > 0.5 => self.forest(x, y),
            LandUse::Smallholder => self.smallholder(zone, x, y),
            LandUse::Terraces => self.terraces(zone, x, y, height_px),
            LandUse::Orchard => self.orchard(zone, x, y),
            LandUse::Plantation => self.plantation(zone, x, y),
            LandUse::Paddy => self.paddy(zone, x, y),
            LandUse::Rock => self.rock(zone, x, y, height_px),
            LandUse::SaltFlat => self.salt_flat(zone, x, y),
        }
    }

    /// Sea with surf and ships, the beach, or neither.
    fn coast(&self, x: f32, y: f32) -> Coast {
        let Some(sea) = &self.sea else {
            return Coast::Land;
        };
        let (u, v) = (x / sea.wave_px, y / sea.wave_px);
        let d = x * sea.cos + y * sea.sin - sea.offset_px
            + sea.rough_px * fbm(self.seed ^ salt::COASTLINE, u, v, 4);
        if d >= 0.0 {
            return if d < sea.beach_px {
                Coast::Beach
            } else {
                Coast::Land
            };
        }
        let surf = if d > -4.0 && value2(self.seed ^ salt::SURF, x / 4.0, y / 4.0) > 0.1 {
            sea.surf
        } else {
            0.0
        };
        let mut water = self.water((1.0 + d / 14.0).clamp(0.0, 1.0), x, y);
        water.rgb = water.rgb.map(|band| band + surf);
        // Ships: a few bright points on open water.
        let ship = uniform(self.seed ^ salt::SHIPS, cell(x), cell(y));
        if d < -8.0 && ship < 0.00006 {
            water.rgb = [0.3, 0.3, 0.3];
            water.point = 1.5;
        }
        Coast::Water(water)
    }

    /// Whether a point lies in the pond.
    fn is_in_pond(&self, x: f32, y: f32) -> bool {
        let Some(pond) = &self.pond else {
            return false;
        };
        let (dx, dy) = (x - pond.x_px, y - pond.y_px);
        let r = (dx * dx + dy * dy).sqrt();
        let noise = fbm(self.seed ^ salt::POND_SHORE, x / 28.0, y / 28.0, 4);
        r < pond.radius_px * (1.0 + pond.roughness * noise)
    }

    /// Distance to the river's edge, px; below zero in the river.
    fn river_edge(&self, x: f32, y: f32) -> f32 {
        let warp = self.river_warp_px;
        let Some(river) = self.river.as_ref().filter(|river| {
            let reach = 1.35 * river.half_px + self.bank_px.max(0.0) + 1.5 * warp;
            !river.is_beyond(x, y, reach)
        }) else {
            return f32::MAX;
        };
        let wx = x + warp * fbm(self.seed ^ salt::RIVER_WARP_X, x / 48.0, y / 48.0, 2);
        let wy = y + warp * fbm(self.seed ^ salt::RIVER_WARP_Y, x / 48.0, y / 48.0, 2);
        let swell = 1.0 + 0.35 * value2(self.seed ^ salt::RIVER_WIDTH, x / 20.0, y / 20.0);
        river.distance(wx, wy) - river.half_px * swell
    }

    fn beach(&self, x: f32, y: f32) -> Surface {
        let mut sand = self.water(0.0, x, y);
        let k = 1.0 + 0.1 * value2(self.seed ^ salt::BEACH_SAND, x / 3.0, y / 3.0);
        sand.label = BARE;
        sand.rgb = scale([0.42, 0.38, 0.31], k);
        sand.db = -20.0;
        sand
    }

    /// Roads over a material.
    fn with_roads(&self, mut surface: Surface, x: f32, y: f32) -> Surface {
        for road in &self.roads {
            if road.is_beyond(x, y, road.half_px + 1.0) {
                continue;
            }
            let d = road.distance(x, y);
            let cover = (road.half_px + 0.5 - d).clamp(0.0, 1.0);
            if cover > 0.0 {
                let over = self.road_surface(road.brightness, x, y);
                let label = if cover >= 0.5 { ROAD } else { surface.label };
                surface = Surface {
                    label,
                    rgb: mix(surface.rgb, over.rgb, cover),
                    db: lerp(surface.db, over.db, cover),
                    vv_gain_db: surface.vv_gain_db * (1.0 - cover),
                    point: surface.point * (1.0 - cover),
                    relief: lerp(surface.relief, over.relief, cover),
                };
            }
        }
        surface
    }

    /// The material at a point, everything painted. `height` and `lake_level` are in pixels.
    fn paint(&self, x: f32, y: f32, height: f32, slope: [f32; 2], lake_level: f32) -> Surface {
        let coast = self.coast(x, y);
        if let Coast::Water(water) = coast {
            return water;
        }
        if height < lake_level {
            return self.water(0.15, x, y);
        }
        if self.is_in_pond(x, y) {
            return self.water(0.1, x, y);
        }
        let bank = self.river_edge(x, y);
        let surface = if matches!(coast, Coast::Beach) {
            self.beach(x, y)
        } else if bank <= 0.0 {
            self.water(0.3, x, y)
        } else if bank < self.bank_px {
            if self.palette.green < 0.15 && self.bank_px > 3.0 {
                self.bare(self.zones.first(), x, y)
            } else {
                self.forest(x, y)
            }
        } else if let Some(zone) = self.village(x, y) {
            self.city(&zone, x, y, true)
        } else {
            self.half_flooded(self.land(x, y, slope, height), height - lake_level, x, y)
        };
        self.with_roads(surface, x, y)
    }
}

/// Paints a plan for a scene of `size_px` plus [`PAD_PX`] on every side.
pub fn paint(plan: &ScenePlan, size_px: usize) -> Layout {
    let side_px = size_px + 2 * PAD_PX;
    // One more row and column on every side, for central differences.
    let wide = side_px + 2;
    let at = |i: usize| i as f32 - PAD_PX as f32 - 1.0;
    let mut height = Vec::with_capacity(wide * wide);
    for row in 0..wide {
        for column in 0..wide {
            height.push(plan.terrain.height_px(plan.seed, at(column), at(row)));
        }
    }
    let lake_level = plan.terrain.lake_level_px(&height);
    let relief_px = plan.terrain.slope_scale * plan.terrain.hill_px * 0.7;
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
            let (x, y) = (at(column + 1), at(row + 1));
            let painted = plan.paint(x, y, height[here], grad, lake_level);
            surface.push(plan.with_events(painted, [x, y], grad, height[here], relief_px));
        }
    }
    Layout {
        side_px,
        surface,
        slope,
        sun: plan.sun,
    }
}
