//! Norms.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::backend::FusedOps;
use crate::device::{has_kernels, is_gpu};
use crate::epilogue::{GroupNorm, Optional};
use crate::reference;

/// Layer norm over the last axis with biased variance: `x [.., C]`, `gamma` and `beta` `[C]`.
#[must_use]
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    eps: f64,
) -> Tensor<D> {
    if !has_kernels(&x.device()) {
        return reference::layer_norm(x, gamma, beta, eps);
    }
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_layer_norm(
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        eps as f32,
    ))
}

/// `f(norm(x))` of maps `[N, C, H, W]`.
#[must_use]
pub fn group_norm(x: Tensor<4>, norm: GroupNorm) -> Tensor<4> {
    if !has_kernels(&x.device()) {
        return reference::group_norm(x, &norm);
    }
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_group_norm(
        x.into_dispatch(),
        norm,
        Optional::None,
    ))
}

/// `x / max(‖x‖₂, 10⁻¹²)` over the last axis.
#[must_use]
pub fn unit<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !is_gpu(&x.device()) {
        return reference::unit(x);
    }
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_unit(x.into_dispatch()))
}
