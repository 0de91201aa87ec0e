//! From materials to pictures: sunlight, haze and the 8-bit stretch; radar slope effects and speckle.

use crate::layout::{Dice, Layout, PAD_PX};
use crate::noise::{lerp, uniform};

/// dB to linear power.
fn power(db: f32) -> f32 {
    libm::exp2f(db * 0.332_192_8)
}

/// A function sampled evenly and read with linear interpolation: powers take most of the time
/// otherwise.
struct Table {
    lo: f32,
    per_unit: f32,
    values: Vec<f32>,
}

impl Table {
    fn new(lo: f32, hi: f32, steps: usize, f: impl Fn(f32) -> f32) -> Self {
        let step = (hi - lo) / steps as f32;
        Self {
            lo,
            per_unit: 1.0 / step,
            values: (0..=steps).map(|i| f(lo + i as f32 * step)).collect(),
        }
    }

    /// The value at `x`; beyond the ends, the value at the end.
    fn at(&self, x: f32) -> f32 {
        let last = self.values.len() - 2;
        let place = ((x - self.lo) * self.per_unit).max(0.0);
        let i = (place as usize).min(last);
        lerp(
            self.values[i],
            self.values[i + 1],
            (place - i as f32).min(1.0),
        )
    }
}

/// Blurs a padded plane with `taps` (odd: centred; even: half a pixel late) along both axes.
/// Edges repeat; the caller crops them away.
fn blur(plane: &[f32], side: usize, taps: &[f32]) -> Vec<f32> {
    let reach = taps.len() / 2;
    let clamp = |i: usize, k: usize| (i + k).saturating_sub(reach).min(side - 1);
    let mut across = vec![0.0_f32; side * side];
    for row in 0..side {
        let line = &plane[row * side..(row + 1) * side];
        for column in 0..side {
            let mut sum = 0.0;
            for (k, &tap) in taps.iter().enumerate() {
                sum += tap * line[clamp(column, k)];
            }
            across[row * side + column] = sum;
        }
    }
    let mut out = vec![0.0_f32; side * side];
    for row in 0..side {
        for (k, &tap) in taps.iter().enumerate() {
            let from = clamp(row, k) * side;
            for column in 0..side {
                out[row * side + column] += tap * across[from + column];
            }
        }
    }
    out
}

/// Cuts the padding off a padded plane: `[size, size]`.
fn crop(plane: &[f32], side: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity((side - 2 * PAD_PX) * (side - 2 * PAD_PX));
    for row in PAD_PX..side - PAD_PX {
        out.extend_from_slice(&plane[row * side + PAD_PX..(row + 1) * side - PAD_PX]);
    }
    out
}

/// The 99 % quantile of a non-empty plane.
fn quantile_99(plane: &[f32]) -> f32 {
    let mut sorted = plane.to_vec();
    let rank = (sorted.len() - 1) * 99 / 100;
    let (_, value, _) = sorted.select_nth_unstable_by(rank, f32::total_cmp);
    *value
}

/// The clear optical tile, HWC bytes.
///
/// Reflectance at the top of the atmosphere (surface times transmittance plus path radiance),
/// divided by each band's 99 % quantile as true-colour products are, or by one fixed reflectance
/// for all bands, as other products are.
pub(crate) fn optical(layout: &Layout, dice: &mut Dice) -> Vec<u8> {
    let side = layout.side_px;
    // Level-2A products carry no haze, level-1C ones do.
    let haze = if dice.chance(0.25) {
        dice.range(0.0, 0.2)
    } else {
        dice.range(0.5, 1.4)
    };
    let path = [0.034 * haze, 0.056 * haze, 0.088 * haze];
    let through = [1.0 - 0.05 * haze, 1.0 - 0.09 * haze, 1.0 - 0.14 * haze];
    let elevation = dice.range(0.48, 1.1);
    let (sin_sun, cos_sun) = (libm::sinf(elevation), libm::cosf(elevation));
    let diffuse = dice.range(0.12, 0.3);
    let ambient = [diffuse, diffuse * 1.05, diffuse * 1.2];
    let sharp = dice.range(0.62, 0.85);
    let taps = [(1.0 - sharp) * 0.5, sharp, (1.0 - sharp) * 0.5];
    let noise = dice.range(0.000_5, 0.003);
    let noise_seed = dice.bits();
    let stretch = dice.unit();
    let floor = dice.range(0.13, 0.26);
    let common_white = dice.range(0.21, 0.36);
    let gamma = if stretch < 0.5 {
        dice.range(0.92, 1.08)
    } else {
        dice.range(0.78, 1.1)
    };
    let cast = [
        dice.range(0.95, 1.05),
        dice.range(0.97, 1.03),
        dice.range(0.95, 1.05),
    ];
    let black = if dice.chance(0.2) {
        dice.range(0.3, 0.9)
    } else {
        0.0
    };

    let light: Vec<f32> = layout
        .slope
        .iter()
        .zip(&layout.surface)
        .map(|(s, m)| {
            let (sx, sy) = (s[0] * m.relief, s[1] * m.relief);
            let facing = sin_sun - cos_sun * (sx * layout.sun[0] + sy * layout.sun[1]);
            (facing / (1.0 + sx * sx + sy * sy).sqrt() / sin_sun).clamp(0.0, 1.9)
        })
        .collect();
    let curve = Table::new(0.0, 1.0, 1024, |v| libm::powf(v, gamma));
    let size = side - 2 * PAD_PX;
    let mut bytes = vec![0_u8; size * size * 3];
    for band in 0..3 {
        let lit: Vec<f32> = layout
            .surface
            .iter()
            .zip(&light)
            .map(|(m, &l)| m.rgb[band] * lerp(l, 1.0, ambient[band]))
            .collect();
        let mut plane = crop(&blur(&lit, side, &taps), side);
        for (i, v) in plane.iter_mut().enumerate() {
            let grain = uniform(noise_seed, i as i32, band as i32) - 0.5;
            *v = *v * through[band] + path[band] + noise * 3.4 * grain;
        }
        // A small tile is cut from a larger product, whose brightest percent is seldom darker
        // than bright soil or roofs: hence the floor under the tile's own quantile.
        let white = if stretch < 0.6 {
            quantile_99(&plane).max(floor + 0.6 * path[band])
        } else {
            common_white + 0.5 * path[2] * haze
        };
        let dark = path[band] * black;
        for (i, &v) in plane.iter().enumerate() {
            let scaled = ((v - dark) / (white - dark) * cast[band]).clamp(0.0, 1.0);
            bytes[i * 3 + band] = (curve.at(scaled) * 255.0 + 0.5) as u8;
        }
    }
    bytes
}

