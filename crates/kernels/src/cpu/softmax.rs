//! The online softmax of attention (Milakov and Gimelshein, "Online normalizer calculation for
//! softmax", 2018).

use super::math::{LANES, exp, exp_within, fold, max};
use super::simd::vectorised;

/// The state of a row's softmax after the keys so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SoftmaxRow {
    /// The largest score.
    max: f32,
    /// The sum of `exp(score − max)`.
    pub sum: f32,
    /// The factor by which the last block of keys rescales the results of the blocks before it,
    /// whose maximum was smaller.
    pub rescale: f32,
}

impl SoftmaxRow {
    /// Of no keys.
    pub const EMPTY: Self = Self::new(f32::NEG_INFINITY, 0.0);

    /// Of all keys, from the largest score and the sum of `exp(score − max)`.
    pub const fn new(max: f32, sum: f32) -> Self {
        Self {
            max,
            sum,
            rescale: 0.0,
        }
    }

    /// The logarithm of the sum of `exp(score)`.
    pub fn log_sum_exp(self) -> f32 {
        self.max + self.sum.ln()
    }
}

/// Replaces the scores of a block of keys, rows of `keys` values, by `exp(score − max)` with the
/// largest score of the row so far, and updates the state of each row.
pub(super) fn exponentials(scores: &mut [f32], keys: usize, states: &mut [SoftmaxRow]) {
    vectorised(
        #[inline(always)]
        |fused| {
            let rows = scores.chunks_exact_mut(keys.max(1));
            for (row, state) in rows.zip(states) {
                let row = &mut row[..keys];
                let most = max(row).max(state.max);
                let mut lanes = [0.0f32; LANES];
                let mut chunks = row.chunks_exact_mut(LANES);
                for chunk in &mut chunks {
                    for (value, lane) in chunk.iter_mut().zip(&mut lanes) {
                        *value = exp_or_zero(*value - most, fused);
                        *lane += *value;
                    }
                }
                let mut sum = fold(lanes, |a, b| a + b);
                for value in chunks.into_remainder() {
                    *value = exp_or_zero(*value - most, fused);
                    sum += *value;
                }
                let rescale = exp(state.max - most, fused);
                *state = SoftmaxRow {
                    max: most,
                    sum: state.sum * rescale + sum,
                    rescale,
                };
            }
        },
    );
}

/// `eˣ` of `x ≤ 0`, and 0 below −60, where it vanishes beside the largest weight, 1. Masked keys
/// get weight 0: products of tiny weights with values would be subnormal, a hundred cycles each.
#[inline(always)]
pub(super) fn exp_or_zero(x: f32, fused: bool) -> f32 {
    let weight = exp_within(if x < -60.0 { -60.0 } else { x }, fused);
    if x < -60.0 { 0.0 } else { weight }
}

#[cfg(test)]
mod tests {
    use super::exp_or_zero;

    #[test]
    fn masked_keys_have_weight_zero_and_no_weight_is_near_subnormal() {
        for fused in [false, true] {
            assert_eq!(exp_or_zero(-100.0, fused), 0.0);
            assert_eq!(exp_or_zero(-1e30, fused), 0.0);
            assert_eq!(exp_or_zero(f32::NEG_INFINITY, fused), 0.0);
            assert!(exp_or_zero(-59.0, fused) > 1e-27);
            assert!((exp_or_zero(0.0, fused) - 1.0).abs() < 1e-6);
        }
    }
}
