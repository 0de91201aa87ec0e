//! The golden cases on the CPU and on native wgpu (lavapipe where there is no GPU).
#![cfg(not(target_arch = "wasm32"))]

use std::collections::BTreeMap;

use burn::tensor::Device;
use mmovseg_golden_tests::{
    B, L, check, check_extremes, check_half_kernels, check_kernels, check_scenes,
};
use mmovseg_model::clip_text::TextTower;
use mmovseg_model::config::TextConfig;
use mmovseg_model::{Precision, Silent, params};

#[test]
fn b_on_cpu() {
    pollster::block_on(check(&B, Device::flex(), Precision::F32));
}

#[test]
fn l_on_cpu() {
    pollster::block_on(check(&L, Device::flex(), Precision::F32));
}

#[test]
fn scenes_are_the_committed_bytes() {
    check_scenes();
}

#[test]
fn b_on_wgpu() {
    pollster::block_on(check(&B, wgpu(), Precision::F32));
}

#[test]
fn l_on_wgpu() {
    pollster::block_on(check(&L, wgpu(), Precision::F32));
}

#[test]
fn kernels_agree_with_their_references_on_cpu() {
    pollster::block_on(check_kernels(Device::flex(), 1, 12));
    pollster::block_on(check_extremes(Device::flex()));
}

#[test]
fn kernels_agree_with_their_references_on_wgpu() {
    pollster::block_on(check_kernels(wgpu(), 2, 12));
    pollster::block_on(check_extremes(wgpu()));
}

/// lavapipe has half precision, as most graphics cards do.
#[test]
fn both_in_half_precision_on_wgpu() {
    pollster::block_on(check(&B, wgpu(), Precision::F16));
    pollster::block_on(check(&L, wgpu(), Precision::F16));
}

#[test]
fn kernels_in_half_precision_agree_with_their_references_on_wgpu() {
    pollster::block_on(check_half_kernels(wgpu(), 5, 12));
}

/// The words of a released L take 152 MB, more than WebGPU promises to bind: on such a device L
/// ended in its text stage.
#[test]
fn a_table_of_words_beyond_the_binding_limit_is_read_on_wgpu() {
    let config = TextConfig {
        width: 768,
        layers: 1,
        heads: 12,
        vocab: 49_408,
        context: 8,
        embed: 16,
    };
    let (cpu, gpu) = (Device::flex(), wgpu());
    let tower = TextTower::new(&config, &cpu);
    let mut tensors: BTreeMap<_, _> = params::export(&tower)
        .into_iter()
        .map(|(name, shape, values)| {
            let values = values.into_data().try_into_vec().expect("single precision");
            (name, (shape, values))
        })
        .collect();
    let moved = params::load(TextTower::new(&config, &gpu), &mut tensors);
    assert!(tensors.is_empty(), "every tensor has its place");
    let prompts = [
        vec![49_406, 0, 48_000, 49_407],
        vec![49_406, 30_000, 49_407],
    ];
    let [ours, expected]: [Vec<f32>; 2] = [moved, tower].map(|tower| {
        let text = tower.forward(&prompts, &mut Silent);
        text.into_data().try_into_vec().expect("single precision")
    });
    let worst = ours
        .iter()
        .zip(&expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0f32, f32::max);
    assert!(worst < 1e-5, "{worst}");
}

fn wgpu() -> Device {
    let (device, info) = pollster::block_on(mmovseg_engine::open_device(
        mmovseg_engine::DeviceChoice::Gpu,
    ))
    .expect("a Vulkan device; lavapipe (mesa-vulkan-drivers) will do");
    eprintln!("running on {}", info.name);
    device
}
