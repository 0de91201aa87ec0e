//! What computes little and moves much: sums of two tensors, and maps by windows. Burn does both on one core.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;

use super::{add_to, contiguous, in_parts, own, tensor, values, zeros};

/// `a + b`: in the place of one of them where nobody else holds it. `b` may have one of what `a` has many of along its second
/// axis, `[N, 1, L]` beside `[N, M, L]`.
pub(crate) fn add(a: FlexTensor, b: FlexTensor) -> FlexTensor {
    let (many, one) = (a.layout().shape().to_vec(), b.layout().shape().to_vec());
    let (onto, other, repeat) = match (&many[..], &one[..]) {
        (many, one) if many == one => {
            let (onto, other) = if a.is_unique() { (a, b) } else { (b, a) };
            (onto, other, 1)
        }
        ([n, count, len], [n_of_one, 1, len_of_one]) if (n, len) == (n_of_one, len_of_one) => {
            (a, b, *count)
        }
        _ => return Flex::float_add(a, b),
    };
    let mut onto = own(onto);
    let other = contiguous(&other);
    let other = values(&other);
    let len = onto.layout().num_elements();
    let row = many.last().copied().unwrap_or(1).max(1);
    in_parts(&mut onto.storage_mut::<f32>()[..len], 1, |first, part| {
        if repeat == 1 {
            return add_to(part, &other[first..][..part.len()]);
        }
        let (mut at, mut rest) = (first, part);
        while !rest.is_empty() {
            let (row_at, inside) = (at / row / repeat * row, at % row);
            let (now, later) = rest.split_at_mut(rest.len().min(row - inside));
            add_to(now, &other[row_at + inside..][..now.len()]);
            (at, rest) = (at + now.len(), later);
        }
    });
    onto
}

/// `[M, g², C]` by windows, see [`crate::cut_windows`].
pub(crate) fn cut_windows(x: &FlexTensor, grid: usize, shift: usize) -> FlexTensor {
    let x = contiguous(x);
    let [maps, cells, width] = three(&x);
    let mut out = zeros(values(&x).len());
    let order = by_windows(grid, shift);
    each_cell(
        &mut out,
        (values(&x), &order),
        width,
        <[f32]>::copy_from_slice,
    );
    tensor(out, vec![4 * maps, cells / 4, width])
}

/// Windows put together onto `[M, g², C]`, see [`crate::join_windows`].
pub(crate) fn join_windows(
    x: &FlexTensor,
    onto: FlexTensor,
    grid: usize,
    shift: usize,
) -> FlexTensor {
    let (x, mut onto) = (contiguous(x), own(onto));
    let [_, cells, width] = three(&onto);
    let mut order = vec![0; cells];
    for (place, cell) in by_windows(grid, shift).into_iter().enumerate() {
        order[cell] = place;
    }
    let len = onto.layout().num_elements();
    let map = &mut onto.storage_mut::<f32>()[..len];
    each_cell(map, (values(&x), &order), width, add_to);
    onto
}

/// `f` of each cell of `width` channels and the one of `from` that `order` names, sequence by sequence.
fn each_cell(
    to: &mut [f32],
    (from, order): (&[f32], &[usize]),
    width: usize,
    f: impl Fn(&mut [f32], &[f32]) + Sync,
) {
    in_parts(to, width, |first, part| {
        for (i, cell) in part.chunks_exact_mut(width).enumerate() {
            let at = first / width + i;
            let taken = at / order.len() * order.len() + order[at % order.len()];
            f(cell, &from[taken * width..][..width]);
        }
    });
}

/// The cells of a map by its four windows.
fn by_windows(grid: usize, shift: usize) -> Vec<usize> {
    let side = grid / 2;
    let cell = |place: usize| {
        let (window, inside) = (place / (side * side), place % (side * side));
        let row = window / 2 * side + inside / side + shift;
        let column = window % 2 * side + inside % side + shift;
        row % grid * grid + column % grid
    };
    (0..grid * grid).map(cell).collect()
}

/// Maps, cells and channels; at least one channel.
fn three(x: &FlexTensor) -> [usize; 3] {
    let [maps, cells, width] = x.layout().shape().to_vec()[..] else {
        unreachable!("three axes")
    };
    [maps, cells, width.max(1)]
}
