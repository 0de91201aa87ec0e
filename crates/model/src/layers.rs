//! Small layers that keep the checkpoint's own layouts, so that loading is a copy by name.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{DType, Device, Int, Tensor};
use mmovseg_kernels::{self as kernels, Activation, Epilogue};

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
        kernels::linear(x, self.weight.val(), Some(self.bias.val()), Epilogue::None)
    }

    /// The activation of it.
    pub fn activated<const D: usize>(&self, x: Tensor<D>, activation: Activation) -> Tensor<D> {
        kernels::linear(
            x,
            self.weight.val(),
            Some(self.bias.val()),
            Epilogue::Activation(activation),
        )
    }

    /// `onto + y`.
    pub fn onto<const D: usize>(&self, x: Tensor<D>, onto: Tensor<D>) -> Tensor<D> {
        kernels::linear(
            x,
            self.weight.val(),
            Some(self.bias.val()),
            Epilogue::add(onto),
        )
    }

    /// `onto + last(f(y))`.
    pub fn then_onto<const D: usize>(
        &self,
        x: Tensor<D>,
        activation: Activation,
        last: &Self,
        onto: Tensor<D>,
    ) -> Tensor<D> {
        last.onto(self.activated(x, activation), onto)
    }

    /// What the inputs from `first` on add to the result, without the bias. A part of the input
    /// that is the same for many rows is multiplied once for all of them.
    pub fn part<const D: usize>(&self, x: Tensor<D>, first: usize) -> Tensor<D> {
        let width = x.dims()[D - 1];
        kernels::linear(
            x,
            self.weight.val().narrow(1, first, width),
            None,
            Epilogue::None,
        )
    }

    /// [`Linear::part`] added to `onto [M, L, out]`, each entry for `N / M` entries of `x [N, L,
    /// in]`.
    pub fn part_over(&self, x: Tensor<3>, first: usize, onto: Tensor<3>) -> Tensor<3> {
        let width = x.dims()[2];
        let weight = self.weight.val().narrow(1, first, width);
        kernels::linear(x, weight, None, Epilogue::add(onto))
    }

    /// [`Linear::part`] with the bias.
    pub fn part_with_bias<const D: usize>(&self, x: Tensor<D>, first: usize) -> Tensor<D> {
        let width = x.dims()[D - 1];
        let weight = self.weight.val().narrow(1, first, width);
        kernels::linear(x, weight, Some(self.bias.val()), Epilogue::None)
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
        kernels::group_norm(x, self.operands())
    }

    /// The norm followed by ReLU, for an epilogue.
    pub fn rectified(&self) -> kernels::GroupNorm {
        self.operands().then(Activation::Relu)
    }

    fn operands(&self) -> kernels::GroupNorm {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        kernels::GroupNorm::new(weight, bias, self.groups, Self::EPS)
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
        self.with_epilogue(x, Epilogue::None)
    }

    /// `[N, in, h, w]` to `[N, out, h, w]`, then the epilogue.
    fn with_epilogue(&self, x: Tensor<4>, epilogue: Epilogue) -> Tensor<4> {
        let bias = self.bias.as_ref().map(Param::val);
        kernels::conv(x, self.weight.val(), bias, epilogue)
    }

    /// The activation of it.
    pub fn activated(&self, x: Tensor<4>, activation: Activation) -> Tensor<4> {
        self.with_epilogue(x, Epilogue::Activation(activation))
    }

    /// `onto [M, out, h, w]` plus it, each entry for `N / M` images.
    pub fn onto(&self, x: Tensor<4>, onto: Tensor<4>) -> Tensor<4> {
        self.with_epilogue(x, Epilogue::add(onto))
    }

    /// The rectified norm of it.
    pub fn normed(&self, x: Tensor<4>, norm: &GroupNorm) -> Tensor<4> {
        self.with_epilogue(x, Epilogue::Norm(norm.rectified()))
    }

    /// `onto` plus it.
    pub fn normed_onto(&self, x: Tensor<4>, norm: &GroupNorm, onto: Tensor<4>) -> Tensor<4> {
        self.with_epilogue(x, Epilogue::norm_add(norm.rectified(), onto))
    }

    /// What the input channels from `first` on add to the result, without the bias; see
    /// [`Linear::part`].
    pub fn part(&self, x: Tensor<4>, first: usize) -> Tensor<4> {
        let weight = self.weight_part(first, x.dims()[1]);
        kernels::conv(x, weight, None, Epilogue::None)
    }

    /// The weights of so many input channels from `first` on.
    pub fn weight_part(&self, first: usize, channels: usize) -> Tensor<4> {
        self.weight.val().narrow(1, first, channels)
    }

    /// [`Conv::part`] added to `onto [M, out, h, w]`, each entry for `N / M` images.
    pub fn part_onto(&self, x: Tensor<4>, first: usize, onto: Tensor<4>) -> Tensor<4> {
        let weight = self.weight_part(first, x.dims()[1]);
        kernels::conv(x, weight, None, Epilogue::add(onto))
    }

    /// The convolution with a stride of its kernel's size, see [`kernels::patches`].
    pub fn patches(&self, x: Tensor<4>) -> Tensor<3> {
        kernels::patches(x, self.weight.val(), self.bias.as_ref().map(Param::val))
    }

    /// [`Conv::patches`] as a map `[N, out, h / k, w / k]`.
    pub fn patch_map(&self, x: Tensor<4>) -> Tensor<4> {
        self.patch_map_with(x, Epilogue::None)
    }

    /// The activation of [`Conv::patch_map`].
    pub fn patch_map_activated(&self, x: Tensor<4>, activation: Activation) -> Tensor<4> {
        self.patch_map_with(x, Epilogue::Activation(activation))
    }

    fn patch_map_with(&self, x: Tensor<4>, epilogue: Epilogue) -> Tensor<4> {
        let bias = self.bias.as_ref().map(Param::val);
        kernels::patch_map(x, self.weight.val(), bias, epilogue)
    }
}

/// Casts to f32: a layer with f16 weights gives f16.
pub(crate) fn full<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.cast(DType::F32)
}

/// Tokens `[N, prefix + L, W]` with those of the patches that are kept, or all, and how many those
/// are.
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
        self.with_epilogue(tokens(x), [h, w], Epilogue::add(onto))
    }

    /// Row-major tokens `[N, h·w, C]` to `[N, out, k·h, k·w]`.
    pub fn forward_tokens(&self, x: Tensor<3>, h: usize, w: usize) -> Tensor<4> {
        self.with_epilogue(x, [h, w], Epilogue::None)
    }

    fn with_epilogue(&self, x: Tensor<3>, grid: [usize; 2], epilogue: Epilogue) -> Tensor<4> {
        kernels::upsample(x, grid, self.weight.val(), self.bias.val(), epilogue)
    }
}
