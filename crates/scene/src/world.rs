//! Landscapes of [`crate::generate_world`] and what happens to them: floods, snow, fire, red or
//! muddy colours.

use crate::biome::{Biome, LandUse};
use crate::dice::Dice;
use crate::palette::Palette;
use crate::surface::{mix, scale};

/// A landscape of the world with the chances of events in it.
pub struct Region {
    pub biome: Biome,
    /// Chance that water has flooded the lowest ground.
    pub flood: f32,
    /// Chance that water carries mud.
    pub mud: f32,
    /// Chance of snow.
    pub snow: f32,
    /// Chance of burnt ground.
    pub fire: f32,
    /// Chance that soil is laterite red.
    pub red_soil: f32,
}

/// What has happened to a scene's ground.
#[derive(Clone, Copy, Default)]
pub struct Events {
    /// Share of the ground that snow covers, 0 for none.
    pub snow_share: f32,
    /// Share of the ground that has burnt, 0 for none.
    pub burnt_share: f32,
    /// Height above the flood in which ground is half under water, px; 0 without a flood.
    pub flood_margin_px: f32,
}

/// Landscapes that the seven standard ones lack, and some of those with other colours.
pub const REGIONS: &[Region] = &[
    // Savanna with fields and compounds, as in East Africa.
    region(
        Biome {
            weight: 0.13,
            uses: &[
                (LandUse::Savanna, 0.45),
                (LandUse::Smallholder, 0.25),
                (LandUse::Grass, 0.12),
                (LandUse::Bare, 0.1),
                (LandUse::Shrubland, 0.1),
                (LandUse::Forest, 0.05),
            ],
            is_dry: true,
            water: [0.03, 0.15, 0.35],
            slope: [0.0, 0.12],
            green: [0.0, 0.6],
            village: 0.2,
        },
        [0.03, 0.5, 0.0, 0.35, 0.6],
    ),
    // Densely farmed plains of small plots.
    region(
        Biome {
            weight: 0.12,
            uses: &[
                (LandUse::Smallholder, 0.65),
                (LandUse::Orchard, 0.08),
                (LandUse::Savanna, 0.08),
                (LandUse::Grass, 0.07),
                (LandUse::Bare, 0.06),
                (LandUse::City, 0.06),
            ],
            is_dry: true,
            water: [0.02, 0.2, 0.45],
            slope: [0.0, 0.08],
            green: [0.0, 0.9],
            village: 0.35,
        },
        [0.1, 0.6, 0.0, 0.08, 0.35],
    ),
    // Large dry fields.
    region(
        Biome {
            weight: 0.1,
            uses: &[
                (LandUse::Farm, 0.72),
                (LandUse::Grass, 0.12),
                (LandUse::Bare, 0.08),
                (LandUse::Forest, 0.04),
                (LandUse::City, 0.04),
            ],
            is_dry: true,
            water: [0.0, 0.15, 0.3],
            slope: [0.0, 0.05],
            green: [0.0, 0.4],
            village: 0.1,
        },
        [0.1, 0.6, 0.03, 0.1, 0.5],
    ),
    // Large green fields, woods and villages, as in Europe in summer.
    region(
        Biome {
            weight: 0.1,
            uses: &[
                (LandUse::Farm, 0.65),
                (LandUse::Forest, 0.17),
                (LandUse::Grass, 0.12),
                (LandUse::City, 0.06),
            ],
            is_dry: false,
            water: [0.02, 0.2, 0.4],
            slope: [0.0, 0.06],
            green: [0.3, 1.0],
            village: 0.35,
        },
        [0.1, 0.3, 0.03, 0.03, 0.05],
    ),
    // Hilly pastures and woods.
    region(
        Biome {
            weight: 0.09,
            uses: &[
                (LandUse::Grass, 0.55),
                (LandUse::Forest, 0.28),
                (LandUse::Farm, 0.07),
                (LandUse::Shrubland, 0.1),
            ],
            is_dry: false,
            water: [0.05, 0.25, 0.4],
            slope: [0.06, 0.3],
            green: [0.3, 1.0],
            village: 0.12,
        },
        [0.03, 0.3, 0.05, 0.06, 0.15],
    ),
    // Humid tropics: rain forest, plantations, clearings.
    region(
        Biome {
            weight: 0.08,
            uses: &[
                (LandUse::Forest, 0.42),
                (LandUse::Plantation, 0.25),
                (LandUse::Smallholder, 0.12),
                (LandUse::Grass, 0.13),
                (LandUse::Paddy, 0.08),
            ],
            is_dry: false,
            water: [0.08, 0.15, 0.6],
            slope: [0.0, 0.16],
            green: [0.6, 1.0],
            village: 0.1,
        },
        [0.15, 0.8, 0.0, 0.12, 0.5],
    ),
    // Delta: paddies, ponds, villages along the water.
    region(
        Biome {
            weight: 0.07,
            uses: &[
                (LandUse::Paddy, 0.55),
                (LandUse::Smallholder, 0.2),
                (LandUse::Orchard, 0.1),
                (LandUse::City, 0.08),
                (LandUse::Forest, 0.07),
            ],
            is_dry: false,
            water: [0.15, 0.3, 0.8],
            slope: [0.0, 0.008],
            green: [0.2, 1.0],
            village: 0.5,
        },
        [0.35, 0.85, 0.0, 0.05, 0.2],
    ),
    // Terraced mountains.
    region(
        Biome {
            weight: 0.05,
            uses: &[
                (LandUse::Terraces, 0.5),
                (LandUse::Forest, 0.25),
                (LandUse::Grass, 0.12),
                (LandUse::Bare, 0.08),
                (LandUse::City, 0.05),
            ],
            is_dry: false,
            water: [0.0, 0.1, 0.4],
            slope: [0.12, 0.35],
            green: [0.1, 1.0],
            village: 0.25,
        },
        [0.0, 0.5, 0.05, 0.05, 0.4],
    ),
    // Mountains in the dry season, gorges, deserts of rock.
    region(
        Biome {
            weight: 0.09,
            uses: &[
                (LandUse::Rock, 0.5),
                (LandUse::Shrubland, 0.15),
                (LandUse::Grass, 0.15),
                (LandUse::Bare, 0.15),
                (LandUse::Terraces, 0.05),
            ],
            is_dry: true,
            water: [0.03, 0.1, 0.35],
            slope: [0.2, 0.5],
            green: [0.0, 0.35],
            village: 0.06,
        },
        [0.0, 0.5, 0.15, 0.05, 0.35],
    ),
    // High mountains with snow, and northern plains in winter.
    region(
        Biome {
            weight: 0.05,
            uses: &[
                (LandUse::Rock, 0.3),
                (LandUse::Grass, 0.25),
                (LandUse::Forest, 0.3),
                (LandUse::Farm, 0.15),
            ],
            is_dry: false,
            water: [0.03, 0.4, 0.3],
            slope: [0.03, 0.45],
            green: [0.0, 0.6],
            village: 0.08,
        },
        [0.0, 0.1, 0.85, 0.0, 0.0],
    ),
    // Salt pans, sand and steppe.
    region(
        Biome {
            weight: 0.05,
            uses: &[
                (LandUse::SaltFlat, 0.3),
                (LandUse::Bare, 0.4),
                (LandUse::Savanna, 0.15),
                (LandUse::Grass, 0.15),
            ],
            is_dry: true,
            water: [0.1, 0.3, 0.15],
            slope: [0.0, 0.15],
            green: [0.0, 0.15],
            village: 0.05,
        },
        [0.1, 0.3, 0.02, 0.0, 0.4],
    ),
    // Mediterranean: orchards, fields, maquis, towns.
    region(
        Biome {
            weight: 0.07,
            uses: &[
                (LandUse::Orchard, 0.38),
                (LandUse::Farm, 0.2),
                (LandUse::Shrubland, 0.15),
                (LandUse::Bare, 0.12),
                (LandUse::City, 0.15),
            ],
            is_dry: true,
            water: [0.15, 0.15, 0.2],
            slope: [0.02, 0.25],
            green: [0.0, 0.5],
            village: 0.2,
        },
        [0.03, 0.2, 0.02, 0.12, 0.4],
    ),
    // Cities of any colour.
    region(
        Biome {
            weight: 0.1,
            uses: &[
                (LandUse::City, 0.75),
                (LandUse::Smallholder, 0.08),
                (LandUse::Bare, 0.06),
                (LandUse::Grass, 0.06),
                (LandUse::Forest, 0.05),
            ],
            is_dry: false,
            water: [0.12, 0.1, 0.5],
            slope: [0.0, 0.1],
            green: [0.0, 1.0],
            village: 0.1,
        },
        [0.12, 0.5, 0.02, 0.0, 0.3],
    ),
];

