//! Ground at the extremes: bare rock, salt flats; and what lies over other ground: snow, ashes,
//! flood water.

use crate::classes::{BARE, FARMLAND, FOREST, GRASSLAND, IGNORE};
use crate::noise::{fbm, lerp, ridged, smoothstep, value2};
use crate::plan::ScenePlan;
use crate::salt;
use crate::surface::{Surface, mix, scale};
use crate::zone::Zone;

impl ScenePlan {
    /// Rock with strata along the contour lines, debris and dry grass in the gullies. `height_px`
    /// is that of the ground.
    pub fn rock(&self, zone: &Zone, x: f32, y: f32, height_px: f32) -> Surface {
        let p = &self.palette;
        let t = zone.traits.0;
        let s = self.seed;
        let layer_px = lerp(0.8, 4.0, t[0]);
        let bent = height_px / layer_px + 0.6 * fbm(s ^ salt::STRATA_BEND, x / 40.0, y / 40.0, 2);
        let strata = value2(s ^ salt::STRATA, bent, 0.5);
        let gully = ridged(s ^ salt::BARE_GULLIES, x / 13.0, y / 13.0, 5);
        let broad = fbm(s ^ salt::BARE_BROAD, x / 45.0, y / 45.0, 3);
        let fine = value2(s ^ salt::BARE_FINE, x / 1.4, y / 1.4);
        let base = mix(
            scale(p.bare, 0.8),
            p.bare_second,
            smoothstep(-0.6, 0.6, 0.6 * strata + broad + t[1] - 0.5),
        );
        let plants = (p.green * t[2] * smoothstep(0.1, 0.6, gully)).min(0.6);
        let k = 1.0 + 0.5 * t[3] * (gully - 0.4) + 0.12 * strata + 0.08 * fine + 0.15 * broad;
        Surface {
            label: BARE,
            rgb: scale(mix(base, p.grass_green, plants), k.max(0.25)),
            db: p.bare_db + 1.5 + 1.5 * gully + 0.6 * broad,
            vv_gain_db: 2.5 * (t[4] - 0.5),
            point: 0.0,
            relief: 1.3,
        }
    }

    /// A salt flat: bright, with wet patches and dark veins. Bare land.
    pub fn salt_flat(&self, zone: &Zone, x: f32, y: f32) -> Surface {
        let p = &self.palette;
        let t = zone.traits.0;
        let s = self.seed;
        let broad = fbm(s ^ salt::SALT_WET, x / 36.0, y / 36.0, 4);
        let vein = ridged(s ^ salt::SALT_VEINS, x / 22.0, y / 22.0, 3);
        let wet = smoothstep(-0.1, 0.7, broad + t[0] - 0.5);
        let crust = scale([0.62, 0.60, 0.56], 0.65 + 0.5 * t[1]);
        let mud = mix(p.bare, [0.30, 0.30, 0.27], 0.5);
        let rgb = mix(
            mix(crust, mud, 0.8 * wet),
            p.bare,
            0.5 * smoothstep(0.55, 0.8, vein),
        );
        Surface {
            label: BARE,
            rgb: scale(rgb, 1.0 + 0.05 * broad),
            // A smooth crust returns little, a wet or broken one as much as a ploughed field.
            db: lerp(-26.0, -17.0, t[2]) + 3.0 * wet * (t[3] - 0.3),
            vv_gain_db: 5.0 * (t[4] - 0.4),
            point: 0.0,
            relief: 0.3,
        }
    }

    /// Ashes and snow over `surface`. `height_px` is that of the ground, `relief_px` its range.
    pub fn with_events(
        &self,
        mut surface: Surface,
        [x, y]: [f32; 2],
        slope: [f32; 2],
        height_px: f32,
        relief_px: f32,
    ) -> Surface {
        let s = self.seed;
        if self.events.burnt_share > 0.0
            && matches!(surface.label, FOREST | GRASSLAND | FARMLAND | IGNORE)
        {
            let field = fbm(s ^ salt::FIRE, x / 38.0, y / 38.0, 5);
            let edge = 0.42 - 0.9 * self.events.burnt_share;
            let burnt = smoothstep(edge, edge + 0.03, field);
            // Fire leaves islands.
            let severity = 0.55 + 0.4 * value2(s ^ salt::FIRE_SEVERITY, x / 7.0, y / 7.0);
            let strength = burnt * severity.clamp(0.0, 1.0);
            surface.rgb = mix(surface.rgb, [0.038, 0.034, 0.032], 0.9 * strength);
            surface.db -= 2.0 * strength;
            if burnt > 0.5 && surface.label == FOREST {
                surface.label = IGNORE;
            }
        }
        if self.events.snow_share > 0.0 {
            let shade = -(slope[0] * self.sun[0] + slope[1] * self.sun[1]);
            let steep = (slope[0] * slope[0] + slope[1] * slope[1]).sqrt();
            let height = height_px / relief_px.max(1.0);
            let drift = fbm(s ^ salt::SNOW, x / 20.0, y / 20.0, 4);
            let field = 0.8 * height - 0.5 * shade - 0.6 * (steep - 0.4).max(0.0) + 0.5 * drift;
            let edge = 0.75 - 1.5 * self.events.snow_share;
            let mut cover = smoothstep(edge - 0.05, edge + 0.2, field);
            if surface.label == FOREST {
                // Crowns stand out of the snow.
                cover *= 0.45;
            }
            let snow = scale([0.82, 0.84, 0.86], 0.8 + 0.1 * drift);
            surface.rgb = mix(surface.rgb, snow, cover);
            surface.db -= 2.0 * cover;
            if cover > 0.5 {
                surface.label = IGNORE;
            }
        }
        surface
    }

    /// Ground up to `flood_margin_px` above the flood, half under water. No class names the
    /// mixture.
    pub fn half_flooded(&self, surface: Surface, above_px: f32, x: f32, y: f32) -> Surface {
        let margin = self.events.flood_margin_px;
        if margin <= 0.0 || above_px >= margin || surface.relief < 0.9 {
            return surface;
        }
        let noise = 0.5 + 0.5 * value2(self.seed ^ salt::FLOOD_EDGE, x / 3.0, y / 3.0);
        let share = (1.0 - above_px / margin) * noise;
        let water = self.water(0.4, x, y);
        Surface {
            label: if share > 0.35 { IGNORE } else { surface.label },
            rgb: mix(surface.rgb, water.rgb, share),
            db: lerp(surface.db, water.db, share),
            relief: lerp(surface.relief, 0.0, share),
            ..surface
        }
    }
}
