//! The fused operations as a backend extension: the trait that Burn dispatches by the device of the
//! operands.
//!
//! Implementations: [`cpu`] (inference), [`autodiff`] (CPU with gradients), [`gpu`]. An
//! implementation that has no kernel for an epilogue calls [`apply_epilogue`]. A default body that
//! calls [`no_kernel`] belongs to an operation that the public functions never dispatch to every
//! device.

#[cfg(not(target_arch = "wasm32"))]
mod autodiff;
mod cpu;
#[cfg(feature = "gpu")]
mod gpu;

use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, ExtensionType, TensorMetadata, backend_extension};
use burn::tensor::Shape;

use crate::activation::Activation;
use crate::bias::WindowBias;
use crate::epilogue::{Epilogue, GroupNorm, Optional};
use crate::layout::CellLayout;

/// The operands of attention.
#[derive(Clone, Debug, ExtensionType)]
pub(crate) enum Qkv<B: Backend> {
    /// `[N, heads, L, d]` each.
    Separate {
        q: FloatTensor<B>,
        k: FloatTensor<B>,
        v: FloatTensor<B>,
    },
    /// `[N, L, 3 · heads · d]`: queries, keys and values in that order.
    Packed { qkv: FloatTensor<B>, heads: usize },
}

/// The operands of attention among classes; see [`crate::class_attention`].
#[derive(Clone, Debug, ExtensionType)]
pub(crate) struct ClassAttention<B: Backend> {
    /// `[M, T, C]`.
    pub q: FloatTensor<B>,
    /// `[M, T, C]`.
    pub k: FloatTensor<B>,
    /// `[M, T, C]`.
    pub v: FloatTensor<B>,
    /// Guidance of the queries, `[1, T, C]`.
    pub guidance_q: FloatTensor<B>,
    /// Guidance of the keys, `[1, T, C]`.
    pub guidance_k: FloatTensor<B>,
    /// Key of a padding row, `[1, 1, C]`.
    pub pad_k: FloatTensor<B>,
    /// Value of a padding row, `[1, 1, C]`.
    pub pad_v: FloatTensor<B>,
}

/// Weight `[out, in]` and bias `[out]` of a linear layer.
#[derive(Clone, Debug, ExtensionType)]
pub(crate) struct Layer<B: Backend> {
    pub weight: FloatTensor<B>,
    pub bias: FloatTensor<B>,
}

/// Ends an operation that this device has no kernel for.
fn no_kernel() -> ! {
    unreachable!("the public function runs the reference on a device without this kernel")
}

/// Applies an epilogue to a result `y` as operations of their own.
fn apply_epilogue<B: FusedOps>(y: FloatTensor<B>, epilogue: Epilogue<B>) -> FloatTensor<B> {
    match epilogue {
        Epilogue::None => y,
        Epilogue::Activation(activation) => B::fused_activation(y, activation),
        Epilogue::Add(residual) => add_residual::<B>(y, residual),
        Epilogue::Norm(norm) => B::fused_group_norm(y, norm, Optional::None),
        Epilogue::AddNorm(residual, norm) => {
            B::fused_group_norm(add_residual::<B>(y, residual), norm, Optional::None)
        }
        Epilogue::NormAdd(norm, residual) => B::fused_group_norm(y, norm, Optional::Some(residual)),
    }
}

/// `residual [M, ..] + y [N, ..]`, each entry of the residual for `N / M` entries of `y`.
fn add_residual<B: FusedOps>(y: FloatTensor<B>, residual: FloatTensor<B>) -> FloatTensor<B> {
    let (shape, own) = (y.shape(), residual.shape());
    let [n, m] = [&shape, &own].map(|shape| shape.first().copied().unwrap_or(1));
    if n == m {
        return B::fused_add(y, residual);
    }
    let entry = own.num_elements() / m.max(1);
    let y = B::float_reshape(y, Shape::from([m, n / m.max(1), entry]));
    let residual = B::float_reshape(residual, Shape::from([m, 1, entry]));
    B::float_reshape(B::fused_add(y, residual), shape)
}

