//! Small layers that keep the checkpoint's own layouts, so that loading is a copy by name.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{DType, Device, Int, Tensor};
use mmovseg_kernels::{self as kernels, Activation, Norm};

/// A parameter drawn from a normal distribution of the given deviation, made on first use.
pub(crate) fn normal<const D: usize>(
    shape: [usize; D],
    std: f64,
    device: &Device,
) -> Param<Tensor<D>> {
    Initializer::Normal { mean: 0.0, std }.init(shape, device)
}

/// A parameter filled with one value, made on first use.
pub(crate) fn constant<const D: usize>(
    shape: [usize; D],
    value: f64,
    device: &Device,
) -> Param<Tensor<D>> {
    Initializer::Constant { value }.init(shape, device)
}

/// `y = x Wᵀ + b`, weight `[out, in]`.
#[derive(Module, Debug)]
pub(crate) struct Linear {
    pub weight: Param<Tensor<2>>,
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    pub fn new(input: usize, output: usize, device: &Device) -> Self {
        Self {
            weight: normal([output, input], (1.0 / input as f64).sqrt(), device),
            bias: constant([output], 0.0, device),
        }
    }

    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        kernels::linear(x, self.weight.val(), Some(self.bias.val()))
    }

    /// The activation of it.
    pub fn activated<const D: usize>(&self, x: Tensor<D>, activation: Activation) -> Tensor<D> {
        kernels::linear_activated(x, self.weight.val(), self.bias.val(), activation)
    }

    /// `onto + y`.
    pub fn onto<const D: usize>(&self, x: Tensor<D>, onto: Tensor<D>) -> Tensor<D> {
        kernels::linear_onto(x, self.weight.val(), self.bias.val(), onto)
    }

    /// `onto + last(f(y))`.
    pub fn then_onto<const D: usize>(
        &self,
        x: Tensor<D>,
        activation: Activation,
        last: &Self,
        onto: Tensor<D>,
    ) -> Tensor<D> {
        let own = (self.weight.val(), self.bias.val());
        let last = (last.weight.val(), last.bias.val());
        kernels::mlp_onto(x, own, activation, last, onto)
    }

    /// What the inputs from `first` on add to the result, without the bias. A part of the input that is
    /// the same for many rows is multiplied once for all of them.
    pub fn part<const D: usize>(&self, x: Tensor<D>, first: usize) -> Tensor<D> {
        let width = x.dims()[D - 1];
        kernels::linear(x, self.weight.val().narrow(1, first, width), None)
    }

    /// The same added to `onto [M, L, out]`, see [`kernels::linear_over`].
    pub fn part_over(&self, x: Tensor<3>, first: usize, onto: Tensor<3>) -> Tensor<3> {
        let width = x.dims()[2];
        kernels::linear_over(x, self.weight.val().narrow(1, first, width), onto)
    }

    /// [`Linear::part`] with the bias.
    pub fn part_with_bias<const D: usize>(&self, x: Tensor<D>, first: usize) -> Tensor<D> {
        let width = x.dims()[D - 1];
        let weight = self.weight.val().narrow(1, first, width);
        kernels::linear(x, weight, Some(self.bias.val()))
    }
}

/// Layer norm over the last axis, with the checkpoint's names.
#[derive(Module, Debug)]
pub(crate) struct LayerNorm {
    pub weight: Param<Tensor<1>>,
    pub bias: Param<Tensor<1>>,
    eps: f64,
}

impl LayerNorm {
    pub fn new(width: usize, eps: f64, device: &Device) -> Self {
        Self {
            weight: constant([width], 1.0, device),
            bias: constant([width], 0.0, device),
            eps,
        }
    }

    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        kernels::layer_norm(x, self.weight.val(), self.bias.val(), self.eps)
    }
}

/// Group norm over `[N, C, H, W]` with biased variance (docs/network.md §11).
#[derive(Module, Debug)]
pub(crate) struct GroupNorm {
    pub weight: Param<Tensor<1>>,
    pub bias: Param<Tensor<1>>,
    groups: usize,
}

impl GroupNorm {
    const EPS: f64 = 1e-5;

    pub fn new(channels: usize, groups: usize, device: &Device) -> Self {
        Self {
            weight: constant([channels], 1.0, device),
            bias: constant([channels], 0.0, device),
            groups,
        }
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        kernels::group_norm(x, weight, bias, self.groups, Self::EPS)
    }

    /// `max(0, y)` for kernels that end in it.
    pub fn rectified(&self) -> Norm {
        Norm {
            gamma: self.weight.val(),
            beta: self.bias.val(),
            groups: self.groups,
            eps: Self::EPS,
            activation: Activation::Relu,
        }
    }
}

/// A square convolution, weight `[out, in, k, k]`, stride 1, "same" padding for odd `k`.
#[derive(Module, Debug)]
pub(crate) struct Conv {
    pub weight: Param<Tensor<4>>,
    pub bias: Option<Param<Tensor<1>>>,
}

impl Conv {
    pub fn new(input: usize, output: usize, kernel: usize, bias: bool, device: &Device) -> Self {
        let std = (2.0 / (input * kernel * kernel) as f64).sqrt();
        Self {
            weight: normal([output, input, kernel, kernel], std, device),
            bias: bias.then(|| constant([output], 0.0, device)),
        }
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        kernels::conv(x, self.weight.val(), self.bias.as_ref().map(Param::val))
    }

    /// The activation of it.
    pub fn activated(&self, x: Tensor<4>, activation: Activation) -> Tensor<4> {
        match &self.bias {
            Some(bias) => kernels::conv_activated(x, self.weight.val(), bias.val(), activation),
            None => kernels::activate(self.forward(x), activation),
        }
    }

