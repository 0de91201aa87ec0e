//! The network against the authors' outputs (docs/network.md §13.1): one body that runs on the CPU,
//! on native wgpu and in the browser; and generated scenes, whose bytes are the same everywhere.

mod kernels;

use std::collections::BTreeMap;

pub use kernels::{check_extremes, check_half_kernels, check_kernels};

use burn::tensor::{Device, Tensor, TensorData};
use mmovseg_model::{
    EncoderId, MmOvSeg, ModelConfig, Observer, PIXEL_MEAN, PIXEL_STD, Precision, Silent, Trace,
};
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

/// SHA-256 of RGB, SAR, label bytes and the dB bits (little endian) at 96 px. They change only
/// when the generator is changed on purpose.
const SCENES: [(u64, &str); 3] = [
    (
        1,
        "79e410e1ba61a3447a3d4a4dc03d69da68b01c6dba3056bd72cec0b5785aa73e",
    ),
    (
        42,
        "7dcc03d47e8d9e694b745bf15422d79ae1169de8a257eb5bb3b511b29de2d8e7",
    ),
    (
        0xDEAD_BEEF_0123_4567,
        "061c74c57a2181077b3906ef051f92c7723cbb598609c7e73efcf2515056417a",
    ),
];

/// Generated scenes are the same bytes on every machine.
///
/// # Panics
/// When a scene has other bytes than those that were committed.
pub fn check_scenes() {
    for (seed, expected) in SCENES {
        let scene = mmovseg_scene::generate(seed, 96);
        let mut hash = Sha256::new();
        hash.update(&scene.rgb.data);
        hash.update(&scene.sar.data);
        hash.update(&scene.label);
        for db in &scene.sar_db {
            hash.update(db.to_le_bytes());
        }
        let found: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(found, expected, "seed {seed}");
    }
}

/// One tiny checkpoint and its golden stages.
pub struct Case {
    /// For messages.
    pub name: &'static str,
    weights: &'static [u8],
    golden: &'static [u8],
}

/// The tiny B.
pub const B: Case = Case {
    name: "b_tiny",
    weights: include_bytes!("../fixtures/b_tiny.safetensors"),
    golden: include_bytes!("../fixtures/b_tiny_golden.safetensors"),
};

/// The tiny L.
pub const L: Case = Case {
    name: "l_tiny",
    weights: include_bytes!("../fixtures/l_tiny.safetensors"),
    golden: include_bytes!("../fixtures/l_tiny_golden.safetensors"),
};

/// Largest difference allowed for any feature or logit: absolute, and by the largest value of its
/// stage.
fn tolerance(precision: Precision, largest: f32) -> f32 {
    match precision {
        Precision::F32 => 1e-4,
        // Eleven bits, over as many operations as a tower has.
        Precision::F16 => 2e-3 * largest.max(1.0),
    }
}

/// Share of labels that must agree.
fn label_agreement(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 0.999,
        Precision::F16 => 0.99,
    }
}

/// Compares stages of a network with golden ones, and tells of all that differ at once.
pub struct Comparison<'a> {
    name: &'a str,
    /// Largest difference allowed, by the largest value of a stage.
    tolerance: Box<dyn Fn(f32) -> f32 + 'a>,
    failures: Vec<String>,
    /// Largest difference, stage, largest value.
    worst: Vec<(f32, String, f32)>,
}

impl<'a> Comparison<'a> {
    /// For the network `name`; `tolerance` gives the largest difference allowed, by the largest
    /// value of a stage.
    pub fn new(name: &'a str, tolerance: impl Fn(f32) -> f32 + 'a) -> Self {
        Self {
            name,
            tolerance: Box::new(tolerance),
            failures: Vec::new(),
            worst: Vec::new(),
        }
    }

    /// Compares every `stride`-th value of a stage.
    pub fn add(&mut self, stage: &str, found: Option<&[f32]>, want: &[f32], stride: usize) {
        let Some(found) = found else {
            self.failures.push(format!("{stage} was not observed"));
            return;
        };
        let sampled: Vec<f32> = found.iter().copied().step_by(stride).collect();
        if sampled.len() != want.len() {
            self.failures.push(format!(
                "{stage} has {} samples instead of {}",
                sampled.len(),
                want.len()
            ));
            return;
        }
        let (mut worst, mut scale) = (0.0f32, 0.0f32);
        for (g, w) in sampled.iter().zip(want) {
            // NaN must fail too, and stays the worst once it is there.
            let error = (g - w).abs();
            if error.is_nan() || error > worst {
                worst = error;
            }
            scale = scale.max(w.abs());
        }
        self.worst.push((worst, stage.to_owned(), scale));
        if worst.is_nan() || worst > (self.tolerance)(scale) {
            self.failures.push(format!(
                "{stage} is off by {worst:e} (largest value {scale})"
            ));
        }
    }

    /// Ends the comparison.
    ///
    /// # Panics
    /// When a stage differs, or no more than `least` were compared.
    pub fn finish(mut self, least: usize) {
        let name = self.name;
        self.worst.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (worst, stage, scale) in self.worst.iter().take(6) {
            eprintln!("{name}: {stage} is within {worst:e} (largest value {scale})");
        }
        let compared = self.worst.len();
        assert!(
            compared > least,
            "{name}: only {compared} stages were compared"
        );
        assert!(
            self.failures.is_empty(),
            "{name}: {}",
            self.failures.join("; ")
        );
    }
}

