//! Fused operations of the network, with their gradients.
//!
//! Each public function takes and gives Burn tensors. On the CPU it runs one pass of our own ([`cpu`]), on a
//! graphics card a kernel of our own ([`gpu`]); its *twin* ([`plain`]) is the same mathematics composed of
//! Burn's operations, which is what the tests compare both with, and what training on a graphics card runs.
//!
//! Why: Burn computes attention as a dozen operations over `[N, heads, L, L]` scores, each a pass over
//! memory, and most of a training step went into those passes. On a graphics card in a browser, where nothing
//! can be tuned by trying, its products run without blocks in registers.

mod awake;
#[cfg_attr(
    target_family = "wasm",
    allow(
        dead_code,
        unused_imports,
        reason = "the page does not train: nothing there asks for gradients"
    )
)]
mod cpu;
#[cfg(feature = "gpu")]
mod gpu;
mod ops;
pub mod plain;

use std::sync::{Arc, OnceLock};

use burn::backend::{Dispatch, DispatchDevice};
use burn::tensor::{Device, Tensor, TensorData};

pub use crate::awake::Awake;
pub use crate::cpu::threads;
use crate::ops::Fused;

/// A fixed bias on attention scores: sequence `n` takes entry `n mod period`.
#[derive(Clone, Debug)]
pub struct WindowBias {
    /// `[period, L, L]`.
    values: Vec<f32>,
    /// The same by key, then query, once that is asked for.
    by_key: OnceLock<Vec<f32>>,
    period: usize,
    length: usize,
}

impl WindowBias {
    /// From `[period, L, L]` values.
    ///
    /// # Panics
    /// When there are not that many values: a fault of the caller.
    #[must_use]
    pub fn new(values: Vec<f32>, period: usize, length: usize) -> Self {
        assert_eq!(values.len(), period * length * length, "a bias of windows");
        Self {
            values,
            by_key: OnceLock::new(),
            period,
            length,
        }
    }

    /// Hides the keys after a query, for sequences of one length.
    #[must_use]
    pub fn causal(length: usize) -> Self {
        // Large enough that its exponential is zero, small enough that sums of it stay finite.
        const HIDDEN: f32 = -1e30;
        let values = (0..length * length)
            .map(|i| if i % length > i / length { HIDDEN } else { 0.0 })
            .collect();
        Self::new(values, 1, length)
    }

    /// Entries before they repeat.
    #[must_use]
    pub fn period(&self) -> usize {
        self.period
    }

    /// `[L, L]` of a sequence.
    fn of(&self, sequence: usize) -> &[f32] {
        let size = self.length * self.length;
        &self.values[sequence % self.period * size..][..size]
    }

    /// `[period, L, L]` by key, then query.
    fn by_key(&self) -> &[f32] {
        self.by_key.get_or_init(|| {
            let length = self.length;
            (0..self.values.len())
                .map(|i| {
                    let (window, key, query) =
                        (i / length / length, i / length % length, i % length);
                    self.values[(window * length + query) * length + key]
                })
                .collect()
        })
    }

    /// `[L, L]` of a sequence by key, then query.
    fn of_by_key(&self, sequence: usize) -> &[f32] {
        let size = self.length * self.length;
        &self.by_key()[sequence % self.period * size..][..size]
    }

    /// [`WindowBias::by_key`] for a device.
    #[cfg(feature = "gpu")]
    pub(crate) fn by_key_data(&self) -> TensorData {
        TensorData::new(
            self.by_key().to_vec(),
            [self.period, self.length, self.length],
        )
    }

    /// `[period, 1, L, L]` on a device.
    #[must_use]
    pub fn tensor(&self, device: &Device) -> Tensor<4> {
        let shape = [self.period, 1, self.length, self.length];
        Tensor::from_data(TensorData::new(self.values.clone(), shape), device)
    }
}

/// Whether this is the CPU.
fn is_cpu(device: &Device) -> bool {
    match device.as_dispatch() {
        DispatchDevice::Flex(_) => true,
        #[cfg(not(target_arch = "wasm32"))]
        DispatchDevice::Autodiff(_) => is_cpu(&device.clone().inner()),
        #[cfg(feature = "gpu")]
        DispatchDevice::Cube(_) => false,
    }
}

