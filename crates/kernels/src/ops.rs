//! How Burn reaches the fused operations: a backend extension that the CPU's and the graphics cards' backends
//! implement, and the CPU's gradients where gradients are recorded.

use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, backend_extension};

use crate::cpu::{self, Cells, Norm};
use crate::{Activation, WindowBias};

/// What a device without the operation says: a graphics card under automatic differentiation, which the public
/// functions send to the twins.
fn untrained() -> ! {
    unreachable!(
        "an operation without gradients on this device was called past its public function"
    )
}

/// What is dispatched by the device of the operands.
#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Autodiff: cfg(not(target_arch = "wasm32")))]
pub(crate) trait Fused: Backend {
    /// `[N, heads, L, d]` thrice to `[N, heads, L, d]`.
    fn fused_attention(
        _q: FloatTensor<Self>,
        _k: FloatTensor<Self>,
        _v: FloatTensor<Self>,
        _scale: f32,
        _bias: Option<Arc<WindowBias>>,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// Thirds `[N, L, 3 · heads · d]` to `[N, heads, L, d]`.
    fn fused_attention_of_thirds(
        _qkv: FloatTensor<Self>,
        _heads: usize,
        _scale: f32,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// Over the last axis.
    fn fused_layer_norm(
        _x: FloatTensor<Self>,
        _gamma: FloatTensor<Self>,
        _beta: FloatTensor<Self>,
        _eps: f32,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// Over each image's groups of channels.
    fn fused_group_norm(
        _x: FloatTensor<Self>,
        _gamma: FloatTensor<Self>,
        _beta: FloatTensor<Self>,
        _groups: usize,
        _eps: f32,
        _activation: Option<Activation>,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// The same, its activation added to `onto`.
    fn fused_group_norm_onto(
        _x: FloatTensor<Self>,
        _gamma: FloatTensor<Self>,
        _beta: FloatTensor<Self>,
        _groups: usize,
        _eps: f32,
        _activation: Activation,
        _onto: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// Stride 1, output of the input's size, without bias.
    fn fused_conv(_x: FloatTensor<Self>, _weight: FloatTensor<Self>) -> FloatTensor<Self> {
        untrained()
    }
    /// The same with bias.
    fn fused_conv_bias(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// The activation of the same with bias.
    fn fused_conv_activated(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _bias: FloatTensor<Self>,
        _activation: Activation,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// `onto [M, O, H, W]` plus a convolution without bias; each of the `M` for as many images one after the other.
    fn fused_conv_onto(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _onto: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// The same with bias.
    fn fused_conv_bias_onto(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _bias: FloatTensor<Self>,
        _onto: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// `x Wᵀ` over the last axis.
    fn fused_linear(_x: FloatTensor<Self>, _weight: FloatTensor<Self>) -> FloatTensor<Self> {
        untrained()
    }
    /// `x Wᵀ + b` over the last axis.
    fn fused_linear_bias(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// Stride `k`, to `[N, cells, O]`, without bias.
    fn fused_patches(_x: FloatTensor<Self>, _weight: FloatTensor<Self>) -> FloatTensor<Self> {
        untrained()
    }
    /// The same with bias.
    fn fused_patches_bias(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// Stride `k`, to `[N, O, height, width]`, with bias.
    fn fused_patch_map(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// The activation of the same.
    fn fused_patch_map_activated(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _bias: FloatTensor<Self>,
        _activation: Activation,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// From tokens `[N, height · width, C]` to `[N, O, k · height, k · width]`.
    fn fused_upsample(
        _x: FloatTensor<Self>,
        _height: usize,
        _weight: FloatTensor<Self>,
        _bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// The same onto `[N, O, k · height, k · width]`.
    fn fused_upsample_onto(
        _x: FloatTensor<Self>,
        _height: usize,
        _weight: FloatTensor<Self>,
        _bias: FloatTensor<Self>,
        _onto: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// [`Fused::fused_group_norm`] of [`Fused::fused_conv`].
    fn fused_conv_normed(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _gamma: FloatTensor<Self>,
        _beta: FloatTensor<Self>,
        _groups: usize,
        _eps: f32,
        _activation: Activation,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// Likewise of [`Fused::fused_conv_onto`] of [`Fused::fused_upsample`].
    #[allow(
        clippy::too_many_arguments,
        reason = "operands of one operation: what dispatches them takes no arrays, and leaves expectations unmet"
    )]
    fn fused_conv_upsampled_normed(
        _x: FloatTensor<Self>,
        _height: usize,
        _up: FloatTensor<Self>,
        _bias: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _onto: FloatTensor<Self>,
        _gamma: FloatTensor<Self>,
        _beta: FloatTensor<Self>,
        _groups: usize,
        _eps: f32,
        _activation: Activation,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// The activation of `x Wᵀ + b` over the last axis.
    fn fused_linear_activated(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _bias: FloatTensor<Self>,
        _activation: Activation,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// `onto + x Wᵀ + b` over the last axis.
    fn fused_linear_onto(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _bias: FloatTensor<Self>,
        _onto: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// `onto [M, L, O]` plus `x Wᵀ` over the last axis of `x [N, L, C]`; each of the `M` for as many of the `N` one after the other.
    fn fused_linear_over(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _onto: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// [`Fused::fused_linear_onto`] of [`Fused::fused_linear_activated`].
    fn fused_mlp_onto(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _bias: FloatTensor<Self>,
        _activation: Activation,
        _last: FloatTensor<Self>,
        _last_bias: FloatTensor<Self>,
        _onto: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// Each value by itself.
    fn fused_activation(_x: FloatTensor<Self>, _activation: Activation) -> FloatTensor<Self> {
        untrained()
    }
    /// Over the last axis.
    fn fused_unit(_x: FloatTensor<Self>) -> FloatTensor<Self> {
        untrained()
    }
    /// `a + b`.
    fn fused_plus(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_add(a, b)
    }
    /// `[N·T, g², C]` to `[N·(g/2)², T, C]`.
    fn fused_pool_classes(_x: FloatTensor<Self>, _pairs: usize, _grid: usize) -> FloatTensor<Self> {
        untrained()
    }
    /// `[N·(g/2)², T, C]` onto `[N·T, g², C]`.
    fn fused_spread_classes(
        _x: FloatTensor<Self>,
        _onto: FloatTensor<Self>,
        _grid: usize,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// `[M, T, C]` thrice, `[1, T, C]` twice and `[1, 1, C]` twice to `[M, T, C]`.
    #[allow(
        clippy::too_many_arguments,
        reason = "operands of one operation: what dispatches them takes no arrays, and leaves expectations unmet"
    )]
    fn fused_class_attention(
        _q: FloatTensor<Self>,
        _k: FloatTensor<Self>,
        _v: FloatTensor<Self>,
        _guide_q: FloatTensor<Self>,
        _guide_k: FloatTensor<Self>,
        _pad_k: FloatTensor<Self>,
        _pad_v: FloatTensor<Self>,
        _pad_count: f32,
        _heads: usize,
    ) -> FloatTensor<Self> {
        untrained()
    }
    /// `[M, g², C]` to `[4 M, g² / 4, C]`.
    fn fused_cut_windows(_x: FloatTensor<Self>, _grid: usize, _shift: usize) -> FloatTensor<Self> {
        untrained()
    }
    /// `[4 M, g² / 4, C]` onto `[M, g², C]`.
    fn fused_join_windows(
        _x: FloatTensor<Self>,
        _onto: FloatTensor<Self>,
        _grid: usize,
        _shift: usize,
    ) -> FloatTensor<Self> {
        untrained()
    }
}

impl Fused for Flex {
    fn fused_attention(
        q: FlexTensor,
        k: FlexTensor,
        v: FlexTensor,
        scale: f32,
        bias: Option<Arc<WindowBias>>,
    ) -> FlexTensor {
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
        gamma: FlexTensor,
        beta: FlexTensor,
        groups: usize,
        eps: f32,
        activation: Option<Activation>,
    ) -> FlexTensor {
        cpu::group_norm(x, &gamma, &beta, groups, eps, activation)
    }

    fn fused_conv(x: FlexTensor, weight: FlexTensor) -> FlexTensor {
        cpu::conv(&x, &weight, None, None, None)
    }

    fn fused_conv_onto(x: FlexTensor, weight: FlexTensor, onto: FlexTensor) -> FlexTensor {
        cpu::conv(&x, &weight, None, None, Some(&onto))
    }

    fn fused_conv_bias_onto(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        onto: FlexTensor,
    ) -> FlexTensor {
        cpu::conv(&x, &weight, Some(&bias), None, Some(&onto))
    }

    fn fused_conv_bias(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        cpu::conv(&x, &weight, Some(&bias), None, None)
    }

    fn fused_conv_activated(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        activation: Activation,
    ) -> FlexTensor {
        cpu::conv(&x, &weight, Some(&bias), Some(activation), None)
    }

    fn fused_linear(x: FlexTensor, weight: FlexTensor) -> FlexTensor {
        cpu::linear(&x, &weight, None, None)
    }

    fn fused_linear_bias(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        cpu::linear(&x, &weight, Some(&bias), None)
    }

    fn fused_linear_activated(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        activation: Activation,
    ) -> FlexTensor {
        cpu::linear(&x, &weight, Some(&bias), Some(activation))
    }

    fn fused_linear_onto(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        onto: FlexTensor,
    ) -> FlexTensor {
        cpu::linear_onto(&x, &weight, &bias, onto)
    }

    fn fused_patches(x: FlexTensor, weight: FlexTensor) -> FlexTensor {
        cpu::patches(&x, &weight, None, Cells::Tokens)
    }

    fn fused_patches_bias(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        cpu::patches(&x, &weight, Some(&bias), Cells::Tokens)
    }

    fn fused_patch_map(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        cpu::patches(&x, &weight, Some(&bias), Cells::Map)
    }

    fn fused_upsample(
        x: FlexTensor,
        height: usize,
        weight: FlexTensor,
        bias: FlexTensor,
    ) -> FlexTensor {
        cpu::upsample(&x, height, &weight, &bias)
    }

    fn fused_conv_normed(
        x: FlexTensor,
        weight: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        groups: usize,
        eps: f32,
        activation: Activation,
    ) -> FlexTensor {
        let norm = Norm::new(&gamma, &beta, groups, eps, Some(activation));
        cpu::conv_normed(&x, &weight, None, &norm)
    }

    fn fused_conv_upsampled_normed(
        x: FlexTensor,
        height: usize,
        up: FlexTensor,
        bias: FlexTensor,
        weight: FlexTensor,
        onto: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        groups: usize,
        eps: f32,
        activation: Activation,
    ) -> FlexTensor {
        let norm = Norm::new(&gamma, &beta, groups, eps, Some(activation));
        cpu::conv_upsampled_normed(&x, height, [&up, &bias], &weight, &onto, &norm)
    }

    fn fused_mlp_onto(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        activation: Activation,
        last: FlexTensor,
        last_bias: FlexTensor,
        onto: FlexTensor,
    ) -> FlexTensor {
        cpu::mlp_onto(&x, [&weight, &bias], activation, [&last, &last_bias], onto)
    }

    fn fused_activation(x: FlexTensor, activation: Activation) -> FlexTensor {
        cpu::activate(x, activation)
    }

    fn fused_plus(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        cpu::plus(a, b)
    }

    fn fused_pool_classes(x: FlexTensor, pairs: usize, grid: usize) -> FlexTensor {
        cpu::pool_classes(&x, pairs, grid)
    }

    fn fused_spread_classes(x: FlexTensor, onto: FlexTensor, grid: usize) -> FlexTensor {
        cpu::spread_classes(&x, onto, grid)
    }

    fn fused_class_attention(
        q: FlexTensor,
        k: FlexTensor,
        v: FlexTensor,
        guide_q: FlexTensor,
        guide_k: FlexTensor,
        pad_k: FlexTensor,
        pad_v: FlexTensor,
        pad_count: f32,
        heads: usize,
    ) -> FlexTensor {
        let (guidance, pads) = ([&guide_q, &guide_k], [&pad_k, &pad_v]);
        cpu::class_attention([&q, &k, &v], guidance, pads, pad_count, heads)
    }

    fn fused_cut_windows(x: FlexTensor, grid: usize, shift: usize) -> FlexTensor {
        cpu::cut_windows(&x, grid, shift)
    }

    fn fused_join_windows(
        x: FlexTensor,
        onto: FlexTensor,
        grid: usize,
        shift: usize,
    ) -> FlexTensor {
        cpu::join_windows(&x, onto, grid, shift)
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod gradients {
    use std::sync::Arc;

    use burn::backend::autodiff::checkpoint::base::Checkpointer;
    use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
    use burn::backend::autodiff::grads::Gradients;
    use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
    use burn::backend::flex::FlexTensor;
    use burn::backend::tensor::FloatTensor;
    use burn::backend::{Autodiff, Flex};

    use burn_cubecl::CubeBackend;

    use super::Fused;
    use crate::cpu::{self, Cells, SoftmaxRow};
    use crate::{Activation, WindowBias};

    #[derive(Clone, Debug)]
    struct AttentionState {
        operands: [FlexTensor; 3],
        out: FlexTensor,
        sums: Arc<[SoftmaxRow]>,
        scale: f32,
        bias: Option<Arc<WindowBias>>,
    }

    impl<C: CheckpointStrategy> Fused for Autodiff<CubeBackend, C> {}

    /// The backward step of an operation: what it keeps, and the gradients of its operands from
    /// that and the gradient of its result.
    macro_rules! backward {
        ($name:ident, $parents:literal, $state:ty, $gradients:expr) => {
            #[derive(Debug)]
            struct $name;
            impl Backward<Flex, $parents> for $name {
                type State = $state;

                fn backward(
                    self,
                    ops: Ops<Self::State, $parents>,
                    grads: &mut Gradients,
                    _checkpointer: &mut Checkpointer,
                ) {
                    let grad = grads.consume::<Flex>(&ops.node);
                    let gradients = $gradients(ops.state, grad);
                    for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
                        if let Some(node) = parent {
                            grads.register::<Flex>(node.id, gradient);
                        }
                    }
                }
            }
        };
    }

    backward!(
        Attention,
        3,
        AttentionState,
        |state: AttentionState, grad| {
            let [q, k, v] = state.operands;
            let (sums, bias) = (&state.sums, state.bias.as_deref());
            cpu::attention_backward(q, k, v, state.out, sums, grad, state.scale, bias)
        }
    );
    type Normed<S> = (FlexTensor, FlexTensor, S);
    backward!(
        LayerNorm,
        3,
        Normed<f32>,
        |(x, gamma, eps): Normed<f32>, grad| { cpu::layer_norm_backward(&x, &gamma, &grad, eps) }
    );
    backward!(
        GroupNorm,
        3,
        Normed<(usize, f32)>,
        |(x, gamma, (groups, eps)): Normed<(usize, f32)>, grad| {
            cpu::group_norm_backward(&x, &gamma, &grad, groups, eps)
        }
    );
    type Pair = (FlexTensor, FlexTensor);
    // Zipped with two parents, the third gradient falls away.
    backward!(Conv, 2, Pair, |(x, weight): Pair, grad| {
        cpu::conv_backward(&x, &weight, &grad)
    });
    backward!(ConvBias, 3, Pair, |(x, weight): Pair, grad| {
        cpu::conv_backward(&x, &weight, &grad)
    });
    backward!(Linear, 2, Pair, |(x, weight): Pair, grad| {
        cpu::linear_backward(&x, &weight, &grad)
    });
    backward!(LinearBias, 3, Pair, |(x, weight): Pair, grad| {
        cpu::linear_backward(&x, &weight, &grad)
    });
    backward!(Patches, 2, Pair, |(x, weight): Pair, grad| {
        cpu::patches_backward(&x, &weight, &grad, Cells::Tokens)
    });
    backward!(PatchesBias, 3, Pair, |(x, weight): Pair, grad| {
        cpu::patches_backward(&x, &weight, &grad, Cells::Tokens)
    });
    backward!(PatchMap, 3, Pair, |(x, weight): Pair, grad| {
        cpu::patches_backward(&x, &weight, &grad, Cells::Map)
    });
    type Tall = (FlexTensor, usize, FlexTensor);
    backward!(Upsample, 3, Tall, |(x, height, weight): Tall, grad| {
        cpu::upsample_backward(&x, height, &weight, &grad)
    });
    type Activated = (FlexTensor, Activation);
    backward!(
        Activate,
        1,
        Activated,
        |(x, activation): Activated, grad| { [cpu::activate_backward(&x, &grad, activation)] }
    );

    /// The result of an operation, with its backward step where an operand is tracked.
    macro_rules! record {
        ($step:ident, $nodes:expr, $state:expr, $out:expr) => {
            match $step.prepare::<C>($nodes).compute_bound().stateful() {
                OpsKind::Tracked(prep) => prep.finish($state, $out),
                OpsKind::UnTracked(prep) => prep.finish($out),
            }
        };
    }

    impl<C: CheckpointStrategy> Fused for Autodiff<Flex, C> {
        fn fused_attention(
            q: FloatTensor<Self>,
            k: FloatTensor<Self>,
            v: FloatTensor<Self>,
            scale: f32,
            bias: Option<Arc<WindowBias>>,
        ) -> FloatTensor<Self> {
            let nodes = [q.node(), k.node(), v.node()];
            let operands = [q, k, v].map(|operand| operand.into_primitive());
            let [q, k, v] = operands.clone();
            let (out, sums) = cpu::attention(q, k, v, scale, bias.as_deref());
            let state = AttentionState {
                operands,
                out: out.clone(),
                sums: sums.into(),
                scale,
                bias,
            };
            record!(Attention, nodes, state, out)
        }

        fn fused_layer_norm(
            x: FloatTensor<Self>,
            gamma: FloatTensor<Self>,
            beta: FloatTensor<Self>,
            eps: f32,
        ) -> FloatTensor<Self> {
            let nodes = [x.node(), gamma.node(), beta.node()];
            let (x, gamma) = (x.into_primitive(), gamma.into_primitive());
            let out = cpu::layer_norm(&x, &gamma, &beta.into_primitive(), eps);
            record!(LayerNorm, nodes, (x, gamma, eps), out)
        }

        fn fused_group_norm(
            x: FloatTensor<Self>,
            gamma: FloatTensor<Self>,
            beta: FloatTensor<Self>,
            groups: usize,
            eps: f32,
            activation: Option<Activation>,
        ) -> FloatTensor<Self> {
            let nodes = [x.node(), gamma.node(), beta.node()];
            let (x, gamma) = (x.into_primitive(), gamma.into_primitive());
            assert!(
                activation.is_none(),
                "activations are recorded on their own"
            );
            let beta = beta.into_primitive();
            let out = cpu::group_norm(x.clone(), &gamma, &beta, groups, eps, None);
            record!(GroupNorm, nodes, (x, gamma, (groups, eps)), out)
        }

        fn fused_conv(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
            let nodes = [x.node(), weight.node()];
            let (x, weight) = (x.into_primitive(), weight.into_primitive());
            let out = cpu::conv(&x, &weight, None, None, None);
            record!(Conv, nodes, (x, weight), out)
        }

        fn fused_conv_bias(
            x: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            bias: FloatTensor<Self>,
        ) -> FloatTensor<Self> {
            let nodes = [x.node(), weight.node(), bias.node()];
            let (x, weight) = (x.into_primitive(), weight.into_primitive());
            let out = cpu::conv(&x, &weight, Some(&bias.into_primitive()), None, None);
            record!(ConvBias, nodes, (x, weight), out)
        }

        fn fused_linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
            let nodes = [x.node(), weight.node()];
            let (x, weight) = (x.into_primitive(), weight.into_primitive());
            let out = cpu::linear(&x, &weight, None, None);
            record!(Linear, nodes, (x, weight), out)
        }

        fn fused_patches(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
            let nodes = [x.node(), weight.node()];
            let (x, weight) = (x.into_primitive(), weight.into_primitive());
            let out = cpu::patches(&x, &weight, None, Cells::Tokens);
            record!(Patches, nodes, (x, weight), out)
        }

        fn fused_linear_bias(
            x: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            bias: FloatTensor<Self>,
        ) -> FloatTensor<Self> {
            let nodes = [x.node(), weight.node(), bias.node()];
            let (x, weight) = (x.into_primitive(), weight.into_primitive());
            let out = cpu::linear(&x, &weight, Some(&bias.into_primitive()), None);
            record!(LinearBias, nodes, (x, weight), out)
        }

        fn fused_patches_bias(
            x: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            bias: FloatTensor<Self>,
        ) -> FloatTensor<Self> {
            let nodes = [x.node(), weight.node(), bias.node()];
            let (x, weight) = (x.into_primitive(), weight.into_primitive());
            let out = cpu::patches(&x, &weight, Some(&bias.into_primitive()), Cells::Tokens);
            record!(PatchesBias, nodes, (x, weight), out)
        }

        fn fused_patch_map(
            x: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            bias: FloatTensor<Self>,
        ) -> FloatTensor<Self> {
            let nodes = [x.node(), weight.node(), bias.node()];
            let (x, weight) = (x.into_primitive(), weight.into_primitive());
            let out = cpu::patches(&x, &weight, Some(&bias.into_primitive()), Cells::Map);
            record!(PatchMap, nodes, (x, weight), out)
        }

        fn fused_upsample(
            x: FloatTensor<Self>,
            height: usize,
            weight: FloatTensor<Self>,
            bias: FloatTensor<Self>,
        ) -> FloatTensor<Self> {
            let nodes = [x.node(), weight.node(), bias.node()];
            let (x, weight) = (x.into_primitive(), weight.into_primitive());
            let out = cpu::upsample(&x, height, &weight, &bias.into_primitive());
            record!(Upsample, nodes, (x, height, weight), out)
        }

        fn fused_activation(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
            let nodes = [x.node()];
            let x = x.into_primitive();
            let out = cpu::activate(x.clone(), activation);
            record!(Activate, nodes, (x, activation), out)
        }
    }
}
