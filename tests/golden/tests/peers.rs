//! CAT-Seg, GSNet and `SegEarth-OV` against their authors' outputs: tiny networks with random
//! weights. The data is not part of the repository; without it the tests are skipped and say so.
#![cfg(not(target_arch = "wasm32"))]

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use mmovseg_golden_tests::{Comparison, floats, values};
use mmovseg_model::features::{Embedding, sum};
use mmovseg_model::segearth::{Decision, Windows};
use mmovseg_model::{
    EncoderMaps, LEFT_OUT, LastAttention, LastBlock, MmOvSeg, ModelConfig, PIXEL_MEAN, PIXEL_STD,
    SegEarth, SegEarthConfig, Sensor, Silent, Trace, TracedTensor, most_similar, params,
};
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
fn segearth_on_cpu() {
    check_segearth(&Device::flex());
}

#[test]
fn segearth_on_wgpu() {
    check_segearth(&wgpu());
}

#[test]
fn all_on_wgpu() {
    for (name, variant) in [
        ("catseg_b_tiny", "CAT-Seg B"),
        ("catseg_l_tiny", "CAT-Seg L"),
        ("gsnet_tiny", "GSNet"),
    ] {
        check(name, variant, wgpu());
    }
}

fn wgpu() -> Device {
    let opened = mmovseg_engine::open_device(mmovseg_engine::DeviceChoice::Gpu);
    let (device, _) = pollster::block_on(opened)
        .expect("a Vulkan device; lavapipe (mesa-vulkan-drivers) will do");
    device
}

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// `SegEarth-OV`'s tiny checkpoint in this project's names.
fn segearth_tensors(weights: &SafeTensors<'_>) -> Tensors {
    const CLIP: &str = "sem_seg_head.predictor.clip_model.";
    let mut tensors = Tensors::new();
    for (name, view) in weights.iter() {
        let mut shape = view.shape().to_vec();
        if shape.is_empty() {
            shape = vec![1];
        }
        let values = floats(view.data());
        let Some(name) = name.strip_prefix("clip.") else {
            tensors.insert(name.to_owned(), (shape, values));
            continue;
        };
        if let Some(begin) = name.strip_suffix("in_proj_weight") {
            shape[0] /= 3;
            let thirds = values.chunks_exact(values.len() / 3);
            for (part, third) in ["q", "k", "v"].into_iter().zip(thirds) {
                let name = format!("{CLIP}{begin}{part}_proj_weight");
                tensors.insert(name, (shape.clone(), third.to_vec()));
            }
        } else {
            tensors.insert(format!("{CLIP}{name}"), (shape, values));
        }
    }
    tensors
}

fn load_segearth(config: &SegEarthConfig, tensors: &Tensors, device: &Device) -> SegEarth {
    let model = SegEarth::new(config, device).expect("the sizes fit");
    for (name, shape) in params::shapes(&model) {
        let found = tensors.get(&name).map(|(shape, _)| shape);
        assert_eq!(found, Some(&shape), "{name}");
    }
    params::load(model, &mut tensors.clone())
}

