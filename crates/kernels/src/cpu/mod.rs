//! The operations on the CPU: matrix products through `gemm`, everything else as loops that
//! `pulp` compiles for the widest registers of the machine at hand.

mod activation;
mod attention;
mod conv;
mod gemm;
mod math;
mod norm;

pub(crate) use activation::{gelu, gelu_backward, quick_gelu, quick_gelu_backward};
pub(crate) use attention::{attention, attention_backward};
pub(crate) use conv::{conv, conv_backward};
pub(crate) use norm::{group_norm, group_norm_backward, layer_norm, layer_norm_backward};

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Shape};

/// Elements below which threads cost more than they save.
const PARALLEL_ELEMENTS: usize = 1 << 15;

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

/// `f(first, part)` for parts of `values`, side by side where that pays; parts are multiples of
/// `unit` elements and `first` is the index of the first one.
fn in_parts(values: &mut [f32], unit: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    #[cfg(not(target_arch = "wasm32"))]
    if values.len() >= PARALLEL_ELEMENTS {
        use rayon::prelude::*;
        let threads = rayon::current_num_threads();
        let part = values.len().div_ceil(threads).div_ceil(unit) * unit;
        values
            .par_chunks_mut(part)
            .enumerate()
            .for_each(|(i, chunk)| f(i * part, chunk));
        return;
    }
    let _ = unit;
    f(0, values);
}

/// `f(i)` for `0..count`, side by side where `is_much`.
fn each<T: Send>(count: usize, is_much: bool, f: impl Fn(usize) -> T + Send + Sync) -> Vec<T> {
    #[cfg(not(target_arch = "wasm32"))]
    if is_much && count > 1 {
        use rayon::prelude::*;
        return (0..count).into_par_iter().map(f).collect();
    }
    let _ = is_much;
    (0..count).map(f).collect()
}
