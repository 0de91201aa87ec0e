//! Telling optical from SAR by what a picture holds: SAR tiles are grey and speckled.

use mmovseg_raster::Rgb8;

/// Channels that differ by less than this are grey: JPEG moves grey pixels by a few counts.
const GREY_COUNTS: u8 = 8;

/// A picture is grey when this share of its pixels is.
const GREY_SHARE: f64 = 0.98;

/// Between two grey pictures, the SAR one must be this many times as speckled.
const CLEAR_RATIO: f64 = 1.5;

/// Whether `rgb` looks like SAR and `sar` like optical.
pub fn looks_swapped(rgb: &Rgb8, sar: &Rgb8) -> bool {
    match (is_grey(rgb), is_grey(sar)) {
        (true, false) => true,
        (true, true) => speckle(rgb) > CLEAR_RATIO * speckle(sar),
        (false, _) => false,
    }
}

fn is_grey(picture: &Rgb8) -> bool {
    let pixels = picture.data.chunks_exact(3);
    let all = pixels.len();
    let grey = pixels
        .filter(|p| {
            p.iter()
                .max()
                .zip(p.iter().min())
                .is_some_and(|(a, b)| a - b < GREY_COUNTS)
        })
        .count();
    grey as f64 >= GREY_SHARE * all as f64
}

/// Mean of |a − b| / (a + b) over neighbours in a row: the strength of multiplicative noise.
fn speckle(picture: &Rgb8) -> f64 {
    let (mut sum, mut count) = (0.0, 0_u32);
    for row in picture.data.chunks_exact(3 * picture.width_px.max(1)) {
        for (a, b) in row.iter().step_by(3).zip(row.iter().step_by(3).skip(1)) {
            let (a, b) = (f64::from(*a), f64::from(*b));
            if a + b > 0.0 {
                sum += (a - b).abs() / (a + b);
                count += 1;
            }
        }
    }
    if count == 0 {
        0.0
    } else {
        sum / f64::from(count)
    }
}
