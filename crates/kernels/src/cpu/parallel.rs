//! Sharing loops among the threads of rayon's pool.

use rayon::prelude::*;

/// Elements below which threads cost more than they save.
pub(super) const PARALLEL_ELEMENTS: usize = 1 << 13;
/// Multiplications below which threads cost more than they save.
pub(super) const PARALLEL_PRODUCTS: usize = 1 << 18;

/// Threads that share the CPU's work. One in a browser, except in a build for shared memory.
#[must_use]
pub fn threads() -> usize {
    if cfg!(all(target_arch = "wasm32", not(target_feature = "atomics"))) {
        1
    } else {
        rayon::current_num_threads()
    }
}

/// Calls `f(first, part)` for parts of `values`, in parallel where that pays. Parts are multiples
/// of `unit` elements; `first` is the index of a part's first element.
pub(super) fn for_each_part(values: &mut [f32], unit: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    if values.len() >= PARALLEL_ELEMENTS && threads() > 1 {
        let part = values.len().div_ceil(threads()).div_ceil(unit) * unit;
        values
            .par_chunks_mut(part)
            .enumerate()
            .for_each(|(i, chunk)| f(i * part, chunk));
        return;
    }
    f(0, values);
}

/// `f(i)` for each `i < count`, in parallel where `is_parallel`.
pub(super) fn map_indices<T: Send>(
    count: usize,
    is_parallel: bool,
    f: impl Fn(usize) -> T + Send + Sync,
) -> Vec<T> {
    if is_parallel && count > 1 && threads() > 1 {
        return (0..count).into_par_iter().map(f).collect();
    }
    (0..count).map(f).collect()
}

/// `f(job)` for each job, in parallel where `is_parallel`.
pub(super) fn map_jobs<J: Send, T: Send>(
    jobs: Vec<J>,
    is_parallel: bool,
    f: impl Fn(J) -> T + Send + Sync,
) -> Vec<T> {
    if is_parallel && jobs.len() > 1 && threads() > 1 {
        return jobs.into_par_iter().map(f).collect();
    }
    jobs.into_iter().map(f).collect()
}

/// Calls `f(i, chunk)` for chunks of `size` values, in parallel where `is_parallel`.
pub(super) fn for_each_chunk(
    values: &mut [f32],
    size: usize,
    is_parallel: bool,
    f: impl Fn(usize, &mut [f32]) + Send + Sync,
) {
    let size = size.max(1);
    if is_parallel && values.len() > size && threads() > 1 {
        let chunks = values.par_chunks_exact_mut(size).enumerate();
        return chunks.for_each(|(i, chunk)| f(i, chunk));
    }
    for (i, chunk) in values.chunks_exact_mut(size).enumerate() {
        f(i, chunk);
    }
}
