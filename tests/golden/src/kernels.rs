//! Every operation of `mmovseg-kernels` on a device against its twin on the CPU, over shapes and values that a
//! seed draws.

use std::sync::Arc;

use burn::tensor::{DType, Device, Distribution, Tensor, TensorData};
use mmovseg_kernels::{self as kernels, Activation, Norm, WindowBias, plain};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Operands of one case: the same values on the device that is tested and on the CPU.
struct Dice {
    dice: ChaCha8Rng,
    device: Device,
}

/// A tensor on the device that is tested, and its like on the CPU.
type Both<const D: usize> = [Tensor<D>; 2];

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.dice.random_range(1..=most)
    }

    fn coin(&mut self) -> bool {
        self.dice.random_bool(0.5)
    }

    /// Sequences, heads, their length and width.
    fn heads(&mut self) -> [usize; 4] {
        [
            self.below(3),
            self.below(3),
            self.below(150),
            4 * self.below(17),
        ]
    }

    fn activation(&mut self) -> Activation {
        Activation::ALL[self.below(Activation::ALL.len()) - 1]
    }

    /// Values around `mean`, a few of them large.
    fn around<const D: usize>(&mut self, shape: [usize; D], mean: f32) -> Both<D> {
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| {
                let value = self.dice.random_range(-1.5f32..1.5);
                mean + if self.dice.random_bool(0.02) {
                    4.0 * value
                } else {
                    value
                }
            })
            .collect();
        let data = TensorData::new(values, shape);
        [&self.device, &Device::flex()].map(|device| Tensor::from_data(data.clone(), device))
    }

    fn random<const D: usize>(&mut self, shape: [usize; D]) -> Both<D> {
        self.around(shape, 0.0)
    }

    fn maybe(&mut self, length: usize) -> [Option<Tensor<1>>; 2] {
        let bias = self.random([length]);
        if self.coin() {
            bias.map(Some)
        } else {
            [None, None]
        }
    }
}

/// Draws `cases` cases of every operation and compares both sides.
///
/// # Panics
/// When an operation is off by more than single precision explains; the message names operation and shapes.
pub async fn check_kernels(device: Device, seed: u64, cases: usize) {
    let mut dice = Dice {
        dice: ChaCha8Rng::seed_from_u64(seed),
        device,
    };
    for _ in 0..cases {
        linear(&mut dice).await;
        attention(&mut dice).await;
        conv(&mut dice).await;
        normed(&mut dice).await;
        norms(&mut dice).await;
        patches(&mut dice).await;
        activations(&mut dice).await;
        classes(&mut dice).await;
        moves(&mut dice).await;
    }
}

/// Draws `cases` cases of the operations that towers in half precision consist of. What goes in is rounded on both sides.
///
/// # Panics
/// When an operation is off by more than the rounding of its result explains.
pub async fn check_half_kernels(device: Device, seed: u64, cases: usize) {
    let mut dice = Dice {
        dice: ChaCha8Rng::seed_from_u64(seed),
        device,
    };
    for _ in 0..cases {
        let [rows, quads, width] = [dice.below(70), dice.below(24), dice.below(300)];
        let depth = if dice.coin() { 4 * quads } else { quads };
        half_linear(&mut dice, [rows, depth, width]).await;
        half_attention(&mut dice).await;
    }
    // So many rows that a workgroup takes several blocks.
    half_linear(&mut dice, [2050, 8, 1024]).await;
}

/// A value in half precision on the device, and in single precision on the CPU.
fn half<const D: usize>([ours, twin]: Both<D>) -> Both<D> {
    let round = |x: Tensor<D>| x.cast(DType::F16);
    [round(ours), round(twin).cast(DType::F32)]
}

