//! What computes little and moves much: sums of two tensors, and cells in another order. Burn does both on one core.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;

use super::{add, contiguous, in_parts, own, tensor, values, zeros};
use crate::CellOrder;

/// `a + b`: in the place of one of them where nobody else holds it. `b` may have one of what `a` has many of along its second
/// axis, `[N, 1, L]` beside `[N, M, L]`.
pub(crate) fn plus(a: FlexTensor, b: FlexTensor) -> FlexTensor {
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
            return add(part, &other[first..][..part.len()]);
        }
        let (mut at, mut rest) = (first, part);
        while !rest.is_empty() {
            let (row_at, inside) = (at / row / repeat * row, at % row);
            let (now, later) = rest.split_at_mut(rest.len().min(row - inside));
            add(now, &other[row_at + inside..][..now.len()]);
            (at, rest) = (at + now.len(), later);
        }
    });
    onto
}

/// `[M, L, C]` with its cells in an order, see [`CellOrder`].
pub(crate) fn reorder(x: &FlexTensor, order: &CellOrder) -> FlexTensor {
    let x = contiguous(x);
    let shape = x.layout().shape().to_vec();
    let [_, length, width] = shape[..] else {
        unreachable!("three axes")
    };
    let from = values(&x);
    let mut out = zeros(from.len());
    in_parts(&mut out, width.max(1), |first, part| {
        for (i, cell) in part.chunks_exact_mut(width.max(1)).enumerate() {
            let at = first / width + i;
            let (sequence, cell_at) = (at / length, at % length);
            let taken = sequence * length + order.cells[cell_at];
            cell.copy_from_slice(&from[taken * width..][..width]);
        }
    });
    tensor(out, shape)
}