/// `chances` of flood, mud, snow, fire and red soil.
const fn region(biome: Biome, chances: [f32; 5]) -> Region {
    Region {
        biome,
        flood: chances[0],
        mud: chances[1],
        snow: chances[2],
        fire: chances[3],
        red_soil: chances[4],
    }
}

impl Region {
    /// One of [`REGIONS`] by weight.
    pub fn draw(dice: &mut Dice) -> &'static Self {
        let weights: Vec<f32> = REGIONS.iter().map(|region| region.biome.weight).collect();
        &REGIONS[dice.pick(&weights)]
    }

    /// Events of a scene of this region.
    pub fn events(&self, dice: &mut Dice) -> Events {
        let share = |dice: &mut Dice, chance: f32, least: f32, most: f32| {
            if dice.chance(chance) {
                dice.range(least, most)
            } else {
                0.0
            }
        };
        Events {
            snow_share: share(dice, self.snow, 0.1, 0.9),
            burnt_share: share(dice, self.fire, 0.04, 0.4),
            flood_margin_px: share(dice, self.flood, 0.02, 0.3),
        }
    }

    /// Changes a palette to the soils, waters and streets of this region.
    pub fn recolour(&self, palette: &mut Palette, dice: &mut Dice) {
        const MUD: [[f32; 3]; 5] = [
            [0.150, 0.118, 0.072],
            [0.190, 0.150, 0.100],
            [0.130, 0.095, 0.050],
            [0.105, 0.105, 0.072],
            [0.215, 0.165, 0.115],
        ];
        const CLEAR: [[f32; 3]; 4] = [
            [0.010, 0.035, 0.045],
            [0.012, 0.075, 0.085],
            [0.035, 0.110, 0.115],
            [0.006, 0.010, 0.012],
        ];
        const RED: [[f32; 3]; 3] = [
            [0.250, 0.125, 0.075],
            [0.180, 0.085, 0.055],
            [0.330, 0.190, 0.110],
        ];
        let brightness = dice.range(0.75, 1.3);
        if dice.chance(self.mud) {
            palette.water = scale(MUD[dice.pick(&[1.0; 5])], brightness);
        } else if dice.chance(0.35) {
            palette.water = scale(CLEAR[dice.pick(&[1.0; 4])], brightness);
        }
        let brightness = dice.range(0.75, 1.3);
        if dice.chance(self.red_soil) {
            palette.bare = scale(RED[dice.pick(&[1.0; 3])], brightness);
            palette.grass_dry = mix(palette.grass_dry, palette.bare, dice.range(0.0, 0.6));
        } else if dice.chance(0.4) {
            let dark = dice.range(0.45, 1.0);
            palette.bare = scale(palette.bare, dark);
        }
        // Unpaved streets have the colour of the soil; roofs, of tin or rust, are as bright as it.
        if dice.chance(0.45) {
            let unpaved = dice.range(0.2, 0.8);
            palette.asphalt = mix(palette.asphalt, palette.bare, unpaved);
            palette.highway = mix(palette.highway, palette.bare, unpaved);
        }
        if dice.chance(0.3) {
            palette.red_roofs = dice.range(0.2, 0.9);
        }
        // Vivid summers: SEN1-2 has meadows four times as bright in green as in red.
        if dice.chance(0.35) {
            let vivid = dice.range(0.0, 1.0);
            palette.grass_green = mix(palette.grass_green, [0.030, 0.095, 0.035], vivid);
            palette.forest = mix(palette.forest, [0.016, 0.040, 0.016], vivid);
        }
        // Contrast within 80 m after the usual stretch, median and 90 % over WorldCover tiles:
        // trees 12 and 26, grass 12 and 28, crops 15 and 36. The standard scenes have 3 and 8, 6
        // and 12, 15 and 53, but 31 and 50 in cities: there, whatever is rough is a city.
        let roughness = dice.unit();
        palette.texture = 1.2 + 2.8 * roughness * roughness;
        // Wind roughens water, rain wets soil.
        palette.water_db = dice.range(-27.0, -19.0);
        palette.bare_db = dice.range(-23.0, -14.5);
        palette.forest_db = dice.range(-15.0, -11.5);
    }
}
