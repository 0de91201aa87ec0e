//! Every operation on the CPU against its reference: values and gradients, over random shapes.

use std::sync::Arc;

use burn::tensor::{Device, Distribution, Tensor, TensorData, Tolerance};
use mmovseg_kernels::{self as kernels, Activation, Epilogue, GroupNorm, WindowBias, reference};
use proptest::prelude::*;

fn device() -> Device {
    Device::flex().autodiff()
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.5), &device()).require_grad()
}

/// Values of `f` and the gradients of a weighted sum of them, for copies of the same operands.
fn run<const D: usize, const N: usize>(
    operands: &[Tensor<D>; N],
    f: impl Fn([Tensor<D>; N]) -> Tensor<D>,
) -> Vec<TensorData> {
    let operands = operands
        .clone()
        .map(|operand| operand.detach().require_grad());
    let out = f(operands.clone());
    let shape = out.dims();
    let count: usize = shape.iter().product();
    let weights: Vec<f32> = (0..count).map(|i| (i % 7) as f32 * 0.3 - 1.0).collect();
    let weights = Tensor::<1>::from_data(TensorData::new(weights, [count]), &device());
    let loss = (out.clone().reshape([count]) * weights).sum();
    let gradients = loss.backward();
    let mut all = vec![out.into_data()];
    for operand in operands {
        all.push(
            operand
                .grad(&gradients)
                .map(|gradient| gradient.into_data())
                .unwrap_or_else(|| panic!("an operand has no gradient")),
        );
    }
    all
}

