//! The windows of shifted-window attention. Burn copies them on one thread.

use burn::backend::flex::FlexTensor;

use super::memory::{add_to, into_writable, new_tensor, to_contiguous, values, zeros};
use super::parallel::for_each_part;

/// See [`crate::cut_windows`].
pub(crate) fn cut_windows(x: &FlexTensor, grid: usize, shift: usize) -> FlexTensor {
    let x = to_contiguous(x);
    let [maps, cells, width] = dims(&x);
    let mut out = zeros(values(&x).len());
    let order = window_order(grid, shift);
    for_each_cell(
        &mut out,
        (values(&x), &order),
        width,
        <[f32]>::copy_from_slice,
    );
    new_tensor(out, vec![4 * maps, cells / 4, width])
}

/// See [`crate::join_windows`]. The result takes the memory of a residual that nobody else holds.
pub(crate) fn join_windows(
    x: &FlexTensor,
    residual: FlexTensor,
    grid: usize,
    shift: usize,
) -> FlexTensor {
    let (x, mut sum) = (to_contiguous(x), into_writable(residual));
    let [_, cells, width] = dims(&sum);
    let mut order = vec![0; cells];
    for (place, cell) in window_order(grid, shift).into_iter().enumerate() {
        order[cell] = place;
    }
    let len = sum.layout().num_elements();
    let map = &mut sum.storage_mut::<f32>()[..len];
    for_each_cell(map, (values(&x), &order), width, add_to);
    sum
}

/// Calls `f` with each cell of `width` channels and its source: cell `order[i]` of the same map for
/// cell `i`.
fn for_each_cell(
    to: &mut [f32],
    (from, order): (&[f32], &[usize]),
    width: usize,
    f: impl Fn(&mut [f32], &[f32]) + Sync,
) {
    for_each_part(to, width, |first, part| {
        for (i, cell) in part.chunks_exact_mut(width).enumerate() {
            let at = first / width + i;
            let source = at / order.len() * order.len() + order[at % order.len()];
            f(cell, &from[source * width..][..width]);
        }
    });
}

/// The cells of a map in the order of its four windows.
fn window_order(grid: usize, shift: usize) -> Vec<usize> {
    let side = grid / 2;
    let cell = |place: usize| {
        let (window, inside) = (place / (side * side), place % (side * side));
        let row = window / 2 * side + inside / side + shift;
        let column = window % 2 * side + inside % side + shift;
        row % grid * grid + column % grid
    };
    (0..grid * grid).map(cell).collect()
}

/// The shape of a tensor of three axes; the last one at least 1.
fn dims(x: &FlexTensor) -> [usize; 3] {
    let [maps, cells, width] = x.layout().shape().to_vec()[..] else {
        unreachable!("three axes")
    };
    [maps, cells, width.max(1)]
}
