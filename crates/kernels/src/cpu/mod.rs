//! The operations on the CPU: matrix products and everything else as loops that
//! `pulp` compiles for the widest registers of the machine at hand.

mod activation;
mod attention;
mod classes;
mod conv;
mod direct;
mod few;
mod linear;
mod math;
mod narrow;
mod norm;
mod patch;
mod product;
mod rearrange;
mod upsampled;
mod winograd;

pub(crate) use activation::{activate, activate_backward, activate_slice};
pub(crate) use attention::{SoftmaxRow, attention, attention_backward};
pub(crate) use classes::{class_attention, pool_classes, spread_classes};
pub(crate) use conv::{ConvEpilogue, conv, conv_backward};
pub(crate) use linear::{linear, linear_add, linear_backward, mlp};
pub(crate) use norm::{Norm, group_norm, group_norm_backward, layer_norm, layer_norm_backward};
pub(crate) use patch::{patches, patches_backward, upsample, upsample_backward};
pub(crate) use rearrange::{add, cut_windows, join_windows};
pub(crate) use upsampled::conv_upsampled;

use std::cell::RefCell;

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Shape};
use pulp::{Simd, WithSimd};

/// Elements below which threads cost more than they save.
const PARALLEL_ELEMENTS: usize = 1 << 13;
/// Multiplications below which threads cost more than they save.
const PARALLEL_PRODUCTS: usize = 1 << 18;
/// Values of a line of the cache.
const LINE: usize = 16;
/// The most values of two registers, those of AVX-512.
const PAIR_MAX: usize = 32;
/// Elements of unfolded input that are held at once: a megabyte, about a core's second cache.
const UNFOLDED: usize = 1 << 18;

/// A contiguous tensor of these values.
fn tensor(values: Vec<f32>, shape: impl Into<Vec<usize>>) -> FlexTensor {
    FlexTensor::new(
        Bytes::from_elems(values),
        Layout::contiguous(Shape::from(shape.into())),
        DType::F32,
    )
}

/// The values of a tensor in row-major order, copied only where it is a view that has others.
fn contiguous(tensor: &FlexTensor) -> FlexTensor {
    tensor.to_contiguous()
}

/// A tensor to write into, its values in row-major order from the start of its memory: the given one where nobody
/// else holds it, which spares fresh memory, else a copy.
fn own(given: FlexTensor) -> FlexTensor {
    let is_whole = given.layout().is_contiguous() && given.layout().start_offset() == 0;
    if is_whole && given.is_unique() {
        return given;
    }
    let shape = given.layout().shape().to_vec();
    tensor(values(&contiguous(&given)).to_vec(), shape)
}

/// The values of a contiguous tensor.
fn values(tensor: &FlexTensor) -> &[f32] {
    let start = tensor.layout().start_offset();
    let count = tensor.layout().shape().iter().product::<usize>();
    &tensor.storage::<f32>()[start..start + count]
}

/// The tensor itself, or a copy where a view runs backwards.
fn forward_strides(tensor: FlexTensor) -> FlexTensor {
    if tensor.layout().strides().iter().any(|&step| step < 0) {
        tensor.to_contiguous()
    } else {
        tensor
    }
}

/// Adds the values of a slice to those of another.
fn add_to(sums: &mut [f32], values: &[f32]) {
    vectorised(
        #[inline(always)]
        |_| {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value;
            }
        },
    );
}

/// Zeros, see [`repeated`].
fn zeros(len: usize) -> Vec<f32> {
    repeated(&[0.0], len)
}

/// A row of values `count` times, which all cores write where there are many: cleared by one, the results of nano's head
/// alone are a tenth of the time that a changed word takes.
fn repeated(row: &[f32], count: usize) -> Vec<f32> {
    if row.len() * count >= PARALLEL_ELEMENTS && threads() > 1 {
        use rayon::prelude::*;
        let len = row.len() * count;
        let mut values = Vec::with_capacity(len);
        let part = count.div_ceil(threads()) * row.len();
        values.spare_capacity_mut()[..len]
            .par_chunks_mut(part)
            .for_each(|part| {
                if let [value] = row {
                    part.fill(std::mem::MaybeUninit::new(*value));
                } else {
                    for into in part.chunks_exact_mut(row.len()) {
                        into.write_copy_of_slice(row);
                    }
                }
            });
        #[expect(
            unsafe_code,
            reason = "there is no other way for several cores to write a vector's first values"
        )]
        // SAFETY: the capacity is `len` at least, the parts above are all of its first `len` values, and each is
        // made of whole rows.
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

/// `f(first, part)` for parts of `values`, side by side where that pays; parts are multiples of
/// `unit` elements and `first` is the index of the first one.
fn in_parts(values: &mut [f32], unit: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    if values.len() >= PARALLEL_ELEMENTS && threads() > 1 {
        use rayon::prelude::*;
        let part = values.len().div_ceil(threads()).div_ceil(unit) * unit;
        values
            .par_chunks_mut(part)
            .enumerate()
            .for_each(|(i, chunk)| f(i * part, chunk));
        return;
    }
    f(0, values);
}

/// `f(i)` for `0..count`, side by side where `is_much`.
fn each<T: Send>(count: usize, is_much: bool, f: impl Fn(usize) -> T + Send + Sync) -> Vec<T> {
    if is_much && count > 1 && threads() > 1 {
        use rayon::prelude::*;
        return (0..count).into_par_iter().map(f).collect();
    }
    (0..count).map(f).collect()
}

