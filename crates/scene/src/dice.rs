//! The random numbers that are drawn once for a scene, in a fixed order.

use crate::noise::{lerp, unit};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Random numbers for one scene: only `next_u32`, whose stream is fixed by the ChaCha standard.
pub struct Dice(ChaCha8Rng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(&mut self) -> f32 {
        unit(self.0.next_u32())
    }

    /// Uniform in `[lo, hi)`.
    pub fn range(&mut self, lo: f32, hi: f32) -> f32 {
        lerp(lo, hi, self.unit())
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f32) -> bool {
        self.unit() < p
    }

    /// An index, each with its weight.
    pub fn pick(&mut self, weights: &[f32]) -> usize {
        pick(weights, self.unit())
    }
}

/// The index that `u` in `[0, 1)` selects when each index weighs `weights[i]`.
pub fn pick(weights: &[f32], u: f32) -> usize {
    let total: f32 = weights.iter().sum();
    let mut rest = u * total;
    for (i, &w) in weights.iter().enumerate() {
        rest -= w;
        if rest < 0.0 {
            return i;
        }
    }
    weights.len() - 1
}
