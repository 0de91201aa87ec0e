//! Numeric tools of the renderers: sampled functions, blurs, crops and quantiles of planes.

use crate::noise::lerp;
use crate::surface::PAD_PX;

/// dB to linear power.
pub fn power(db: f32) -> f32 {
    libm::exp2f(db * 0.332_192_8)
}

/// A function sampled evenly and read with linear interpolation: powers take most of the time
/// otherwise.
pub struct Table {
    lo: f32,
    per_unit: f32,
    values: Vec<f32>,
}

impl Table {
    pub fn new(lo: f32, hi: f32, steps: usize, f: impl Fn(f32) -> f32) -> Self {
        let step = (hi - lo) / steps as f32;
        Self {
            lo,
            per_unit: 1.0 / step,
            values: (0..=steps).map(|i| f(lo + i as f32 * step)).collect(),
        }
    }

    /// The value at `x`; beyond the ends, the value at the end.
    pub fn at(&self, x: f32) -> f32 {
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
pub fn blur(plane: &[f32], side: usize, taps: &[f32]) -> Vec<f32> {
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
pub fn crop(plane: &[f32], side: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity((side - 2 * PAD_PX) * (side - 2 * PAD_PX));
    for row in PAD_PX..side - PAD_PX {
        out.extend_from_slice(&plane[row * side + PAD_PX..(row + 1) * side - PAD_PX]);
    }
    out
}

/// The value at rank `rank` of a plane.
fn ranked(plane: &[f32], rank: usize) -> f32 {
    let mut sorted = plane.to_vec();
    let (_, value, _) = sorted.select_nth_unstable_by(rank, f32::total_cmp);
    *value
}

/// The 99 % quantile of a non-empty plane.
pub fn quantile_99(plane: &[f32]) -> f32 {
    ranked(plane, (plane.len() - 1) * 99 / 100)
}

/// The quantile of a non-empty plane at `share`, 0 to 1.
pub fn quantile(plane: &[f32], share: f32) -> f32 {
    let last = plane.len() - 1;
    ranked(plane, ((last as f32 * share) as usize).min(last))
}
