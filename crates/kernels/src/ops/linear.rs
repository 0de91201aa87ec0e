//! Linear layers.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::activation::Activation;
use crate::backend::{FusedOps, Layer};
use crate::device::has_kernels;
use crate::epilogue::Epilogue;
use crate::reference;

/// `x Wᵀ + b` over the last axis: `x [.., in]`, weight `[out, in]`, bias `[out]`, to `[.., out]`.
#[must_use]
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    epilogue: Epilogue,
) -> Tensor<D> {
    if !has_kernels(&x.device()) {
        return reference::apply_epilogue(reference::linear(x, weight, bias), epilogue);
    }
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_linear(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into(),
        epilogue,
    ))
}

/// `residual + W₂ f(W₁ x + b₁) + b₂` over the last axis: `x [.., in]`, `first` `[hidden, in]` and
/// `[hidden]`, `second` `[out, hidden]` and `[out]`, `residual [.., out]`, to `[.., out]`.
///
/// On the CPU, without gradients, the hidden values stay in a core's cache.
#[must_use]
pub fn mlp<const D: usize>(
    x: Tensor<D>,
    first: (Tensor<2>, Tensor<1>),
    activation: Activation,
    second: (Tensor<2>, Tensor<1>),
    residual: Tensor<D>,
) -> Tensor<D> {
    if !has_kernels(&x.device()) {
        let hidden = reference::linear(x, first.0, Some(first.1));
        let hidden = reference::activate(hidden, activation);
        return residual + reference::linear(hidden, second.0, Some(second.1));
    }
    let [first, second] = [first, second].map(|(weight, bias)| Layer {
        weight: weight.into_dispatch(),
        bias: bias.into_dispatch(),
    });
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_mlp(
        x.into_dispatch(),
        first,
        activation,
        second,
        residual.into_dispatch(),
    ))
}
