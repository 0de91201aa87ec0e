//! Reference of the pooling before attention among classes.

use burn::tensor::Tensor;

/// See [`crate::pool_classes`].
#[must_use]
pub fn pool_classes(x: Tensor<3>, pairs: usize, grid: usize) -> Tensor<3> {
    let [sequences, _, width] = x.dims();
    let (classes, half) = (sequences / pairs, grid / 2);
    x.reshape([sequences * half, 2, half, 2, width])
        .mean_dim(1)
        .mean_dim(3)
        .reshape([pairs, classes, half * half, width])
        .swap_dims(1, 2)
        .reshape([pairs * half * half, classes, width])
}