fn compare(ours: &[TensorData], expected: &[TensorData], slack: f32) {
    assert_eq!(ours.len(), expected.len());
    for (a, b) in ours.iter().zip(expected) {
        a.assert_approx_eq::<f32>(b, Tolerance::absolute(slack).set_relative(slack));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn attention_agrees(
        n in 1usize..5, heads in 1usize..4, length in 1usize..150, width in 1usize..40,
        biased in any::<bool>(),
    ) {
        // Heads as views of a wider tensor, as in the network.
        let wide = [n, length, heads * width];
        let operands = [random(wide), random(wide), random(wide)];
        let split = |x: Tensor<3>| x.reshape([n, length, heads, width]).swap_dims(1, 2);
        let merge = |x: Tensor<4>| x.swap_dims(1, 2).reshape(wide);
        let bias = biased.then(|| {
            let values = (0..n * length * length).map(|i| (i % 5) as f32 * -0.7).collect();
            Arc::new(WindowBias::new(values, n, length))
        });
        let ours = run(&operands, |[q, k, v]| {
            let (q, k, v) = (split(q), split(k), split(v));
            merge(kernels::attention(&q, &k, &v, bias.as_ref()).expect("a kernel on the CPU"))
        });
        let expected = run(&operands, |[q, k, v]| {
            merge(reference::attention(split(q), split(k), split(v), bias.as_deref(), false))
        });
        compare(&ours, &expected, 2e-4);
    }

    #[test]
    fn a_causal_bias_is_the_causal_mask(length in 1usize..80) {
        let shape = [2, 2, length, 8];
        let operands = [random(shape), random(shape), random(shape)];
        let bias = Arc::new(WindowBias::causal(length));
        let ours = run(&operands, |[q, k, v]| {
            kernels::attention(&q, &k, &v, Some(&bias)).expect("a kernel on the CPU")
        });
        let expected = run(&operands, |[q, k, v]| reference::attention(q, k, v, None, true));
        compare(&ours, &expected, 2e-4);
    }

    #[test]
    fn layer_norm_agrees(rows in 1usize..400, width in 2usize..200) {
        let x = random([rows, width]);
        // All operands have the same rank, so that `run` can differentiate them.
        let operands = [x, random([1, width]), random([1, width])];
        let norm = |f: fn(Tensor<2>, Tensor<1>, Tensor<1>, f64) -> Tensor<2>| {
            run(&operands, |[x, gamma, beta]| {
                f(x, gamma.reshape([width]), beta.reshape([width]), 1e-5)
            })
        };
        compare(&norm(kernels::layer_norm), &norm(reference::layer_norm), 1e-3);
    }

    #[test]
    fn group_norm_agrees(n in 1usize..4, groups in 1usize..4, per in 1usize..5, h in 2usize..9, w in 2usize..40) {
        let c = groups * per;
        let operands = [random([n, c, h, w]), random([1, c, 1, 1]), random([1, c, 1, 1])];
        let norm = |f: fn(Tensor<4>, GroupNorm) -> Tensor<4>| {
            run(&operands, |[x, gamma, beta]| {
                f(x, GroupNorm::new(gamma.reshape([c]), beta.reshape([c]), groups, 1e-5))
            })
        };
        compare(&norm(kernels::group_norm), &norm(|x, norm| reference::group_norm(x, &norm)), 1e-3);
    }

    #[test]
    fn conv_agrees(
        n in 1usize..4, input in 1usize..9, output in 1usize..15, h in 1usize..30, w in 1usize..40,
        half in 0usize..4, has_bias in any::<bool>(), many in any::<bool>(),
    ) {
        // With many channels the taps take several passes, and wide maps are convolved by im2col.
        let [input, h, w, half] = if many { [input + 113, 8 + h / 15, w + 30, 1] } else { [input, h, w, half] };
        let k = 2 * half + 1;
        let operands = [random([n, input, h, w]), random([output, input, k, k]), random([1, output, 1, 1])];
        let conv = |f: fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>) -> Tensor<4>| {
            run(&operands, |[x, weight, bias]| {
                // The bias is added to the result as well, so that it has a gradient in every case.
                let used = has_bias.then(|| bias.clone().reshape([output]));
                f(x, weight, used) + bias
            })
        };
        compare(&conv(|x, w, b| kernels::conv(x, w, b, Epilogue::None)), &conv(reference::conv), 2e-3);
    }

    #[test]
    fn linear_agrees(
        n in 1usize..4, length in 1usize..300, input in 1usize..40, output in 1usize..40,
        has_bias in any::<bool>(), turned in any::<bool>(), part in any::<bool>(),
    ) {
        // Tokens of a map and a part of a weight as views.
        let x = if turned { [n, input, length] } else { [n, length, input] };
        let weight = if part { [1, output, input + 3] } else { [1, output, input] };
        let operands = [random(x), random(weight), random([1, 1, output])];
        let linear = |f: fn(Tensor<3>, Tensor<2>, Option<Tensor<1>>) -> Tensor<3>| {
            run(&operands, |[x, weight, bias]| {
                let used = has_bias.then(|| bias.clone().reshape([output]));
                let x = if turned { x.swap_dims(1, 2) } else { x };
                let [_, _, all] = weight.dims();
                let weight = weight.reshape([output, all]).narrow(1, all - input, input);
                f(x, weight, used) + bias
            })
        };
        compare(&linear(|x, w, b| kernels::linear(x, w, b, Epilogue::None)), &linear(reference::linear), 2e-3);
    }

    #[test]
    fn patches_agree(
        n in 1usize..4, input in 1usize..7, output in 1usize..9, h in 1usize..20, w in 1usize..20,
        k in 1usize..5, has_bias in any::<bool>(),
    ) {
        let operands = [random([n, input, k * h, k * w]), random([output, input, k, k]), random([1, output, 1, 1])];
        let tokens = |f: fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>) -> Tensor<3>| {
            run(&operands, |[x, weight, bias]| {
                let used = has_bias.then(|| bias.clone().reshape([output]));
                f(x, weight, used).reshape([n, h * w, output, 1]) + bias.reshape([1, 1, output, 1])
            })
        };
        compare(&tokens(kernels::patches), &tokens(reference::patches), 2e-3);
        for activation in [None, Some(Activation::Gelu)] {
            let epilogue = || activation.map_or(Epilogue::None, Epilogue::Activation);
            let ours = run(&operands, |[x, weight, bias]| {
                kernels::patch_map(x, weight, Some(bias.reshape([output])), epilogue())
            });
            let expected = run(&operands, |[x, weight, bias]| {
                let map = reference::patch_map(x, weight, Some(bias.reshape([output])));
                reference::apply_epilogue(map, epilogue())
            });
            compare(&ours, &expected, 2e-3);
        }
    }

    #[test]
    fn upsampling_agrees(
        n in 1usize..4, input in 1usize..40, output in 1usize..7, h in 1usize..20, w in 1usize..20,
        k in 1usize..5, turned in any::<bool>(),
    ) {
        let x = if turned { [n, input, h * w, 1] } else { [n, h * w, input, 1] };
        let operands = [random(x), random([input, output, k, k]), random([1, output, 1, 1])];
        let upsample = |f: fn(Tensor<3>, [usize; 2], Tensor<4>, Tensor<1>) -> Tensor<4>| {
            run(&operands, |[x, weight, bias]| {
                let x = if turned { x.swap_dims(1, 2) } else { x };
                f(x.reshape([n, h * w, input]), [h, w], weight, bias.reshape([output]))
            })
        };
        let ours = upsample(|x, grid, w, b| kernels::upsample(x, grid, w, b, Epilogue::None));
        compare(&ours, &upsample(reference::upsample), 2e-3);
    }

    #[test]
    fn activations_agree(rows in 1usize..300, width in 1usize..200) {
        let operands = [random([rows, width]) * 3.0];
        for activation in Activation::ALL {
            let one = |f: fn(Tensor<2>, Activation) -> Tensor<2>| {
                run(&operands, |[x]| f(x, activation))
            };
            compare(&one(kernels::activate), &one(reference::activate), 5e-6);
        }
    }

    #[test]
    fn linear_layers_with_an_epilogue_agree_and_have_gradients(
        rows in 1usize..60, depth in 1usize..40, width in 1usize..40, which in 0usize..4,
    ) {
        let activation = Activation::ALL[which];
        let operands = [random([rows, depth]), random([width, depth]), random([1, width]), random([rows, width])];
        let ours = run(&operands, |[x, weight, bias, onto]| {
            let bias = bias.reshape([width]);
            let epilogue = Epilogue::Activation(activation);
            let y = kernels::linear(x.clone(), weight.clone(), Some(bias.clone()), epilogue);
            y + kernels::linear(x, weight, Some(bias), Epilogue::add(onto))
        });
        let references = run(&operands, |[x, weight, bias, onto]| {
            let y = reference::linear(x, weight, Some(bias.reshape([width])));
            reference::activate(y.clone(), activation) + onto + y
        });
        compare(&ours, &references, 2e-3);
    }

    /// Shapes for which the upsampled map is computed and shapes for which it is not.
    #[test]
    fn normalised_convolutions_agree(
        n in 1usize..4, each in 1usize..3, input in 1usize..24, between in 1usize..24, groups in 1usize..3, per in 1usize..8,
        h in 1usize..25, w in 1usize..25, turned in any::<bool>(),
    ) {
        let cpu = Device::flex();
        let output = groups * per;
        let random = |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.5), &cpu);
        let flat = |len: usize| random([1, 1, 1, len]).reshape([len]);
        let tokens = if turned {
            random([1, n * each, input, h * w]).reshape([n * each, input, h * w]).swap_dims(1, 2)
        } else {
            random([1, n * each, h * w, input]).reshape([n * each, h * w, input])
        };
        let (up, bias) = (random([input, between, 2, 2]), flat(between));
        let weight = random([output, between, 3, 3]);
        let onto = random([n, output, 2 * h, 2 * w]);
        let norm = GroupNorm::new(flat(output), flat(output), groups, 1e-5).then(Activation::Relu);
        let map = reference::upsample(tokens.clone(), [h, w], up.clone(), bias.clone());
        let y = reference::conv(map.clone(), weight.clone(), None);
        let residual = Tensor::zeros_like(&y) + 0.5;
        let epilogues = || {
            [
                Epilogue::Norm(norm.clone()),
                Epilogue::norm_add(norm.clone(), residual.clone()),
                Epilogue::add_norm(onto.clone(), norm.clone()),
                Epilogue::add(onto.clone()),
            ]
        };
        for (which, epilogue) in epilogues().into_iter().enumerate() {
            let ours = [
                kernels::conv(map.clone(), weight.clone(), None, epilogue.clone()),
                kernels::conv_upsampled(
                    tokens.clone(), [h, w], (up.clone(), bias.clone()), weight.clone(), epilogue.clone(),
                ),
            ];
            let expected = reference::apply_epilogue(y.clone(), epilogue).into_data();
            for ours in ours {
                compare(&[ours.into_data()], std::slice::from_ref(&expected), 2e-3);
            }
            // The sums of the norms are added in a fixed order: a second run gives the same bits.
            if which == 2 {
                let run = || kernels::conv(map.clone(), weight.clone(), None, Epilogue::add_norm(onto.clone(), norm.clone())).into_data();
                run().assert_eq(&run(), true);
            }
        }
    }
}

