//! The operations on the CPU with gradients. On a GPU, training runs the references.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn_cubecl::CubeBackend;

use super::{FusedOps, Qkv, apply_epilogue};
use crate::activation::Activation;
use crate::bias::WindowBias;
use crate::cpu::{self, ConvEpilogue, SoftmaxRow};
use crate::epilogue::{Epilogue, GroupNorm, Optional};
use crate::layout::CellLayout;

impl<C: CheckpointStrategy> FusedOps for Autodiff<CubeBackend, C> {}

/// What the backward pass of attention needs.
#[derive(Clone, Debug)]
struct AttentionState {
    qkv: [FlexTensor; 3],
    out: FlexTensor,
    rows: Arc<[SoftmaxRow]>,
    scale: f32,
    bias: Option<Arc<WindowBias>>,
}

/// Defines the backward step of an operation with so many operands: its state, and a function from
/// the state and the gradient of the result to the gradients of the operands. Gradients beyond the
/// number of operands are dropped: without a bias, the last one.
macro_rules! backward {
    ($name:ident, [$($parents:literal),+], $state:ty, $gradients:expr) => {
        #[derive(Debug)]
        struct $name;
        $(impl Backward<Flex, $parents> for $name {
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
        })+
    };
}

backward!(
    Attention,
    [3],
    AttentionState,
    |state: AttentionState, grad| {
        let [q, k, v] = state.qkv;
        let (rows, bias) = (&state.rows, state.bias.as_deref());
        cpu::attention_backward(q, k, v, state.out, rows, grad, state.scale, bias)
    }
);
type Normed<S> = (FlexTensor, FlexTensor, S);
backward!(
    LayerNorm,
    [3],
    Normed<f32>,
    |(x, gamma, eps): Normed<f32>, grad| { cpu::layer_norm_backward(&x, &gamma, &grad, eps) }
);
backward!(
    GroupNormStep,
    [3],
    Normed<(usize, f32)>,
    |(x, gamma, (groups, eps)): Normed<(usize, f32)>, grad| {
        cpu::group_norm_backward(&x, &gamma, &grad, groups, eps)
    }
);
type Pair = (FlexTensor, FlexTensor);
backward!(Conv, [2, 3], Pair, |(x, weight): Pair, grad| {
    cpu::conv_backward(&x, &weight, &grad)
});
backward!(Linear, [2, 3], Pair, |(x, weight): Pair, grad| {
    cpu::linear_backward(&x, &weight, &grad)
});
type Patched = (FlexTensor, FlexTensor, CellLayout);
backward!(
    Patches,
    [2, 3],
    Patched,
    |(x, weight, layout): Patched, grad| { cpu::patches_backward(&x, &weight, &grad, layout) }
);
type Upsampled = (FlexTensor, usize, FlexTensor);
backward!(
    Upsample,
    [3],
    Upsampled,
    |(x, height, weight): Upsampled, grad| { cpu::upsample_backward(&x, height, &weight, &grad) }
);
type Activated = (FlexTensor, Activation);
backward!(
    Activate,
    [1],
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

/// [`record!`] for an operation `$run` of `x`, a weight and an optional bias.
macro_rules! record_with_bias {
    ($step:ident, $x:ident, $weight:ident, $bias:ident, $state:expr, $run:expr) => {
        match $bias {
            Optional::None => {
                let nodes = [$x.node(), $weight.node()];
                let ($x, $weight) = ($x.into_primitive(), $weight.into_primitive());
                let out = $run(&$x, &$weight, None);
                record!($step, nodes, $state($x, $weight), out)
            }
            Optional::Some(bias) => {
                let nodes = [$x.node(), $weight.node(), bias.node()];
                let ($x, $weight) = ($x.into_primitive(), $weight.into_primitive());
                let out = $run(&$x, &$weight, Some(&bias.into_primitive()));
                record!($step, nodes, $state($x, $weight), out)
            }
        }
    };
}

impl<C: CheckpointStrategy> FusedOps for Autodiff<Flex, C> {
    fn fused_attention(
        qkv: Qkv<Self>,
        scale: f32,
        bias: Option<Arc<WindowBias>>,
    ) -> FloatTensor<Self> {
        let Qkv::Separate { q, k, v } = qkv else {
            super::no_kernel()
        };
        let nodes = [q.node(), k.node(), v.node()];
        let qkv = [q, k, v].map(|operand| operand.into_primitive());
        let [q, k, v] = qkv.clone();
        let (out, rows) = cpu::attention(q, k, v, scale, bias.as_deref());
        let state = AttentionState {
            qkv,
            out: out.clone(),
            rows: rows.into(),
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
        norm: GroupNorm<Self>,
        residual: Optional<Self>,
    ) -> FloatTensor<Self> {
        let GroupNorm {
            gamma,
            beta,
            groups,
            eps,
            activation,
        } = norm;
        let nodes = [x.node(), gamma.node(), beta.node()];
        let (x, gamma) = (x.into_primitive(), gamma.into_primitive());
        let norm = cpu::Norm::new(&gamma, &beta.into_primitive(), groups, eps, None);
        let out = cpu::group_norm(x.clone(), &norm);
        let mut y = record!(GroupNormStep, nodes, (x, gamma, (groups, eps)), out);
        if let Some(activation) = activation {
            y = Self::fused_activation(y, activation);
        }
        match residual {
            Optional::None => y,
            Optional::Some(residual) => Self::fused_add(y, residual),
        }
    }

    fn fused_conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Optional<Self>,
        epilogue: Epilogue<Self>,
    ) -> FloatTensor<Self> {
        let run = |x: &FlexTensor, weight: &FlexTensor, bias: Option<&FlexTensor>| {
            cpu::conv(x, weight, bias, ConvEpilogue::default())
        };
        let y: FloatTensor<Self> =
            record_with_bias!(Conv, x, weight, bias, |x, weight| (x, weight), run);
        apply_epilogue::<Self>(y, epilogue)
    }

    fn fused_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Optional<Self>,
        epilogue: Epilogue<Self>,
    ) -> FloatTensor<Self> {
        let run = |x: &FlexTensor, weight: &FlexTensor, bias: Option<&FlexTensor>| {
            cpu::linear(x, weight, bias, None)
        };
        let y: FloatTensor<Self> =
            record_with_bias!(Linear, x, weight, bias, |x, weight| (x, weight), run);
        apply_epilogue::<Self>(y, epilogue)
    }

    fn fused_patches(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Optional<Self>,
        layout: CellLayout,
        epilogue: Epilogue<Self>,
    ) -> FloatTensor<Self> {
        let run = |x: &FlexTensor, weight: &FlexTensor, bias: Option<&FlexTensor>| {
            cpu::patches(x, weight, bias, layout)
        };
        let state = |x, weight| (x, weight, layout);
        let y: FloatTensor<Self> = record_with_bias!(Patches, x, weight, bias, state, run);
        apply_epilogue::<Self>(y, epilogue)
    }

    fn fused_upsample(
        x: FloatTensor<Self>,
        height: usize,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epilogue: Epilogue<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        let out = cpu::upsample(&x, height, &weight, &bias.into_primitive());
        let y: FloatTensor<Self> = record!(Upsample, nodes, (x, height, weight), out);
        apply_epilogue::<Self>(y, epilogue)
    }

    fn fused_activation(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let x = x.into_primitive();
        let out = cpu::activate(x.clone(), activation);
        record!(Activate, nodes, (x, activation), out)
    }
}
