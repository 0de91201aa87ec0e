//! Resizing and fitting a tile to the model's square, bit for bit as Pillow and the authors' loader
//! do (docs/network.md §3.1).

use serde::{Deserialize, Serialize};

use crate::{RasterError, Rgb8};

/// Integer weights are `w · 2^22` (Pillow's `PRECISION_BITS`).
const WEIGHT_BITS: u32 = 22;

/// Longest side the reference loader lets a resized picture have, in pixels (docs/network.md §3.1).
const PARITY_LONGEST_PX: f64 = 1333.0;

/// Byte that fills what the reference loader's 384×384 window does not cover (docs/network.md
/// §3.1).
const PARITY_FILL: u8 = 128;

/// How a tile is brought to the model's square.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preprocess {
    /// Optical and SAR are both squashed to the square, so that they stay pixel-aligned.
    #[default]
    Aligned,
    /// The rule of the authors' evaluation loader (docs/network.md §3.1): the optical tile is
    /// scaled by its shorter side and cut, the SAR tile is only cut. For comparison with published
    /// numbers.
    Parity,
}

/// The two squares that the model reads, each `[side_px, side_px, 3]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelTiles {
    /// Optical.
    pub rgb: Rgb8,
    /// SAR.
    pub sar: Rgb8,
}

/// Brings a pair to `side_px × side_px` (docs/network.md §3.1; 384 for the released models).
///
/// # Errors
/// When a picture is empty, `side_px` is 0, or [`Preprocess::Parity`] is asked for pictures of two
/// sizes.
pub fn fit(
    rgb: &Rgb8,
    sar: &Rgb8,
    preprocess: Preprocess,
    side_px: usize,
) -> Result<ModelTiles, RasterError> {
    let size = |tile: &Rgb8| [tile.width_px, tile.height_px];
    let (optical, radar) = (size(rgb), size(sar));
    if preprocess == Preprocess::Parity && optical != radar {
        return Err(RasterError::SizeMismatch {
            rgb: optical,
            sar: radar,
        });
    }
    Ok(ModelTiles {
        rgb: fit_optical(rgb, preprocess, side_px)?,
        sar: fit_sar(sar, preprocess, side_px)?,
    })
}

/// The optical half of [`fit`].
///
/// # Errors
/// When the picture is empty or `side_px` is 0.
pub fn fit_optical(
    rgb: &Rgb8,
    preprocess: Preprocess,
    side_px: usize,
) -> Result<Rgb8, RasterError> {
    refuse_empty(rgb, side_px)?;
    Ok(match preprocess {
        Preprocess::Aligned => resize_bilinear(rgb, side_px, side_px),
        Preprocess::Parity => {
            let [width_px, height_px] = parity_size(rgb.width_px, rgb.height_px, side_px);
            top_left(&resize_bilinear(rgb, width_px, height_px), side_px)
        }
    })
}

/// The SAR half of [`fit`].
///
/// # Errors
/// When the picture is empty or `side_px` is 0.
pub fn fit_sar(sar: &Rgb8, preprocess: Preprocess, side_px: usize) -> Result<Rgb8, RasterError> {
    refuse_empty(sar, side_px)?;
    Ok(match preprocess {
        Preprocess::Aligned => resize_bilinear(sar, side_px, side_px),
        Preprocess::Parity => top_left(sar, side_px),
    })
}

fn refuse_empty(tile: &Rgb8, side_px: usize) -> Result<(), RasterError> {
    if side_px == 0 || tile.width_px == 0 || tile.height_px == 0 {
        return Err(RasterError::Argument(
            "a tile without pixels cannot be fitted to the model; choose another tile".into(),
        ));
    }
    Ok(())
}

/// Width and height after scaling the shorter side to `side_px` and capping the longer one
/// (docs/network.md §3.1).
fn parity_size(width_px: usize, height_px: usize, side_px: usize) -> [usize; 2] {
    let side = side_px as f64;
    let scale = side / width_px.min(height_px) as f64;
    let (mut width, mut height) = if height_px < width_px {
        (scale * width_px as f64, side)
    } else {
        (side, scale * height_px as f64)
    };
    let longest = width.max(height);
    if longest > PARITY_LONGEST_PX {
        let shrink = PARITY_LONGEST_PX / longest;
        width *= shrink;
        height *= shrink;
    }
    // A strip thinner than 1:2666 would round to nothing.
    [width, height].map(|v| (libm::floor(v + 0.5) as usize).max(1))
}

