//! Reference of joining windows.

use burn::tensor::Tensor;

use super::cut_windows::roll;

/// See [`crate::join_windows`].
#[must_use]
pub fn join_windows(x: Tensor<3>, residual: Tensor<3>, grid: usize, shift: usize) -> Tensor<3> {
    let ([maps, cells, width], side) = (residual.dims(), grid / 2);
    let map = x
        .reshape([maps, 2, 2, side, side, width])
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([maps, grid, grid, width]);
    let back = (grid - shift) % grid;
    roll(map, back).reshape([maps, cells, width]) + residual
}
