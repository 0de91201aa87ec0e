//! Multi-head attention.

use std::sync::Arc;

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::backend::{FusedOps, Qkv};
use crate::bias::WindowBias;
use crate::device::{has_kernels, is_cpu, is_gpu};
#[cfg(feature = "gpu")]
use crate::gpu;

/// `softmax(d^-½ · q kᵀ + bias) v` for `q`, `k`, `v` `[N, heads, L, d]`, to `[N, heads, L, d]`,
/// without a buffer of all scores.
///
/// `None` where there is no kernel: a GPU under automatic differentiation, or a GPU and a `d` that
/// is no multiple of four. The caller then uses [`crate::reference::attention`] and bounds the
/// score buffer.
#[must_use]
pub fn attention(
    q: &Tensor<4>,
    k: &Tensor<4>,
    v: &Tensor<4>,
    bias: Option<&Arc<WindowBias>>,
) -> Option<Tensor<4>> {
    let (device, width) = (q.device(), q.dims()[3]);
    if !has_kernels(&device) || !(is_cpu(&device) || fits_gpu(width)) {
        return None;
    }
    let [q, k, v] = [q, k, v].map(|operand| operand.clone().into_dispatch());
    Some(Tensor::from_dispatch(
        <Dispatch as FusedOps>::fused_attention(
            Qkv::Separate { q, k, v },
            scale(width),
            bias.cloned(),
        ),
    ))
}

/// [`attention`] of queries, keys and values packed as thirds of `qkv [N, L, 3 · heads · d]`,
/// without bias, to `[N, heads, L, d]`.
///
/// `None` where no kernel reads them packed: it has one on a GPU, which binds no buffer twice and
/// would have to copy each third first.
#[must_use]
pub fn attention_packed(qkv: &Tensor<3>, heads: usize) -> Option<Tensor<4>> {
    let width = qkv.dims()[2] / 3 / heads;
    if !is_gpu(&qkv.device()) || !fits_gpu(width) {
        return None;
    }
    let qkv = qkv.clone().into_dispatch();
    Some(Tensor::from_dispatch(
        <Dispatch as FusedOps>::fused_attention(Qkv::Packed { qkv, heads }, scale(width), None),
    ))
}

/// `d^-½`.
fn scale(width: usize) -> f32 {
    (width as f32).powf(-0.5)
}

/// Whether the GPU's kernel takes heads of this width.
fn fits_gpu(width: usize) -> bool {
    #[cfg(feature = "gpu")]
    return gpu::fits_attention(width);
    #[cfg(not(feature = "gpu"))]
    {
        let _ = width;
        false
    }
}