/// The radar tile: bytes of one channel and backscatter in dB, both `[size, size]`.
pub(crate) fn radar(layout: &Layout, dice: &mut Dice) -> (Vec<u8>, Vec<f32>) {
    let side = layout.side_px;
    let size = side - 2 * PAD_PX;
    // Ascending passes look east, descending ones west, both about 10° off the grid.
    let tilt = dice.range(-0.25, 0.25);
    let look = if dice.chance(0.5) {
        [libm::cosf(tilt), libm::sinf(tilt)]
    } else {
        [-libm::cosf(tilt), libm::sinf(tilt)]
    };
    let steepness = dice.range(7.0, 15.0);
    let ramp_db = dice.range(-0.8, 0.8);
    let gain_db = dice.range(-0.7, 0.7);
    let floor = power(dice.range(-27.0, -22.5));
    let looks = if dice.chance(0.12) {
        dice.range(12.0, 40.0)
    } else {
        dice.range(4.0, 8.0)
    };
    // Amplitude kernels measured on detected products: neighbours correlate by about 0.7.
    let kernel = dice.unit();
    let (taps, shape): (&[f32], f32) = if kernel < 0.55 {
        (&[0.125, 0.375, 0.375, 0.125], 10.24)
    } else if kernel < 0.85 {
        (&[0.25, 0.5, 0.25], 7.11)
    } else {
        (&[0.5, 0.5], 4.0)
    };
    let exponent = (shape / looks).sqrt();
    // Raising to a power shifts the mean; this is the second-order correction.
    let unbias = 1.0 / (1.0 + exponent * (exponent - 1.0) / (2.0 * shape));
    let seed = dice.bits();
    let speckle = Table::new(0.0, 10.0, 2048, |n| libm::powf(n.max(0.02), exponent));
    let linear = Table::new(-40.0, 10.0, 1024, power);

    let mut sigma = Vec::with_capacity(side * side);
    let mut noise = Vec::with_capacity(side * side);
    for row in 0..side {
        for column in 0..side {
            let i = row * side + column;
            let m = &layout.surface[i];
            // The ground rises away from the sensor where it faces it.
            let facing = (layout.slope[i][0] * look[0] + layout.slope[i][1] * look[1]) * m.relief;
            let relief_db = (steepness * facing).clamp(-6.0, 7.5);
            let range = ((column as f32 - 0.5 * side as f32) * look[0]) / side as f32;
            sigma.push(linear.at(m.db + relief_db + gain_db + ramp_db * range) + m.point);
            let u = uniform(seed, column as i32, row as i32);
            noise.push(-libm::logf(1.0 - u));
        }
    }
    let sigma = crop(&blur(&sigma, side, &[0.22, 0.56, 0.22]), side);
    let noise = crop(&blur(&noise, side, taps), side);
    let mut db = Vec::with_capacity(size * size);
    let mut amplitude = Vec::with_capacity(size * size);
    for (&s, &n) in sigma.iter().zip(&noise) {
        let p = (s + floor) * speckle.at(n) * unbias;
        db.push(10.0 * libm::log10f(p));
        amplitude.push(p.sqrt());
    }
    // As in the optical tile, the divisor belongs to a larger product with some town in it.
    let least = power(dice.range(-11.0, -6.0) + gain_db).sqrt();
    let white = quantile_99(&amplitude).max(least);
    let bytes = amplitude
        .iter()
        .map(|&a| ((a / white).min(1.0) * 255.0 + 0.5) as u8)
        .collect();
    (bytes, db)
}