    /// `onto [M, out, h, w]` plus it, see [`kernels::conv_onto`].
    pub fn onto(&self, x: Tensor<4>, onto: Tensor<4>) -> Tensor<4> {
        let bias = self.bias.as_ref().map(Param::val);
        kernels::conv_onto(x, self.weight.val(), bias, onto)
    }

    /// The rectified norm of it.
    pub fn normed(&self, x: Tensor<4>, norm: &GroupNorm) -> Tensor<4> {
        match &self.bias {
            Some(_) => norm.rectified().of(self.forward(x)),
            None => kernels::conv_normed(x, self.weight.val(), norm.rectified()),
        }
    }

    /// `onto` plus it.
    pub fn normed_onto(&self, x: Tensor<4>, norm: &GroupNorm, onto: Tensor<4>) -> Tensor<4> {
        match &self.bias {
            Some(_) => kernels::plus(self.normed(x, norm), onto),
            None => kernels::conv_normed_onto(x, self.weight.val(), norm.rectified(), onto),
        }
    }

    /// What the input channels from `first` on add to the result, without the bias; see [`Linear::part`].
    pub fn part(&self, x: Tensor<4>, first: usize) -> Tensor<4> {
        let weight = self.weight_part(first, x.dims()[1]);
        kernels::conv(x, weight, None)
    }

    /// The weights of so many input channels from `first` on.
    pub fn weight_part(&self, first: usize, channels: usize) -> Tensor<4> {
        self.weight.val().narrow(1, first, channels)
    }

    /// The same added to `onto [M, out, h, w]`, see [`kernels::conv_onto`].
    pub fn part_onto(&self, x: Tensor<4>, first: usize, onto: Tensor<4>) -> Tensor<4> {
        let weight = self.weight_part(first, x.dims()[1]);
        kernels::conv_onto(x, weight, None, onto)
    }

    /// The same weights as a convolution whose stride is its kernel, see [`kernels::patches`].
    pub fn patches(&self, x: Tensor<4>) -> Tensor<3> {
        kernels::patches(x, self.weight.val(), self.bias.as_ref().map(Param::val))
    }

    /// The same as a map, for a convolution with bias.
    pub fn patch_map(&self, x: Tensor<4>) -> Tensor<4> {
        match &self.bias {
            Some(bias) => kernels::patch_map(x, self.weight.val(), bias.val()),
            None => {
                let [_, _, h, w] = x.dims();
                let [_, _, k, _] = self.weight.dims();
                to_map(self.patches(x), h / k, w / k)
            }
        }
    }

    /// The activation of it.
    pub fn patch_map_activated(&self, x: Tensor<4>, activation: Activation) -> Tensor<4> {
        match &self.bias {
            Some(bias) => {
                kernels::patch_map_activated(x, self.weight.val(), bias.val(), activation)
            }
            None => kernels::activate(self.patch_map(x), activation),
        }
    }
}

/// In f32, whatever the weights of the layer before are held in.
pub(crate) fn full<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.cast(DType::F32)
}

/// Tokens `[N, prefix + L, W]` with those of the patches that are kept, or all, and how many those are.
pub(crate) fn kept(
    tokens: Tensor<3>,
    prefix: usize,
    keep: Option<Tensor<1, Int>>,
) -> (Tensor<3>, usize) {
    let patches = tokens.dims()[1] - prefix;
    let Some(keep) = keep else {
        return (tokens, patches);
    };
    let count = keep.dims()[0];
    let first = tokens.clone().narrow(1, 0, prefix);
    let some = tokens.narrow(1, prefix, patches).select(1, keep);
    (Tensor::cat(vec![first, some], 1), count)
}

/// Bytes of a tensor's values.
pub(crate) fn bytes<const D: usize>(x: &Tensor<D>) -> usize {
    x.dims().iter().product::<usize>() * x.dtype().size()
}

/// Row-major tokens `[N, h·w, C]` as a map `[N, C, h, w]`.
pub(crate) fn to_map(x: Tensor<3>, h: usize, w: usize) -> Tensor<4> {
    let [n, _, c] = x.dims();
    x.swap_dims(1, 2).reshape([n, c, h, w])
}

/// A map `[N, C, h, w]` as row-major tokens `[N, h·w, C]`.
pub(crate) fn tokens(map: Tensor<4>) -> Tensor<3> {
    let [n, c, h, w] = map.dims();
    map.reshape([n, c, h * w]).swap_dims(1, 2)
}

/// A transposed convolution whose stride is its kernel, weight `[in, out, k, k]`.
#[derive(Module, Debug)]
pub(crate) struct Upsample {
    pub weight: Param<Tensor<4>>,
    pub bias: Param<Tensor<1>>,
}

impl Upsample {
    pub fn new(input: usize, output: usize, kernel: usize, device: &Device) -> Self {
        Self {
            weight: normal(
                [input, output, kernel, kernel],
                (1.0 / input as f64).sqrt(),
                device,
            ),
            bias: constant([output], 0.0, device),
        }
    }

    /// `[N, C, h, w]` onto `[N, out, k·h, k·w]`.
    pub fn onto(&self, x: Tensor<4>, onto: Tensor<4>) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        // Tokens are a view: the kernel reads the map where it lies.
        kernels::upsample_onto(tokens(x), [h, w], self.weight.val(), self.bias.val(), onto)
    }

    /// Row-major tokens `[N, h·w, C]` to `[N, out, k·h, k·w]`.
    pub fn forward_tokens(&self, x: Tensor<3>, h: usize, w: usize) -> Tensor<4> {
        kernels::upsample(x, [h, w], self.weight.val(), self.bias.val())
    }
}
