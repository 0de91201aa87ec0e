//! From a tile pair to the normalised pixels that the towers read.

use burn::tensor::{Device, Tensor, TensorData};
use mmovseg_model::config::Radiometry;
use mmovseg_model::{ModelConfig, PIXEL_MEAN, PIXEL_STD};
use mmovseg_raster::{Preprocess, RasterError, Rgb8, fit, robust_rgb, robust_sar};

/// Fits both tiles to the model's square, applies its radiometry and normalises: optical and SAR
/// planes, `[3, S, S]` each, row-major.
///
/// # Errors
/// When a tile cannot be fitted.
pub fn model_pixels(
    rgb: &Rgb8,
    sar: &Rgb8,
    preprocess: Preprocess,
    config: &ModelConfig,
) -> Result<(Vec<f32>, Vec<f32>), RasterError> {
    let tiles = fit(rgb, sar, preprocess, config.input_px)?;
    Ok(match config.radiometry {
        Radiometry::AsIs => (normalise_pixels(&tiles.rgb), normalise_pixels(&tiles.sar)),
        Radiometry::Robust => (
            normalise_pixels(&robust_rgb(&tiles.rgb)),
            normalise_pixels(&robust_sar(&tiles.sar)),
        ),
    })
}

/// Planes `[3, H, W]` of `(byte − mean) / deviation` with CLIP's constants (docs/network.md §3.2).
#[must_use]
pub fn normalise_pixels(tile: &Rgb8) -> Vec<f32> {
    let area = tile.width_px * tile.height_px;
    let mut planes = vec![0.0; 3 * area];
    for (i, pixel) in tile.data.chunks_exact(3).enumerate() {
        for c in 0..3 {
            planes[c * area + i] = (f32::from(pixel[c]) - PIXEL_MEAN[c]) / PIXEL_STD[c];
        }
    }
    planes
}

/// Planes of one tile as the batch of one that a tower reads.
pub(crate) fn upload(planes: Vec<f32>, side_px: usize, device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(planes, [1, 3, side_px, side_px]), device)
}