#[test]
fn attention_over_several_blocks_of_keys_agrees() {
    // Three blocks of keys, the last one smaller. The largest scores are in the last block, so that
    // earlier results are rescaled.
    let length = 1501;
    let rising = Tensor::<1>::from_floats(
        (0..length)
            .map(|key| key as f32 / 400.0)
            .collect::<Vec<f32>>()
            .as_slice(),
        &device(),
    )
    .reshape([1, 1, length, 1]);
    let [q, k, v] = [(); 3].map(|()| random([1, 2, length, 8]));
    let operands = [q, k * rising, v];
    let ours = run(&operands, |[q, k, v]| {
        kernels::attention(&q, &k, &v, None).expect("a kernel on the CPU")
    });
    let expected = run(&operands, |[q, k, v]| {
        reference::attention(q, k, v, None, false)
    });
    compare(&ours, &expected, 2e-4);
    let values = (0..length * length)
        .map(|i| (i % 7) as f32 * -0.4)
        .collect();
    let bias = Arc::new(WindowBias::new(values, 1, length));
    let ours = run(&operands, |[q, k, v]| {
        kernels::attention(&q, &k, &v, Some(&bias)).expect("a kernel on the CPU")
    });
    let expected = run(&operands, |[q, k, v]| {
        reference::attention(q, k, v, Some(&*bias), false)
    });
    compare(&ours, &expected, 2e-4);
}

