//! Reference of the linear layer.

use burn::tensor::Tensor;

/// See [`crate::linear`].
#[must_use]
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let mut dims = x.dims();
    let input = dims[D - 1];
    let rows = dims.iter().product::<usize>() / input.max(1);
    let [output, _] = weight.dims();
    let y = x.reshape([rows, input]).matmul(weight.transpose());
    let y = match bias {
        Some(bias) => y + bias.reshape([1, output]),
        None => y,
    };
    dims[D - 1] = output;
    y.reshape(dims)
}
