//! Materials of natural ground: forest, grassland, bare land, water, and roads.

use crate::classes::{BARE, FOREST, GRASSLAND, ROAD, WATER};
use crate::noise::{cell, fbm, ridged, smoothstep, uniform, value2};
use crate::plan::ScenePlan;
use crate::salt;
use crate::surface::{Surface, mix, scale};
use crate::zone::Zone;

impl ScenePlan {
    /// Closed forest.
    pub fn forest(&self, x: f32, y: f32) -> Surface {
        let s = self.seed;
        let crown = value2(s ^ salt::CANOPY_CROWNS, x / 1.3, y / 1.3);
        let clump = value2(s ^ salt::CANOPY_CLUMPS, x / 3.7, y / 3.7);
        let stand = fbm(s ^ salt::CANOPY_STANDS, x / 22.0, y / 22.0, 2);
        let t = self.palette.texture;
        let k = 1.0 + 0.20 * t * crown + 0.12 * t * clump + 0.22 * t * stand;
        let warm = (0.5 + 0.9 * fbm(s ^ salt::CANOPY_TONE, x / 40.0, y / 40.0, 2)).clamp(0.0, 1.0);
        let p = &self.palette;
        let base = mix(p.forest, scale(p.grass_green, 0.62), 0.35 * warm);
        Surface {
            label: FOREST,
            rgb: scale(base, k.max(0.3)),
            db: p.forest_db + 0.7 * stand + 0.5 * clump,
            vv_gain_db: 0.0,
            point: 0.0,
            relief: 1.0,
        }
    }

    /// Grassland, with shrubs in some zones.
    pub fn grass(&self, zone: &Zone, x: f32, y: f32) -> Surface {
        let (s, traits) = (self.seed, zone.traits);
        let p = &self.palette;
        let mottle = fbm(s ^ salt::GRASS_MOTTLE, x / 26.0, y / 26.0, 3);
        let fine = value2(s ^ salt::GRASS_FINE, x / 2.1, y / 2.1);
        let green =
            (p.green + 0.5 * (traits.grass_greenness() - 0.5) + 0.45 * mottle).clamp(0.0, 1.0);
        let t = p.texture;
        let k = 1.0 + 0.07 * t * fine + 0.12 * t * mottle + 0.2 * (traits.grass_brightness() - 0.5);
        // Scattered shrubs: dark dots, denser in some rangelands.
        let shrub = traits.shrub_presence() > 0.5
            && uniform(s ^ salt::GRASS_SHRUBS, cell(x), cell(y)) < 0.10 * traits.shrub_density();
        Surface {
            label: GRASSLAND,
            rgb: scale(
                mix(p.grass_dry, p.grass_green, green),
                if shrub { 0.65 * k } else { k },
            ),
            db: -17.4 + 1.2 * (traits.grass_backscatter() - 0.5) + 0.6 * mottle + 0.4 * fine,
            vv_gain_db: 0.0,
            point: 0.0,
            relief: 1.0,
        }
    }

    /// Bare land: soil or rock, with gullies in some zones.
    pub fn bare(&self, zone: &Zone, x: f32, y: f32) -> Surface {
        let s = self.seed;
        let p = &self.palette;
        let broad = fbm(s ^ salt::BARE_BROAD, x / 30.0, y / 30.0, 3);
        let gully = ridged(s ^ salt::BARE_GULLIES, x / 16.0, y / 16.0, 4);
        let fine = value2(s ^ salt::BARE_FINE, x / 1.7, y / 1.7);
        let rough = zone.traits.bare_roughness();
        let base = mix(
            p.bare,
            p.bare_second,
            smoothstep(-0.5, 0.7, broad + zone.traits.bare_mixture() - 0.5),
        );
        let k = 1.0 + rough * (0.55 * gully - 0.2) + 0.05 * p.texture * fine + 0.14 * broad;
        Surface {
            label: BARE,
            rgb: scale(base, k.max(0.2)),
            db: p.bare_db + 1.6 * (rough - 0.5) + 0.7 * broad + 0.4 * fine,
            vv_gain_db: 0.0,
            point: 0.0,
            relief: 1.0,
        }
    }

    /// A road; `brightness` 0 asphalt, 1 the brightest highway.
    pub fn road_surface(&self, brightness: f32, x: f32, y: f32) -> Surface {
        let p = &self.palette;
        let wear = value2(self.seed ^ salt::ROAD_WEAR, x / 2.5, y / 2.5);
        Surface {
            label: ROAD,
            rgb: scale(mix(p.asphalt, p.highway, brightness), 1.0 + 0.08 * wear),
            db: -20.3 + 0.5 * wear,
            vv_gain_db: 0.0,
            point: 0.0,
            relief: 0.6,
        }
    }

    /// Water; `shallow` 0 to 1 lets the bottom show.
    pub fn water(&self, shallow: f32, x: f32, y: f32) -> Surface {
        let p = &self.palette;
        let ripple = value2(self.seed ^ salt::RIPPLES, x / 1.6, y / 1.6);
        let swell = fbm(self.seed ^ salt::SWELL, x / 60.0, y / 60.0, 3);
        let rgb = mix(p.water, [0.085, 0.11, 0.09], 0.5 * shallow);
        Surface {
            label: WATER,
            rgb: scale(rgb, 1.0 + 0.03 * ripple + 0.15 * swell),
            db: p.water_db + 1.2 * swell,
            vv_gain_db: 0.0,
            point: 0.0,
            relief: 0.0,
        }
    }
}