#[test]
fn attention_agrees_on_flipped_views() {
    let x = random([2, 2, 70, 8]);
    let flipped = x.clone().flip([2]);
    let ours = kernels::attention(&flipped, &x, &x, None).expect("a kernel on the CPU");
    let expected = reference::attention(flipped, x.clone(), x, None, false);
    ours.into_data()
        .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(1e-4));
}

#[test]
fn sums_in_the_memory_of_an_operand_and_in_new_memory_agree() {
    let device = Device::flex();
    let values = |seed: i64, shape: [usize; 3]| {
        let count = shape.iter().product::<usize>() as i64;
        Tensor::<1, burn::tensor::Int>::arange(0..count, &device)
            .float()
            .mul_scalar(seed as f32 * 0.37)
            .sin()
            .reshape(shape)
    };
    // Large enough for several threads; the second shape is broadcast.
    for shape in [[3, 211, 97], [1, 1, 97]] {
        let (a, b) = (values(1, [3, 211, 97]), values(2, shape));
        let wanted = (a.clone() + b.clone()).into_data();
        let beside = kernels::add(a.clone(), b.clone()).into_data();
        beside.assert_eq(&wanted, true);
        let turned = kernels::add(b.clone(), a.clone()).into_data();
        turned.assert_eq(&wanted, true);
        // The last use of `a`: the sum may take its memory.
        kernels::add(a, b).into_data().assert_eq(&wanted, true);
    }
}

#[test]
fn joining_cut_windows_gives_the_map() {
    let (maps, grid, width) = (9, 24, 32);
    for device in [Device::flex(), device()] {
        let count = (maps * grid * grid * width) as i64;
        let x = Tensor::<1, burn::tensor::Int>::arange(0..count, &device)
            .float()
            .reshape([maps, grid * grid, width]);
        for shift in [0, 6] {
            let cut = kernels::cut_windows(x.clone(), grid, shift);
            let wanted = reference::cut_windows(x.clone(), grid, shift).into_data();
            cut.clone().into_data().assert_eq(&wanted, true);
            let nothing = x.zeros_like();
            let back = kernels::join_windows(cut.clone(), nothing, grid, shift);
            back.into_data().assert_eq(&x.clone().into_data(), true);
            let twice = kernels::join_windows(cut, x.clone(), grid, shift);
            let wanted = (x.clone() * 2.0).into_data();
            twice.into_data().assert_eq(&wanted, true);
        }
    }
}

