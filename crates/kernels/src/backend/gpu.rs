//! The operations on a GPU without gradients.

use std::sync::Arc;

use burn::backend::ops::FloatTensorOps;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use super::{ClassAttention, FusedOps, Qkv, apply_epilogue};
use crate::activation::Activation;
use crate::bias::WindowBias;
use crate::epilogue::{Epilogue, GroupNorm, Optional};
use crate::gpu::{self, BlockEpilogue};
use crate::layout::CellLayout;

/// An epilogue as the part that the kernels of products and convolutions apply, with its residual,
/// and the rest.
fn split(
    epilogue: Epilogue<CubeBackend>,
) -> ((BlockEpilogue, Option<CubeTensor>), Epilogue<CubeBackend>) {
    match epilogue {
        Epilogue::Activation(activation) => (
            (BlockEpilogue::Activation(activation), None),
            Epilogue::None,
        ),
        Epilogue::Add(residual) => ((BlockEpilogue::Add, Some(residual)), Epilogue::None),
        Epilogue::AddNorm(residual, norm) => {
            ((BlockEpilogue::Add, Some(residual)), Epilogue::Norm(norm))
        }
        rest => ((BlockEpilogue::None, None), rest),
    }
}

impl FusedOps for CubeBackend {
    fn fused_attention(qkv: Qkv<Self>, scale: f32, bias: Option<Arc<WindowBias>>) -> CubeTensor {
        match qkv {
            Qkv::Separate { q, k, v } => {
                let bias = bias.map(|bias| Self::float_from_data(bias.by_key_data(), &q.device));
                gpu::attention(q, k, v, scale, bias)
            }
            Qkv::Packed { qkv, heads } => gpu::attention_packed(qkv, heads, scale),
        }
    }

    fn fused_layer_norm(
        x: CubeTensor,
        gamma: CubeTensor,
        beta: CubeTensor,
        eps: f32,
    ) -> CubeTensor {
        gpu::layer_norm(x, gamma, beta, eps)
    }

    fn fused_group_norm(
        x: CubeTensor,
        norm: GroupNorm<Self>,
        residual: Optional<Self>,
    ) -> CubeTensor {
        let GroupNorm {
            gamma,
            beta,
            groups,
            eps,
            activation,
        } = norm;
        let operands = [x, gamma, beta];
        gpu::group_norm(operands, groups, eps, activation, residual.into_option())
    }

    fn fused_unit(x: CubeTensor) -> CubeTensor {
        gpu::unit(x)
    }

    fn fused_conv(
        x: CubeTensor,
        weight: CubeTensor,
        bias: Optional<Self>,
        epilogue: Epilogue<Self>,
    ) -> CubeTensor {
        let (own, rest) = split(epilogue);
        apply_epilogue::<Self>(gpu::conv(x, weight, bias.into_option(), own), rest)
    }

    fn fused_linear(
        x: CubeTensor,
        weight: CubeTensor,
        bias: Optional<Self>,
        epilogue: Epilogue<Self>,
    ) -> CubeTensor {
        let (own, rest) = split(epilogue);
        apply_epilogue::<Self>(gpu::linear(x, weight, bias.into_option(), own), rest)
    }

    fn fused_patches(
        x: CubeTensor,
        weight: CubeTensor,
        bias: Optional<Self>,
        layout: CellLayout,
        epilogue: Epilogue<Self>,
    ) -> CubeTensor {
        let (own, rest) = split(epilogue);
        let y = gpu::patches(x, weight, bias.into_option(), layout, own);
        apply_epilogue::<Self>(y, rest)
    }

    fn fused_upsample(
        x: CubeTensor,
        height: usize,
        weight: CubeTensor,
        bias: CubeTensor,
        epilogue: Epilogue<Self>,
    ) -> CubeTensor {
        let (own, rest) = split(epilogue);
        apply_epilogue::<Self>(gpu::upsample(x, height, weight, bias, own), rest)
    }

    fn fused_activation(x: CubeTensor, activation: Activation) -> CubeTensor {
        gpu::activate(x, activation)
    }

    fn fused_pool_classes(x: CubeTensor, pairs: usize, grid: usize) -> CubeTensor {
        gpu::pool_classes(x, pairs, grid)
    }

    fn fused_spread_classes(x: CubeTensor, residual: CubeTensor, grid: usize) -> CubeTensor {
        gpu::spread_classes(x, residual, grid)
    }

    fn fused_class_attention(
        operands: ClassAttention<Self>,
        pad_count: f32,
        heads: usize,
    ) -> CubeTensor {
        let ClassAttention {
            q,
            k,
            v,
            guidance_q,
            guidance_k,
            pad_k,
            pad_v,
        } = operands;
        gpu::class_attention(
            [q, k, v],
            [guidance_q, guidance_k],
            [pad_k, pad_v],
            pad_count,
            heads,
        )
    }

    fn fused_cut_windows(x: CubeTensor, grid: usize, shift: usize) -> CubeTensor {
        gpu::cut_windows(x, grid, shift)
    }

    fn fused_join_windows(
        x: CubeTensor,
        residual: CubeTensor,
        grid: usize,
        shift: usize,
    ) -> CubeTensor {
        gpu::join_windows(x, residual, grid, shift)
    }
}
