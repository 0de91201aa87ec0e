//! Reference of the layer norm.

use burn::tensor::Tensor;
use burn::tensor::module::layer_norm as burn_layer_norm;

/// See [`crate::layer_norm`].
#[must_use]
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    eps: f64,
) -> Tensor<D> {
    burn_layer_norm(x, gamma, Some(beta), eps)
}
