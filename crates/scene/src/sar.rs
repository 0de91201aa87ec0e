//! From materials to the SAR tile: effects of slopes, speckle, noise floor and the 8-bit stretch.

use crate::dice::Dice;
use crate::noise::uniform;
use crate::plane::{Table, blur, crop, power, quantile, quantile_99};
use crate::surface::Layout;

/// Usual ratio of VV to VH backscatter of each class, dB, in the order of [`crate::CLASSES`]; then
/// that of ground without a class. Read off published means of Sentinel-1 over land cover.
const VV_OVER_VH_DB: [f32; 8] = [6.5, 6.3, 7.8, 7.5, 7.2, 7.0, 8.0, 6.8];

/// Rendered SAR tile, `[size, size]`.
pub struct SarTile {
    /// Grey.
    pub bytes: Vec<u8>,
    /// Backscatter with speckle and noise floor, dB.
    pub backscatter_db: Vec<f32>,
}

/// One acquisition.
struct Acquisition {
    /// Unit vector away from the sensor, on the ground; x right, y down.
    look: [f32; 2],
    /// Backscatter for a unit of slope towards the sensor, dB.
    steepness_db: f32,
    /// Change from near to far range, dB.
    ramp_db: f32,
    gain_db: f32,
    /// Noise floor, linear power.
    floor: f32,
    /// Equivalent number of looks.
    looks: f32,
    /// Correlation of speckle: one of [`KERNELS`].
    kernel: usize,
    seed: u32,
    /// VV and not VH.
    is_vv: bool,
}

/// Amplitude kernels measured on detected products, in which neighbours correlate by about 0.7; and
/// the number of looks that each makes of one.
const KERNELS: [(&[f32], f32); 4] = [
    (&[0.125, 0.375, 0.375, 0.125], 10.24),
    (&[0.25, 0.5, 0.25], 7.11),
    (&[0.5, 0.5], 4.0),
    (&[1.0], 1.0),
];

impl Acquisition {
    fn draw(dice: &mut Dice) -> Self {
        // Ascending passes look east, descending ones west, both about 10° off the grid.
        let tilt = dice.range(-0.25, 0.25);
        let look = if dice.chance(0.5) {
            [libm::cosf(tilt), libm::sinf(tilt)]
        } else {
            [-libm::cosf(tilt), libm::sinf(tilt)]
        };
        Self {
            look,
            steepness_db: dice.range(7.0, 15.0),
            ramp_db: dice.range(-0.8, 0.8),
            gain_db: dice.range(-0.7, 0.7),
            floor: power(dice.range(-27.0, -22.5)),
            looks: if dice.chance(0.12) {
                dice.range(12.0, 40.0)
            } else {
                dice.range(4.0, 8.0)
            },
            kernel: {
                let u = dice.unit();
                if u < 0.55 {
                    0
                } else if u < 0.85 {
                    1
                } else {
                    2
                }
            },
            seed: dice.bits(),
            is_vv: false,
        }
    }

    /// Backscattered power with speckle and noise floor, `[size, size]`.
    fn power(&self, layout: &Layout) -> Vec<f32> {
        let side = layout.side_px;
        let (taps, shape) = KERNELS[self.kernel];
        let exponent = (shape / self.looks).sqrt();
        // Raising to a power shifts the mean; this is the second-order correction.
        let unbias = 1.0 / (1.0 + exponent * (exponent - 1.0) / (2.0 * shape));
        let speckle = Table::new(0.0, 10.0, 2048, |n| libm::powf(n.max(0.02), exponent));
        let linear = Table::new(-40.0, 10.0, 1024, power);
        let look = self.look;
        let mut sigma = Vec::with_capacity(side * side);
        let mut noise = Vec::with_capacity(side * side);
        for row in 0..side {
            for column in 0..side {
                let i = row * side + column;
                let m = &layout.surface[i];
                // The ground rises away from the sensor where it faces it.
                let facing =
                    (layout.slope[i][0] * look[0] + layout.slope[i][1] * look[1]) * m.relief;
                let relief_db = (self.steepness_db * facing).clamp(-6.0, 7.5);
                let range = ((column as f32 - 0.5 * side as f32) * look[0]) / side as f32;
                let mut level_db = m.db;
                let mut point = m.point;
                if self.is_vv {
                    let class = usize::from(m.label).min(VV_OVER_VH_DB.len() - 1);
                    level_db += VV_OVER_VH_DB[class] + m.vv_gain_db;
                    point *= 4.0;
                }
                let level = linear.at(level_db + relief_db + self.gain_db + self.ramp_db * range);
                sigma.push(level + point);
                let u = uniform(self.seed, column as i32, row as i32);
                noise.push(-libm::logf(1.0 - u));
            }
        }
        let sigma = crop(&blur(&sigma, side, &[0.22, 0.56, 0.22]), side);
        let noise = crop(&blur(&noise, side, taps), side);
        sigma
            .iter()
            .zip(&noise)
            .map(|(&s, &n)| (s + self.floor) * speckle.at(n) * unbias)
            .collect()
    }
}

