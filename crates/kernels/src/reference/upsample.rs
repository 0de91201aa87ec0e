//! Reference of the transposed convolution whose stride is its kernel.

use burn::tensor::Tensor;

/// See [`crate::upsample`].
#[must_use]
pub fn upsample(x: Tensor<3>, [h, w]: [usize; 2], weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
    let [n, _, c] = x.dims();
    let [_, output, k, _] = weight.dims();
    let y = x
        .reshape([n * h * w, c])
        .matmul(weight.reshape([c, output * k * k]));
    let y = y
        .reshape([n, h, w, output, k, k])
        .permute([0, 3, 1, 4, 2, 5])
        .reshape([n, output, k * h, k * w]);
    y + bias.reshape([1, output, 1, 1])
}