/// Whether the operations of this crate run on this device themselves. On a graphics card they have no
/// gradients: what is trained there runs the twins.
fn has_kernels(device: &Device) -> bool {
    goes_on(device) || is_cpu(device)
}

/// Whether operations on this device go on with what follows them, which has no gradients.
fn goes_on(device: &Device) -> bool {
    is_shared_by_cores(device) || is_graphics_card(device)
}

/// Whether this is a graphics card, without gradients.
fn is_graphics_card(device: &Device) -> bool {
    #[cfg(feature = "gpu")]
    return matches!(device.as_dispatch(), DispatchDevice::Cube(_));
    #[cfg(not(feature = "gpu"))]
    {
        let _ = device;
        false
    }
}

/// Whether what this device is asked for is shared among the cores of the CPU, without gradients.
#[must_use]
pub fn is_shared_by_cores(device: &Device) -> bool {
    matches!(device.as_dispatch(), DispatchDevice::Flex(_))
}

/// `softmax(d^-½ · q kᵀ + bias) v` for `[N, heads, L, d]`, without a buffer of all scores; `None` where no
/// kernel does it: the caller has [`plain::attention`], and bounds the scores.
#[must_use]
pub fn attention(
    q: &Tensor<4>,
    k: &Tensor<4>,
    v: &Tensor<4>,
    bias: Option<&Arc<WindowBias>>,
) -> Option<Tensor<4>> {
    if !has_kernels(&q.device()) {
        return None;
    }
    #[cfg(feature = "gpu")]
    if !is_cpu(&q.device()) && !gpu::fits(q.dims()[3]) {
        return None;
    }
    let scale = (q.dims()[3] as f32).powf(-0.5);
    let take = |operand: &Tensor<4>| operand.clone().into_dispatch();
    let out = <Dispatch as Fused>::fused_attention(take(q), take(k), take(v), scale, bias.cloned());
    Some(Tensor::from_dispatch(out))
}

/// The same of queries, keys and values that are thirds of `[N, L, 3 · heads · d]`, where a kernel takes them as they lie:
/// a graphics card would have to copy each first, for it binds no buffer twice.
#[must_use]
pub fn attention_of_thirds(qkv: &Tensor<3>, heads: usize) -> Option<Tensor<4>> {
    if !is_graphics_card(&qkv.device()) {
        return None;
    }
    let width = qkv.dims()[2] / 3 / heads;
    #[cfg(feature = "gpu")]
    if !gpu::fits(width) {
        return None;
    }
    let (thirds, scale) = (qkv.clone().into_dispatch(), (width as f32).powf(-0.5));
    let out = <Dispatch as Fused>::fused_attention_of_thirds(thirds, heads, scale);
    Some(Tensor::from_dispatch(out))
}

/// The weight of a linear layer, or of a convolution with an odd kernel, as its device reads it best; the same
/// tensor otherwise. On a graphics card, what one column of a matrix or one tap of a convolution holds lies together,
/// and no kernel has to copy it first.
#[must_use]
pub fn keep<const D: usize>(weight: Tensor<D>) -> Tensor<D> {
    if !is_graphics_card(&weight.device()) {
        return weight;
    }
    let (order, back): (&[isize], &[isize]) = match D {
        2 => (&[1, 0], &[1, 0]),
        4 => (&[0, 2, 3, 1], &[0, 3, 1, 2]),
        _ => return weight,
    };
    let shape = weight.shape();
    if D == 4 && shape[3].is_multiple_of(2) {
        return weight;
    }
    let turned: [usize; D] = std::array::from_fn(|axis| shape[order[axis] as usize]);
    // To a flat tensor and back: the copy that puts the values in this order.
    let count = turned.iter().product::<usize>();
    let flat = weight.permute(std::array::from_fn::<isize, D, _>(|axis| order[axis]));
    flat.reshape([count])
        .reshape(turned)
        .permute(std::array::from_fn::<isize, D, _>(|axis| back[axis]))
}

/// Where a table of `bytes` lies that a few rows at a time are taken from: on `device`, but with the CPU where that
/// is a graphics card that may refuse it.
#[must_use]
pub fn table_device(device: &Device, bytes: usize) -> Device {
    /// What WebGPU promises to bind.
    const BINDING_BYTES: usize = 128 << 20;
    if bytes > BINDING_BYTES && is_graphics_card(device) {
        Device::flex()
    } else {
        device.clone()
    }
}

