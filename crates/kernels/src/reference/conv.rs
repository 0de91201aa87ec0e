//! Reference of the convolution of stride 1.

use burn::tensor::Tensor;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;

/// See [`crate::conv`].
#[must_use]
pub fn conv(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<4> {
    let pad = weight.dims()[2] / 2;
    let options = ConvOptions::new([1, 1], [pad, pad], [1, 1], 1);
    conv2d(x, weight, bias, options)
}