/// The operations; shapes and meaning are those of the public functions of the same name without
/// the prefix.
#[allow(
    unused_variables,
    reason = "default bodies; the dispatch macro copies the names of the parameters"
)]
#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Autodiff: cfg(not(target_arch = "wasm32")))]
pub(crate) trait FusedOps: Backend {
    /// `softmax(scale · q kᵀ + bias) v`, to `[N, heads, L, d]`.
    fn fused_attention(
        #[extension_type] qkv: Qkv<Self>,
        scale: f32,
        bias: Option<Arc<WindowBias>>,
    ) -> FloatTensor<Self> {
        no_kernel()
    }

    /// Over the last axis.
    fn fused_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self> {
        no_kernel()
    }

    /// `[residual +] f(norm(x))` of maps `[N, C, H, W]`.
    fn fused_group_norm(
        x: FloatTensor<Self>,
        #[extension_type] norm: GroupNorm<Self>,
        #[extension_type] residual: Optional<Self>,
    ) -> FloatTensor<Self> {
        no_kernel()
    }

    /// Over the last axis.
    fn fused_unit(x: FloatTensor<Self>) -> FloatTensor<Self> {
        no_kernel()
    }

    /// Stride 1, zero padding, `[N, C, H, W]` to `[N, O, H, W]`.
    fn fused_conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Optional<Self>,
        #[extension_type] epilogue: Epilogue<Self>,
    ) -> FloatTensor<Self> {
        no_kernel()
    }

    /// A 3 × 3 convolution without bias of a map that is first upsampled by two, from tokens
    /// `[N, height · width, C]`.
    fn fused_conv_upsampled(
        x: FloatTensor<Self>,
        height: usize,
        #[extension_type] upsampling: Layer<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] epilogue: Epilogue<Self>,
    ) -> FloatTensor<Self> {
        let Layer { weight: up, bias } = upsampling;
        let map = Self::fused_upsample(x, height, up, bias, Epilogue::None);
        Self::fused_conv(map, weight, Optional::None, epilogue)
    }

    /// Over the last axis.
    fn fused_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Optional<Self>,
        #[extension_type] epilogue: Epilogue<Self>,
    ) -> FloatTensor<Self> {
        no_kernel()
    }

    /// Stride `k`, `[N, C, k · h, k · w]` to `h × w` cells of `O` channels.
    fn fused_patches(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Optional<Self>,
        layout: CellLayout,
        #[extension_type] epilogue: Epilogue<Self>,
    ) -> FloatTensor<Self> {
        no_kernel()
    }

    /// Tokens `[N, height · width, C]` to `[N, O, k · height, k · width]`.
    fn fused_upsample(
        x: FloatTensor<Self>,
        height: usize,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        #[extension_type] epilogue: Epilogue<Self>,
    ) -> FloatTensor<Self> {
        no_kernel()
    }

    /// Elementwise.
    fn fused_activation(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        no_kernel()
    }

    /// `a + b`, with broadcasting.
    fn fused_add(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_add(a, b)
    }

    /// `[N · T, g², C]` to `[N · (g/2)², T, C]`.
    fn fused_pool_classes(x: FloatTensor<Self>, pairs: usize, grid: usize) -> FloatTensor<Self> {
        no_kernel()
    }

    /// `[N · (g/2)², T, C]` added to `[N · T, g², C]`.
    fn fused_spread_classes(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        grid: usize,
    ) -> FloatTensor<Self> {
        no_kernel()
    }

    /// To `[M, T, C]`.
    fn fused_class_attention(
        #[extension_type] operands: ClassAttention<Self>,
        pad_count: f32,
        heads: usize,
    ) -> FloatTensor<Self> {
        no_kernel()
    }

    /// `[M, g², C]` to `[4 M, g² / 4, C]`.
    fn fused_cut_windows(x: FloatTensor<Self>, grid: usize, shift: usize) -> FloatTensor<Self> {
        no_kernel()
    }

    /// `[4 M, g² / 4, C]` added to `[M, g², C]`.
    fn fused_join_windows(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        grid: usize,
        shift: usize,
    ) -> FloatTensor<Self> {
        no_kernel()
    }
}
