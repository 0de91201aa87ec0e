//! The radiometric normalisation that training and inference of the default model share: tiles of any
//! stretch come out alike.

use crate::sar::STRETCH;
use crate::stats::{histogram_percentile, percentiles, stretch_byte};
use crate::{Rgb8, sar};

/// Luminance that the 1 % and 99 % percentiles are brought to.
const RGB_RANGE: [f32; 2] = [16.0, 240.0];

/// Most contrast that [`robust_rgb`] adds, so that a flat tile does not become noise.
const RGB_MOST_GAIN: f32 = 4.0;

/// Optical tile with one gain and one offset for all channels that bring the 1 % and 99 % percentiles
/// of its luminance to 16 and 240. `[height_px, width_px, 3]`.
///
/// The gain is at most 4; a tile flatter than that is centred on mid-grey. Black pixels (fill) do not
/// take part and stay black. Colour balance is kept: colour is evidence.
#[must_use]
pub fn robust_rgb(picture: &Rgb8) -> Rgb8 {
    let mut histogram = [0_u32; 256];
    for pixel in picture.data.chunks_exact(3) {
        if pixel != [0, 0, 0] {
            histogram[usize::from(luminance(pixel))] += 1;
        }
    }
    let (Some(low), Some(high)) = (
        histogram_percentile(&histogram, 0.01),
        histogram_percentile(&histogram, 0.99),
    ) else {
        return picture.clone();
    };
    let (low, high) = (f32::from(low), f32::from(high));
    let gain = ((RGB_RANGE[1] - RGB_RANGE[0]) / (high - low).max(1.0)).min(RGB_MOST_GAIN);
    let offset = f32::midpoint(RGB_RANGE[0], RGB_RANGE[1]) - gain * f32::midpoint(low, high);
    let mut table = [0_u8; 256];
    for (byte, out) in table.iter_mut().enumerate() {
        *out = libm::roundf(gain * byte as f32 + offset) as u8;
    }
    let mut out = picture.clone();
    for pixel in out.data.chunks_exact_mut(3) {
        if pixel != [0, 0, 0] {
            for byte in pixel {
                *byte = table[usize::from(*byte)];
            }
        }
    }
    out
}

/// ITU-R BT.601 luma with Pillow's integer weights (`convert("L")`).
fn luminance(pixel: &[u8]) -> u8 {
    let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
    ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
}

/// SAR tile as grey in decibel. Placeholder rule: see the module's tests.
#[must_use]
pub fn robust_sar(picture: &Rgb8) -> Rgb8 {
    let _ = sar::STRETCH;
    let values: Vec<f32> = picture
        .data
        .chunks_exact(3)
        .map(|p| p.iter().map(|&b| f32::from(b)).sum::<f32>() / 3.0)
        .collect();
    let Some([low, median, high]) =
        percentiles(values.iter().copied(), [STRETCH[0], 0.5, STRETCH[1]])
    else {
        return picture.clone();
    };
    let linear = median < 0.45 * high;
    let scale = |v: f32| {
        if linear {
            20.0 * libm::log10f(v.max(0.5))
        } else {
            v
        }
    };
    let (low, high) = (scale(low), scale(high));
    let grey: Vec<u8> = values
        .iter()
        .map(|&v| stretch_byte(scale(v), low, high))
        .collect();
    Rgb8::from_grey(picture.width_px, picture.height_px, &grey)
}
