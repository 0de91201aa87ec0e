//! Augmentation: symmetries of the square, radiometry of optical tiles, appearance of SAR tiles.

use mmovseg_raster::{Rgb8, resize_bilinear};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// How far the radiometry of an optical tile is changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Radiometric {
    /// Share of tiles that are changed.
    pub share: f64,
    /// Largest gain; the least is its inverse.
    pub gain: f32,
    /// Largest gamma; the least is its inverse.
    pub gamma: f32,
}

impl Radiometric {
    /// For generated scenes and real pairs.
    pub const USUAL: Self = Self {
        share: 0.8,
        gain: 1.35,
        gamma: 1.4,
    };
    /// For EuroSAT: a tile of forest and one of lake differ by a few counts of red, which stronger
    /// changes hide.
    pub const WEAK: Self = Self {
        share: 0.35,
        gain: 1.35,
        gamma: 1.4,
    };
    /// For the 30 m tiles, of one product and few places: sensors and stretches differ more than
    /// they show.
    pub const STRONG: Self = Self {
        share: 0.8,
        gain: 1.4,
        gamma: 1.6,
    };
}

/// Gain, offset, gamma, haze and colour cast, as sensors, products and stretches differ.
pub(crate) fn vary_optical(rgb: &Rgb8, strength: Radiometric, dice: &mut ChaCha8Rng) -> Rgb8 {
    if !dice.random_bool(strength.share) {
        return rgb.clone();
    }
    // 16-bit tiles arrive stretched by their own percentiles.
    if dice.random_bool(0.25) {
        return stretched(rgb);
    }
    // Log-uniform around 1.
    let mut around = |most: f32| most.powf(dice.random_range(-1.0f32..1.0));
    let gamma = around(strength.gamma);
    let gain = around(strength.gain);
    let cast: [f32; 3] = std::array::from_fn(|_| gain * around(1.15));
    let black = dice.random_range(-15.0f32..30.0);
    // Rayleigh scattering is strongest in blue; products without atmospheric correction look bluish
    // and flat.
    let haze = if dice.random_bool(0.4) {
        dice.random_range(0.0f32..1.0)
    } else {
        0.0
    };
    let tables: Vec<Vec<u8>> = cast
        .iter()
        .zip([10.0, 24.0, 48.0])
        .map(|(c, scattered)| {
            (0..256)
                .map(|v| {
                    let ground = (v as f32 / 255.0).powf(gamma) * 255.0 * c * (1.0 - 0.25 * haze);
                    (ground + black + haze * scattered).clamp(0.0, 255.0) as u8
                })
                .collect()
        })
        .collect();
    let mut out = rgb.clone();
    for pixel in out.data.chunks_exact_mut(3) {
        for (value, table) in pixel.iter_mut().zip(&tables) {
            *value = table[usize::from(*value)];
        }
    }
    out
}

/// Share of optical tiles whose texture is changed.
const TEXTURE_SHARE: f64 = 0.5;
/// Largest gain of pixel-scale contrast; the least is its inverse.
const TEXTURE_GAIN: f32 = 2.5;

/// Weakens or strengthens contrast at the scale of one to a few pixels, on ground of every class
/// alike. Without this a model learns that whatever is rough is a city: generated fields are
/// smooth, and real savanna is not.
pub(crate) fn vary_texture(rgb: &Rgb8, dice: &mut ChaCha8Rng) -> Rgb8 {
    if !dice.random_bool(TEXTURE_SHARE) {
        return rgb.clone();
    }
    let mut smooth = rgb.clone();
    for _ in 0..dice.random_range(1..4u8) {
        smooth = binomial(&smooth);
    }
    let gain = TEXTURE_GAIN.powf(dice.random_range(-1.0f32..1.0));
    let mut out = smooth;
    for (value, &sharp) in out.data.iter_mut().zip(&rgb.data) {
        let mean = f32::from(*value);
        *value = (mean + gain * (f32::from(sharp) - mean)).clamp(0.0, 255.0) as u8;
    }
    out
}

