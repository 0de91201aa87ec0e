//! What computes little and moves much: sums of two tensors, and cells in another order. Burn does both on one core.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;

use super::{add, contiguous, in_parts, own, tensor, values, zeros};
use crate::CellOrder;

/// `a + b`: in the place of one of them where their shapes are the same and nobody else holds it.
pub(crate) fn plus(a: FlexTensor, b: FlexTensor) -> FlexTensor {
    if a.layout().shape() != b.layout().shape() {
        return Flex::float_add(a, b);
    }
    let (onto, other) = if a.is_unique() { (a, b) } else { (b, a) };
    let mut onto = own(onto);
    let other = contiguous(&other);
    let other = values(&other);
    in_parts(
        &mut onto.storage_mut::<f32>()[..other.len()],
        1,
        |first, part| add(part, &other[first..][..part.len()]),
    );
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
