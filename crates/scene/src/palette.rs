//! The colours, backscatter levels and building habits of one scene, drawn once.

use crate::biome::Biome;
use crate::dice::Dice;
use crate::surface::Rgb;

/// Per-scene colours and habits, drawn once.
pub struct Palette {
    pub water: Rgb,
    pub forest: Rgb,
    pub grass_green: Rgb,
    pub grass_dry: Rgb,
    pub bare: Rgb,
    pub bare_second: Rgb,
    pub asphalt: Rgb,
    pub highway: Rgb,
    pub green: f32,
    pub water_db: f32,
    pub bare_db: f32,
    pub forest_db: f32,
    pub red_roofs: f32,
    pub street_trees: f32,
    pub hedges: f32,
    pub pivots: f32,
    pub irregular: f32,
    /// Contrast of the texture of forest, grass and soil; 1 in standard scenes.
    pub texture: f32,
}

impl Palette {
    /// Draws the palette of a scene of `biome`.
    pub fn draw(dice: &mut Dice, biome: &Biome) -> Self {
        let dry = biome.is_dry;
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
        Self {
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
            texture: 1.0,
        }
    }
}