#[test]
fn threads_under_a_spin_guard_work_and_are_free_afterwards() {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .expect("threads");
    let device = Device::flex();
    // Inside the pool: nested guards, and a guard that is dropped by a panic.
    pool.install(|| {
        let a = Tensor::<2>::ones([400, 300], &device);
        let weight = Tensor::<2>::ones([200, 300], &device);
        let _outer = kernels::SpinGuard::new(&device);
        for _ in 0..50 {
            let _inner = kernels::SpinGuard::new(&device);
            let out = kernels::linear(a.clone(), weight.clone(), None, Epilogue::None);
            assert_eq!(out.sum().into_scalar::<f32>(), 400.0 * 200.0 * 300.0);
        }
    });
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        pool.install(|| {
            let _spinning = kernels::SpinGuard::new(&device);
            panic!("of the test");
        })
    }));
    assert!(panicked.is_err());
    // All threads are free: each runs one of three jobs that wait for each other.
    let barrier = std::sync::Barrier::new(3);
    pool.broadcast(|_| barrier.wait());
}

#[test]
fn class_operations_agree() {
    let device = Device::flex();
    device.seed(5);
    let random =
        |shape: [usize; 3]| Tensor::<3>::random(shape, Distribution::Normal(0.0, 1.5), &device);
    for (pairs, classes) in [(1, 7), (2, 1), (1, 300)] {
        let grid = 6;
        let cells = random([pairs * classes, grid * grid, 32]);
        let ours = kernels::pool_classes(cells.clone(), pairs, grid).into_data();
        let expected = reference::pool_classes(cells.clone(), pairs, grid).into_data();
        ours.assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-6));
        let common = random([pairs * 9, classes, 32]);
        let ours = kernels::spread_classes(common.clone(), cells.clone(), grid).into_data();
        let expected = reference::spread_classes(common, cells, grid).into_data();
        ours.assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-5));
        let (places, heads, pads) = (pairs * 9, 4, 256usize.saturating_sub(classes));
        let qkv = [(); 3].map(|()| random([places, classes, 32]));
        let guidance = [(); 2].map(|()| random([1, classes, 32]));
        let pad = [(); 2].map(|()| random([1, 1, 32]));
        let ours =
            kernels::class_attention(qkv.clone(), guidance.clone(), pad.clone(), pads, heads);
        let expected = reference::class_attention(qkv, guidance, pad, pads, heads);
        let slack = Tolerance::absolute(1e-5).set_relative(1e-4);
        ours.into_data()
            .assert_approx_eq::<f32>(&expected.into_data(), slack);
    }
}

/// Weights beyond the L2 cache, whose columns the threads share; with contiguous rows and with a
/// view.
#[test]
fn linear_layers_with_wide_weights_agree() {
    let (rows, depth, width) = (29, 901, 1133);
    // Without gradients: with gradients an epilogue is an operation of its own.
    let random = |shape: [usize; 3]| {
        Tensor::<3>::random(shape, Distribution::Normal(0.0, 1.5), &Device::flex())
    };
    let weight = random([1, width, depth]).reshape([width, depth]) * 0.05;
    let bias = random([1, 1, width]).reshape([width]);
    let onto = random([2, rows, width]);
    let whole = random([2, rows + 3, depth]);
    for x in [whole.clone().narrow(1, 2, rows), random([2, rows, depth])] {
        let expected = reference::linear(x.clone(), weight.clone(), Some(bias.clone()));
        let linear = kernels::linear(
            x.clone(),
            weight.clone(),
            Some(bias.clone()),
            Epilogue::None,
        );
        let bare = kernels::linear(x.clone(), weight.clone(), None, Epilogue::None)
            + bias.clone().reshape([1, 1, width]);
        let activated = kernels::linear(
            x.clone(),
            weight.clone(),
            Some(bias.clone()),
            Epilogue::Activation(Activation::Gelu),
        );
        let summed = kernels::linear(
            x,
            weight.clone(),
            Some(bias.clone()),
            Epilogue::add(onto.clone()),
        );
        for (got, wanted) in [
            (linear, expected.clone()),
            (bare, expected.clone()),
            (
                activated,
                reference::activate(expected.clone(), Activation::Gelu),
            ),
            (summed, expected + onto.clone()),
        ] {
            let apart: f32 = (got - wanted).abs().max().into_scalar();
            assert!(apart < 1e-4, "{apart}");
        }
    }
}
