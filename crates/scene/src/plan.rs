//! Everything that is drawn once for a scene: palette, zones, terrain, waters and roads.

use crate::biome::{BIOMES, Biome, LandUse};
use crate::curve::{Curve, TURN, direction};
use crate::dice::Dice;
use crate::palette::Palette;
use crate::terrain::Terrain;
use crate::world::{Events, Region};
use crate::zone::ZoneMap;

/// Keeps the random numbers of world scenes apart from those of standard ones.
const WORLD_SEED: u64 = 0x3C6E_F372_FE94_F82B;

/// A scene before it is painted.
pub struct ScenePlan {
    pub palette: Palette,
    pub zones: ZoneMap,
    /// Seed of all noise fields.
    pub seed: u32,
    /// Size of woods outside forests.
    pub woods_px: f32,
    /// Above zero, more woods.
    pub woods_bias: f32,
    /// Chance that a cell of the village lattice holds a village.
    pub village_chance: f32,
    pub roads: Vec<Curve>,
    pub river: Option<Curve>,
    pub river_warp_px: f32,
    /// Width of the strip along the river that is neither water nor land use; may be negative.
    pub bank_px: f32,
    pub sea: Option<Sea>,
    /// Unit vector towards the sun, x right, y down.
    pub sun: [f32; 2],
    pub terrain: Terrain,
    pub pond: Option<Pond>,
    pub events: Events,
}

/// A coast: water on one side of a rough line.
pub struct Sea {
    /// Direction away from the water.
    pub cos: f32,
    pub sin: f32,
    pub offset_px: f32,
    /// Depth of bays.
    pub rough_px: f32,
    /// Distance of bays.
    pub wave_px: f32,
    /// Width of the beach; none below zero.
    pub beach_px: f32,
    /// Added reflectance of breaking waves.
    pub surf: f32,
}

/// A round lake with a rough shore.
pub struct Pond {
    pub x_px: f32,
    pub y_px: f32,
    pub radius_px: f32,
    pub roughness: f32,
}

impl ScenePlan {
    /// Draws the plan of a seed for a scene of `side_px` in one of [`BIOMES`].
    pub fn draw(seed: u64, side_px: usize) -> Self {
        let mut dice = Dice::new(seed);
        let biome = &BIOMES[dice.pick(&BIOMES.map(|b| b.weight))];
        Self::draw_in(biome, &mut dice, side_px)
    }

    /// Draws the plan of a scene in `biome`. The order of draws is part of the generator's output.
    fn draw_in(biome: &Biome, dice: &mut Dice, side_px: usize) -> Self {
        let side = side_px as f32;
        let palette = Palette::draw(dice, biome);
        let zone_px = dice.range(45.0, 130.0);
        let main_angle = dice.range(0.0, TURN / 4.0);
        let uses = disturbed(dice, biome.uses);
        let zone_base = dice.bits();
        let slope_scale = dice.range(biome.slope[0], biome.slope[1]);
        let zone_warp_px = dice.range(2.0, 16.0);
        let noise_seed = dice.bits();
        let woods_px = dice.range(14.0, 50.0);
        let woods_bias = dice.range(-0.12, 0.12);
        let river_warp_px = dice.range(4.0, 40.0);
        let bank_px = dice.range(-2.0, 6.0);
        let mut terrain = Terrain {
            slope_scale,
            hill_px: dice.range(30.0, 90.0),
            // One in three scenes blends the two kinds of hills.
            crests: dice.range(-1.0, 2.0).clamp(0.0, 1.0),
            lake_share: 0.0,
        };
        let sun = sun_direction(dice);
        let sea = dice.chance(biome.water[0]).then(|| Sea::draw(dice, side));
        let mut pond = None;
        if dice.chance(biome.water[1]) {
            if dice.chance(0.5) {
                terrain.lake_share = dice.range(0.03, 0.2);
            } else {
                pond = Some(Pond::draw(dice, side));
            }
        }
        let river = dice.chance(biome.water[2]).then(|| {
            let half_width = if dice.chance(0.4) {
                (4.0, 13.0)
            } else {
                (0.9, 3.2)
            };
            Curve::draw(dice, side, half_width, (6.0, 26.0), (25.0, 90.0))
        });
        let count = 1 + dice.pick(&[0.15, 0.3, 0.3, 0.25]);
        let roads = (0..count)
            .map(|_| draw_road(dice, side, slope_scale > 0.08, main_angle))
            .collect();
        Self {
            palette,
            zones: ZoneMap::new(
                noise_seed,
                side_px,
                [zone_px, zone_warp_px],
                &uses,
                main_angle,
                zone_base,
            ),
            seed: noise_seed,
            woods_px,
            woods_bias,
            village_chance: biome.village,
            roads,
            river,
            river_warp_px,
            bank_px,
            sea,
            sun,
            terrain,
            pond,
            events: Events::default(),
        }
    }