/// The binomial filter of 3 × 3 pixels, edges repeated.
fn binomial(rgb: &Rgb8) -> Rgb8 {
    let (w, h) = (rgb.width_px, rgb.height_px);
    let along = |from: &Rgb8, step: [usize; 2]| {
        let mut out = from.clone();
        for (i, pixel) in out.data.chunks_exact_mut(3).enumerate() {
            let (x, y) = (i % w, i / w);
            let before = from.pixel(x.saturating_sub(step[0]), y.saturating_sub(step[1]));
            let after = from.pixel((x + step[0]).min(w - 1), (y + step[1]).min(h - 1));
            for (channel, value) in pixel.iter_mut().enumerate() {
                let sum =
                    u16::from(before[channel]) + 2 * u16::from(*value) + u16::from(after[channel]);
                *value = ((sum + 2) / 4) as u8;
            }
        }
        out
    };
    along(&along(rgb, [1, 0]), [0, 1])
}

/// Multiplies a tile, saturating at 255.
pub(crate) fn brighten(rgb: &Rgb8, gain: f32) -> Rgb8 {
    let mut out = rgb.clone();
    for value in &mut out.data {
        *value = (f32::from(*value) * gain).min(255.0) as u8;
    }
    out
}

/// The 2 % and 98 % percentiles of all values as 0 and 255.
fn stretched(rgb: &Rgb8) -> Rgb8 {
    let mut sorted = rgb.data.clone();
    sorted.sort_unstable();
    let at = |percent: usize| {
        f32::from(
            sorted
                .get(sorted.len() * percent / 100)
                .copied()
                .unwrap_or(0),
        )
    };
    let (low, high) = (at(2), at(98));
    let gain = 255.0 / (high - low).max(1.0);
    let mut out = rgb.clone();
    for value in &mut out.data {
        *value = ((f32::from(*value) - low) * gain).clamp(0.0, 255.0) as u8;
    }
    out
}

/// Gain and gamma of a SAR tile in the scale of its file: linear, amplitude and dB pictures all
/// occur.
pub(crate) fn vary_sar_scale(sar: &Rgb8, dice: &mut ChaCha8Rng) -> Rgb8 {
    let gain = dice.random_range(0.7f32..1.4);
    let gamma = dice.random_range(0.8f32..1.1);
    let mut out = sar.clone();
    apply(&mut out, |v| (v / 255.0).powf(gamma) * 255.0 * gain);
    out
}

/// Varies a SAR tile in dB stretched to 0 to 255 as polarisation, incidence angle, looks and
/// percentile stretches do: bent and shifted histograms, a ramp across the swath, speckle added or
/// averaged.
pub(crate) fn vary_sar(sar: &Rgb8, dice: &mut ChaCha8Rng) -> Rgb8 {
    let (w, h) = (sar.width_px, sar.height_px);
    let mut out = sar.clone();
    // More looks: average, then back to the size.
    if dice.random_bool(0.25) {
        let coarser = dice.random_range(1.5f32..3.0);
        let side = |px: usize| ((px as f32 / coarser) as usize).max(1);
        out = resize_bilinear(&resize_bilinear(&out, side(w), side(h)), w, h);
    }
    if dice.random_bool(0.25) {
        let slope = dice.random_range(-40.0f32..40.0);
        let turned = dice.random_bool(0.5);
        for (i, pixel) in out.data.chunks_exact_mut(3).enumerate() {
            let across = if turned {
                (i / w) as f32 / h as f32
            } else {
                (i % w) as f32 / w as f32
            };
            let value = f32::from(pixel[0]) + slope * (across - 0.5);
            pixel.fill(value.clamp(0.0, 255.0) as u8);
        }
    }
    // Fewer looks: speckle is multiplicative, so additive in dB.
    if dice.random_bool(0.3) {
        let spread = dice.random_range(5.0f32..30.0);
        for pixel in out.data.chunks_exact_mut(3) {
            let noise: f32 = (0..3).map(|_| dice.random_range(-1.0f32..1.0)).sum();
            pixel.fill((f32::from(pixel[0]) + spread * noise).clamp(0.0, 255.0) as u8);
        }
    }
    if dice.random_bool(0.6) {
        let gamma = 1.5f32.powf(dice.random_range(-1.0f32..1.0));
        let low = dice.random_range(-40.0f32..40.0);
        let high = dice.random_range(205.0f32..310.0);
        apply(&mut out, |v| {
            ((v - low) / (high - low)).clamp(0.0, 1.0).powf(gamma) * 255.0
        });
    }
    out
}

