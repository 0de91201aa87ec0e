//! The samples of a stage, and what else a step draws, as a stream of bytes: `torch/train.py`
//! trains from it.

use std::io::Write;

use mmovseg_model::parameters::ParameterTable;
use mmovseg_model::{MmOvSeg, PIXEL_MEAN, PIXEL_STD};

use crate::TrainError;
use crate::average;
use crate::batch::{self, drawn_words};
use crate::data::sample::{Sample, Square};
use crate::labels::LabelSet;
use crate::losses;
use crate::prefetch::Prefetch;
use crate::run::{Recipe, StageOptions};
use crate::stages::{align, optical, segment};
use crate::tensors::{self, values};
use crate::words::Words;

/// A stage that `torch/train.py` can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FedStage {
    /// [`optical::train_optical`].
    Optical,
    /// [`align::train_align`].
    Align,
    /// [`segment::train_segment`] of the default model.
    Segment,
}

impl FedStage {
    /// Its name, and that of its folder in the run.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Optical => "optical",
            Self::Align => "align",
            Self::Segment => "segment",
        }
    }
}

/// What the weights of a stage's start are called in its folder.
const START_FILE: &str = "start.safetensors";
/// What else its trainer has to know.
const FEED_FILE: &str = "feed.json";

/// Writes a stage's first weights and its constants into its folder, then the batches from step
/// `first` on to `out`, little-endian. Each batch begins with a number from 0 to 99 that chooses
/// the sensors, the patches kept of a tile labelled as a whole `[g² / 4]` (both u32), and a word
/// for each class of each label set, `[T, E]` f32. Then come the samples, bytes: label set, has an
/// optical tile, has a SAR tile, is labelled as a whole, candidate classes (bits); the clouded, the
/// clear and the SAR tile `[3, S, S]`; the labels `[S, S]`.
///
/// # Errors
/// When an earlier stage has not been run, a file cannot be read or written, or `out` is closed.
pub fn stream(
    stage: FedStage,
    options: &StageOptions,
    first: usize,
    out: &mut dyn Write,
) -> Result<(), TrainError> {
    let (model, words) = match stage {
        FedStage::Optical => optical::optical_start(options)?,
        FedStage::Align => (align::align_start(options)?, segment::words(options)?),
        FedStage::Segment => segment::segment_start(options)?,
    };
    if model.config().variant != "nano" {
        return Err(TrainError::content(&options.run)(
            "it starts from a released variant, which learns by the paper's own recipe: run the stage itself",
        ));
    }
    describe(stage, options, &model, &words)?;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let square = Square::of(model.config());
    let grid = model.config().head.grid;
    let seed = options.seed;
    let finish = move |step, samples| record(grid, &words, seed, step, samples);
    let draw = match stage {
        FedStage::Optical => optical::optical_sample,
        FedStage::Align => align::align_sample,
        FedStage::Segment => segment::segment_sample,
    };
    let mut feed = Prefetch::start(options, square, first, threads, draw, finish)?;
    let closed =
        |error| TrainError::content("samples".as_ref())(format!("nobody takes them ({error})"));
    for _ in first..options.steps {
        out.write_all(&feed.next()?).map_err(closed)?;
    }
    out.flush().map_err(closed)
}

/// A step's bytes.
fn record(grid: usize, words: &Words, seed: u64, step: usize, samples: Vec<Sample>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let roll = u32::from(segment::sensors_roll(seed, step));
    bytes.extend(roll.to_le_bytes());
    for place in optical::a_quarter(grid, seed, step) {
        bytes.extend(place.to_le_bytes());
    }
    for set in LabelSet::ALL {
        let text = drawn_words(words, set, seed, step);
        bytes.extend(text.iter().flat_map(|value| value.to_le_bytes()));
    }
    for sample in &samples {
        let kind = sample.kind;
        bytes.extend([
            kind.label_set as u8,
            u8::from(kind.has_optical),
            u8::from(kind.has_sar),
            u8::from(kind.is_whole),
            if kind.is_taught { sample.candidates } else { 0 },
        ]);
        for planes in [&sample.optical, &sample.clear, &sample.sar] {
            append_bytes(&mut bytes, planes);
        }
        bytes.extend(&sample.label);
    }
    bytes
}

/// Normalised planes as the bytes they came from.
fn append_bytes(bytes: &mut Vec<u8>, planes: &[f32]) {
    let area = planes.len() / PIXEL_MEAN.len();
    for (channel, plane) in planes.chunks_exact(area).enumerate() {
        let (mean, std) = (PIXEL_MEAN[channel], PIXEL_STD[channel]);
        bytes.extend(plane.iter().map(|v| (v * std + mean).round() as u8));
    }
}

