//! Procedural optical and SAR scenes with ground truth.
//!
//! [`generate`] draws one co-registered pair of tiles as Sentinel-2 (true colour) and Sentinel-1
//! (VH) show the ground at 10 m, and the class of every pixel. The same seed gives the same bytes
//! on every platform: integer hashes, exact `f32` arithmetic and `libm` only. [`generate_world`]
//! draws from more kinds of ground and of products; it is for training, [`generate`] for evaluation
//! sets.
//!
//! Modules depend on one another in this order: `noise` and `salt`; `dice` and `surface`; `biome`,
//! `palette`, `curve`, `zone` and `terrain`; `plan`, which holds all that is drawn once for a
//! scene; `world`, what the plan of a world scene adds; `ground`, `farm`, `city`, `rangeland`,
//! `plots` and `extremes`, the materials; `paint`, which chooses among them for every pixel;
//! `optical` and `sar`, which render the painted layout with the tools of `plane`.

mod biome;
mod city;
mod classes;
mod cloud;
mod curve;
mod dice;
mod extremes;
mod farm;
mod ground;
mod noise;
mod optical;
mod paint;
mod palette;
mod plan;
mod plane;
mod plots;
mod rangeland;
mod salt;
mod sar;
mod score;
mod surface;
mod terrain;
mod world;
mod zone;

pub use classes::{CLASSES, IGNORE, SceneClass, class_names};
pub use cloud::{CloudKind, cloud_for};
pub use score::ious;

use dice::Dice;
use mmovseg_raster::Rgb8;
use plan::ScenePlan;
use sar::SarTile;
use surface::{Layout, PAD_PX};

/// One generated pair of tiles with its ground truth, all `size_px` × `size_px` and aligned.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// The optical tile without clouds, `[size_px, size_px, 3]`.
    pub rgb: Rgb8,
    /// The SAR tile, 8 bit, three equal channels; of [`generate`], VH amplitude over its 99 %
    /// quantile.
    pub sar: Rgb8,
    /// Backscatter with speckle and noise floor, dB, `[size_px, size_px]`; of [`generate`], VH.
    pub sar_db: Vec<f32>,
    /// Index into [`CLASSES`], `[size_px, size_px]`; [`generate_world`] also has [`IGNORE`].
    pub label: Vec<u8>,
    /// Side of all tiles.
    pub size_px: usize,
}

/// Draws the scene of a seed; `size_px` below 1 counts as 1.
///
/// A larger scene of the same seed is another place of the same kind, not an enlargement: lengths
/// are always pixels of 10 m.
#[must_use]
pub fn generate(seed: u64, size_px: usize) -> Scene {
    let size_px = size_px.max(1);
    let layout = paint::paint(&ScenePlan::draw(seed, size_px), size_px);
    let mut dice = Dice::new(seed ^ RENDER_SEED);
    let rgb = optical::render(&layout, &mut dice);
    let sar = sar::render(&layout, &mut dice);
    assemble(&layout, size_px, rgb, sar)
}

/// Draws the scene of a seed among all landscapes of the world and all products of both sensors.
///
/// Beside what [`generate`] has, the ground has savanna, smallholders' plots, terraces, orchards,
/// plantations, paddies, rock, salt, shrubs, muddy and flooded water, snow and burnt ground.
/// Optical tiles are stretched by fixed reflectance, per band, over all bands or by a power, with
/// haze up to thick. SAR tiles are VV or VH in amplitude or decibel, at incidence angles of 29 to
/// 46 degrees and 3 to 40 looks.
///
/// Labels are indices into [`CLASSES`] or [`IGNORE`]:
///
/// | ground | label |
/// |---|---|
/// | savanna, burnt grassland | grassland |
/// | closed savanna woodland, timber plantations | forest |
/// | smallholders' plots, terraces, orchards, vineyards, paddies, burnt fields | farmland |
/// | rock, salt flats | bare land |
/// | muddy, flooded and turquoise water | water |
/// | shrubland, oil palms and young plantations, snow, burnt forest, flooded ground | [`IGNORE`] |
///
/// `size_px` below 1 counts as 1. A seed has other ground here than in [`generate`].
#[must_use]
pub fn generate_world(seed: u64, size_px: usize) -> Scene {
    let size_px = size_px.max(1);
    let layout = paint::paint(&ScenePlan::draw_world(seed, size_px), size_px);
    let mut dice = Dice::new(seed ^ RENDER_SEED);
    let rgb = optical::render_any_product(&layout, &mut dice);
    let sar = sar::render_any_product(&layout, &mut dice);
    assemble(&layout, size_px, rgb, sar)
}

/// Keeps the random numbers of rendering apart from those of the ground.
const RENDER_SEED: u64 = 0x5EA5_0A11_C0FF_EE00;

fn assemble(layout: &Layout, size_px: usize, rgb: Vec<u8>, sar: SarTile) -> Scene {
    let mut label = Vec::with_capacity(size_px * size_px);
    for row in PAD_PX..PAD_PX + size_px {
        let start = row * layout.side_px + PAD_PX;
        label.extend(
            layout.surface[start..start + size_px]
                .iter()
                .map(|m| m.label),
        );
    }
    Scene {
        rgb: Rgb8 {
            width_px: size_px,
            height_px: size_px,
            data: rgb,
        },
        sar: Rgb8::from_grey(size_px, size_px, &sar.bytes),
        sar_db: sar.backscatter_db,
        label,
        size_px,
    }
}