async fn half_linear(dice: &mut Dice, [rows, depth, width]: [usize; 3]) {
    let what = format!("half linear {rows} x {depth} to {width}");
    let [x0, x1] = dice.random([2, rows, depth]);
    let [g0, g1] = half(dice.random([depth]));
    let [s0, s1] = dice.random([depth]);
    // Rounded once more: the product is compared for the values that it really gets.
    let normed = kernels::layer_norm(x0, g0, s0, 1e-5);
    assert_eq!(normed.dtype(), DType::F16, "{what}");
    let single = normed.clone().cast(DType::F32);
    let twin = plain::layer_norm(x1, g1, s1, 1e-5);
    compare(&format!("{what}, norm"), single.clone(), twin, 2e-3).await;
    let read = single.into_data_async().await.expect("the device answers");
    let x1 = Tensor::<3>::from_data(read, &Device::flex());
    let [w0, w1] = half(dice.random([width, depth]));
    let [b0, b1] = dice.random([width]);
    let [onto0, onto1] = dice.random([2, rows, width]);
    let kept = kernels::keep(w0);
    let twin = plain::linear(x1, w1, Some(b1));
    let slack = 2e-3;
    let ours = kernels::linear(normed.clone(), kept.clone(), Some(b0.clone()));
    compare(&what, ours.cast(DType::F32), twin.clone(), slack).await;
    let ours = kernels::linear_onto(normed.clone(), kept.clone(), b0.clone(), onto0);
    assert_eq!(ours.dtype(), DType::F32, "{what}, onto");
    compare(&format!("{what}, onto"), ours, onto1 + twin.clone(), slack).await;
    let activation = dice.activation();
    let ours = kernels::linear_activated(normed, kept, b0, activation);
    compare(
        &format!("{what}, then {activation:?}"),
        ours.cast(DType::F32),
        plain::activate(twin, activation),
        slack,
    )
    .await;
}

async fn half_attention(dice: &mut Dice) {
    let [n, heads, length, width] = dice.heads();
    let what = format!("half attention {n} x {heads} x {length} x {width}");
    // As the network splits them: thirds of one product.
    let [all0, all1] = half(dice.random([n, length, 3 * heads * width]));
    let split = |x: &Tensor<3>, i: usize| {
        let third = x.clone().narrow(2, i * heads * width, heads * width);
        third.reshape([n, length, heads, width]).swap_dims(1, 2)
    };
    let [q, k, v] = [0, 1, 2].map(|i| split(&all0, i));
    let ours = kernels::attention(&q, &k, &v, None).expect("widths of a multiple of four");
    let [q, k, v] = [0, 1, 2].map(|i| split(&all1, i));
    let twin = plain::attention(q, k, v, None, false);
    compare(&what, ours.cast(DType::F32), twin.clone(), 2e-3).await;
    if let Some(ours) = kernels::attention_of_thirds(&all0, heads) {
        compare(
            &format!("{what} of thirds"),
            ours.cast(DType::F32),
            twin,
            2e-3,
        )
        .await;
    }
}

async fn compare<const D: usize>(what: &str, ours: Tensor<D>, twin: Tensor<D>, slack: f32) {
    let [ours, twin] = [ours.into_data_async().await, twin.into_data_async().await]
        .map(|read| read.unwrap_or_else(|error| panic!("{what}: {error:?}")));
    assert_eq!(ours.shape(), twin.shape(), "{what}");
    let [ours, twin] = [ours, twin].map(|data| {
        data.try_into_vec::<f32>()
            .unwrap_or_else(|error| panic!("{what}: {error:?}"))
    });
    for (at, (a, b)) in ours.iter().zip(&twin).enumerate() {
        // Not the other way round: a NaN is no agreement.
        assert!(
            (a - b).abs() <= slack + slack * b.abs(),
            "{what}: {a} instead of {b} at {at}"
        );
    }
}

