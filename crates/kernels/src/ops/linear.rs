//! Linear layers.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::backend::FusedOps;
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