    /// Draws the plan of a seed for a scene of `side_px` in one of the world's regions.
    pub fn draw_world(seed: u64, side_px: usize) -> Self {
        let mut dice = Dice::new(seed ^ WORLD_SEED);
        let region = Region::draw(&mut dice);
        let mut plan = Self::draw_in(&region.biome, &mut dice, side_px);
        region.recolour(&mut plan.palette, &mut dice);
        plan.events = region.events(&mut dice);
        // Most of the world is further from a highway than around the standard scenes.
        let most_roads = dice.pick(&[0.3, 0.3, 0.25, 0.15]);
        plan.roads.truncate(most_roads);
        if plan.events.flood_margin_px > 0.0 {
            plan.terrain.slope_scale = plan.terrain.slope_scale.max(dice.range(0.004, 0.02));
            plan.terrain.lake_share = dice.range(0.08, 0.6);
        }
        plan
    }
}

/// The land uses of a landscape with their weights unevenly disturbed, so that some scenes hold one
/// class nearly alone.
fn disturbed(dice: &mut Dice, uses: &[(LandUse, f32)]) -> Vec<(LandUse, f32)> {
    uses.iter()
        .map(|&(land_use, weight)| {
            let u = dice.unit();
            (land_use, weight * (0.15 + 2.4 * u * u))
        })
        .collect()
}

/// The sun of a morning pass, in one of seven scenes south of the equator.
fn sun_direction(dice: &mut Dice) -> [f32; 2] {
    let (x, y) = direction(dice.range(0.02, 0.30) * TURN);
    if dice.chance(0.15) { [x, -y] } else { [x, y] }
}

/// A road or highway; half of them follow the main street direction of the scene.
fn draw_road(dice: &mut Dice, side: f32, is_hilly: bool, main_angle: f32) -> Curve {
    let is_highway = dice.chance(0.3);
    let half_width = if is_highway { (1.1, 2.2) } else { (0.55, 1.1) };
    let bend = if is_hilly { (5.0, 22.0) } else { (0.0, 7.0) };
    let mut road = Curve::draw(dice, side, half_width, bend, (60.0, 180.0));
    if dice.chance(0.5) {
        let turn = if dice.chance(0.5) { 0.0 } else { TURN / 4.0 };
        road.turn(main_angle + turn, dice, side);
    }
    road.brightness = if is_highway {
        dice.range(0.4, 1.0)
    } else {
        dice.range(0.0, 0.4)
    };
    road
}

impl Sea {
    fn draw(dice: &mut Dice, side: f32) -> Self {
        let (cos, sin) = direction(dice.range(0.0, TURN));
        Self {
            cos,
            sin,
            offset_px: dice.range(-0.42, 0.38) * side,
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
        }
    }
}

impl Pond {
    fn draw(dice: &mut Dice, side: f32) -> Self {
        Self {
            x_px: dice.range(0.0, 1.0) * side,
            y_px: dice.range(0.0, 1.0) * side,
            radius_px: dice.range(8.0, 60.0),
            roughness: dice.range(0.2, 0.9),
        }
    }
}
