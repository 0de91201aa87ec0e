//! Reference of cutting maps into windows.

use burn::tensor::Tensor;

/// See [`crate::cut_windows`].
#[must_use]
pub fn cut_windows(x: Tensor<3>, grid: usize, shift: usize) -> Tensor<3> {
    let ([maps, cells, width], side) = (x.dims(), grid / 2);
    roll(x.reshape([maps, grid, grid, width]), shift)
        .reshape([maps, 2, side, 2, side, width])
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([4 * maps, cells / 4, width])
}

/// Shifts `[M, g, g, C]` cyclically by `-by` rows and columns.
pub(super) fn roll(map: Tensor<4>, by: usize) -> Tensor<4> {
    if by == 0 {
        return map;
    }
    let [_, h, w, _] = map.dims();
    let (below, above) = (map.clone().narrow(1, by, h - by), map.narrow(1, 0, by));
    let rows = Tensor::cat(vec![below, above], 1);
    let (right, left) = (rows.clone().narrow(2, by, w - by), rows.narrow(2, 0, by));
    Tensor::cat(vec![right, left], 2)
}