/// The top-left `side_px × side_px` window; what lies outside the picture is grey (docs/network.md
/// §3.1).
fn top_left(picture: &Rgb8, side_px: usize) -> Rgb8 {
    let mut out = Rgb8::filled(side_px, side_px, PARITY_FILL);
    let bytes = picture.width_px.min(side_px) * 3;
    for y in 0..picture.height_px.min(side_px) {
        let from = y * picture.width_px * 3;
        let to = y * side_px * 3;
        out.data[to..to + bytes].copy_from_slice(&picture.data[from..from + bytes]);
    }
    out
}

/// Resizes to `[height_px, width_px, 3]` exactly as Pillow's `Image.resize(…, BILINEAR)` does on
/// 8-bit pictures: horizontal pass, then vertical, antialiased when shrinking (recipe in
/// docs/network.md §3.1).
///
/// A picture or a target without pixels gives an empty picture of the target size.
#[must_use]
pub fn resize_bilinear(picture: &Rgb8, width_px: usize, height_px: usize) -> Rgb8 {
    if picture.width_px == 0 || picture.height_px == 0 || width_px == 0 || height_px == 0 {
        return Rgb8::filled(width_px, height_px, 0);
    }
    let wide = if width_px == picture.width_px {
        picture.data.clone()
    } else {
        let taps = taps(picture.width_px, width_px);
        let mut out = Vec::with_capacity(width_px * picture.height_px * 3);
        for row in picture.data.chunks_exact(picture.width_px * 3) {
            for tap in &taps {
                let mut sums = [1_i32 << (WEIGHT_BITS - 1); 3];
                let pixels = row[tap.first * 3..].chunks_exact(3);
                for (&weight, pixel) in tap.weights.iter().zip(pixels) {
                    for (sum, &byte) in sums.iter_mut().zip(pixel) {
                        *sum += weight * i32::from(byte);
                    }
                }
                out.extend(sums.map(to_byte));
            }
        }
        out
    };
    if height_px == picture.height_px {
        return Rgb8 {
            width_px,
            height_px,
            data: wide,
        };
    }
    let row_bytes = width_px * 3;
    let mut data = Vec::with_capacity(row_bytes * height_px);
    let mut sums = vec![0_i32; row_bytes];
    for tap in taps(picture.height_px, height_px) {
        sums.fill(1 << (WEIGHT_BITS - 1));
        let rows = wide[tap.first * row_bytes..].chunks_exact(row_bytes);
        for (&weight, row) in tap.weights.iter().zip(rows) {
            for (sum, &byte) in sums.iter_mut().zip(row) {
                *sum += weight * i32::from(byte);
            }
        }
        data.extend(sums.iter().map(|&sum| to_byte(sum)));
    }
    Rgb8 {
        width_px,
        height_px,
        data,
    }
}

fn to_byte(sum: i32) -> u8 {
    (sum >> WEIGHT_BITS).clamp(0, 255) as u8
}

/// The source pixels of one output pixel, from `first` on.
struct Tap {
    first: usize,
    weights: Vec<i32>,
}

fn taps(from_px: usize, to_px: usize) -> Vec<Tap> {
    let scale = from_px as f64 / to_px as f64;
    let support = scale.max(1.0);
    // Pillow multiplies by the reciprocal; dividing would differ in the last bit.
    let reciprocal = 1.0 / support;
    (0..to_px)
        .map(|out| {
            let centre = (out as f64 + 0.5) * scale;
            // `as` truncates towards zero and saturates: exactly `max(trunc(v), 0)`.
            let first = (centre - support + 0.5) as usize;
            let end = ((centre + support + 0.5) as usize).min(from_px);
            let real: Vec<f64> = (first..end)
                .map(|i| (1.0 - ((i as f64 - centre + 0.5) * reciprocal).abs()).max(0.0))
                .collect();
            let total: f64 = real.iter().sum();
            let unit = f64::from(1 << WEIGHT_BITS);
            let weights = real
                .iter()
                .map(|w| (w / total * unit + 0.5) as i32)
                .collect();
            Tap { first, weights }
        })
        .collect()
}