/// Layer norm over the last axis.
#[must_use]
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    eps: f64,
) -> Tensor<D> {
    if !has_kernels(&x.device()) {
        return plain::layer_norm(x, gamma, beta, eps);
    }
    Tensor::from_dispatch(<Dispatch as Fused>::fused_layer_norm(
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        eps as f32,
    ))
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
    if !has_kernels(&x.device()) {
        return plain::group_norm(x, gamma, beta, groups, eps);
    }
    Tensor::from_dispatch(<Dispatch as Fused>::fused_group_norm(
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        groups,
        eps as f32,
        None,
    ))
}

/// The activation of a group norm, see [`group_norm`]. In one go where nothing is trained.
#[must_use]
pub fn group_norm_activated(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    groups: usize,
    eps: f64,
    activation: Activation,
) -> Tensor<4> {
    if !goes_on(&x.device()) {
        return activate(group_norm(x, gamma, beta, groups, eps), activation);
    }
    Tensor::from_dispatch(<Dispatch as Fused>::fused_group_norm(
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        groups,
        eps as f32,
        Some(activation),
    ))
}

/// A convolution of stride 1 with zeros around the map, `[N, C, H, W]` to `[N, O, H, W]`; weight
/// `[O, C, k, k]` with odd `k`.
#[must_use]
pub fn conv(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<4> {
    if !has_kernels(&x.device()) {
        return plain::conv(x, weight, bias);
    }
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(match bias {
        Some(bias) => <Dispatch as Fused>::fused_conv_bias(x, weight, bias.into_dispatch()),
        None => <Dispatch as Fused>::fused_conv(x, weight),
    })
}

/// `x Wᵀ + b` over the last axis of `x`; weight `[out, in]`.
#[must_use]
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    if !has_kernels(&x.device()) {
        return plain::linear(x, weight, bias);
    }
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(match bias {
        Some(bias) => <Dispatch as Fused>::fused_linear_bias(x, weight, bias.into_dispatch()),
        None => <Dispatch as Fused>::fused_linear(x, weight),
    })
}

/// A convolution whose stride is its kernel, weight `[O, C, k, k]`: `[N, C, k·h, k·w]` to row-major
/// tokens `[N, h·w, O]`.
#[must_use]
pub fn patches(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<3> {
    if !has_kernels(&x.device()) {
        return plain::patches(x, weight, bias);
    }
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(match bias {
        Some(bias) => <Dispatch as Fused>::fused_patches_bias(x, weight, bias.into_dispatch()),
        None => <Dispatch as Fused>::fused_patches(x, weight),
    })
}

/// The same as a map, `[N, O, h, w]`.
#[must_use]
pub fn patch_map(x: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
    if !has_kernels(&x.device()) {
        return plain::patch_map(x, weight, bias);
    }
    Tensor::from_dispatch(<Dispatch as Fused>::fused_patch_map(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
    ))
}

/// The activation of [`patch_map`]. In one go on a graphics card.
#[must_use]
pub fn patch_map_activated(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    activation: Activation,
) -> Tensor<4> {
    if !is_graphics_card(&x.device()) {
        return activate(patch_map(x, weight, bias), activation);
    }
    Tensor::from_dispatch(<Dispatch as Fused>::fused_patch_map_activated(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        activation,
    ))
}

/// A transposed convolution whose stride is its kernel, weight `[C, O, k, k]`, over row-major tokens
/// `[N, h·w, C]`: every cell writes its own `k × k` tile of `[N, O, k·h, k·w]` (docs/network.md §4).
#[must_use]
pub fn upsample(x: Tensor<3>, [h, w]: [usize; 2], weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
    if !has_kernels(&x.device()) {
        return plain::upsample(x, [h, w], weight, bias);
    }
    Tensor::from_dispatch(<Dispatch as Fused>::fused_upsample(
        x.into_dispatch(),
        h,
        weight.into_dispatch(),
        bias.into_dispatch(),
    ))
}

/// `onto` plus [`upsample`]. In one go on a graphics card.
#[must_use]
pub fn upsample_onto(
    x: Tensor<3>,
    [h, w]: [usize; 2],
    weight: Tensor<4>,
    bias: Tensor<1>,
    onto: Tensor<4>,
) -> Tensor<4> {
    if !is_graphics_card(&x.device()) {
        return plus(upsample(x, [h, w], weight, bias), onto);
    }
    Tensor::from_dispatch(<Dispatch as Fused>::fused_upsample_onto(
        x.into_dispatch(),
        h,
        weight.into_dispatch(),
        bias.into_dispatch(),
        onto.into_dispatch(),
    ))
}

/// `a + b`; `b` may be one for all along an axis of `a`.
#[must_use]
pub fn plus<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    let sum = <Dispatch as Fused>::fused_plus(a.into_dispatch(), b.into_dispatch());
    Tensor::from_dispatch(sum)
}

