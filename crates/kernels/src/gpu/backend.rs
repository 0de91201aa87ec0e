//! Which kernel each fused operation is on a graphics card.

use std::sync::Arc;

use burn::backend::ops::FloatTensorOps;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use super::block::End;
use super::{
    activate, attention, attention_of_thirds, class_attention, conv, cut_windows, group_norm,
    join_windows, layer_norm, linear, patches, pool_classes, spread_classes, unit, upsample,
};
use crate::cpu::Cells;
use crate::ops::Fused;
use crate::{Activation, WindowBias};

impl Fused for CubeBackend {
    fn fused_attention(
        q: CubeTensor,
        k: CubeTensor,
        v: CubeTensor,
        scale: f32,
        bias: Option<Arc<WindowBias>>,
    ) -> CubeTensor {
        let bias = bias.map(|bias| Self::float_from_data(bias.by_key_data(), &q.device));
        attention(q, k, v, scale, bias)
    }

    fn fused_attention_of_thirds(qkv: CubeTensor, heads: usize, scale: f32) -> CubeTensor {
        attention_of_thirds(qkv, heads, scale)
    }

    fn fused_layer_norm(
        x: CubeTensor,
        gamma: CubeTensor,
        beta: CubeTensor,
        eps: f32,
    ) -> CubeTensor {
        layer_norm(x, gamma, beta, eps)
    }

    fn fused_group_norm(
        x: CubeTensor,
        gamma: CubeTensor,
        beta: CubeTensor,
        groups: usize,
        eps: f32,
        activation: Option<Activation>,
    ) -> CubeTensor {
        group_norm([x, gamma, beta], groups, eps, activation, None)
    }

    fn fused_group_norm_onto(
        x: CubeTensor,
        gamma: CubeTensor,
        beta: CubeTensor,
        groups: usize,
        eps: f32,
        activation: Activation,
        onto: CubeTensor,
    ) -> CubeTensor {
        group_norm([x, gamma, beta], groups, eps, Some(activation), Some(onto))
    }

    fn fused_conv(x: CubeTensor, weight: CubeTensor) -> CubeTensor {
        conv(x, weight, None, (End::Plain, None))
    }

    fn fused_conv_onto(x: CubeTensor, weight: CubeTensor, onto: CubeTensor) -> CubeTensor {
        conv(x, weight, None, (End::Onto, Some(onto)))
    }

    fn fused_conv_bias_onto(
        x: CubeTensor,
        weight: CubeTensor,
        bias: CubeTensor,
        onto: CubeTensor,
    ) -> CubeTensor {
        conv(x, weight, Some(bias), (End::Onto, Some(onto)))
    }

    fn fused_conv_bias(x: CubeTensor, weight: CubeTensor, bias: CubeTensor) -> CubeTensor {
        conv(x, weight, Some(bias), (End::Plain, None))
    }

    fn fused_conv_activated(
        x: CubeTensor,
        weight: CubeTensor,
        bias: CubeTensor,
        activation: Activation,
    ) -> CubeTensor {
        conv(x, weight, Some(bias), (End::Activated(activation), None))
    }

    fn fused_linear(x: CubeTensor, weight: CubeTensor) -> CubeTensor {
        linear(x, weight, None, (End::Plain, None))
    }

    fn fused_linear_bias(x: CubeTensor, weight: CubeTensor, bias: CubeTensor) -> CubeTensor {
        linear(x, weight, Some(bias), (End::Plain, None))
    }

    fn fused_linear_activated(
        x: CubeTensor,
        weight: CubeTensor,
        bias: CubeTensor,
        activation: Activation,
    ) -> CubeTensor {
        linear(x, weight, Some(bias), (End::Activated(activation), None))
    }

    fn fused_linear_onto(
        x: CubeTensor,
        weight: CubeTensor,
        bias: CubeTensor,
        onto: CubeTensor,
    ) -> CubeTensor {
        linear(x, weight, Some(bias), (End::Onto, Some(onto)))
    }

    fn fused_linear_over(x: CubeTensor, weight: CubeTensor, onto: CubeTensor) -> CubeTensor {
        linear(x, weight, None, (End::Onto, Some(onto)))
    }

    fn fused_patches(x: CubeTensor, weight: CubeTensor) -> CubeTensor {
        patches(x, weight, None, None, Cells::Tokens)
    }

    fn fused_patches_bias(x: CubeTensor, weight: CubeTensor, bias: CubeTensor) -> CubeTensor {
        patches(x, weight, Some(bias), None, Cells::Tokens)
    }

    fn fused_patch_map(x: CubeTensor, weight: CubeTensor, bias: CubeTensor) -> CubeTensor {
        patches(x, weight, Some(bias), None, Cells::Map)
    }

    fn fused_patch_map_activated(
        x: CubeTensor,
        weight: CubeTensor,
        bias: CubeTensor,
        activation: Activation,
    ) -> CubeTensor {
        patches(x, weight, Some(bias), Some(activation), Cells::Map)
    }

    fn fused_upsample(
        x: CubeTensor,
        height: usize,
        weight: CubeTensor,
        bias: CubeTensor,
    ) -> CubeTensor {
        upsample(x, height, weight, bias, (End::Plain, None))
    }

    fn fused_upsample_onto(
        x: CubeTensor,
        height: usize,
        weight: CubeTensor,
        bias: CubeTensor,
        onto: CubeTensor,
    ) -> CubeTensor {
        upsample(x, height, weight, bias, (End::Onto, Some(onto)))
    }

    fn fused_activation(x: CubeTensor, activation: Activation) -> CubeTensor {
        activate(x, activation)
    }

    fn fused_unit(x: CubeTensor) -> CubeTensor {
        unit(x)
    }

    fn fused_cut_windows(x: CubeTensor, grid: usize, shift: usize) -> CubeTensor {
        cut_windows(x, grid, shift)
    }

    fn fused_join_windows(
        x: CubeTensor,
        onto: CubeTensor,
        grid: usize,
        shift: usize,
    ) -> CubeTensor {
        join_windows(x, onto, grid, shift)
    }

    fn fused_pool_classes(x: CubeTensor, pairs: usize, grid: usize) -> CubeTensor {
        pool_classes(x, pairs, grid)
    }

    fn fused_spread_classes(x: CubeTensor, onto: CubeTensor, grid: usize) -> CubeTensor {
        spread_classes(x, onto, grid)
    }

    fn fused_class_attention(
        q: CubeTensor,
        k: CubeTensor,
        v: CubeTensor,
        guide_q: CubeTensor,
        guide_k: CubeTensor,
        pad_k: CubeTensor,
        pad_v: CubeTensor,
        pad_count: f32,
        heads: usize,
    ) -> CubeTensor {
        let (guidance, pads) = ([guide_q, guide_k], [pad_k, pad_v]);
        class_attention([q, k, v], guidance, pads, pad_count, heads)
    }
}
