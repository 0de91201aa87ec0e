//! Sums of two tensors. Burn adds on one thread.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;

use super::memory::{add_to, into_writable, to_contiguous, values};
use super::parallel::for_each_part;

/// `a + b`, for equal shapes or `b [N, 1, L]` and `a [N, M, L]`; other shapes are left to Burn. The
/// sum takes the memory of an operand that nobody else holds.
pub(crate) fn add(a: FlexTensor, b: FlexTensor) -> FlexTensor {
    let (shape, other) = (a.layout().shape().to_vec(), b.layout().shape().to_vec());
    let (sum, addend, repeat) = match (&shape[..], &other[..]) {
        (shape, other) if shape == other => {
            let (sum, addend) = if a.is_unique() { (a, b) } else { (b, a) };
            (sum, addend, 1)
        }
        ([n, count, len], [other_n, 1, other_len]) if (n, len) == (other_n, other_len) => {
            (a, b, *count)
        }
        _ => return Flex::float_add(a, b),
    };
    let mut sum = into_writable(sum);
    let addend = to_contiguous(&addend);
    let addend = values(&addend);
    let len = sum.layout().num_elements();
    let row = shape.last().copied().unwrap_or(1).max(1);
    for_each_part(&mut sum.storage_mut::<f32>()[..len], 1, |first, part| {
        if repeat == 1 {
            return add_to(part, &addend[first..][..part.len()]);
        }
        let (mut at, mut rest) = (first, part);
        while !rest.is_empty() {
            let (row_start, column) = (at / row / repeat * row, at % row);
            let (now, later) = rest.split_at_mut(rest.len().min(row - column));
            add_to(now, &addend[row_start + column..][..now.len()]);
            (at, rest) = (at + now.len(), later);
        }
    });
    sum
}
