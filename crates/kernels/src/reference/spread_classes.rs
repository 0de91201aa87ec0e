//! Reference of the interpolation after attention among classes.

use burn::tensor::{Tensor, TensorData};

/// Bilinear interpolation along an axis with aligned corners: for each of `output` places the index
/// of the first of its two neighbours among `input` places, and the weight of the second.
pub(crate) fn corners(input: usize, output: usize) -> impl Iterator<Item = (usize, f32)> {
    let ratio = (input - 1) as f64 / (output - 1).max(1) as f64;
    (0..output).map(move |place| {
        let source = place as f64 * ratio;
        let first = (source as usize).min(input.saturating_sub(2));
        (first, (source - first as f64) as f32)
    })
}

/// See [`crate::spread_classes`].
#[must_use]
pub fn spread_classes(x: Tensor<3>, residual: Tensor<3>, grid: usize) -> Tensor<3> {
    let ([places, classes, width], [sequences, cells, _]) = (x.dims(), residual.dims());
    let (half, pairs) = (grid / 2, sequences / classes);
    let mut weights = vec![0.0f32; grid * half];
    for (row, (first, second)) in weights.chunks_exact_mut(half).zip(corners(half, grid)) {
        row[first] += 1.0 - second;
        if let Some(weight) = row.get_mut(first + 1) {
            *weight += second;
        }
    }
    let weights = Tensor::<3>::from_data(TensorData::new(weights, [1, grid, half]), &x.device());
    let map = x
        .reshape([pairs, places / pairs, classes, width])
        .swap_dims(1, 2)
        .reshape([sequences, half, half * width]);
    let rows = weights
        .clone()
        .expand([sequences, grid, half])
        .matmul(map)
        .reshape([sequences * grid, half, width]);
    let interpolated = weights.expand([sequences * grid, grid, half]).matmul(rows);
    interpolated.reshape([sequences, cells, width]) + residual
}
