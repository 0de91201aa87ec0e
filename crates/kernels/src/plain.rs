//! The twins: the same mathematics composed of Burn's operations, on every device.

use burn::tensor::module::{attention as attend, conv2d, layer_norm as norm};
use burn::tensor::ops::{AttentionModuleOptions, ConvOptions};
use burn::tensor::{Tensor, TensorData, activation};

use crate::{Activation, WindowBias};

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

/// `x Wᵀ + b` over the last axis of `x`, weight `[out, in]`.
#[must_use]
pub fn linear<const D: usize>(
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

/// A convolution whose stride is its kernel, to row-major tokens.
#[must_use]
pub fn patches(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<3> {
    let [n, c, h, w] = x.dims();
    let [output, _, k, _] = weight.dims();
    let (rows, cols) = (h / k, w / k);
    let patches = x
        .reshape([n, c, rows, k, cols, k])
        .permute([0, 2, 4, 1, 3, 5])
        .reshape([n, rows * cols, c * k * k]);
    linear(patches, weight.reshape([output, c * k * k]), bias)
}

/// The same as a map.
#[must_use]
pub fn patch_map(x: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
    let [n, _, h, w] = x.dims();
    let [output, _, k, _] = weight.dims();
    let tokens = patches(x, weight, Some(bias));
    tokens.swap_dims(1, 2).reshape([n, output, h / k, w / k])
}

/// A transposed convolution whose stride is its kernel, over row-major tokens.
#[must_use]
pub fn upsample(x: Tensor<3>, [h, w]: [usize; 2], weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
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

/// The activation of each value.
#[must_use]
pub fn activate<const D: usize>(x: Tensor<D>, which: Activation) -> Tensor<D> {
    match which {
        Activation::Gelu => activation::gelu(x),
        Activation::QuickGelu => x.clone() * activation::sigmoid(x * 1.702),
        Activation::Relu => activation::relu(x),
        Activation::Sigmoid => activation::sigmoid(x),
    }
}

/// Cells `[N·T, g², C]` of `N` pairs, the means of `2 × 2` of them by place: `[N·(g/2)², T, C]`.
#[must_use]
pub fn pool_classes(x: Tensor<3>, pairs: usize, grid: usize) -> Tensor<3> {
    let [sequences, _, width] = x.dims();
    let (classes, half) = (sequences / pairs, grid / 2);
    x.reshape([sequences * half, 2, half, 2, width])
        .mean_dim(1)
        .mean_dim(3)
        .reshape([pairs, classes, half * half, width])
        .swap_dims(1, 2)
        .reshape([pairs * half * half, classes, width])
}

/// See [`crate::cut_windows`].
#[must_use]
pub fn cut_windows(x: Tensor<3>, grid: usize, shift: usize) -> Tensor<3> {
    let ([maps, cells, width], side) = (x.dims(), grid / 2);
    roll(x.reshape([maps, grid, grid, width]), shift)
        .reshape([maps, 2, side, 2, side, width])
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([4 * maps, cells / 4, width])
}

/// See [`crate::join_windows`].
#[must_use]
pub fn join_windows(x: Tensor<3>, onto: Tensor<3>, grid: usize, shift: usize) -> Tensor<3> {
    let ([maps, cells, width], side) = (onto.dims(), grid / 2);
    let map = x
        .reshape([maps, 2, 2, side, side, width])
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([maps, grid, grid, width]);
    let back = (grid - shift) % grid;
    roll(map, back).reshape([maps, cells, width]) + onto
}

/// Moves `[M, g, g, C]` by `-by` rows and columns, cyclically.
fn roll(map: Tensor<4>, by: usize) -> Tensor<4> {
    if by == 0 {
        return map;
    }
    let [_, h, w, _] = map.dims();
    let (below, above) = (map.clone().narrow(1, by, h - by), map.narrow(1, 0, by));
    let rows = Tensor::cat(vec![below, above], 1);
    let (right, left) = (rows.clone().narrow(2, by, w - by), rows.narrow(2, 0, by));
    Tensor::cat(vec![right, left], 2)
}

/// See [`crate::linear_over`].
#[must_use]
pub fn linear_over(x: Tensor<3>, weight: Tensor<2>, onto: Tensor<3>) -> Tensor<3> {
    let ([n, length, _], [m, _, output]) = (x.dims(), onto.dims());
    let own = linear(x, weight, None).reshape([n, length, output, 1]);
    self::onto(own, onto.reshape([m, length, output, 1])).reshape([n, length, output])
}

/// Weights of `output` places along an axis on `input` places, their ends aligned: for each the first of two neighbours, and
/// the second's weight.
pub(crate) fn corners(input: usize, output: usize) -> impl Iterator<Item = (usize, f32)> {
    let ratio = (input - 1) as f64 / (output - 1).max(1) as f64;
    (0..output).map(move |place| {
        let source = place as f64 * ratio;
        let first = (source as usize).min(input.saturating_sub(2));
        (first, (source - first as f64) as f32)
    })
}

/// See [`crate::spread_classes`].
#[must_use]
pub fn spread_classes(x: Tensor<3>, onto: Tensor<3>, grid: usize) -> Tensor<3> {
    let ([places, classes, width], [sequences, cells, _]) = (x.dims(), onto.dims());
    let (half, pairs) = (grid / 2, sequences / classes);
    let mut weights = vec![0.0f32; grid * half];
    for (row, (first, second)) in weights.chunks_exact_mut(half).zip(corners(half, grid)) {
        row[first] += 1.0 - second;
        if let Some(weight) = row.get_mut(first + 1) {
            *weight += second;
        }
    }
    let weights = Tensor::<3>::from_data(TensorData::new(weights, [1, grid, half]), &x.device());
    let map = x
        .reshape([pairs, places / pairs, classes, width])
        .swap_dims(1, 2)
        .reshape([sequences, half, half * width]);
    let rows = weights
        .clone()
        .expand([sequences, grid, half])
        .matmul(map)
        .reshape([sequences * grid, half, width]);
    let cells_of = weights.expand([sequences * grid, grid, half]).matmul(rows);
    cells_of.reshape([sequences, cells, width]) + onto
}

/// See [`crate::unit`].
#[must_use]
pub fn unit<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    // Held off zero before the root: its derivative at zero is infinite, and zero times that is NaN.
    let norm = x.clone().square().sum_dim(D - 1).clamp_min(1e-24).sqrt();
    x / norm
}

/// Linear attention among classes, see [`crate::class_attention`].
#[must_use]
pub fn class_attention(
    [q, k, v]: [Tensor<3>; 3],
    [guide_q, guide_k]: [Tensor<3>; 2],
    [pad_k, pad_v]: [Tensor<3>; 2],
    pad_count: usize,
    heads: usize,
) -> Tensor<3> {
    let [places, classes, width] = q.dims();
    // `elu(z) + 1`: `z + 1` above zero, `eᶻ` below.
    let feature = |z: Tensor<3>| activation::relu(z.clone()) + z.clamp_max(0.0).exp();
    let split = |x: Tensor<3>| {
        let [n, length, _] = x.dims();
        x.reshape([n, length, heads, width / heads]).swap_dims(1, 2)
    };
    let q = split(feature(q + guide_q));
    let k = split(feature(k + guide_k));
    let pad_k = split(feature(pad_k)) * pad_count as f64;
    // Σₛ φ(kₛ) vₛᵀ and Σₛ φ(kₛ): [M, heads, d, d] and [M, heads, 1, d].
    let products = k.clone().swap_dims(2, 3).matmul(split(v));
    let products = products + pad_k.clone().swap_dims(2, 3).matmul(split(pad_v));
    let totals = k.sum_dim(2) + pad_k;
    let below = q.clone().matmul(totals.swap_dims(2, 3)) + 1e-6;
    let out = q.matmul(products) / below;
    out.swap_dims(1, 2).reshape([places, classes, width])
}

/// `x [N, O, H, W]` plus `onto [M, O, H, W]`, each of the `M` for as many of the `N` one after the other.
#[must_use]
pub fn onto(x: Tensor<4>, onto: Tensor<4>) -> Tensor<4> {
    let ([n, o, h, w], [m, _, _, _]) = (x.dims(), onto.dims());
    let sum = x.reshape([m, n / m, o * h * w]) + onto.reshape([m, 1, o * h * w]);
    sum.reshape([n, o, h, w])
}
