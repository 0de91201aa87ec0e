//! Convolutions whose stride is their kernel, and their transposes.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::backend::FusedOps;
use crate::device::has_kernels;
use crate::epilogue::Epilogue;
use crate::layout::CellLayout;
use crate::reference;

/// A convolution of stride `k`: `x [N, C, k · h, k · w]`, weight `[O, C, k, k]`, bias `[O]`, to
/// row-major tokens `[N, h · w, O]`.
#[must_use]
pub fn patches(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<3> {
    if !has_kernels(&x.device()) {
        return reference::patches(x, weight, bias);
    }
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_patches(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into(),
        CellLayout::Tokens,
        Epilogue::None,
    ))
}

/// [`patches`] as a map `[N, O, h, w]`.
#[must_use]
pub fn patch_map(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    epilogue: Epilogue,
) -> Tensor<4> {
    if !has_kernels(&x.device()) {
        return reference::apply_epilogue(reference::patch_map(x, weight, bias), epilogue);
    }
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_patches(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into(),
        CellLayout::Map,
        epilogue,
    ))
}

/// A transposed convolution of stride `k`: row-major tokens `x [N, h · w, C]`, weight
/// `[C, O, k, k]`, bias `[O]`, to `[N, O, k · h, k · w]`. Each token writes its own `k × k` tile of
/// pixels.
#[must_use]
pub fn upsample(
    x: Tensor<3>,
    [h, w]: [usize; 2],
    weight: Tensor<4>,
    bias: Tensor<1>,
    epilogue: Epilogue,
) -> Tensor<4> {
    if !has_kernels(&x.device()) {
        let map = reference::upsample(x, [h, w], weight, bias);
        return reference::apply_epilogue(map, epilogue);
    }
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_upsample(
        x.into_dispatch(),
        h,
        weight.into_dispatch(),
        bias.into_dispatch(),
        epilogue,
    ))
}
