//! Every operation of `mmovseg-kernels` on a device against its reference on the CPU, over shapes
//! and values drawn from a seed.

use std::sync::Arc;

use burn::tensor::{DType, Device, Distribution, Tensor, TensorData};
use mmovseg_kernels::{self as kernels, Activation, Epilogue, GroupNorm, WindowBias, reference};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Draws the shapes and operands of the cases.
struct Cases {
    rng: ChaCha8Rng,
    device: Device,
}

/// One tensor on the device under test and on the CPU.
type Both<const D: usize> = [Tensor<D>; 2];

impl Cases {
    fn up_to(&mut self, max: usize) -> usize {
        self.rng.random_range(1..=max)
    }

    fn coin(&mut self) -> bool {
        self.rng.random_bool(0.5)
    }

    /// Sequences, heads, length and head width of attention.
    fn heads(&mut self) -> [usize; 4] {
        [
            self.up_to(3),
            self.up_to(3),
            self.up_to(150),
            4 * self.up_to(17),
        ]
    }

    fn activation(&mut self) -> Activation {
        Activation::ALL[self.up_to(Activation::ALL.len()) - 1]
    }

    /// Values around `mean`, 2 % of them with four times the spread.
    fn around<const D: usize>(&mut self, shape: [usize; D], mean: f32) -> Both<D> {
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| {
                let value = self.rng.random_range(-1.5f32..1.5);
                mean + if self.rng.random_bool(0.02) {
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

    fn maybe_bias(&mut self, length: usize) -> [Option<Tensor<1>>; 2] {
        let bias = self.random([length]);
        if self.coin() {
            bias.map(Some)
        } else {
            [None, None]
        }
    }
}

/// Compares `cases` random cases of every operation with the references.
///
/// # Panics
/// When an operation is off by more than single precision explains; the message names operation and
/// shapes.
pub async fn check_kernels(device: Device, seed: u64, cases: usize) {
    let mut draw = Cases {
        rng: ChaCha8Rng::seed_from_u64(seed),
        device,
    };
    for _ in 0..cases {
        linear(&mut draw).await;
        attention(&mut draw).await;
        conv(&mut draw).await;
        conv_with_norm(&mut draw).await;
        norms(&mut draw).await;
        patches(&mut draw).await;
        activations(&mut draw).await;
        classes(&mut draw).await;
        sums_and_windows(&mut draw).await;
    }
}

/// Compares `cases` random cases of the operations in half precision (f16 weights) with the
/// references. The operands are rounded to f16 on both sides.
///
/// # Panics
/// When an operation is off by more than the rounding of its result explains.
pub async fn check_half_kernels(device: Device, seed: u64, cases: usize) {
    let mut draw = Cases {
        rng: ChaCha8Rng::seed_from_u64(seed),
        device,
    };
    for _ in 0..cases {
        let [rows, quads, width] = [draw.up_to(70), draw.up_to(24), draw.up_to(300)];
        let depth = if draw.coin() { 4 * quads } else { quads };
        half_linear(&mut draw, [rows, depth, width]).await;
        half_attention(&mut draw).await;
    }
    // Enough rows for workgroups of several subgroups.
    half_linear(&mut draw, [2050, 8, 1024]).await;
}

/// A value in half precision on the device, and the rounded value in single precision on the CPU.
fn half<const D: usize>([ours, expected]: Both<D>) -> Both<D> {
    let round = |x: Tensor<D>| x.cast(DType::F16);
    [round(ours), round(expected).cast(DType::F32)]
}

async fn half_linear(draw: &mut Cases, [rows, depth, width]: [usize; 3]) {
    let what = format!("half linear {rows} x {depth} to {width}");
    let [x0, x1] = draw.random([2, rows, depth]);
    let [g0, g1] = half(draw.random([depth]));
    let [s0, s1] = draw.random([depth]);
    let normed = kernels::layer_norm(x0, g0, s0, 1e-5);
    assert_eq!(normed.dtype(), DType::F16, "{what}");
    let single = normed.clone().cast(DType::F32);
    let expected = reference::layer_norm(x1, g1, s1, 1e-5);
    compare(&format!("{what}, norm"), single.clone(), expected, 2e-3).await;
    // The reference of the product gets the norm's own result, so that its rounding is not counted
    // twice.
    let read = single.into_data_async().await.expect("the device answers");
    let x1 = Tensor::<3>::from_data(read, &Device::flex());
    let [w0, w1] = half(draw.random([width, depth]));
    let [b0, b1] = draw.random([width]);
    let [residual0, residual1] = draw.random([2, rows, width]);
    let weight = kernels::prepack(w0);
    let expected = reference::linear(x1, w1, Some(b1));
    let tolerance = 2e-3;
    let run =
        |epilogue| kernels::linear(normed.clone(), weight.clone(), Some(b0.clone()), epilogue);
    let ours = run(Epilogue::None).cast(DType::F32);
    compare(&what, ours, expected.clone(), tolerance).await;
    let ours = run(Epilogue::add(residual0));
    assert_eq!(ours.dtype(), DType::F32, "{what}, residual");
    let sum = residual1 + expected.clone();
    compare(&format!("{what}, residual"), ours, sum, tolerance).await;
    let activation = draw.activation();
    compare(
        &format!("{what}, {activation:?}"),
        run(Epilogue::Activation(activation)).cast(DType::F32),
        reference::activate(expected, activation),
        tolerance,
    )
    .await;
}

async fn half_attention(draw: &mut Cases) {
    let [n, heads, length, width] = draw.heads();
    let what = format!("half attention {n} x {heads} x {length} x {width}");
    // Thirds of one product, as in the network.
    let [qkv0, qkv1] = half(draw.random([n, length, 3 * heads * width]));
    let split = |x: &Tensor<3>, i: usize| {
        let third = x.clone().narrow(2, i * heads * width, heads * width);
        third.reshape([n, length, heads, width]).swap_dims(1, 2)
    };
    let [q, k, v] = [0, 1, 2].map(|i| split(&qkv0, i));
    let ours = kernels::attention(&q, &k, &v, None).expect("widths of a multiple of four");
    let [q, k, v] = [0, 1, 2].map(|i| split(&qkv1, i));
    let expected = reference::attention(q, k, v, None, false);
    compare(&what, ours.cast(DType::F32), expected.clone(), 2e-3).await;
    if let Some(ours) = kernels::attention_packed(&qkv0, heads) {
        let ours = ours.cast(DType::F32);
        compare(&format!("{what}, packed"), ours, expected, 2e-3).await;
    }
}

/// Panics unless `|ours − expected| ≤ tolerance · (1 + |expected|)` for each value.
async fn compare<const D: usize>(what: &str, ours: Tensor<D>, expected: Tensor<D>, tolerance: f32) {
    let [ours, expected] = [
        ours.into_data_async().await,
        expected.into_data_async().await,
    ]
    .map(|read| read.unwrap_or_else(|error| panic!("{what}: {error:?}")));
    assert_eq!(ours.shape(), expected.shape(), "{what}");
    let [ours, expected] = [ours, expected].map(|data| {
        data.try_into_vec::<f32>()
            .unwrap_or_else(|error| panic!("{what}: {error:?}"))
    });
    for (at, (a, b)) in ours.iter().zip(&expected).enumerate() {
        // In this direction the comparison fails for a NaN.
        assert!(
            (a - b).abs() <= tolerance + tolerance * b.abs(),
            "{what}: {a} instead of {b} at {at}"
        );
    }
}

async fn linear(draw: &mut Cases) {
    // Fewer rows than a block and more; depths that are a multiple of four and others.
    let [rows, quads, width] = [draw.up_to(70), draw.up_to(24), draw.up_to(300)];
    let depth = if draw.coin() { 4 * quads } else { quads };
    let [x0, x1] = draw.random([2, rows, depth]);
    let [w0, w1] = draw.random([width, depth]);
    let [b0, b1] = draw.maybe_bias(width);
    let what = format!("linear {rows} x {depth} to {width}");
    let packed = kernels::prepack(w0.clone());
    let expected = reference::linear(x1.clone(), w1.clone(), b1);
    let ours = kernels::linear(x0.clone(), w0, b0.clone(), Epilogue::None);
    compare(&what, ours, expected.clone(), 1e-3).await;
    let ours = kernels::linear(x0.clone(), packed.clone(), b0, Epilogue::None);
    compare(&format!("{what}, prepacked"), ours, expected, 1e-3).await;

    let entries = if draw.coin() { 1 } else { 2 };
    let [residual0, residual1] = draw.random([entries, rows, width]);
    let expected = reference::linear(x1.clone(), w1.clone(), None);
    compare(
        &format!("{what}, residual {entries}"),
        kernels::linear(x0.clone(), packed.clone(), None, Epilogue::add(residual0)),
        reference::apply_epilogue(expected, Epilogue::add(residual1)),
        1e-3,
    )
    .await;

    let [b0, b1] = draw.random([width]);
    let expected = reference::linear(x1, w1, Some(b1));
    let run = |epilogue| kernels::linear(x0.clone(), packed.clone(), Some(b0.clone()), epilogue);
    let [residual0, residual1] = draw.random([2, rows, width]);
    compare(
        &format!("{what}, bias and residual"),
        run(Epilogue::add(residual0)),
        residual1 + expected.clone(),
        1e-3,
    )
    .await;
    let activation = draw.activation();
    compare(
        &format!("{what}, {activation:?}"),
        run(Epilogue::Activation(activation)),
        reference::activate(expected, activation),
        1e-3,
    )
    .await;
}

async fn attention(draw: &mut Cases) {
    let [n, heads, length, width] = draw.heads();
    let operands = [(); 3].map(|()| draw.random([n, length, heads * width]));
    let bias = draw.coin().then(|| {
        let values = (0..n * length * length)
            .map(|_| draw.rng.random_range(-6.0..1.0))
            .collect();
        Arc::new(WindowBias::new(values, n, length))
    });
    // Views of wider tensors, as in the network.
    let split = |x: &Tensor<3>| x.clone().reshape([n, length, heads, width]).swap_dims(1, 2);
    let [q0, k0, v0] = [0, 1, 2].map(|i| split(&operands[i][0]));
    let [q1, k1, v1] = [0, 1, 2].map(|i| split(&operands[i][1]));
    let what = format!("attention {n} x {heads} x {length} x {width}");
    let ours =
        kernels::attention(&q0, &k0, &v0, bias.as_ref()).expect("widths of a multiple of four");
    let expected = reference::attention(q1.clone(), k1.clone(), v1.clone(), bias.as_deref(), false);
    compare(&what, ours, expected, 2e-4).await;
    let causal = Arc::new(WindowBias::causal(length));
    let ours =
        kernels::attention(&q0, &k0, &v0, Some(&causal)).expect("widths of a multiple of four");
    let expected = reference::attention(q1.clone(), k1.clone(), v1.clone(), None, true);
    compare(&format!("causal {what}"), ours, expected, 2e-4).await;
    let qkv = Tensor::cat(operands.iter().map(|both| both[0].clone()).collect(), 2);
    if let Some(ours) = kernels::attention_packed(&qkv, heads) {
        let expected = reference::attention(q1, k1, v1, None, false);
        compare(&format!("{what}, packed"), ours, expected, 2e-4).await;
    }
}

async fn conv(draw: &mut Cases) {
    let [n, quads, output, h, w] = [
        draw.up_to(2),
        draw.up_to(4),
        draw.up_to(20),
        draw.up_to(20),
        draw.up_to(30),
    ];
    let input = if draw.coin() { 4 * quads } else { quads };
    let k = [1, 3, 5, 7][draw.up_to(4) - 1];
    let [x0, x1] = draw.random([n, input, h, w]);
    let [w0, w1] = draw.random([output, input, k, k]);
    let packed = kernels::prepack(w0);
    let maps = if draw.coin() { 1 } else { n };
    let [residual0, residual1] = draw.random([maps, output, h, w]);
    let activation = draw.activation();
    let epilogues = [
        [Epilogue::None, Epilogue::None],
        [activation, activation].map(Epilogue::Activation),
        [residual0, residual1].map(Epilogue::add),
    ];
    for (which, [epilogue0, epilogue1]) in epilogues.into_iter().enumerate() {
        let [b0, b1] = draw.maybe_bias(output);
        let what = format!(
            "conv {n} x {input} x {h} x {w} to {output}, {k} x {k}, bias {}, epilogue {which}",
            b0.is_some()
        );
        let ours = kernels::conv(x0.clone(), packed.clone(), b0, epilogue0);
        let expected = reference::conv(x1.clone(), w1.clone(), b1);
        compare(
            &what,
            ours,
            reference::apply_epilogue(expected, epilogue1),
            2e-3,
        )
        .await;
    }
}

/// Convolutions, of a map and of an upsampled one, with a norm in their epilogue.
async fn conv_with_norm(draw: &mut Cases) {
    let [n, input, between, h, w] = [
        draw.up_to(3),
        draw.up_to(20),
        draw.up_to(20),
        draw.up_to(20),
        draw.up_to(20),
    ];
    let [groups, per_group] = [draw.up_to(3), draw.up_to(8)];
    let output = groups * per_group;
    let activation = draw.activation();
    let what = format!(
        "{n} x {input} x {h} x {w} upsampled to {between}, to {output} in {groups} groups, {activation:?}"
    );
    // Tokens of a map: a view.
    let [x0, x1] = draw.random([n, input, h * w]).map(|x| x.swap_dims(1, 2));
    let [u0, u1] = draw.random([input, between, 2, 2]);
    let [b0, b1] = draw.random([between]);
    let [w0, w1] = draw.random([output, between, 3, 3]);
    let maps = if draw.coin() { 1 } else { n };
    let [before0, before1] = draw.random([maps, output, 2 * h, 2 * w]);
    let [after0, after1] = draw.random([n, output, 2 * h, 2 * w]);
    let gammas = draw.random([output]);
    let betas = draw.random([output]);
    let norms = gammas
        .into_iter()
        .zip(betas)
        .map(|(gamma, beta)| GroupNorm::new(gamma, beta, groups, 1e-5).then(activation));
    let [norm0, norm1] =
        <[GroupNorm; 2]>::try_from(norms.collect::<Vec<_>>()).expect("one norm for each device");
    let packed = kernels::prepack(w0);
    let map = kernels::upsample(x0.clone(), [h, w], u0.clone(), b0.clone(), Epilogue::None);
    let y = reference::conv(reference::upsample(x1, [h, w], u1, b1), w1, None);
    let epilogues = [
        [norm0.clone(), norm1.clone()].map(Epilogue::Norm),
        [
            Epilogue::norm_add(norm0.clone(), after0),
            Epilogue::norm_add(norm1.clone(), after1),
        ],
        [
            Epilogue::add_norm(before0, norm0),
            Epilogue::add_norm(before1, norm1),
        ],
    ];
    for (which, [epilogue0, epilogue1]) in epilogues.into_iter().enumerate() {
        let what = format!("{what}, epilogue {which}");
        let expected = reference::apply_epilogue(y.clone(), epilogue1);
        let ours = kernels::conv(map.clone(), packed.clone(), None, epilogue0.clone());
        compare(&format!("conv of {what}"), ours, expected.clone(), 5e-3).await;
        let (x0, up) = (x0.clone(), (u0.clone(), b0.clone()));
        let ours = kernels::conv_upsampled(x0, [h, w], up, packed.clone(), epilogue0);
        compare(&what, ours, expected, 5e-3).await;
    }
}

async fn norms(draw: &mut Cases) {
    let [rows, width] = [draw.up_to(90), draw.up_to(300) + 1];
    let mean = if draw.coin() { 100.0 } else { 0.0 };
    let [x0, x1] = draw.around([rows, width], mean);
    let [g0, g1] = draw.random([width]);
    let [s0, s1] = draw.random([width]);
    compare(
        &format!("layer norm {rows} x {width} around {mean}"),
        kernels::layer_norm(x0, g0, s0, 1e-5),
        reference::layer_norm(x1, g1, s1, 1e-5),
        1e-3,
    )
    .await;
    let [x0, x1] = draw.random([2, rows, width]);
    compare(
        &format!("2 x {rows} x {width} at unit length"),
        kernels::unit(x0),
        reference::unit(x1),
        1e-5,
    )
    .await;
    let [n, groups, per_group, h, w] = [
        draw.up_to(3),
        draw.up_to(4),
        draw.up_to(4),
        draw.up_to(20) + 1,
        draw.up_to(20),
    ];
    // A GPU adds up long groups in pieces.
    let [h, w] = if draw.coin() { [h, w] } else { [4 * h, 7 * w] };
    let c = groups * per_group;
    let [x0, x1] = draw.around([n, c, h, w], mean);
    let [g0, g1] = draw.random([c]);
    let [s0, s1] = draw.random([c]);
    let norm0 = GroupNorm::new(g0, s0, groups, 1e-5);
    let norm1 = GroupNorm::new(g1, s1, groups, 1e-5);
    let what = format!("group norm {n} x {c} x {h} x {w} in {groups} around {mean}");
    let ours = kernels::group_norm(x0.clone(), norm0.clone());
    let expected = reference::group_norm(x1.clone(), &norm1);
    compare(&what, ours, expected, 1e-3).await;
    let activation = draw.activation();
    compare(
        &format!("{what}, {activation:?}"),
        kernels::group_norm(x0, norm0.then(activation)),
        reference::group_norm(x1, &norm1.then(activation)),
        1e-3,
    )
    .await;
}

async fn patches(draw: &mut Cases) {
    let [n, c, output, h, w, k] = [
        draw.up_to(2),
        draw.up_to(9),
        draw.up_to(20),
        draw.up_to(9),
        draw.up_to(9),
        draw.up_to(4),
    ];
    let what = format!("{n} x {c} x {h} x {w} cells of {k} to {output}");
    let [x0, x1] = draw.random([n, c, k * h, k * w]);
    let [w0, w1] = draw.random([output, c, k, k]);
    let [b0, b1] = draw.random([output]);
    compare(
        &format!("patches {what}"),
        kernels::patches(x0.clone(), w0.clone(), Some(b0.clone())),
        reference::patches(x1.clone(), w1.clone(), Some(b1.clone())),
        1e-3,
    )
    .await;
    let activation = draw.activation();
    let maps = if draw.coin() { 1 } else { n };
    let [residual0, residual1] = draw.random([maps, output, h, w]);
    let epilogues = [
        [Epilogue::None, Epilogue::None],
        [activation, activation].map(Epilogue::Activation),
        [residual0, residual1].map(Epilogue::add),
    ];
    for (which, [epilogue0, epilogue1]) in epilogues.into_iter().enumerate() {
        let ours = kernels::patch_map(x0.clone(), w0.clone(), Some(b0.clone()), epilogue0);
        let map = reference::patch_map(x1.clone(), w1.clone(), Some(b1.clone()));
        let expected = reference::apply_epilogue(map, epilogue1);
        let what = format!("patch map {what}, epilogue {which}");
        compare(&what, ours, expected, 1e-3).await;
    }
    // Tokens of a map: a view.
    let [x0, x1] = draw.random([n, c, h * w]).map(|x| x.swap_dims(1, 2));
    let [w0, w1] = draw.random([c, output, k, k]);
    let [residual0, residual1] = draw.random([n, output, k * h, k * w]);
    let map = reference::upsample(x1, [h, w], w1, b1);
    let run = |epilogue| kernels::upsample(x0.clone(), [h, w], w0.clone(), b0.clone(), epilogue);
    let ours = run(Epilogue::None);
    compare(&format!("upsampling {what}"), ours, map.clone(), 1e-3).await;
    let ours = run(Epilogue::add(residual0));
    let what = format!("upsampling {what}, residual");
    compare(&what, ours, map + residual1, 1e-3).await;
}

async fn activations(draw: &mut Cases) {
    let shape = [draw.up_to(60), draw.up_to(60)];
    let both = draw.random(shape).map(|x| x * 4.0);
    every_activation(both, 1e-5).await;
}

async fn classes(draw: &mut Cases) {
    let [pairs, classes, half, heads] =
        [draw.up_to(2), draw.up_to(9), draw.up_to(5), draw.up_to(4)];
    let (grid, width) = (2 * half, heads * draw.up_to(12));
    let what = format!("{pairs} x {classes} classes of {width} on {grid} x {grid}");
    let [x0, x1] = draw.random([pairs * classes, grid * grid, width]);
    let ours = kernels::pool_classes(x0.clone(), pairs, grid);
    let expected = reference::pool_classes(x1.clone(), pairs, grid);
    compare(&format!("pooled {what}"), ours, expected, 1e-5).await;
    let places = pairs * half * half;
    let [pooled0, pooled1] = draw.random([places, classes, width]);
    let ours = kernels::spread_classes(pooled0, x0, grid);
    let expected = reference::spread_classes(pooled1, x1, grid);
    compare(&format!("spread {what}"), ours, expected, 1e-4).await;
    let by_device = |operands: [Both<3>; 3]| {
        let [[a0, a1], [b0, b1], [c0, c1]] = operands;
        [[a0, b0, c0], [a1, b1, c1]]
    };
    let [qkv0, qkv1] = by_device([(); 3].map(|()| draw.random([places, classes, width])));
    let [[q0, k0, _], [q1, k1, _]] = by_device([(); 3].map(|()| draw.random([1, classes, width])));
    let [[a0, b0, _], [a1, b1, _]] = by_device([(); 3].map(|()| draw.random([1, 1, width])));
    let pads = 256 * usize::from(draw.coin());
    let ours = kernels::class_attention(qkv0, [q0, k0], [a0, b0], pads, heads);
    let expected = reference::class_attention(qkv1, [q1, k1], [a1, b1], pads, heads);
    compare(&format!("attention among {what}"), ours, expected, 2e-4).await;
}

async fn sums_and_windows(draw: &mut Cases) {
    let [n, length, width] = [draw.up_to(4), draw.up_to(150), draw.up_to(40)];
    let what = format!("{n} x {length} cells of {width}");
    let [x0, x1] = draw.random([n, length, width]);
    for rows in [length, 1] {
        let [y0, y1] = draw.random([n, rows, width]);
        let what = format!("sum of {what} and {n} x {rows}");
        compare(&what, kernels::add(x0.clone(), y0), x1.clone() + y1, 1e-6).await;
    }
    let side = 2 * draw.up_to(7);
    let shift = draw.up_to(side) - 1;
    let what = format!("{n} x {side} x {side} cells of {width}, shifted by {shift}");
    let [x0, x1] = draw.random([n, side * side, width]);
    let [y0, y1] = draw.random([n, side * side, width]);
    let ours = kernels::cut_windows(x0, side, shift);
    let expected = reference::cut_windows(x1, side, shift);
    let cut = format!("windows of {what}");
    compare(&cut, ours.clone(), expected.clone(), 0.0).await;
    compare(
        &format!("windows joined to {what}"),
        kernels::join_windows(ours, y0, side, shift),
        reference::join_windows(expected, y1, side, shift),
        1e-6,
    )
    .await;
}

async fn every_activation<const D: usize>([x0, x1]: Both<D>, tolerance: f32) {
    for activation in Activation::ALL {
        compare(
            &format!("{activation:?} {:?}", x0.dims()),
            kernels::activate(x0.clone(), activation),
            reference::activate(x1.clone(), activation),
            tolerance,
        )
        .await;
    }
}

/// Large values, where exponentials overflow, and large shapes: results stay finite and right.
///
/// # Panics
/// When a result differs from the reference.
pub async fn check_extremes(device: Device) {
    // Enough rows for workgroups of several subgroups, the last of them partly used.
    let [x, weight] = [[4101, 8], [1023, 8]]
        .map(|shape| Tensor::<2>::random(shape, Distribution::Default, &Device::flex()));
    let [x0, w0] = [&x, &weight].map(|x| x.clone().to_device(&device));
    let ours = kernels::linear(x0, kernels::prepack(w0), None, Epilogue::None);
    compare("many rows", ours, reference::linear(x, weight, None), 1e-4).await;
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
        "attention with large scores",
        ours,
        reference::attention(q, k, v, None, false),
        1e-2,
    )
    .await;
}
