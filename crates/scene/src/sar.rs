//! From materials to the SAR tile: effects of slopes, speckle, noise floor and the 8-bit stretch.

use crate::dice::Dice;
use crate::noise::uniform;
use crate::plane::{Table, blur, crop, power, quantile_99};
use crate::surface::{Layout, PAD_PX};

/// The SAR tile: bytes of one channel and backscatter in dB, both `[size, size]`.
pub fn render(layout: &Layout, dice: &mut Dice) -> (Vec<u8>, Vec<f32>) {
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