/// `x / max(‖x‖₂, 10⁻¹²)` over the last axis.
#[must_use]
pub fn unit<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !is_graphics_card(&x.device()) {
        return plain::unit(x);
    }
    Tensor::from_dispatch(<Dispatch as Fused>::fused_unit(x.into_dispatch()))
}

/// Cells `[N·T, g², C]` of `N` pairs, the means of `2 × 2` of them by place: `[N·(g/2)², T, C]`.
#[must_use]
pub fn pool_classes(x: Tensor<3>, pairs: usize, grid: usize) -> Tensor<3> {
    if !goes_on(&x.device()) {
        return plain::pool_classes(x, pairs, grid);
    }
    Tensor::from_dispatch(<Dispatch as Fused>::fused_pool_classes(
        x.into_dispatch(),
        pairs,
        grid,
    ))
}

/// What `2 × 2` cells have in common, `[N·(g/2)², T, C]` by place, brought bilinearly to all of them, the corners of both
/// grids aligned, onto `[N·T, g², C]`: the way back from [`pool_classes`] (docs/network.md §10).
#[must_use]
pub fn spread_classes(x: Tensor<3>, onto: Tensor<3>, grid: usize) -> Tensor<3> {
    if !goes_on(&x.device()) {
        return plain::spread_classes(x, onto, grid);
    }
    Tensor::from_dispatch(<Dispatch as Fused>::fused_spread_classes(
        x.into_dispatch(),
        onto.into_dispatch(),
        grid,
    ))
}

/// Linear attention among the `T` classes at each of `M` places (docs/network.md §10): with `φ(z) = elu(z) + 1`,
/// `q = φ(q + guidance)` and `k` likewise, `qᵢ · Σₛ kₛ vₛᵀ / (qᵢ · Σₛ kₛ + 10⁻⁶)` in each head. The sums go over the classes and
/// over `pad_count` pads, which are all alike.
///
/// `q`, `k` and `v` `[M, T, C]`; guidance of `q` and `k` `[1, T, C]`; key and value of a pad `[1, 1, C]`; to `[M, T, C]`.
#[must_use]
pub fn class_attention(
    qkv: [Tensor<3>; 3],
    guidance: [Tensor<3>; 2],
    pad: [Tensor<3>; 2],
    pad_count: usize,
    heads: usize,
) -> Tensor<3> {
    if !goes_on(&qkv[0].device()) {
        return plain::class_attention(qkv, guidance, pad, pad_count, heads);
    }
    let [q, k, v] = qkv.map(Tensor::into_dispatch);
    let [guide_q, guide_k] = guidance.map(Tensor::into_dispatch);
    let [pad_k, pad_v] = pad.map(Tensor::into_dispatch);
    Tensor::from_dispatch(<Dispatch as Fused>::fused_class_attention(
        q,
        k,
        v,
        guide_q,
        guide_k,
        pad_k,
        pad_v,
        pad_count as f32,
        heads,
    ))
}

/// A map `[M, g², C]`, cyclically moved by `-shift` rows and columns, in its four windows: `[4 M, g² / 4, C]`; windows and the cells
/// in them row-major (docs/network.md §9). `g` is even, `shift` less than `g`.
#[must_use]
pub fn cut_windows(x: Tensor<3>, grid: usize, shift: usize) -> Tensor<3> {
    if !goes_on(&x.device()) {
        return plain::cut_windows(x, grid, shift);
    }
    Tensor::from_dispatch(<Dispatch as Fused>::fused_cut_windows(
        x.into_dispatch(),
        grid,
        shift,
    ))
}

