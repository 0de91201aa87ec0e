//! The golden cases on the CPU and on native wgpu (lavapipe where there is no GPU).
#![cfg(not(target_arch = "wasm32"))]

use burn::tensor::Device;
use mmovseg_golden_tests::{B, L, check, check_extremes, check_kernels, check_scenes};

#[test]
fn b_on_cpu() {
    pollster::block_on(check(&B, Device::flex()));
}

#[test]
fn l_on_cpu() {
    pollster::block_on(check(&L, Device::flex()));
}

#[test]
fn scenes_are_the_committed_bytes() {
    check_scenes();
}

#[test]
fn b_on_wgpu() {
    pollster::block_on(check(&B, wgpu()));
}

#[test]
fn l_on_wgpu() {
    pollster::block_on(check(&L, wgpu()));
}

#[test]
fn kernels_agree_with_their_twins_on_cpu() {
    pollster::block_on(check_kernels(Device::flex(), 1, 12));
    pollster::block_on(check_extremes(Device::flex()));
}

#[test]
fn kernels_agree_with_their_twins_on_wgpu() {
    pollster::block_on(check_kernels(wgpu(), 2, 12));
    pollster::block_on(check_extremes(wgpu()));
}

fn wgpu() -> Device {
    let (device, info) = pollster::block_on(mmovseg_engine::open_device(
        mmovseg_engine::DeviceChoice::Gpu,
    ))
    .expect("a Vulkan device; lavapipe (mesa-vulkan-drivers) will do");
    eprintln!("running on {}", info.name);
    device
}