fn check_segearth(device: &Device) {
    let Some(folder) = mmovseg_test_support::data("golden/peers") else {
        return;
    };
    let read = |file: &str| std::fs::read(folder.join(file)).expect("a golden file");
    let weights = read("segearth_tiny.safetensors");
    let golden = read("segearth_tiny_golden.safetensors");
    let weights = SafeTensors::deserialize(&weights).expect("weights are safetensors");
    let golden = SafeTensors::deserialize(&golden).expect("golden stages are safetensors");
    let tensors = segearth_tensors(&weights);
    let shape = |name: &str| tensors.get(name).map(|(shape, _)| shape.clone());
    let config = SegEarthConfig::from_shapes(shape).expect("the checkpoint tells its sizes");
    let model = load_segearth(&config, &tensors, device);

    let integers = |name: &str| -> Vec<u32> {
        let view = golden.tensor(name).expect("golden integers");
        let (words, _) = view.data().as_chunks::<4>();
        words
            .iter()
            .map(|&w| i32::from_le_bytes(w) as u32)
            .collect()
    };
    let input = |name: &str| -> Tensor<4> {
        let view = golden
            .tensor(&format!("input.{name}"))
            .expect("a golden input");
        let shape: [usize; 4] = view.shape().try_into().expect("one picture");
        Tensor::from_data(TensorData::new(floats(view.data()), shape), device)
    };
    let words: Vec<Vec<Vec<u32>>> = integers("text.tokens")
        .chunks_exact(80 * 20)
        .map(|word| word.chunks_exact(20).map(<[u32]>::to_vec).collect())
        .collect();
    let text = model.encode_words(&words, &mut Silent);

    let flat = |x: Tensor<4>| {
        let count = x.dims().iter().product::<usize>();
        pollster::block_on(values(x.reshape([count])))
    };
    let mut stages: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    let mut keep = |prefix: &str, traced: Vec<TracedTensor>| {
        for stage in traced {
            let values = pollster::block_on(values(stage.flat));
            stages.insert(format!("{prefix}{}", stage.name), values);
        }
    };
    let whole = Windows {
        crop_px: 0,
        stride_px: 0,
    };
    for name in ["one", "other_size"] {
        let mut trace = Trace::default();
        let _ = model.picture_logits(&input(name), &text, whole, &mut trace);
        keep(&format!("{name}."), trace.stages);
    }
    let spatial = stages
        .get("one.jbu.spatial")
        .cloned()
        .expect("it is observed");
    stages.insert("jbu.spatial".into(), spatial);
    let embeddings = text.clone().unsqueeze::<4>();
    stages.insert("text.features".into(), flat(embeddings));

    for (author, attention) in [
        ("vanilla", LastAttention::Vanilla),
        ("MaskCLIP", LastAttention::Values),
        ("ClearCLIP", LastAttention::Queries),
        ("SCLIP", LastAttention::QueriesKeys),
        ("SegEarth", LastAttention::QueriesKeysValues),
    ] {
        for (suffix, residual) in [("no_residual", false), ("residual", true)] {
            let mut config = config.clone();
            config.last_block = LastBlock {
                attention,
                residual,
            };
            let mut trace = Trace::default();
            let model = load_segearth(&config, &tensors, device);
            let _ = model.features(&input("one"), &mut trace);
            let stage = trace.stages.into_iter().find(|s| s.name == "clip.patches");
            let patches = pollster::block_on(values(stage.expect("it is observed").flat));
            stages.insert(format!("variant.{author}.{suffix}.patches"), patches);
        }
    }
    let mut bilinear = config.clone();
    bilinear.upsampler = None;
    let bilinear = load_segearth(&bilinear, &tensors, device);
    let logits = bilinear.picture_logits(&input("one"), &text, whole, &mut Silent);
    stages.insert("variant.bilinear.logits".into(), flat(logits));

    let windows = Windows {
        crop_px: 64,
        stride_px: 32,
    };
    let logits = flat(model.picture_logits(&input("slide"), &text, windows, &mut Silent));
    let mut decision = Decision {
        scale: 50.0,
        threshold: 0.1,
        background: 0,
        class_of_word: integers("text.query_class")
            .iter()
            .map(|&c| c as usize)
            .collect(),
    };
    let probabilities = decision.probabilities(&logits);
    for (name, threshold, background) in [("slide", 0.1, 0), ("thd", 0.472, 2)] {
        decision.threshold = threshold;
        decision.background = background;
        let labels = decision.labels(&probabilities);
        let want = golden
            .tensor(&format!("label.{name}"))
            .expect("golden labels");
        let pairs = labels.iter().zip(want.data());
        let same = pairs
            .filter(|&(&own, &want)| own == usize::from(want))
            .count();
        let agreement = same as f64 / want.data().len() as f64;
        assert!(
            agreement >= 0.999,
            "{name}: only {agreement} of the labels agree"
        );
    }
    stages.insert("logits.slide".into(), logits);
    stages.insert("prob.slide".into(), probabilities);

    let mut comparison = Comparison::new("segearth_tiny", |largest| 1e-4 * largest);
    for (stage, view) in golden.iter() {
        if view.dtype() != safetensors::Dtype::F32 || stage.starts_with("input.") {
            continue;
        }
        let (name, stride) = stage.split_once('@').unwrap_or((stage, "1"));
        let stride = stride.parse().expect("a stride");
        let found = stages.get(name).map(Vec::as_slice);
        comparison.add(name, found, &floats(view.data()), stride);
    }
    comparison.finish(40);

    // `jbu_stack` has weights of its own for each step; with the same ones it is `jbu_one`.
    let mut stack = tensors.clone();
    for (name, tensor) in &tensors {
        if let Some(rest) = name.strip_prefix("upsampler.up.") {
            for step in 1..=4 {
                stack.insert(format!("upsampler.up{step}.{rest}"), tensor.clone());
            }
            stack.remove(name);
        }
    }
    let shape = |name: &str| stack.get(name).map(|(shape, _)| shape.clone());
    let config = SegEarthConfig::from_shapes(shape).expect("the checkpoint tells its sizes");
    assert!(!config.upsampler.expect("an upsampler").shared);
    let stacked = load_segearth(&config, &stack, device);
    let [one, stacked] = [&model, &stacked]
        .map(|model| flat(model.picture_logits(&input("one"), &text, whole, &mut Silent)));
    let largest = one.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    let differs = one
        .iter()
        .zip(&stacked)
        .any(|(a, b)| (a - b).abs() > 1e-6 * largest);
    assert!(!differs, "a stack of equal steps is one step");
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
    let mut config = ModelConfig::from_shapes(shape).expect("the tiny checkpoint tells its sizes");
    assert_eq!(config.variant, variant);
    for mode in [Mode::Direct, Mode::FiveViews] {
        config.head.class_pool = mode.class_pool();
        let model = load(name, &config, &weights, &device);
        check_mode(&format!("{name} {mode:?}"), mode, &model, &golden, &device);
        if mode == Mode::Direct && golden.tensor("many.img").is_ok() {
            check_many(name, &model, &golden, &device);
        }
    }
}