/// `onto [M, g², C]` plus what [`cut_windows`] made of a map `[M, g², C]`, brought back to its place.
#[must_use]
pub fn join_windows(x: Tensor<3>, onto: Tensor<3>, grid: usize, shift: usize) -> Tensor<3> {
    if !goes_on(&x.device()) {
        return plain::join_windows(x, onto, grid, shift);
    }
    Tensor::from_dispatch(<Dispatch as Fused>::fused_join_windows(
        x.into_dispatch(),
        onto.into_dispatch(),
        grid,
        shift,
    ))
}

/// What a value goes through by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x · Φ(x)`, the exact, erf-based GELU.
    Gelu,
    /// `x · σ(1.702 x)`, CLIP's.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// `σ(x) = 1 / (1 + e⁻ˣ)`.
    Sigmoid,
}

impl Activation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Gelu, Self::QuickGelu, Self::Relu, Self::Sigmoid];
}

/// The activation of each value.
#[must_use]
pub fn activate<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    if !has_kernels(&x.device()) {
        return plain::activate(x, activation);
    }
    Tensor::from_dispatch(<Dispatch as Fused>::fused_activation(
        x.into_dispatch(),
        activation,
    ))
}

/// The activation of values in memory, see [`activate`].
pub fn activate_values(values: &mut [f32], activation: Activation) {
    cpu::activate_all(values, activation);
}

/// The activation of a convolution, see [`conv`]. In one go where nothing is trained.
#[must_use]
pub fn conv_activated(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    activation: Activation,
) -> Tensor<4> {
    if !goes_on(&x.device()) {
        return activate(conv(x, weight, Some(bias)), activation);
    }
    Tensor::from_dispatch(<Dispatch as Fused>::fused_conv_activated(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        activation,
    ))
}

/// `onto [M, O, H, W]` plus a convolution, see [`conv`]: each of the `M` for as many of the `N` images one after the other. In one
/// go where nothing is trained.
#[must_use]
pub fn conv_onto(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    onto: Tensor<4>,
) -> Tensor<4> {
    if !goes_on(&x.device()) {
        return plain::onto(conv(x, weight, bias), onto);
    }
    let [x, weight, onto] = [x, weight, onto].map(Tensor::into_dispatch);
    Tensor::from_dispatch(match bias {
        Some(bias) => {
            <Dispatch as Fused>::fused_conv_bias_onto(x, weight, bias.into_dispatch(), onto)
        }
        None => <Dispatch as Fused>::fused_conv_onto(x, weight, onto),
    })
}

/// A group norm and what its results go through, see [`group_norm_activated`].
#[derive(Clone, Debug)]
pub struct Norm {
    /// `[C]`.
    pub gamma: Tensor<1>,
    /// `[C]`.
    pub beta: Tensor<1>,
    /// Groups of channels.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f64,
    /// Of each result.
    pub activation: Activation,
}

impl Norm {
    /// Of a map, see [`group_norm_activated`].
    #[must_use]
    pub fn of(self, x: Tensor<4>) -> Tensor<4> {
        group_norm_activated(
            x,
            self.gamma,
            self.beta,
            self.groups,
            self.eps,
            self.activation,
        )
    }
}

/// The norm of a convolution without bias, see [`conv`]. On the CPU, where nothing is trained, an image is normalised
/// while it is in a near cache.
#[must_use]
pub fn conv_normed(x: Tensor<4>, weight: Tensor<4>, norm: Norm) -> Tensor<4> {
    if !is_shared_by_cores(&x.device()) {
        return norm.of(conv(x, weight, None));
    }
    Tensor::from_dispatch(<Dispatch as Fused>::fused_conv_normed(
        x.into_dispatch(),
        weight.into_dispatch(),
        norm.gamma.into_dispatch(),
        norm.beta.into_dispatch(),
        norm.groups,
        norm.eps as f32,
        norm.activation,
    ))
}

/// `onto` plus [`conv_normed`]. In one go on a graphics card, but for the convolution.
#[must_use]
pub fn conv_normed_onto(x: Tensor<4>, weight: Tensor<4>, norm: Norm, onto: Tensor<4>) -> Tensor<4> {
    if !is_graphics_card(&x.device()) {
        return plus(conv_normed(x, weight, norm), onto);
    }
    Tensor::from_dispatch(<Dispatch as Fused>::fused_group_norm_onto(
        conv(x, weight, None).into_dispatch(),
        norm.gamma.into_dispatch(),
        norm.beta.into_dispatch(),
        norm.groups,
        norm.eps as f32,
        norm.activation,
        onto.into_dispatch(),
    ))
}