async fn linear(dice: &mut Dice) {
    // Fewer rows than a block and more; sums of a multiple of four values and others.
    let [rows, quads, width] = [dice.below(70), dice.below(24), dice.below(300)];
    let depth = if dice.coin() { 4 * quads } else { quads };
    let (x, weight, bias) = (
        dice.random([2, rows, depth]),
        dice.random([width, depth]),
        dice.maybe(width),
    );
    let [x0, x1] = x;
    let [w0, w1] = weight;
    let [b0, b1] = bias;
    let what = format!("linear {rows} x {depth} to {width}");
    // As it comes from a file, and as a device may keep it.
    let kept = kernels::keep(w0.clone());
    compare(
        &what,
        kernels::linear(x0.clone(), w0, b0.clone()),
        plain::linear(x1.clone(), w1.clone(), b1.clone()),
        1e-3,
    )
    .await;
    compare(
        &format!("{what}, kept"),
        kernels::linear(x0.clone(), kept.clone(), b0),
        plain::linear(x1.clone(), w1.clone(), b1),
        1e-3,
    )
    .await;
    let [b0, b1] = dice.random([width]);
    let runs = if dice.coin() { 1 } else { 2 };
    let [onto0, onto1] = dice.random([runs, rows, width]);
    compare(
        &format!("{what}, over {runs}"),
        kernels::linear_over(x0.clone(), kept.clone(), onto0),
        plain::linear_over(x1.clone(), w1.clone(), onto1),
        1e-3,
    )
    .await;
    let [onto0, onto1] = dice.random([2, rows, width]);
    let twin = plain::linear(x1, w1, Some(b1));
    compare(
        &format!("{what}, onto"),
        kernels::linear_onto(x0.clone(), kept.clone(), b0.clone(), onto0),
        onto1 + twin.clone(),
        1e-3,
    )
    .await;
    let activation = dice.activation();
    compare(
        &format!("{what}, then {activation:?}"),
        kernels::linear_activated(x0.clone(), kept.clone(), b0.clone(), activation),
        plain::activate(twin.clone(), activation),
        1e-3,
    )
    .await;
    let output = dice.below(40);
    let [w0, w1] = dice.random([output, width]);
    let [c0, c1] = dice.random([output]);
    let [onto0, onto1] = dice.random([2, rows, output]);
    let last = (kernels::keep(w0), c0);
    compare(
        &format!("{what}, then {activation:?}, then to {output}, onto"),
        kernels::mlp_onto(x0, (kept, b0), activation, last, onto0),
        onto1 + plain::linear(plain::activate(twin, activation), w1, Some(c1)),
        // Sums of so many sums.
        1e-2,
    )
    .await;
}

async fn attention(dice: &mut Dice) {
    let [n, heads, length, width] = dice.heads();
    let operands = [(); 3].map(|()| dice.random([n, length, heads * width]));
    let bias = dice.coin().then(|| {
        let values = (0..n * length * length)
            .map(|_| dice.dice.random_range(-6.0..1.0))
            .collect();
        Arc::new(WindowBias::new(values, n, length))
    });
    // Heads as the network splits them: views of wider tensors.
    let split = |x: &Tensor<3>| x.clone().reshape([n, length, heads, width]).swap_dims(1, 2);
    let [q0, k0, v0] = [0, 1, 2].map(|i| split(&operands[i][0]));
    let [q1, k1, v1] = [0, 1, 2].map(|i| split(&operands[i][1]));
    let what = format!("attention {n} x {heads} x {length} x {width}");
    let ours =
        kernels::attention(&q0, &k0, &v0, bias.as_ref()).expect("widths of a multiple of four");
    let twin = plain::attention(q1, k1, v1, bias.as_deref(), false);
    compare(&what, ours, twin, 2e-4).await;
    let causal = Arc::new(WindowBias::causal(length));
    let ours =
        kernels::attention(&q0, &k0, &v0, Some(&causal)).expect("widths of a multiple of four");
    let [q1, k1, v1] = [0, 1, 2].map(|i| split(&operands[i][1]));
    let twin = plain::attention(q1, k1, v1, None, true);
    compare(&format!("causal {what}"), ours, twin, 2e-4).await;
    // On the CPU thirds are views.
    let thirds = Tensor::cat(operands.iter().map(|both| both[0].clone()).collect(), 2);
    if let Some(ours) = kernels::attention_of_thirds(&thirds, heads) {
        let [q1, k1, v1] = [0, 1, 2].map(|i| split(&operands[i][1]));
        let twin = plain::attention(q1, k1, v1, None, false);
        compare(&format!("{what} of thirds"), ours, twin, 2e-4).await;
    }
}

