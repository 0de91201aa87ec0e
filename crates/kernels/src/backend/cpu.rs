//! The operations on the CPU without gradients.

use std::sync::Arc;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;

use super::{ClassAttention, FusedOps, Layer, Qkv, apply_epilogue};
use crate::activation::Activation;
use crate::bias::WindowBias;
use crate::cpu::{self, ConvEpilogue, Norm};
use crate::epilogue::{Epilogue, GroupNorm, Optional};
use crate::layout::CellLayout;

/// A group norm's operands in the form that the kernels read.
fn norm_of(norm: &GroupNorm<Flex>) -> Norm {
    Norm::new(
        &norm.gamma,
        &norm.beta,
        norm.groups,
        norm.eps,
        norm.activation,
    )
}

impl FusedOps for Flex {
    fn fused_attention(qkv: Qkv<Self>, scale: f32, bias: Option<Arc<WindowBias>>) -> FlexTensor {
        let Qkv::Separate { q, k, v } = qkv else {
            super::no_kernel()
        };
        cpu::attention(q, k, v, scale, bias.as_deref()).0
    }

    fn fused_layer_norm(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        eps: f32,
    ) -> FlexTensor {
        cpu::layer_norm(&x, &gamma, &beta, eps)
    }

    fn fused_group_norm(
        x: FlexTensor,
        norm: GroupNorm<Self>,
        residual: Optional<Self>,
    ) -> FlexTensor {
        let y = cpu::group_norm(x, &norm_of(&norm));
        match residual {
            Optional::None => y,
            Optional::Some(residual) => cpu::add(y, residual),
        }
    }

    fn fused_conv(
        x: FlexTensor,
        weight: FlexTensor,
        bias: Optional<Self>,
        epilogue: Epilogue<Self>,
    ) -> FlexTensor {
        let bias = bias.into_option();
        with_epilogue(epilogue, |epilogue| {
            cpu::conv(&x, &weight, bias.as_ref(), epilogue)
        })
    }

    fn fused_conv_upsampled(
        x: FlexTensor,
        height: usize,
        upsampling: Layer<Self>,
        weight: FlexTensor,
        epilogue: Epilogue<Self>,
    ) -> FlexTensor {
        with_epilogue(epilogue, |epilogue| {
            let Layer { weight: up, bias } = &upsampling;
            cpu::conv_upsampled(&x, height, [up, bias], &weight, epilogue)
        })
    }

    fn fused_linear(
        x: FlexTensor,
        weight: FlexTensor,
        bias: Optional<Self>,
        epilogue: Epilogue<Self>,
    ) -> FlexTensor {
        let bias = bias.into_option();
        let rows = |x: &FlexTensor| x.layout().shape().to_vec()[0];
        match epilogue {
            Epilogue::Activation(activation) => {
                cpu::linear(&x, &weight, bias.as_ref(), Some(activation))
            }
            Epilogue::Add(residual) if rows(&residual) == rows(&x) => {
                cpu::linear_add(&x, &weight, bias.as_ref(), residual)
            }
            other => apply_epilogue::<Self>(cpu::linear(&x, &weight, bias.as_ref(), None), other),
        }
    }

    fn fused_patches(
        x: FlexTensor,
        weight: FlexTensor,
        bias: Optional<Self>,
        layout: CellLayout,
        epilogue: Epilogue<Self>,
    ) -> FlexTensor {
        let bias = bias.into_option();
        apply_epilogue::<Self>(cpu::patches(&x, &weight, bias.as_ref(), layout), epilogue)
    }

    fn fused_upsample(
        x: FlexTensor,
        height: usize,
        weight: FlexTensor,
        bias: FlexTensor,
        epilogue: Epilogue<Self>,
    ) -> FlexTensor {
        apply_epilogue::<Self>(cpu::upsample(&x, height, &weight, &bias), epilogue)
    }

    fn fused_activation(x: FlexTensor, activation: Activation) -> FlexTensor {
        cpu::activate(x, activation)
    }

    fn fused_add(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        cpu::add(a, b)
    }

    fn fused_pool_classes(x: FlexTensor, pairs: usize, grid: usize) -> FlexTensor {
        cpu::pool_classes(&x, pairs, grid)
    }

    fn fused_spread_classes(x: FlexTensor, residual: FlexTensor, grid: usize) -> FlexTensor {
        cpu::spread_classes(&x, residual, grid)
    }

    fn fused_class_attention(
        operands: ClassAttention<Self>,
        pad_count: f32,
        heads: usize,
    ) -> FlexTensor {
        let ClassAttention {
            q,
            k,
            v,
            guidance_q,
            guidance_k,
            pad_k,
            pad_v,
        } = &operands;
        cpu::class_attention(
            [q, k, v],
            [guidance_q, guidance_k],
            [pad_k, pad_v],
            pad_count,
            heads,
        )
    }

    fn fused_cut_windows(x: FlexTensor, grid: usize, shift: usize) -> FlexTensor {
        cpu::cut_windows(&x, grid, shift)
    }

    fn fused_join_windows(
        x: FlexTensor,
        residual: FlexTensor,
        grid: usize,
        shift: usize,
    ) -> FlexTensor {
        cpu::join_windows(&x, residual, grid, shift)
    }
}

/// Runs a convolution with the part of an epilogue that its kernel applies, and adds the residual
/// after a norm, which it does not.
fn with_epilogue(
    epilogue: Epilogue<Flex>,
    conv: impl Fn(ConvEpilogue) -> FlexTensor,
) -> FlexTensor {
    let plain = ConvEpilogue::default();
    match &epilogue {
        Epilogue::None => conv(plain),
        Epilogue::Activation(activation) => conv(ConvEpilogue {
            activation: Some(*activation),
            ..plain
        }),
        Epilogue::Add(residual) => conv(ConvEpilogue {
            residual: Some(residual),
            ..plain
        }),
        Epilogue::Norm(norm) => conv(ConvEpilogue {
            norm: Some(&norm_of(norm)),
            ..plain
        }),
        Epilogue::AddNorm(residual, norm) => conv(ConvEpilogue {
            residual: Some(residual),
            norm: Some(&norm_of(norm)),
            ..plain
        }),
        Epilogue::NormAdd(norm, residual) => {
            let y = conv(ConvEpilogue {
                norm: Some(&norm_of(norm)),
                ..plain
            });
            cpu::add(y, residual.clone())
        }
    }
}