/// The norm of [`conv_onto`], with a kernel of three, of what [`upsample`] makes of tokens `[N, h·w, C]` with a weight
/// `[C, U, 2, 2]` and a bias. On the CPU, where nothing is trained, the upsampled map is never there if that takes fewer
/// products.
#[must_use]
pub fn conv_upsampled_normed(
    x: Tensor<3>,
    [h, w]: [usize; 2],
    (up, bias): (Tensor<4>, Tensor<1>),
    weight: Tensor<4>,
    onto: Tensor<4>,
    norm: Norm,
) -> Tensor<4> {
    let is_known = up.dims()[2..] == [2, 2] && weight.dims()[2..] == [3, 3];
    if !is_shared_by_cores(&x.device()) || !is_known {
        let map = upsample(x, [h, w], up, bias);
        return norm.of(conv_onto(map, weight, None, onto));
    }
    Tensor::from_dispatch(<Dispatch as Fused>::fused_conv_upsampled_normed(
        x.into_dispatch(),
        h,
        up.into_dispatch(),
        bias.into_dispatch(),
        weight.into_dispatch(),
        onto.into_dispatch(),
        norm.gamma.into_dispatch(),
        norm.beta.into_dispatch(),
        norm.groups,
        norm.eps as f32,
        norm.activation,
    ))
}

/// The activation of `x Wᵀ + b` over the last axis of `x`; weight `[out, in]`. In one go where nothing is trained.
#[must_use]
pub fn linear_activated<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    activation: Activation,
) -> Tensor<D> {
    if !goes_on(&x.device()) {
        return activate(linear(x, weight, Some(bias)), activation);
    }
    Tensor::from_dispatch(<Dispatch as Fused>::fused_linear_activated(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        activation,
    ))
}

/// `onto + x Wᵀ + b` over the last axis of `x`; weight `[out, in]`. In one go where nothing is trained.
#[must_use]
pub fn linear_onto<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    onto: Tensor<D>,
) -> Tensor<D> {
    if !goes_on(&x.device()) {
        return onto + linear(x, weight, Some(bias));
    }
    Tensor::from_dispatch(<Dispatch as Fused>::fused_linear_onto(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        onto.into_dispatch(),
    ))
}

/// `onto [M, L, O]` plus `x Wᵀ` over the last axis of `x [N, L, C]`; weight `[O, C]`. Each of the `M` is for as many of the `N` one
/// after the other. In one go on a graphics card.
#[must_use]
pub fn linear_over(x: Tensor<3>, weight: Tensor<2>, onto: Tensor<3>) -> Tensor<3> {
    let ([n, length, _], [m, _, output]) = (x.dims(), onto.dims());
    if !is_graphics_card(&x.device()) {
        let own = linear(x, weight, None).reshape([m, n / m, length * output]);
        let sum = plus(own, onto.reshape([m, 1, length * output]));
        return sum.reshape([n, length, output]);
    }
    Tensor::from_dispatch(<Dispatch as Fused>::fused_linear_over(
        x.into_dispatch(),
        weight.into_dispatch(),
        onto.into_dispatch(),
    ))
}

/// [`linear_onto`] of [`linear_activated`], each with its weight and bias. On the CPU, where nothing is trained, what is between
/// the two stays in a near cache.
#[must_use]
pub fn mlp_onto<const D: usize>(
    x: Tensor<D>,
    (weight, bias): (Tensor<2>, Tensor<1>),
    activation: Activation,
    (last, last_bias): (Tensor<2>, Tensor<1>),
    onto: Tensor<D>,
) -> Tensor<D> {
    if !is_shared_by_cores(&x.device()) {
        let hidden = linear_activated(x, weight, bias, activation);
        return linear_onto(hidden, last, last_bias, onto);
    }
    Tensor::from_dispatch(<Dispatch as Fused>::fused_mlp_onto(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        activation,
        last.into_dispatch(),
        last_bias.into_dispatch(),
        onto.into_dispatch(),
    ))
}