fn describe(
    stage: FedStage,
    options: &StageOptions,
    model: &MmOvSeg,
    words: &Words,
) -> Result<(), TrainError> {
    let folder = options.run.join(stage.name());
    std::fs::create_dir_all(&folder).map_err(TrainError::file(&folder, tensors::NO_ROOM))?;
    let weights = values(model)?;
    let table = model.parameters();
    let learns: fn(&ParameterTable, &str) -> bool = match stage {
        FedStage::Optical => optical::optical_learns,
        FedStage::Align => align::align_learns,
        FedStage::Segment => segment::segment_learns,
    };
    let learned: Vec<&String> = weights.keys().filter(|name| learns(&table, name)).collect();
    let recipe = match stage {
        FedStage::Align => align::RECIPE,
        _ => Recipe::OURS,
    };
    let told = serde_json::json!({
        "config": model.config(),
        "learned": learned,
        "class_names": LabelSet::ALL.map(|set| words.names(set)),
        "class_weights": LabelSet::ALL.map(LabelSet::class_weights),
        "pixel_mean": PIXEL_MEAN,
        "pixel_std": PIXEL_STD,
        "temperature": losses::TEMPERATURE,
        "region_cells": losses::REGION_CELLS,
        "teacher_temperature": batch::TEACHER_TEMPERATURE,
        "teacher_confidence": batch::TEACHER_CONFIDENCE,
        "binary_weight": segment::BINARY_WEIGHT,
        "dense_weight": segment::DENSE_WEIGHT,
        "weight_decay": recipe.weight_decay,
        "beta_2": recipe.beta_2,
        "warm_up": recipe.warm_up,
        "last": recipe.last,
        "average_every": average::EVERY_STEPS,
        "average_looks": average::looks(options.steps),
    });
    let path = folder.join(START_FILE);
    tensors::write(&path, &weights)?;
    let text = serde_json::to_vec_pretty(&told).map_err(TrainError::content(&folder))?;
    let path = folder.join(FEED_FILE);
    std::fs::write(&path, text).map_err(TrainError::file(&path, tensors::NO_ROOM))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::path::{Path, PathBuf};

    use burn::tensor::Device;
    use mmovseg_model::{MmOvSeg, ModelConfig};

    use super::{FedStage, stream};
    use crate::import::start_from;
    use crate::labels::LabelSet;
    use crate::run::{StageOptions, result};
    use crate::tensors;

    const STEPS: usize = 3;
    const BATCH: usize = 2;

    fn options(run: PathBuf) -> StageOptions {
        StageOptions {
            // No data: scenes are generated.
            data: run.join("none"),
            run,
            steps: STEPS,
            batch: BATCH,
            part: BATCH,
            learning_rate: 1e-3,
            samples: None,
            seed: 7,
            device: Device::flex(),
            progress: |_| {},
        }
    }

    #[test]
    fn a_stream_resumes_with_the_same_samples_and_trained_weights_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/nano");
        start_from(&package, &run).unwrap();
        let options = options(run.clone());

        let mut all = Vec::new();
        stream(FedStage::Segment, &options, 0, &mut all).unwrap();
        let config = ModelConfig::nano();
        let area = config.input_px * config.input_px;
        let keep = config.head.grid * config.head.grid / 4;
        let classes = LabelSet::ALL.map(LabelSet::classes).iter().sum::<usize>();
        let head = 4 + 4 * keep + 4 * classes * config.text.embed;
        let step = head + BATCH * (5 + 10 * area);
        assert_eq!(all.len(), STEPS * step);
        // From a later step on, as a trainer that goes on asks for it.
        let mut rest = Vec::new();
        stream(FedStage::Segment, &options, 1, &mut rest).unwrap();
        assert!(rest == all[step..]);
        // Of the first sample: scenes have both tiles and seven classes, and tiles are pictures.
        let sample = &all[head..][..5 + 10 * area];
        assert_eq!(sample[..5], [0, 1, 1, 0, 0]);
        let (tiles, labels) = sample[5..].split_at(9 * area);
        assert!(labels.iter().all(|&label| label < 7));
        let mean =
            |tile: &[u8]| tile.iter().map(|&v| f64::from(v)).sum::<f64>() / tile.len() as f64;
        for tile in tiles.chunks_exact(3 * area) {
            assert!(
                (20.0..235.0).contains(&mean(tile)),
                "a mean of {}",
                mean(tile)
            );
        }

        let start = run.join("segment/start.safetensors");
        let mut weights = tensors::read(&start).unwrap();
        let (_, gain) = weights.get_mut("pixel_head.gain").unwrap();
        gain[0] = 3.25;
        let trained = run.join("segment/weights.safetensors");
        tensors::write(&trained, &weights).unwrap();
        let model = MmOvSeg::new(&config, &Device::flex()).unwrap();
        let model = result(&run, "segment", model).unwrap();
        assert!(tensors::values(&model).unwrap() == weights);

        weights.remove("pixel_head.gain");
        tensors::write(&trained, &weights).unwrap();
        let error = result(&run, "segment", model).unwrap_err().to_string();
        assert!(error.contains("pixel_head.gain"), "{error}");
    }
}
