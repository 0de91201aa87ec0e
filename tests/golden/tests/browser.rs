//! The golden cases in a browser's Worker, on WebGPU and on the CPU.
#![cfg(target_arch = "wasm32")]

use burn::tensor::Device;
use mmovseg_engine::{DeviceChoice, Precision, half_precision, open_device};
use mmovseg_golden_tests::{
    B, L, check, check_extremes, check_half_kernels, check_kernels, check_scenes,
};
use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

#[wasm_bindgen_test]
async fn b_on_cpu() {
    check(&B, Device::flex(), Precision::F32).await;
}

#[wasm_bindgen_test]
async fn l_on_cpu() {
    check(&L, Device::flex(), Precision::F32).await;
}

#[wasm_bindgen_test]
fn scenes_are_the_committed_bytes() {
    check_scenes();
}

#[wasm_bindgen_test]
async fn kernels_agree_with_their_references_on_cpu() {
    check_kernels(Device::flex(), 3, 6).await;
    check_extremes(Device::flex()).await;
}

#[wasm_bindgen_test]
async fn kernels_agree_with_their_references_on_webgpu() {
    let (device, _) = open_device(DeviceChoice::Gpu)
        .await
        .expect("WebGPU in this browser");
    check_kernels(device.clone(), 4, 6).await;
    check_extremes(device).await;
}

#[wasm_bindgen_test]
async fn both_on_webgpu() {
    let (device, info) = open_device(DeviceChoice::Gpu)
        .await
        .expect("WebGPU in this browser");
    check(&L, device.clone(), Precision::F32).await;
    check(&B, device.clone(), Precision::F32).await;
    // SwiftShader, which the tests in Chromium run on, has no shader-f16; Mesa's driver in Firefox
    // has it.
    let has_half = half_precision(&device, &info).is_ok();
    console_log!("half precision on {}: {has_half}", info.name);
    if has_half {
        check_half_kernels(device.clone(), 6, 6).await;
        check(&L, device.clone(), Precision::F16).await;
        check(&B, device, Precision::F16).await;
    }
}