fn to_db(power: &[f32]) -> Vec<f32> {
    power.iter().map(|&p| 10.0 * libm::log10f(p)).collect()
}

/// Amplitude over its 99 % quantile. As in the optical tile, the divisor belongs to a larger
/// product with some town in it: it is at least the amplitude of `least_db`.
fn amplitude_bytes(power_plane: &[f32], least_db: f32) -> Vec<u8> {
    let amplitude: Vec<f32> = power_plane.iter().map(|p| p.sqrt()).collect();
    let white = quantile_99(&amplitude).max(power(least_db).sqrt());
    amplitude
        .iter()
        .map(|&a| ((a / white).min(1.0) * 255.0 + 0.5) as u8)
        .collect()
}

/// The SAR tile as VH amplitude.
pub fn render(layout: &Layout, dice: &mut Dice) -> SarTile {
    let acquisition = Acquisition::draw(dice);
    let plane = acquisition.power(layout);
    let least_db = dice.range(-11.0, -6.0) + acquisition.gain_db;
    SarTile {
        bytes: amplitude_bytes(&plane, least_db),
        backscatter_db: to_db(&plane),
    }
}

/// The SAR tile of any product: VV or VH; amplitude, or decibel over a fixed range, between two of
/// the tile's own quantiles, or about its own mean; at any incidence angle.
pub fn render_any_product(layout: &Layout, dice: &mut Dice) -> SarTile {
    let mut acquisition = Acquisition::draw(dice);
    acquisition.is_vv = dice.chance(0.5);
    // Sentinel-1 looks at 29 to 46 degrees from the vertical: steeper looks return more, above all
    // from slopes that face them.
    let incidence_deg = dice.range(29.0, 46.0);
    acquisition.steepness_db *= 1.35 - 0.035 * (incidence_deg - 29.0);
    acquisition.gain_db += 0.14 * (37.5 - incidence_deg) + dice.range(-1.0, 1.0);
    if acquisition.is_vv {
        acquisition.floor *= 1.5;
    }
    if dice.chance(0.2) {
        acquisition.looks = dice.range(3.0, 5.0);
        acquisition.kernel = 1 + dice.pick(&[1.0, 1.0, 1.0]);
        // One independent sample a pixel cannot be a sharper mean than it is.
        if acquisition.kernel == 3 {
            acquisition.looks = dice.range(1.0, 4.0);
        }
    }
    let plane = acquisition.power(layout);
    let product = dice.pick(&[0.3, 0.2, 0.35, 0.15]);
    let (u, v) = (dice.unit(), dice.unit());
    let backscatter_db = to_db(&plane);
    let between = |low: f32, high: f32| -> Vec<u8> {
        let gain = 255.0 / (high - low).max(3.0);
        backscatter_db
            .iter()
            .map(|&db| ((db - low) * gain + 0.5).clamp(0.0, 255.0) as u8)
            .collect()
    };
    let vv_db = if acquisition.is_vv { 7.0 } else { 0.0 };
    let bytes = match product {
        0 => amplitude_bytes(&plane, -11.0 + 5.0 * u + acquisition.gain_db + vv_db),
        1 => between(-32.0 + 4.0 * u + vv_db, -6.0 + 7.0 * v + vv_db),
        2 => between(
            quantile(&backscatter_db, 0.001 + 0.03 * u),
            quantile(&backscatter_db, 0.999 - 0.03 * v),
        ),
        _ => {
            let n = backscatter_db.len() as f32;
            let mean = backscatter_db.iter().sum::<f32>() / n;
            let variance = backscatter_db
                .iter()
                .map(|db| (db - mean) * (db - mean))
                .sum::<f32>()
                / n;
            let reach = (1.5 + 1.5 * u) * variance.sqrt();
            between(mean - reach, mean + reach)
        }
    };
    SarTile {
        bytes,
        backscatter_db,
    }
}
