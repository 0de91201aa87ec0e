//! Reference of the convolution whose stride is its kernel.

use burn::tensor::Tensor;

use super::linear;

/// See [`crate::patches`].
#[must_use]
pub fn patches(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<3> {
    let [n, c, h, w] = x.dims();
    let [output, _, k, _] = weight.dims();
    let (rows, cols) = (h / k, w / k);
    let patches = x
        .reshape([n, c, rows, k, cols, k])
        .permute([0, 2, 4, 1, 3, 5])
        .reshape([n, rows * cols, c * k * k]);
    linear(patches, weight.reshape([output, c * k * k]), bias)
}

/// See [`crate::patch_map`].
#[must_use]
pub fn patch_map(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<4> {
    let [n, _, h, w] = x.dims();
    let [output, _, k, _] = weight.dims();
    let tokens = patches(x, weight, bias);
    tokens.swap_dims(1, 2).reshape([n, output, h / k, w / k])
}