/// Runs the case on `device`, its towers in the numbers of `precision`, and compares every golden
/// stage.
///
/// # Panics
/// When a stage is missing or off by more than the tolerance, or too many labels flip; the
/// message lists every stage that fails.
pub async fn check(case: &Case, device: Device, precision: Precision) {
    let weights = SafeTensors::deserialize(case.weights).expect("weights are safetensors");
    let golden = SafeTensors::deserialize(case.golden).expect("golden stages are safetensors");

    let config =
        ModelConfig::from_shapes(|name| weights.tensor(name).ok().map(|t| t.shape().to_vec()))
            .expect("the tiny checkpoint tells its sizes");
    let model = MmOvSeg::new(&config, &device).expect("the sizes fit");
    let names: Vec<(String, Vec<usize>)> = weights
        .iter()
        .map(|(name, view)| (name.to_owned(), view.shape().to_vec()))
        .collect();
    let mismatch = model.compare(names.iter().map(|(n, s)| (n.as_str(), s.as_slice())));
    assert!(mismatch.is_empty(), "{}: {mismatch}", case.name);
    let mut tensors: BTreeMap<_, _> = weights
        .iter()
        .map(|(name, view)| {
            (
                name.to_owned(),
                (view.shape().to_vec(), floats(view.data())),
            )
        })
        .collect();
    let model = model.load_as(&mut tensors, precision);

    let rgb = golden
        .tensor("input.rgb_u8_hwc")
        .expect("golden input")
        .data();
    let grey = golden
        .tensor("input.sar_u8_hw")
        .expect("golden input")
        .data();
    let sar: Vec<u8> = grey.iter().flat_map(|&v| [v, v, v]).collect();
    let tokens: Vec<Vec<u32>> = golden
        .tensor("text.tokens")
        .expect("golden tokens")
        .data()
        .chunks_exact(8)
        .map(|c| i64::from_le_bytes(c.try_into().expect("eight bytes")) as u32)
        .collect::<Vec<_>>()
        .chunks_exact(77)
        .map(<[u32]>::to_vec)
        .collect();

    let rgb = pixels(rgb, config.input_px, &device);
    let sar = pixels(&sar, config.input_px, &device);
    let mut trace = Trace::default();
    let text = model.encode_text(&tokens, &mut trace);
    let clip = model.encode(EncoderId::CLIP, rgb.clone(), &mut trace);
    let optical = model.encode(EncoderId::DINO_OPTICAL, rgb, &mut trace);
    let radar = model.encode(EncoderId::DINO_SAR, sar, &mut trace);
    let dense = optical.plus(radar);
    let logits = model.head(&clip, Some(&dense), text.clone(), &mut trace);

    // Unwatched, stages go on with what follows them: the same logits come out.
    let alone = model.head(&clip, Some(&dense), text.clone(), &mut Silent);
    let apart = values((alone - logits.clone()).abs().max().reshape([1])).await[0];
    let largest = values(logits.clone().abs().max().reshape([1])).await[0];
    assert!(
        apart <= tolerance(precision, largest),
        "{}: unwatched, the logits are off by {apart:e} (largest value {largest})",
        case.name
    );

    // What ends at the end mark must not depend on the padding after it.
    let cut: Vec<Vec<u32>> = tokens
        .iter()
        .map(|t| t.iter().copied().take_while(|&id| id != 0).collect())
        .collect();
    let short = model.encode_text(&cut, &mut Silent as &mut dyn Observer);
    let drift = values((short - text).abs().max().reshape([1])).await[0];
    assert!(
        drift < 1e-5,
        "{}: truncation at the end mark moved the text by {drift}",
        case.name
    );

    let mut stages = BTreeMap::new();
    for stage in trace.stages {
        stages.insert(stage.name.clone(), values(stage.flat).await);
    }
    let mut comparison = Comparison::new(case.name, |largest| tolerance(precision, largest));
    for (name, view) in golden.iter() {
        if view.dtype() != Dtype::F32 || name.starts_with("prob") {
            continue;
        }
        let (stage, stride) = match name.split_once('@') {
            Some((stage, stride)) => (stage, stride.parse().expect("a stride")),
            None => (name, 1),
        };
        let found = stages.get(stage).map(Vec::as_slice);
        comparison.add(stage, found, &floats(view.data()), stride);
    }
    comparison.finish(50);

    let label = golden.tensor("label").expect("golden labels");
    let (shape, logits) = (logits.dims(), values(logits.reshape([-1])).await);
    let [_, classes, h, w] = shape;
    let [height, width] = [label.shape()[0], label.shape()[1]];
    let labels = mmovseg_engine::labels(&logits, [classes, h, w], width, height);
    let same = labels
        .iter()
        .zip(label.data())
        .filter(|(a, b)| a == b)
        .count();
    let agreement = same as f64 / labels.len() as f64;
    assert!(
        agreement >= label_agreement(precision),
        "{}: only {agreement} of the labels agree",
        case.name
    );
}

/// Interleaved bytes to normalised pixels `[1, 3, S, S]`.
fn pixels(hwc: &[u8], side: usize, device: &Device) -> Tensor<4> {
    let mut planes = vec![0.0f32; 3 * side * side];
    for (i, pixel) in hwc.chunks_exact(3).enumerate() {
        for c in 0..3 {
            planes[c * side * side + i] = (f32::from(pixel[c]) - PIXEL_MEAN[c]) / PIXEL_STD[c];
        }
    }
    Tensor::from_data(TensorData::new(planes, [1, 3, side, side]), device)
}

/// Values off the device.
///
/// # Panics
/// When the device does not answer.
pub async fn values(flat: Tensor<1>) -> Vec<f32> {
    flat.into_data_async()
        .await
        .expect("the device answers")
        .try_into_vec()
        .expect("f32 values")
}

/// Little-endian f32.
///
/// # Panics
/// Never: chunks are of four bytes.
#[must_use]
pub fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(4)
        .map(|c| f32::from_le_bytes(c.try_into().expect("four bytes")))
        .collect()
}
