//! Resizing a picture by its longer side, its shape kept, as networks read it that take pictures of
//! any size.

use crate::resize::{Preprocess, resize_bilinear};
use crate::{RasterError, Rgb8};

/// Fractions are `w · 2^11` (`OpenCV`'s `INTER_RESIZE_COEF_BITS`).
const WEIGHT_BITS: u32 = 11;

/// Brings the longer side to `long_px`, the other in proportion. [`Preprocess::Parity`] takes
/// `OpenCV`'s bilinear resizing, as the authors of `SegEarth-OV` do: nothing is averaged when the
/// picture shrinks.
///
/// # Errors
/// When the picture is empty or `long_px` is 0.
pub fn fit_long_side(
    picture: &Rgb8,
    preprocess: Preprocess,
    long_px: usize,
) -> Result<Rgb8, RasterError> {
    let (width, height) = (picture.width_px, picture.height_px);
    if long_px == 0 || width == 0 || height == 0 {
        return Err(RasterError::Argument(
            "a tile without pixels cannot be fitted to the model; choose another tile".into(),
        ));
    }
    let scale = long_px as f64 / width.max(height) as f64;
    let side = |px: usize| ((px as f64 * scale + 0.5) as usize).max(1);
    let (width_px, height_px) = (side(width), side(height));
    Ok(match preprocess {
        Preprocess::Aligned => resize_bilinear(picture, width_px, height_px),
        Preprocess::Parity => resize_opencv(picture, width_px, height_px),
    })
}

/// Resizes as `OpenCV` does with `INTER_LINEAR` on 8-bit pictures (versions 4.10 and 5.0, to the
/// bit).
fn resize_opencv(picture: &Rgb8, width_px: usize, height_px: usize) -> Rgb8 {
    let (width, height) = (picture.width_px, picture.height_px);
    let mut out = Rgb8::filled(width_px, height_px, 0);
    let row_bytes = 3 * width_px;
    if width == 2 * width_px && height == 2 * height_px {
        for (i, byte) in out.data.iter_mut().enumerate() {
            let (x, y, c) = (i / 3 % width_px, i / row_bytes, i % 3);
            let at = |dx: usize, dy: usize| {
                let from = ((2 * y + dy) * width + 2 * x + dx) * 3 + c;
                u32::from(picture.data[from])
            };
            *byte = ((at(0, 0) + at(1, 0) + at(0, 1) + at(1, 1) + 2) >> 2) as u8;
        }
        return out;
    }
    let columns = taps(width, width_px, true);
    let wide: Vec<Vec<i32>> = picture
        .data
        .chunks_exact(3 * width)
        .map(|row| {
            let pixel = |tap: &Tap, c: usize| {
                let [first, second] = tap.at.map(|at| i32::from(row[3 * at + c]));
                first * tap.weights[0] + second * tap.weights[1]
            };
            let columns = columns.iter();
            columns
                .flat_map(|tap| [0, 1, 2].map(|c| pixel(tap, c)))
                .collect()
        })
        .collect();
    let rows = taps(height, height_px, false);
    for (row, tap) in out.data.chunks_exact_mut(row_bytes).zip(rows) {
        let [upper, lower] = tap.at.map(|at| &wide[at]);
        for ((byte, &upper), &lower) in row.iter_mut().zip(upper).zip(lower) {
            let part = |value: i32, weight: i32| (weight * (value >> 4)) >> 16;
            let sum = part(upper, tap.weights[0]) + part(lower, tap.weights[1]);
            *byte = ((sum + 2) >> 2).clamp(0, 255) as u8;
        }
    }
    out
}

/// The two pixels that a pixel of the result lies between, and how much each counts.
struct Tap {
    at: [usize; 2],
    weights: [i32; 2],
}

/// `is_held`: beyond the outermost pixels' centres only the outermost counts; else both are the
/// same one.
fn taps(from_px: usize, to_px: usize, is_held: bool) -> Vec<Tap> {
    let scale = 1.0 / (to_px as f64 / from_px as f64);
    let last = from_px as f32 - 1.0;
    (0..to_px)
        .map(|out| {
            let centre = ((out as f64 + 0.5) * scale - 0.5) as f32;
            let first = centre.floor();
            let is_outside = first < 0.0 || first >= last;
            let part = if is_held && is_outside {
                0.0
            } else {
                centre - first
            };
            let unit = (1 << WEIGHT_BITS) as f32;
            Tap {
                at: [first, first + 1.0].map(|at| at.clamp(0.0, last) as usize),
                weights: [1.0 - part, part].map(|w| (w * unit).round_ties_even() as i32),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    /// Results of `OpenCV` 4.10, of pictures of plain arithmetic, as FNV-1a over their bytes.
    #[test]
    fn parity_is_opencv_to_the_bit() {
        for (from, to, want) in [
            ([97, 31], [448, 143], 0x4d9f_fb56_u32),
            ([300, 200], [112, 75], 0xbbe0_7934),
            ([64, 40], [32, 20], 0x4f01_6413),
        ] {
            let [width_px, height_px] = from;
            let value = |i: u64| ((i * i * 31 + i * 7 + 13) % 251) as u8;
            let data = (0..(width_px * height_px * 3) as u64).map(value).collect();
            let picture = Rgb8 {
                width_px,
                height_px,
                data,
            };
            let fitted = fit_long_side(&picture, Preprocess::Parity, to[0]).unwrap();
            assert_eq!([fitted.width_px, fitted.height_px], to);
            let hash = fitted.data.iter().fold(0x811c_9dc5_u32, |hash, &byte| {
                (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
            });
            assert_eq!(hash, want, "{from:?}");
        }
    }

    #[test]
    fn shapes_are_kept_and_a_fitting_picture_is_left_as_it_is() {
        let picture = Rgb8::filled(1, 3000, 7);
        for preprocess in [Preprocess::Aligned, Preprocess::Parity] {
            let fitted = fit_long_side(&picture, preprocess, 448).unwrap();
            assert_eq!([fitted.width_px, fitted.height_px], [1, 448]);
            assert!(fitted.data.iter().all(|&byte| byte == 7));
            let own = fit_long_side(&fitted, preprocess, 448).unwrap();
            assert_eq!(own, fitted);
        }
        assert!(fit_long_side(&Rgb8::filled(0, 3, 0), Preprocess::Aligned, 448).is_err());
    }
}
