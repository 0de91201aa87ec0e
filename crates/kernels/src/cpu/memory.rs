//! The values of tensors, and scratch memory.

use std::cell::RefCell;
use std::mem::MaybeUninit;

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Shape};
use rayon::prelude::*;

use super::parallel::{PARALLEL_ELEMENTS, threads};
use super::simd::vectorised;

/// Values of a cache line.
pub(super) const LINE: usize = 16;
/// Values of an im2col matrix or of gathered tiles: a megabyte, about a core's L2 cache.
pub(super) const IM2COL_VALUES: usize = 1 << 18;

/// A contiguous tensor of these values.
pub(super) fn new_tensor(values: Vec<f32>, shape: impl Into<Vec<usize>>) -> FlexTensor {
    FlexTensor::new(
        Bytes::from_elems(values),
        Layout::contiguous(Shape::from(shape.into())),
        DType::F32,
    )
}

/// The tensor in row-major order; a copy if it is another view.
pub(super) fn to_contiguous(tensor: &FlexTensor) -> FlexTensor {
    tensor.to_contiguous()
}

/// A tensor to write into, row-major from the start of its memory: the given one where nobody else
/// holds it, otherwise a copy.
pub(super) fn into_writable(given: FlexTensor) -> FlexTensor {
    let is_whole = given.layout().is_contiguous() && given.layout().start_offset() == 0;
    if is_whole && given.is_unique() {
        return given;
    }
    let shape = given.layout().shape().to_vec();
    new_tensor(values(&to_contiguous(&given)).to_vec(), shape)
}

/// The values of a contiguous tensor.
pub(super) fn values(tensor: &FlexTensor) -> &[f32] {
    let start = tensor.layout().start_offset();
    let count = tensor.layout().shape().iter().product::<usize>();
    &tensor.storage::<f32>()[start..start + count]
}

/// The tensor; a copy if it is a view with a negative stride.
pub(super) fn forward_strides(tensor: FlexTensor) -> FlexTensor {
    if tensor.layout().strides().iter().any(|&stride| stride < 0) {
        tensor.to_contiguous()
    } else {
        tensor
    }
}

/// `sums += values`.
pub(super) fn add_to(sums: &mut [f32], values: &[f32]) {
    vectorised(
        #[inline(always)]
        |_| {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value;
            }
        },
    );
}

/// Zeros; see [`repeat_row`].
pub(super) fn zeros(len: usize) -> Vec<f32> {
    repeat_row(&[0.0], len)
}

/// `count` copies of a row, written by all threads where there are many: fresh memory is mapped
/// while it is written, which by one thread is a tenth of the time of a changed word.
pub(super) fn repeat_row(row: &[f32], count: usize) -> Vec<f32> {
    if row.len() * count >= PARALLEL_ELEMENTS && threads() > 1 {
        let len = row.len() * count;
        let mut values = Vec::with_capacity(len);
        let part = count.div_ceil(threads()) * row.len();
        values.spare_capacity_mut()[..len]
            .par_chunks_mut(part)
            .for_each(|part| {
                if let [value] = row {
                    part.fill(MaybeUninit::new(*value));
                } else {
                    for into in part.chunks_exact_mut(row.len()) {
                        into.write_copy_of_slice(row);
                    }
                }
            });
        #[expect(
            unsafe_code,
            reason = "several threads write the initial values of a vector"
        )]
        // SAFETY: the capacity is at least `len`. The parts cover the first `len` values, and each
        // is a multiple of the row's length, so that all of them are written.
        unsafe {
            values.set_len(len);
        }
        return values;
    }
    match row {
        [value] => vec![*value; count],
        _ => row.repeat(count),
    }
}

thread_local! {
    /// The free buffers of [`with_scratch`]. They are kept, because clearing a new megabyte for
    /// each band of an im2col matrix takes a third of the time of filling it.
    static BUFFERS: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with `len` values of arbitrary content, aligned to a cache line.
///
/// The buffer is removed from the thread's list meanwhile: `f` may call this function again, and
/// while it waits for other threads, rayon may run another job on this one.
pub(super) fn with_scratch<T>(len: usize, f: impl FnOnce(&mut [f32]) -> T) -> T {
    let mut buffer = BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < len + LINE {
        buffer.resize(len + LINE, 0.0);
    }
    let start = buffer
        .as_ptr()
        .align_offset(LINE * size_of::<f32>())
        .min(LINE);
    let result = f(&mut buffer[start..start + len]);
    BUFFERS.with_borrow_mut(|buffers| buffers.push(buffer));
    result
}
