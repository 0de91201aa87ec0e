//! CAT-Seg and GSNet against their authors' outputs: tiny networks with random weights, run
//! directly (one view, class pooling 2). The data is not part of the repository; without it the
//! tests are skipped and say so.
#![cfg(not(target_arch = "wasm32"))]

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use mmovseg_golden_tests::{Comparison, floats, values};
use mmovseg_model::features::sum;
use mmovseg_model::{EncoderMaps, MmOvSeg, ModelConfig, PIXEL_MEAN, PIXEL_STD, Sensor, Trace};
use safetensors::SafeTensors;

#[test]
fn catseg_b_on_cpu() {
    check("catseg_b_tiny", "CAT-Seg B", Device::flex());
}

#[test]
fn catseg_l_on_cpu() {
    check("catseg_l_tiny", "CAT-Seg L", Device::flex());
}

#[test]
fn gsnet_on_cpu() {
    check("gsnet_tiny", "GSNet", Device::flex());
}

#[test]
fn all_on_wgpu() {
    for (name, variant) in [
        ("catseg_b_tiny", "CAT-Seg B"),
        ("catseg_l_tiny", "CAT-Seg L"),
        ("gsnet_tiny", "GSNet"),
    ] {
        let opened = mmovseg_engine::open_device(mmovseg_engine::DeviceChoice::Gpu);
        let (device, _) = pollster::block_on(opened)
            .expect("a Vulkan device; lavapipe (mesa-vulkan-drivers) will do");
        check(name, variant, device);
    }
}

fn check(name: &str, variant: &str, device: Device) {
    let Some(folder) = mmovseg_test_support::data("golden/peers") else {
        return;
    };
    let read = |file: String| std::fs::read(folder.join(file)).expect("a golden file");
    let weights = read(format!("{name}.safetensors"));
    let golden = read(format!("{name}_golden.safetensors"));
    let weights = SafeTensors::deserialize(&weights).expect("weights are safetensors");
    let golden = SafeTensors::deserialize(&golden).expect("golden stages are safetensors");

    let shape = |name: &str| weights.tensor(name).ok().map(|t| t.shape().to_vec());
    let config = ModelConfig::from_shapes(shape).expect("the tiny checkpoint tells its sizes");
    assert_eq!(config.variant, variant);
    let model = MmOvSeg::new(&config, &device).expect("the sizes fit");
    let shapes: Vec<(String, Vec<usize>)> = weights
        .iter()
        .map(|(name, view)| (name.to_owned(), view.shape().to_vec()))
        .collect();
    let mismatch = model.compare(shapes.iter().map(|(n, s)| (n.as_str(), s.as_slice())));
    assert!(mismatch.is_empty(), "{name}: {mismatch}");
    let mut tensors: BTreeMap<_, _> = weights
        .iter()
        .map(|(name, view)| {
            let tensor = (view.shape().to_vec(), floats(view.data()));
            (name.to_owned(), tensor)
        })
        .collect();
    let model = model.load(&mut tensors);

    let tokens: Vec<Vec<u32>> = golden
        .tensor("text.tokens")
        .expect("golden tokens")
        .data()
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| i32::from_le_bytes(*bytes) as u32)
        .collect::<Vec<_>>()
        .chunks_exact(77)
        .map(<[u32]>::to_vec)
        .collect();
    let input = golden.tensor("input.direct").expect("a golden input");
    let visual = config.clip().expect("a CLIP tower");
    let side = visual.input_px;
    let [_, height, width] = [0, 1, 2].map(|axis| input.shape()[axis]);
    let planes = squashed(input.data(), [height, width], side);
    let pixels = Tensor::from_data(TensorData::new(planes, [1, 3, side, side]), &device);

    let mut trace = Trace::default();
    let text = model.encode_text(&tokens, &mut trace);
    let (mut clip, mut dense): (Option<EncoderMaps>, Vec<EncoderMaps>) = (None, Vec::new());
    for encoder in &config.encoders {
        assert_eq!(encoder.sensor, Sensor::Optical);
        let maps = model.encode(encoder.id.as_str(), pixels.clone(), &mut trace);
        if encoder.is_clip() {
            clip = Some(maps);
        } else {
            dense.push(maps);
        }
    }
    let clip = clip.expect("a CLIP tower");
    let logits = model.head(&clip, sum(dense).as_ref(), text.clone(), &mut trace);

    let mut stages = BTreeMap::new();
    let features = pollster::block_on(values(text.clone().reshape([-1])));
    stages.insert("text.features".to_owned(), features);
    for stage in trace.stages {
        let found = pollster::block_on(values(stage.flat));
        stages.insert(stage.name, found);
    }
    let last = visual.layers - 1;
    let mut comparison = Comparison::new(name, |largest| 1e-4 * largest.max(1.0));
    for (stage, view) in golden.iter() {
        if view.dtype() != safetensors::Dtype::F32 {
            continue;
        }
        let own = match stage.split('@').next().unwrap_or(stage) {
            features @ "text.features" => features.to_owned(),
            other => match other.strip_prefix("direct.") {
                // What follows the logits is compared by its labels.
                None | Some("prob_resized") => continue,
                Some("clip.transformer_out") => format!("clip.block{last:02}_dense"),
                Some("guid.dec0") => "guid.clip_dec0".into(),
                Some("guid.dec1") => "guid.clip_dec1".into(),
                Some("corr.clip_conv") => "corr.clip_embed_sigmoid".into(),
                Some("corr.dino_conv") => "corr.dino_embed_sigmoid".into(),
                Some("corr.fusion_conv") => "corr.fused_sigmoid".into(),
                Some(same) => same.to_owned(),
            },
        };
        let stride = stage
            .split_once('@')
            .map_or(1, |(_, stride)| stride.parse().expect("a stride"));
        let mut want = floats(view.data());
        if own.ends_with("_sigmoid") {
            for value in &mut want {
                *value = 1.0 / (1.0 + (-*value).exp());
            }
        }
        comparison.add(&own, stages.get(&own).map(Vec::as_slice), &want, stride);
    }
    comparison.finish(30);

    let label = golden.tensor("direct.label").expect("golden labels");
    let [_, classes, h, w] = logits.dims();
    let logits = pollster::block_on(values(logits.reshape([classes * h * w])));
    let [height, width] = [label.shape()[0], label.shape()[1]];
    let labels = mmovseg_engine::labels(&logits, [classes, h, w], width, height);
    let same = labels.iter().zip(label.data()).filter(|(a, b)| a == b);
    let agreement = same.count() as f64 / labels.len() as f64;
    assert!(
        agreement >= 0.999,
        "{name}: only {agreement} of the labels agree"
    );
}

