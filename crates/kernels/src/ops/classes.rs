//! Operations across the classes of a cost volume.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::backend::{ClassAttention, FusedOps};
use crate::device::has_inference_kernels;
use crate::reference;

/// Means of 2 × 2 cells, with the classes of a place side by side: cells `[N · T, g², C]` of `N`
/// pairs and `T` classes to `[N · (g/2)², T, C]`. `g` is even.
#[must_use]
pub fn pool_classes(x: Tensor<3>, pairs: usize, grid: usize) -> Tensor<3> {
    if !has_inference_kernels(&x.device()) {
        return reference::pool_classes(x, pairs, grid);
    }
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_pool_classes(
        x.into_dispatch(),
        pairs,
        grid,
    ))
}

/// The inverse of [`pool_classes`] with bilinear interpolation (corners aligned), added to a
/// residual: `x [N · (g/2)², T, C]` and `residual [N · T, g², C]` to `[N · T, g², C]`
/// (docs/network.md, "Class attention").
#[must_use]
pub fn spread_classes(x: Tensor<3>, residual: Tensor<3>, grid: usize) -> Tensor<3> {
    if !has_inference_kernels(&x.device()) {
        return reference::spread_classes(x, residual, grid);
    }
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_spread_classes(
        x.into_dispatch(),
        residual.into_dispatch(),
        grid,
    ))
}

/// Linear attention among the `T` classes at each of `M` places (docs/network.md, "Class
/// attention").
///
/// With `φ(z) = elu(z) + 1`, `q = φ(q + guidance_q)` and `k = φ(k + guidance_k)`, per head:
/// `qᵢ · Σₛ kₛ vₛᵀ / (qᵢ · Σₛ kₛ + 10⁻⁶)`. The sums go over the classes and over `pad_count`
/// identical padding rows.
///
/// `q`, `k`, `v` `[M, T, C]`; guidance of `q` and of `k` `[1, T, C]`; key and value of a padding
/// row `[1, 1, C]`; to `[M, T, C]`.
#[must_use]
pub fn class_attention(
    qkv: [Tensor<3>; 3],
    guidance: [Tensor<3>; 2],
    pad: [Tensor<3>; 2],
    pad_count: usize,
    heads: usize,
) -> Tensor<3> {
    if !has_inference_kernels(&qkv[0].device()) {
        return reference::class_attention(qkv, guidance, pad, pad_count, heads);
    }
    let [q, k, v] = qkv.map(Tensor::into_dispatch);
    let [guidance_q, guidance_k] = guidance.map(Tensor::into_dispatch);
    let [pad_k, pad_v] = pad.map(Tensor::into_dispatch);
    let operands = ClassAttention {
        q,
        k,
        v,
        guidance_q,
        guidance_k,
        pad_k,
        pad_v,
    };
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_class_attention(
        operands,
        pad_count as f32,
        heads,
    ))
}