async fn conv(dice: &mut Dice) {
    let [n, quads, output, h, w] = [
        dice.below(2),
        dice.below(4),
        dice.below(20),
        dice.below(20),
        dice.below(30),
    ];
    let input = if dice.coin() { 4 * quads } else { quads };
    let k = [1, 3, 5, 7][dice.below(4) - 1];
    let [x0, x1] = dice.random([n, input, h, w]);
    let [w0, w1] = dice.random([output, input, k, k]);
    let [b0, b1] = dice.maybe(output);
    let what = format!("conv {n} x {input} x {h} x {w} to {output}, {k} x {k}");
    let kept = kernels::keep(w0);
    let ours = kernels::conv(x0.clone(), kept.clone(), b0);
    compare(&what, ours, plain::conv(x1.clone(), w1.clone(), b1), 2e-3).await;
    let [b0, b1] = dice.random([output]);
    let activation = dice.activation();
    compare(
        &format!("{what}, then {activation:?}"),
        kernels::conv_activated(x0.clone(), kept.clone(), b0, activation),
        plain::activate(plain::conv(x1.clone(), w1.clone(), Some(b1)), activation),
        2e-3,
    )
    .await;
    let maps = if dice.coin() { 1 } else { n };
    let [onto0, onto1] = dice.random([maps, output, h, w]);
    compare(
        &format!("{what}, onto {:?}", onto0.dims()),
        kernels::conv_onto(x0.clone(), kept.clone(), None, onto0.clone()),
        plain::onto(plain::conv(x1.clone(), w1.clone(), None), onto1.clone()),
        2e-3,
    )
    .await;
    let [b0, b1] = dice.random([output]);
    compare(
        &format!("{what}, with bias onto {:?}", onto0.dims()),
        kernels::conv_onto(x0, kept, Some(b0), onto0),
        plain::onto(plain::conv(x1, w1, Some(b1)), onto1),
        2e-3,
    )
    .await;
}

/// Convolutions that end in a norm: of a map, and of one that is enlarged first.
async fn normed(dice: &mut Dice) {
    let [n, input, between, h, w] = [
        dice.below(3),
        dice.below(20),
        dice.below(20),
        dice.below(20),
        dice.below(20),
    ];
    let [groups, per] = [dice.below(3), dice.below(8)];
    let output = groups * per;
    let activation = dice.activation();
    let what = format!(
        "{n} x {input} x {h} x {w} enlarged to {between}, to {output} in {groups}, then {activation:?}"
    );
    // Tokens of a map: a view.
    let [x0, x1] = dice.random([n, input, h * w]).map(|x| x.swap_dims(1, 2));
    let [u0, u1] = dice.random([input, between, 2, 2]);
    let [b0, b1] = dice.random([between]);
    let [w0, w1] = dice.random([output, between, 3, 3]);
    let maps = if dice.coin() { 1 } else { n };
    let [onto0, onto1] = dice.random([maps, output, 2 * h, 2 * w]);
    let [base0, base1] = dice.random([n, output, 2 * h, 2 * w]);
    let [gamma0, gamma1] = dice.random([output]);
    let [beta0, beta1] = dice.random([output]);
    let norm = Norm {
        gamma: gamma0,
        beta: beta0,
        groups,
        eps: 1e-5,
        activation,
    };
    let twin = |x: Tensor<4>| {
        let x = plain::group_norm(x, gamma1.clone(), beta1.clone(), groups, 1e-5);
        plain::activate(x, activation)
    };
    let kept = kernels::keep(w0);
    let map = kernels::upsample(x0.clone(), [h, w], u0.clone(), b0.clone());
    let ours = kernels::conv_normed(map.clone(), kept.clone(), norm.clone());
    let apart = plain::conv(plain::upsample(x1, [h, w], u1, b1), w1, None);
    compare(&what, ours, twin(apart.clone()), 5e-3).await;
    let ours = kernels::conv_normed_onto(map, kept.clone(), norm.clone(), base0);
    let wanted = twin(apart.clone()) + base1;
    compare(&format!("{what}, a residual"), ours, wanted, 5e-3).await;
    compare(
        &format!("{what}, onto"),
        kernels::conv_upsampled_normed(x0, [h, w], (u0, b0), kept, onto0, norm),
        twin(plain::onto(apart, onto1)),
        5e-3,
    )
    .await;
}

