//! Procedural optical and SAR scenes with ground truth.
//!
//! [`generate`] draws one co-registered pair of tiles as Sentinel-2 (true colour) and Sentinel-1
//! (VH) show the ground at 10 m, and the class of every pixel. The same seed gives the same bytes
//! on every platform: integer hashes, exact `f32` arithmetic and `libm` only.
//!
//! Modules depend on one another in this order: `noise` and `salt`; `dice` and `surface`; `biome`,
//! `palette`, `curve`, `zone` and `terrain`; `plan`, which holds all that is drawn once for a scene;
//! `ground`, `farm` and `city`, the materials; `paint`, which chooses among them for every pixel;
//! `optical` and `sar`, which render the painted layout with the tools of `plane`.

mod biome;
mod city;
mod classes;
mod cloud;
mod curve;
mod dice;
mod farm;
mod ground;
mod noise;
mod optical;
mod paint;
mod palette;
mod plan;
mod plane;
mod salt;
mod sar;
mod score;
mod surface;
mod terrain;
mod zone;

pub use classes::{CLASSES, SceneClass, class_names};
pub use cloud::{CloudKind, cloud_for};
pub use score::ious;

use dice::Dice;
use mmovseg_raster::Rgb8;
use plan::ScenePlan;
use surface::PAD_PX;

/// One generated pair of tiles with its ground truth, all `size_px` × `size_px` and aligned.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// The optical tile without clouds, `[size_px, size_px, 3]`.
    pub rgb: Rgb8,
    /// The radar tile: VH amplitude over its 99 % quantile, 8 bit, three equal channels.
    pub sar: Rgb8,
    /// VH backscatter with speckle and noise floor, dB, `[size_px, size_px]`.
    pub sar_db: Vec<f32>,
    /// Index into [`CLASSES`], `[size_px, size_px]`.
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
    let mut dice = Dice::new(seed ^ 0x5EA5_0A11_C0FF_EE00);
    let rgb = Rgb8 {
        width_px: size_px,
        height_px: size_px,
        data: optical::render(&layout, &mut dice),
    };
    let (grey, sar_db) = sar::render(&layout, &mut dice);
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
        rgb,
        sar: Rgb8::from_grey(size_px, size_px, &grey),
        sar_db,
        label,
        size_px,
    }
}