/// More classes than CAT-Seg's head reads.
fn check_many(name: &str, model: &MmOvSeg, golden: &SafeTensors<'_>, device: &Device) {
    let tensor = |part: &str| {
        let view = golden
            .tensor(&format!("many.{part}"))
            .expect("a golden tensor");
        (floats(view.data()), view.shape().to_vec())
    };
    let map = |part: &str| -> Tensor<4> {
        let (values, shape) = tensor(part);
        let shape: [usize; 4] = shape.try_into().expect("a map");
        Tensor::from_data(TensorData::new(values, shape), device)
    };
    let clip = EncoderMaps {
        embedding: Embedding::Map(map("img")),
        coarse: map("guid0"),
        fine: map("guid1"),
        pixels: None,
    };
    let (text, _) = tensor("text");
    let embed = model.config().text.embed;
    let total = text.len() / embed;
    let text_of = |rows: Vec<f32>| -> Tensor<2> {
        let shape = [rows.len() / embed, embed];
        Tensor::from_data(TensorData::new(rows, shape), device)
    };
    let features = model.class_agnostic(&clip, None, &mut Silent);
    let few = model.class_peaks(&features, text_of(text[..256 * embed].to_vec()));
    assert!(few.is_none(), "256 classes are all read");
    let peaks = model.class_peaks(&features, text_of(text.clone()));
    let peaks = pollster::block_on(values(peaks.expect("too many classes").reshape([total])));
    let chosen = most_similar(&peaks, 256);
    let dropped: Vec<usize> = (0..total).filter(|class| !chosen.contains(class)).collect();
    assert_eq!(dropped, [9, 40, 167, 187], "{name}");

    let rows = chosen
        .iter()
        .flat_map(|&class| &text[class * embed..][..embed]);
    let some = text_of(rows.copied().collect());
    let volumes = model.cost_volumes(&features, some.clone(), &mut Silent);
    let logits = model.decode(&features, volumes, some, &mut Silent);
    let logits = pollster::block_on(values(logits.reshape([256 * 96 * 96])));
    let mut all = vec![LEFT_OUT; total * 96 * 96];
    for (&class, map) in chosen.iter().zip(logits.chunks_exact(96 * 96)) {
        all[class * 96 * 96..][..96 * 96].copy_from_slice(map);
    }
    // What is left out is larger than any logit.
    let largest = logits.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    let mut comparison = Comparison::new(name, |_| 1e-4 * largest);
    for (stage, view) in golden.iter() {
        if let Some(stride) = stage.strip_prefix("many.logits") {
            let stride = stride
                .strip_prefix('@')
                .map_or(1, |s| s.parse().expect("a stride"));
            comparison.add(stage, Some(&all), &floats(view.data()), stride);
        }
    }
    comparison.finish(0);
}