async fn norms(dice: &mut Dice) {
    let [rows, width] = [dice.below(90), dice.below(300) + 1];
    let mean = if dice.coin() { 100.0 } else { 0.0 };
    let [x0, x1] = dice.around([rows, width], mean);
    let [g0, g1] = dice.random([width]);
    let [s0, s1] = dice.random([width]);
    compare(
        &format!("layer norm {rows} x {width} around {mean}"),
        kernels::layer_norm(x0, g0, s0, 1e-5),
        plain::layer_norm(x1, g1, s1, 1e-5),
        1e-3,
    )
    .await;
    let [x0, x1] = dice.random([2, rows, width]);
    compare(
        &format!("2 x {rows} x {width} at unit length"),
        kernels::unit(x0),
        plain::unit(x1),
        1e-5,
    )
    .await;
    let [n, groups, per, h, w] = [
        dice.below(3),
        dice.below(4),
        dice.below(4),
        dice.below(20) + 1,
        dice.below(20),
    ];
    // Long groups are added up by pieces.
    let [h, w] = if dice.coin() { [h, w] } else { [4 * h, 7 * w] };
    let c = groups * per;
    let [x0, x1] = dice.around([n, c, h, w], mean);
    let [g0, g1] = dice.random([c]);
    let [s0, s1] = dice.random([c]);
    compare(
        &format!("group norm {n} x {c} x {h} x {w} in {groups} around {mean}"),
        kernels::group_norm(x0.clone(), g0.clone(), s0.clone(), groups, 1e-5),
        plain::group_norm(x1.clone(), g1.clone(), s1.clone(), groups, 1e-5),
        1e-3,
    )
    .await;
    let activation = dice.activation();
    compare(
        &format!("group norm {n} x {c} x {h} x {w} in {groups} around {mean}, then {activation:?}"),
        kernels::group_norm_activated(x0, g0, s0, groups, 1e-5, activation),
        plain::activate(plain::group_norm(x1, g1, s1, groups, 1e-5), activation),
        1e-3,
    )
    .await;
}

async fn patches(dice: &mut Dice) {
    let [n, c, output, h, w, k] = [
        dice.below(2),
        dice.below(9),
        dice.below(20),
        dice.below(9),
        dice.below(9),
        dice.below(4),
    ];
    let what = format!("{n} x {c} x {h} x {w} cells of {k} to {output}");
    let [x0, x1] = dice.random([n, c, k * h, k * w]);
    let [w0, w1] = dice.random([output, c, k, k]);
    let [b0, b1] = dice.random([output]);
    compare(
        &format!("patches {what}"),
        kernels::patches(x0.clone(), w0.clone(), Some(b0.clone())),
        plain::patches(x1.clone(), w1.clone(), Some(b1.clone())),
        1e-3,
    )
    .await;
    let activation = dice.activation();
    let map = plain::patch_map(x1, w1, b1.clone());
    compare(
        &format!("patch map {what}"),
        kernels::patch_map(x0.clone(), w0.clone(), b0.clone()),
        map.clone(),
        1e-3,
    )
    .await;
    compare(
        &format!("patch map {what}, then {activation:?}"),
        kernels::patch_map_activated(x0, w0, b0.clone(), activation),
        plain::activate(map, activation),
        1e-3,
    )
    .await;
    // Tokens of a map: a view.
    let [x0, x1] = dice.random([n, c, h * w]).map(|x| x.swap_dims(1, 2));
    let [w0, w1] = dice.random([c, output, k, k]);
    let [onto0, onto1] = dice.random([n, output, k * h, k * w]);
    let map = plain::upsample(x1, [h, w], w1, b1);
    compare(
        &format!("upsampling {what}"),
        kernels::upsample(x0.clone(), [h, w], w0.clone(), b0.clone()),
        map.clone(),
        1e-3,
    )
    .await;
    compare(
        &format!("upsampling {what}, onto"),
        kernels::upsample_onto(x0, [h, w], w0, b0, onto0),
        map + onto1,
        1e-3,
    )
    .await;
}

async fn activations(dice: &mut Dice) {
    let shape = [dice.below(60), dice.below(60)];
    let [x0, x1] = dice.random(shape).map(|x| x * 4.0);
    every_activation([x0, x1], 1e-5).await;
}

