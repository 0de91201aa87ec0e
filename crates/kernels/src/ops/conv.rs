//! Convolutions of stride 1.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::backend::{FusedOps, Layer};
use crate::device::has_kernels;
use crate::epilogue::Epilogue;
use crate::reference;

/// A convolution of stride 1 with zero padding: `x [N, C, H, W]`, weight `[O, C, k, k]` with odd
/// `k`, bias `[O]`, to `[N, O, H, W]`.
#[must_use]
pub fn conv(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    epilogue: Epilogue,
) -> Tensor<4> {
    if !has_kernels(&x.device()) {
        return reference::apply_epilogue(reference::conv(x, weight, bias), epilogue);
    }
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_conv(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into(),
        epilogue,
    ))
}

/// [`conv`] without bias of the map that [`upsample`](crate::upsample) makes of tokens:
/// `x [N, h · w, C]`, upsampling weight `[C, U, 2, 2]` and bias `[U]`, convolution weight
/// `[O, U, 3, 3]`, to `[N, O, 2h, 2w]`.
///
/// On the CPU the upsampled map is not computed where that saves multiplications; see
/// `cpu/conv_upsampled.rs`.
///
/// # Panics
/// When a kernel has another size.
#[must_use]
pub fn conv_upsampled(
    x: Tensor<3>,
    [h, w]: [usize; 2],
    (up, bias): (Tensor<4>, Tensor<1>),
    weight: Tensor<4>,
    epilogue: Epilogue,
) -> Tensor<4> {
    assert_eq!(up.dims()[2..], [2, 2], "kernel of the upsampling");
    assert_eq!(weight.dims()[2..], [3, 3], "kernel of the convolution");
    if !has_kernels(&x.device()) {
        let map = reference::upsample(x, [h, w], up, bias);
        return reference::apply_epilogue(reference::conv(map, weight, None), epilogue);
    }
    let upsampling = Layer {
        weight: up.into_dispatch(),
        bias: bias.into_dispatch(),
    };
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_conv_upsampled(
        x.into_dispatch(),
        h,
        upsampling,
        weight.into_dispatch(),
        epilogue,
    ))
}