/// How the authors run a network on a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Padded to multiples of 32 and squashed to a square.
    Direct,
    /// Four overlapping tiles of 384 px of the picture at 640 × 640, and the whole picture.
    FiveViews,
}

impl Mode {
    fn prefix(self) -> &'static str {
        match self {
            Self::Direct => "direct.",
            Self::FiveViews => "slide.",
        }
    }

    fn class_pool(self) -> usize {
        match self {
            Self::Direct => 2,
            Self::FiveViews => 1,
        }
    }

    /// The views of a picture `[3, H, W]`, normalised, `[N, 3, S, S]`; `clip_px` is the side that
    /// CLIP reads.
    fn views(self, bytes: &[u8], size: [usize; 2], clip_px: usize, has_dense: bool) -> Views {
        let [height, width] = size;
        let picture: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte)).collect();
        match self {
            Self::Direct => {
                let padded = [height.next_multiple_of(32), width.next_multiple_of(32)];
                let mut planes = vec![0.0; 3 * padded[0] * padded[1]];
                for (i, value) in normalised(&picture, height * width).into_iter().enumerate() {
                    let [c, y, x] = [i / (height * width), i / width % height, i % width];
                    planes[(c * padded[0] + y) * padded[1] + x] = value;
                }
                let side = if has_dense { 384 } else { clip_px };
                let planes = resized(&planes, padded, [side; 2]);
                Views { planes, side }
            }
            Self::FiveViews => {
                let square = resized(&picture, size, [640; 2]);
                let mut planes = Vec::new();
                for [y, x] in TILES {
                    for c in 0..3 {
                        for row in y..y + 384 {
                            planes.extend(&square[(c * 640 + row) * 640 + x..][..384]);
                        }
                    }
                }
                planes.extend(resized(&picture, size, [384; 2]));
                let planes = planes.chunks_exact(3 * 384 * 384);
                Views {
                    planes: planes
                        .flat_map(|view| normalised(view, 384 * 384))
                        .collect(),
                    side: 384,
                }
            }
        }
    }

    /// Labels of a picture from logits `[N, T, 96, 96]`.
    fn labels(self, logits: &[f32], classes: usize, size: [usize; 2]) -> Vec<u8> {
        let [height, width] = size;
        if self == Self::Direct {
            return mmovseg_engine::labels(logits, [classes, 96, 96], width, height);
        }
        let mut sums = vec![0.0f32; classes * 640 * 640];
        let mut counts = vec![0.0f32; 640 * 640];
        let views: Vec<Vec<f32>> = logits
            .chunks_exact(classes * 96 * 96)
            .map(|view| {
                let mut view = resized(view, [96; 2], [384; 2]);
                for value in &mut view {
                    *value = 1.0 / (1.0 + (-*value).exp());
                }
                view
            })
            .collect();
        for ([y, x], view) in TILES.iter().zip(&views) {
            for i in 0..384 * 384 {
                let at = (y + i / 384) * 640 + x + i % 384;
                counts[at] += 1.0;
                for class in 0..classes {
                    sums[class * 640 * 640 + at] += view[class * 384 * 384 + i];
                }
            }
        }
        let whole = resized(&views[4], [384; 2], [640; 2]);
        for (i, (sum, whole)) in sums.iter_mut().zip(whole).enumerate() {
            *sum = (*sum / counts[i % counts.len()] + whole) / 2.0;
        }
        let probabilities = resized(&sums, [640; 2], size);
        let area = height * width;
        (0..area)
            .map(|i| {
                let of = |class: usize| probabilities[class * area + i];
                let best = (1..classes).fold(0, |best, c| if of(c) > of(best) { c } else { best });
                best as u8
            })
            .collect()
    }
}

/// First row and column of each tile.
const TILES: [[usize; 2]; 4] = [[0, 0], [0, 256], [256, 0], [256, 256]];