async fn classes(dice: &mut Dice) {
    let [pairs, classes, half, heads] =
        [dice.below(2), dice.below(9), dice.below(5), dice.below(4)];
    let (grid, width) = (2 * half, heads * dice.below(12));
    let what = format!("{pairs} x {classes} classes of {width} on {grid} x {grid}");
    let [x0, x1] = dice.random([pairs * classes, grid * grid, width]);
    let ours = kernels::pool_classes(x0.clone(), pairs, grid);
    let twin = plain::pool_classes(x1.clone(), pairs, grid);
    compare(&format!("pooled {what}"), ours, twin, 1e-5).await;
    let places = pairs * half * half;
    let [common0, common1] = dice.random([places, classes, width]);
    let ours = kernels::spread_classes(common0, x0, grid);
    let twin = plain::spread_classes(common1, x1, grid);
    compare(&format!("spread {what}"), ours, twin, 1e-4).await;
    let turned = |operands: [Both<3>; 3]| {
        let [[a0, a1], [b0, b1], [c0, c1]] = operands;
        [[a0, b0, c0], [a1, b1, c1]]
    };
    let [qkv0, qkv1] = turned([(); 3].map(|()| dice.random([places, classes, width])));
    let [[q0, k0, _], [q1, k1, _]] = turned([(); 3].map(|()| dice.random([1, classes, width])));
    let [[a0, b0, _], [a1, b1, _]] = turned([(); 3].map(|()| dice.random([1, 1, width])));
    let pads = 256 * usize::from(dice.coin());
    let ours = kernels::class_attention(qkv0, [q0, k0], [a0, b0], pads, heads);
    let twin = plain::class_attention(qkv1, [q1, k1], [a1, b1], pads, heads);
    compare(&format!("attention among {what}"), ours, twin, 2e-4).await;
}

async fn moves(dice: &mut Dice) {
    let [n, length, width] = [dice.below(4), dice.below(150), dice.below(40)];
    let what = format!("{n} x {length} cells of {width}");
    let [x0, x1] = dice.random([n, length, width]);
    let [y0, y1] = dice.random([n, length, width]);
    compare(
        &format!("sums of {what}"),
        kernels::plus(x0.clone(), y0),
        x1.clone() + y1,
        1e-6,
    )
    .await;
    let [y0, y1] = dice.random([n, 1, width]);
    compare(
        &format!("sums of {what} and one for all"),
        kernels::plus(x0.clone(), y0),
        x1.clone() + y1,
        1e-6,
    )
    .await;
    let side = 2 * dice.below(7);
    let shift = dice.below(side) - 1;
    let what = format!("{n} x {side} x {side} cells of {width}, moved by {shift}");
    let [x0, x1] = dice.random([n, side * side, width]);
    let [y0, y1] = dice.random([n, side * side, width]);
    let [ours, twin] = [
        kernels::cut_windows(x0, side, shift),
        plain::cut_windows(x1, side, shift),
    ];
    compare(
        &format!("windows of {what}"),
        ours.clone(),
        twin.clone(),
        0.0,
    )
    .await;
    compare(
        &format!("windows joined to {what}"),
        kernels::join_windows(ours, y0, side, shift),
        plain::join_windows(twin, y1, side, shift),
        1e-6,
    )
    .await;
}

async fn every_activation<const D: usize>([x0, x1]: Both<D>, slack: f32) {
    for activation in Activation::ALL {
        compare(
            &format!("{activation:?} {:?}", x0.dims()),
            kernels::activate(x0.clone(), activation),
            plain::activate(x1.clone(), activation),
            slack,
        )
        .await;
    }
}

/// Values far out, where exponentials overflow: results stay finite and right.
///
/// # Panics
/// When one does not.
pub async fn check_extremes(device: Device) {
    // So many rows that a workgroup of a graphics card takes several blocks, the last of them not all there.
    let [x, weight] = [[4101, 8], [1023, 8]]
        .map(|shape| Tensor::<2>::random(shape, Distribution::Default, &Device::flex()));
    let [x0, w0] = [&x, &weight].map(|x| x.clone().to_device(&device));
    let ours = kernels::linear(x0, kernels::keep(w0), None);
    compare("many rows", ours, plain::linear(x, weight, None), 1e-4).await;
    let values = [-1e4f32, -90.0, -1e-6, 0.0, 1e-6, 90.0, 1e4];
    let both = [&device, &Device::flex()]
        .map(|device| Tensor::<1>::from_data(TensorData::from(values), device));
    every_activation(both, 1e-6).await;
    let [q, k, v] = [(); 3].map(|()| {
        let values = Distribution::Uniform(-60.0, 60.0);
        Tensor::<4>::random([1, 1, 70, 8], values, &Device::flex())
    });
    let [q0, k0, v0] = [&q, &k, &v].map(|x| x.clone().to_device(&device));
    let ours = kernels::attention(&q0, &k0, &v0, None).expect("a width of eight");
    compare(
        "sharp attention",
        ours,
        plain::attention(q, k, v, None, false),
        1e-2,
    )
    .await;
}
