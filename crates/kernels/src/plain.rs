//! The twins: the same mathematics composed of Burn's operations, on every device.

use burn::tensor::module::{attention as attend, conv2d, layer_norm as norm};
use burn::tensor::ops::{AttentionModuleOptions, ConvOptions};
use burn::tensor::{Tensor, activation};

use crate::WindowBias;

/// `softmax(d^-½ · q kᵀ + bias) v` for `[N, heads, L, d]`; the score buffer is the caller's to
/// bound. A causal mask hides the keys after a query.
#[must_use]
pub fn attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    bias: Option<&WindowBias>,
    is_causal: bool,
) -> Tensor<4> {
    let [n, heads, length, width] = q.dims();
    let bias = bias.map(|bias| {
        let period = bias.period();
        bias.tensor(&q.device())
            .reshape([1, period, 1, length * length])
            .expand([n / period, period, heads, length * length])
            .reshape([n, heads, length, length])
    });
    let options = AttentionModuleOptions {
        scale: Some((width as f64).powf(-0.5)),
        softcap: None,
        is_causal,
    };
    attend(q, k, v, None, bias, options)
}

/// Layer norm over the last axis.
#[must_use]
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    eps: f64,
) -> Tensor<D> {
    norm(x, gamma, Some(beta), eps)
}

/// Group norm over `[N, C, H, W]` with biased variance.
#[must_use]
pub fn group_norm(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    groups: usize,
    eps: f64,
) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    let flat = x.reshape([n * groups, c / groups * h * w]);
    let centred = flat.clone() - flat.mean_dim(1);
    let variance = centred.clone().square().mean_dim(1);
    let y = (centred / (variance + eps).sqrt()).reshape([n, c, h, w]);
    y * gamma.reshape([1, c, 1, 1]) + beta.reshape([1, c, 1, 1])
}

/// A convolution of stride 1 whose output has its input's size.
#[must_use]
pub fn conv(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<4> {
    let pad = weight.dims()[2] / 2;
    let options = ConvOptions::new([1, 1], [pad, pad], [1, 1], 1);
    conv2d(x, weight, bias, options)
}

/// `x · Φ(x)`.
#[must_use]
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::gelu(x)
}

/// `x · σ(1.702 x)`.
#[must_use]
pub fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.clone() * activation::sigmoid(x * 1.702)
}