/// The authors' direct mode: planes of bytes are normalised, padded with 0 to multiples of 32, and
/// the whole is squashed to a square, half-pixel bilinear without antialiasing.
fn squashed(bytes: &[u8], [height, width]: [usize; 2], side: usize) -> Vec<f32> {
    let (padded_height, padded_width) = (height.next_multiple_of(32), width.next_multiple_of(32));
    let mut out = Vec::with_capacity(3 * side * side);
    let taps = |length: usize| -> Vec<(usize, usize, f32)> {
        let ratio = length as f32 / side as f32;
        (0..side)
            .map(|o| {
                let source = ((o as f32 + 0.5) * ratio - 0.5).max(0.0);
                let low = (source as usize).min(length - 1);
                (low, (low + 1).min(length - 1), source - low as f32)
            })
            .collect()
    };
    let (rows, columns) = (taps(padded_height), taps(padded_width));
    for c in 0..3 {
        let at = |y: usize, x: usize| {
            if y >= height || x >= width {
                return 0.0;
            }
            (f32::from(bytes[(c * height + y) * width + x]) - PIXEL_MEAN[c]) / PIXEL_STD[c]
        };
        for &(y0, y1, fy) in &rows {
            for &(x0, x1, fx) in &columns {
                let upper = at(y0, x0) * (1.0 - fx) + at(y0, x1) * fx;
                let lower = at(y1, x0) * (1.0 - fx) + at(y1, x1) * fx;
                out.push(upper * (1.0 - fy) + lower * fy);
            }
        }
    }
    out
}