struct Views {
    planes: Vec<f32>,
    side: usize,
}

fn load(name: &str, config: &ModelConfig, weights: &SafeTensors<'_>, device: &Device) -> MmOvSeg {
    let model = MmOvSeg::new(config, device).expect("the sizes fit");
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
    model.load(&mut tensors)
}

fn check_mode(name: &str, mode: Mode, model: &MmOvSeg, golden: &SafeTensors<'_>, device: &Device) {
    let config = model.config();
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
    let prefix = mode.prefix();
    let input = golden
        .tensor(&format!("input.{}", prefix.trim_end_matches('.')))
        .expect("a golden input");
    let visual = config.clip().expect("a CLIP tower");
    let size = [input.shape()[1], input.shape()[2]];
    let has_dense = config.dense().next().is_some();
    let Views { planes, side } = mode.views(input.data(), size, visual.input_px, has_dense);
    let count = planes.len() / (3 * side * side);
    let pixels = Tensor::from_data(TensorData::new(planes, [count, 3, side, side]), device);

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
        let flat = match *stage.shape.as_slice() {
            // Here the authors' convolutions are recorded with the classes as a batch.
            [n, c, t, h, w] if stage.name.starts_with("corr.") => {
                let volume = stage.flat.reshape([n, c, t, h, w]).swap_dims(1, 2);
                volume.reshape([n * c * t * h * w])
            }
            _ => stage.flat,
        };
        stages.insert(stage.name, pollster::block_on(values(flat)));
    }
    let last = visual.layers - 1;
    let mut comparison = Comparison::new(name, |largest| 1e-4 * largest.max(1.0));
    for (stage, view) in golden.iter() {
        if view.dtype() != safetensors::Dtype::F32 {
            continue;
        }
        let own = match stage.split('@').next().unwrap_or(stage) {
            features @ "text.features" => features.to_owned(),
            other => match other.strip_prefix(prefix) {
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
        if own == "guid.text" {
            // The authors repeat it for each view.
            want.truncate(want.len() / count);
        }
        comparison.add(&own, stages.get(&own).map(Vec::as_slice), &want, stride);
    }
    comparison.finish(29);

    let label = golden
        .tensor(&format!("{prefix}label"))
        .expect("golden labels");
    let [views, classes, h, w] = logits.dims();
    let logits = pollster::block_on(values(logits.reshape([views * classes * h * w])));
    let size = [label.shape()[0], label.shape()[1]];
    let labels = mode.labels(&logits, classes, size);
    let same = labels.iter().zip(label.data()).filter(|(a, b)| a == b);
    let agreement = same.count() as f64 / labels.len() as f64;
    assert!(
        agreement >= 0.999,
        "{name}: only {agreement} of the labels agree"
    );
}

/// Planes of `area` bytes each, normalised with CLIP's constants.
fn normalised(planes: &[f32], area: usize) -> Vec<f32> {
    let of = |(i, &value): (usize, &f32)| (value - PIXEL_MEAN[i / area]) / PIXEL_STD[i / area];
    planes.iter().enumerate().map(of).collect()
}

/// Planes `[h, w]` at another size: half-pixel bilinear without antialiasing.
fn resized(planes: &[f32], [h, w]: [usize; 2], [height, width]: [usize; 2]) -> Vec<f32> {
    let taps = |from: usize, to: usize| -> Vec<(usize, usize, f32)> {
        let ratio = from as f32 / to as f32;
        (0..to)
            .map(|o| {
                let source = ((o as f32 + 0.5) * ratio - 0.5).max(0.0);
                let low = (source as usize).min(from - 1);
                (low, (low + 1).min(from - 1), source - low as f32)
            })
            .collect()
    };
    let (rows, columns) = (taps(h, height), taps(w, width));
    let mut out = Vec::with_capacity(planes.len() / (h * w) * height * width);
    for plane in planes.chunks_exact(h * w) {
        for &(y0, y1, fy) in &rows {
            for &(x0, x1, fx) in &columns {
                let row = |y: usize| plane[y * w + x0] * (1.0 - fx) + plane[y * w + x1] * fx;
                out.push(row(y0) * (1.0 - fy) + row(y1) * fy);
            }
        }
    }
    out
}
