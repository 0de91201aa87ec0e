//! Reference of the scaling to unit length.

use burn::tensor::Tensor;

/// See [`crate::unit`].
#[must_use]
pub fn unit<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    // Clamped before the root: the derivative of the root at 0 is infinite, and 0 · ∞ is NaN.
    let norm = x.clone().square().sum_dim(D - 1).clamp_min(1e-24).sqrt();
    x / norm
}