/// `f(job)` for each of them, side by side where `is_much`.
fn each_of<J: Send, T: Send>(
    jobs: Vec<J>,
    is_much: bool,
    f: impl Fn(J) -> T + Send + Sync,
) -> Vec<T> {
    if is_much && jobs.len() > 1 && threads() > 1 {
        use rayon::prelude::*;
        return jobs.into_par_iter().map(f).collect();
    }
    jobs.into_iter().map(f).collect()
}

/// `f(i, chunk)` for the chunks of `size` values, side by side where `is_much`.
fn each_chunk(
    values: &mut [f32],
    size: usize,
    is_much: bool,
    f: impl Fn(usize, &mut [f32]) + Send + Sync,
) {
    let size = size.max(1);
    if is_much && values.len() > size && threads() > 1 {
        use rayon::prelude::*;
        let chunks = values.par_chunks_exact_mut(size).enumerate();
        return chunks.for_each(|(i, chunk)| f(i, chunk));
    }
    for (i, chunk) in values.chunks_exact_mut(size).enumerate() {
        f(i, chunk);
    }
}

/// `f`, compiled for the widest registers of the machine at hand, and told whether `a · b + c` is one instruction
/// there: a constant in each of the two compiled bodies. Written as a bound on `FnOnce`, so that the
/// closure's own body is what `pulp` inlines: a closure that is called through `FnOnce` without having been
/// asked for it goes through a shim that keeps the narrow registers.
#[inline(always)]
fn vectorised<R>(f: impl FnOnce(bool) -> R) -> R {
    let arch = pulp::Arch::new();
    if cfg!(target_arch = "wasm32") || matches!(arch, pulp::Arch::Scalar) {
        return arch.dispatch(
            #[inline(always)]
            || f(false),
        );
    }
    arch.dispatch(
        #[inline(always)]
        || f(true),
    )
}

/// Threads that share the CPU's work: one in a browser, unless the program was built for memory that threads share.
#[must_use]
pub fn threads() -> usize {
    if cfg!(all(target_arch = "wasm32", not(target_feature = "atomics"))) {
        1
    } else {
        rayon::current_num_threads()
    }
}

thread_local! {
    /// What [`with_buffer`] lends: kept, since clearing a megabyte for every band costs a third of filling it.
    static BUFFERS: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// `f` of `len` values that hold anything, which `f` overwrites, from the start of a line of the cache. Taken out of what
/// this thread keeps meanwhile: `f` may ask for more, and while the cores share what it does, this thread may be
/// given another operation.
fn with_buffer<T>(len: usize, f: impl FnOnce(&mut [f32]) -> T) -> T {
    let mut buffer = BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < len + LINE {
        buffer.resize(len + LINE, 0.0);
    }
    let start = buffer
        .as_ptr()
        .align_offset(LINE * size_of::<f32>())
        .min(LINE);
    let result = f(&mut buffer[start..start + len]);
    BUFFERS.with_borrow_mut(|kept| kept.push(buffer));
    result
}

/// Values of two registers of the machine at hand.
fn pair() -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _simd: S) -> usize {
            S::F32_LANES
        }
    }
    2 * pulp::Arch::new().dispatch(Lanes)
}

/// Maps `[images, planes, pixels]` that `f(image, band, parts)` writes band by band, side by side where `is_much`:
/// `parts` are the band's pixels of each plane, and `pixels_of(band)` how many those are. Each core
/// writes where its results belong: put together afterwards, they would cost the others a wait.
fn in_bands(
    [images, planes, pixels]: [usize; 3],
    bands: usize,
    is_much: bool,
    pixels_of: impl Fn(usize) -> usize,
    f: impl Fn(usize, usize, &mut [&mut [f32]]) + Send + Sync,
) -> Vec<f32> {
    let mut out = zeros(images * planes * pixels);
    let counts: Vec<usize> = (0..bands).map(pixels_of).collect();
    let jobs = by_bands(&mut out, [planes, pixels], &counts);
    each_of(jobs, is_much, |(job, mut parts)| {
        f(job / bands, job % bands, &mut parts);
    });
    out
}

/// Maps `[images, planes, pixels]` by image and band, of as many pixels of each plane as are given for each.
fn by_bands<'a>(
    maps: &'a mut [f32],
    [planes, pixels]: [usize; 2],
    counts: &[usize],
) -> Vec<(usize, Vec<&'a mut [f32]>)> {
    let images = maps.len() / (planes * pixels).max(1);
    let mut jobs: Vec<(usize, Vec<&mut [f32]>)> = (0..images * counts.len())
        .map(|job| (job, Vec::with_capacity(planes)))
        .collect();
    for (map, mut rest) in maps.chunks_exact_mut(pixels.max(1)).enumerate() {
        for (band, &count) in counts.iter().enumerate() {
            let (part, others) = rest.split_at_mut(count);
            jobs[map / planes * counts.len() + band].1.push(part);
            rest = others;
        }
    }
    jobs
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    #[test]
    fn machines_without_avx_512_get_avx2_and_not_sse2() {
        // Does not compile where `pulp` was built without the tier, so that a machine with AVX-512 finds
        // that out as well.
        let _tier: fn(pulp::x86::V3) -> pulp::Arch = pulp::Arch::V3;
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
        {
            assert!(!matches!(pulp::Arch::new(), pulp::Arch::Scalar));
        }
    }
}
