//! Small layers that keep the checkpoint's own layouts, so that loading is a copy by name.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};
use mmovseg_kernels as kernels;

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
        linear(x, self.weight.val(), Some(self.bias.val()))
    }
}

impl Linear {
    /// What the inputs from `first` on add to the result, without the bias. A part of the input that is
    /// the same for many rows is multiplied once for all of them.
    pub fn part<const D: usize>(&self, x: Tensor<D>, first: usize) -> Tensor<D> {
        let width = x.dims()[D - 1];
        linear(x, self.weight.val().narrow(1, first, width), None)
    }

    /// The same with the bias.
    pub fn part_with_bias<const D: usize>(&self, x: Tensor<D>, first: usize) -> Tensor<D> {
        let width = x.dims()[D - 1];
        let weight = self.weight.val().narrow(1, first, width);
        linear(x, weight, Some(self.bias.val()))
    }
}

/// `x Wᵀ + b` over the last axis of `x`, weight `[out, in]`.
pub(crate) fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let mut dims = x.dims();
    let input = dims[D - 1];
    let rows = dims.iter().product::<usize>() / input.max(1);
    let [output, _] = weight.dims();
    let y = x.reshape([rows, input]).matmul(weight.transpose());
    let y = match bias {
        Some(bias) => y + bias.reshape([1, output]),
        None => y,
    };
    dims[D - 1] = output;
    y.reshape(dims)
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

/// Group norm over `[N, C, H, W]` with biased variance (spec §11).
#[derive(Module, Debug)]
pub(crate) struct GroupNorm {
    pub weight: Param<Tensor<1>>,
    pub bias: Param<Tensor<1>>,
    groups: usize,
}

impl GroupNorm {
    pub fn new(channels: usize, groups: usize, device: &Device) -> Self {
        Self {
            weight: constant([channels], 1.0, device),
            bias: constant([channels], 0.0, device),
            groups,
        }
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        kernels::group_norm(x, self.weight.val(), self.bias.val(), self.groups, 1e-5)
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

    /// What the input channels from `first` on add to the result, without the bias; see [`Linear::part`].
    pub fn part(&self, x: Tensor<4>, first: usize) -> Tensor<4> {
        let channels = x.dims()[1];
        kernels::conv(x, self.weight.val().narrow(1, first, channels), None)
    }

    /// The same weights as a convolution whose stride is its kernel, see [`patches`].
    pub fn patches(&self, x: Tensor<4>) -> Tensor<3> {
        patches(x, self.weight.val(), self.bias.as_ref().map(Param::val))
    }
}

/// A convolution whose stride is its kernel, weight `[out, in, k, k]`: `[N, C, H, W]` to
/// `[N, H/k · W/k, out]`, one matrix product, patches row-major.
pub(crate) fn patches(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<3> {
    let [n, c, h, w] = x.dims();
    let [output, _, k, _] = weight.dims();
    let (rows, cols) = (h / k, w / k);
    let patches = x
        .reshape([n, c, rows, k, cols, k])
        .permute([0, 2, 4, 1, 3, 5])
        .reshape([n, rows * cols, c * k * k]);
    linear(patches, weight.reshape([output, c * k * k]), bias)
}

/// A transposed convolution whose stride is its kernel, weight `[in, out, k, k]`, over row-major
/// tokens `[N, h·w, C]`: every cell writes its own `k × k` tile of `[N, out, k·h, k·w]` (spec §4).
pub(crate) fn upsample(
    x: Tensor<3>,
    h: usize,
    w: usize,
    weight: Tensor<4>,
    bias: Tensor<1>,
) -> Tensor<4> {
    let [n, _, c] = x.dims();
    let [_, output, k, _] = weight.dims();
    let y = x
        .reshape([n * h * w, c])
        .matmul(weight.reshape([c, output * k * k]));
    let y = y
        .reshape([n, h, w, output, k, k])
        .permute([0, 3, 1, 4, 2, 5])
        .reshape([n, output, k * h, k * w]);
    y + bias.reshape([1, output, 1, 1])
}

/// Row-major tokens `[N, h·w, C]` as a map `[N, C, h, w]`.
pub(crate) fn to_map(x: Tensor<3>, h: usize, w: usize) -> Tensor<4> {
    let [n, _, c] = x.dims();
    x.swap_dims(1, 2).reshape([n, c, h, w])
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

    /// `[N, C, h, w]` to `[N, out, k·h, k·w]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [n, c, h, w] = x.dims();
        self.forward_tokens(x.permute([0, 2, 3, 1]).reshape([n, h * w, c]), h, w)
    }

    /// The same from row-major tokens `[N, h·w, C]`.
    pub fn forward_tokens(&self, x: Tensor<3>, h: usize, w: usize) -> Tensor<4> {
        upsample(x, h, w, self.weight.val(), self.bias.val())
    }
}

/// `x / max(‖x‖₂, 1e-12)` along `dim`.
pub(crate) fn normalise<const D: usize>(x: Tensor<D>, dim: usize) -> Tensor<D> {
    // Held off zero before the root: its derivative at zero is infinite, and zero times that is NaN.
    let norm = x.clone().square().sum_dim(dim).clamp_min(1e-24).sqrt();
    x / norm
}