/// Maps every byte.
fn apply(picture: &mut Rgb8, map: impl Fn(f32) -> f32) {
    let table: Vec<u8> = (0..256)
        .map(|v| map(v as f32).round().clamp(0.0, 255.0) as u8)
        .collect();
    for value in &mut picture.data {
        *value = table[usize::from(*value)];
    }
}

/// One of the eight symmetries of the square.
pub(crate) fn dihedral(picture: &Rgb8, turn: u8) -> Rgb8 {
    let mut out = picture.clone();
    for (i, pixel) in out.data.chunks_exact_mut(3).enumerate() {
        let from = source(i, picture.width_px, turn) * 3;
        pixel.copy_from_slice(&picture.data[from..from + 3]);
    }
    out
}

/// Where pixel `i` of a turned square comes from.
pub(crate) fn source(i: usize, side_px: usize, turn: u8) -> usize {
    let (mut y, mut x) = (i / side_px, i % side_px);
    if turn & 1 != 0 {
        x = side_px - 1 - x;
    }
    if turn & 2 != 0 {
        y = side_px - 1 - y;
    }
    if turn & 4 != 0 {
        (x, y) = (y, x);
    }
    y * side_px + x
}

#[cfg(test)]
mod tests {
    use super::{dihedral, source, vary_sar, vary_texture};
    use rand::SeedableRng;

    const SIDE_PX: usize = 192;

    #[test]
    fn picture_and_labels_turn_together() {
        let rgb = mmovseg_raster::Rgb8::from_grey(
            SIDE_PX,
            SIDE_PX,
            &(0..SIDE_PX * SIDE_PX)
                .map(|i| (i % 251) as u8)
                .collect::<Vec<_>>(),
        );
        for turn in 0..8 {
            let turned = dihedral(&rgb, turn);
            for i in [0, 5, 191, 192 * 7 + 3, SIDE_PX * SIDE_PX - 1] {
                assert_eq!(turned.data[i * 3], rgb.data[source(i, SIDE_PX, turn) * 3]);
            }
        }
    }

    #[test]
    fn texture_changes_and_means_stay() {
        let grey: Vec<u8> = (0..64 * 64)
            .map(|i| if i % 2 == 0 { 100 } else { 140 })
            .collect();
        let tile = mmovseg_raster::Rgb8::from_grey(64, 64, &grey);
        let mut spreads = Vec::new();
        for seed in 0..20 {
            let mut dice = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            let varied = vary_texture(&tile, &mut dice);
            let mean =
                varied.data.iter().map(|&v| f64::from(v)).sum::<f64>() / varied.data.len() as f64;
            assert!((mean - 120.0).abs() < 2.0, "{mean}");
            spreads.push(i32::from(varied.pixel(33, 33)[0]) - i32::from(varied.pixel(32, 33)[0]));
        }
        assert!(
            spreads.iter().any(|&s| s < 25) && spreads.iter().any(|&s| s > 55),
            "{spreads:?}"
        );
    }

    #[test]
    fn sar_tiles_stay_grey() {
        let grey: Vec<u8> = (0..64 * 64).map(|i| (i * 7 % 256) as u8).collect();
        let tile = mmovseg_raster::Rgb8::from_grey(64, 64, &grey);
        for seed in 0..20 {
            let mut dice = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            let varied = vary_sar(&tile, &mut dice);
            assert_eq!((varied.width_px, varied.height_px), (64, 64));
            assert!(
                varied
                    .data
                    .chunks_exact(3)
                    .all(|p| p[0] == p[1] && p[1] == p[2])
            );
        }
    }
}
