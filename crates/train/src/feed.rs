//! Samples of the steps to come, made ahead of time by threads of their own. The same samples, and what else a
//! step draws, as a stream of bytes: `torch/train.py` runs two stages from it on a graphics card.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use mmovseg_model::{MmOvSeg, PIXEL_MEAN, PIXEL_STD};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::TrainError;
use crate::average;
use crate::batch::{self, class_weights};
use crate::data::{Legend, Sample, Sources, Square};
use crate::run::{Recipe, StageOptions};
use crate::tensors::{self, values};
use crate::vision::{self, content};
use crate::words::Words;

/// Batches that each thread prepares ahead of the step that uses them.
const AHEAD: usize = 3;
/// Samples of one kind (scene, collage, real pair) in a row.
const SAME_KIND: usize = 2;

/// A sample by its seed; what kind it is, is drawn from the dice.
pub(crate) trait Draw:
    Fn(&Sources, u64, &mut ChaCha8Rng) -> Result<Sample, TrainError> + Send + Sync + 'static
{
}

impl<F> Draw for F where
    F: Fn(&Sources, u64, &mut ChaCha8Rng) -> Result<Sample, TrainError> + Send + Sync + 'static
{
}

/// Batches in the order of their steps, as `T`.
pub(crate) struct Feed<T> {
    /// Each thread makes every so manieth step.
    threads: Vec<Receiver<Result<T, TrainError>>>,
    taken: usize,
}

impl<T: Send + 'static> Feed<T> {
    /// Starts `threads` threads that make the batches from step `first` on, and of each what `finish` makes of it.
    /// What a step holds hangs on its number alone.
    pub fn start(
        options: &StageOptions,
        square: Square,
        first: usize,
        threads: usize,
        draw: impl Draw,
        finish: impl Fn(usize, Vec<Sample>) -> T + Send + Sync + 'static,
    ) -> Result<Self, TrainError> {
        let sources = Arc::new(Sources::open(&options.data, square, options.progress)?);
        let (draw, finish) = (Arc::new(draw), Arc::new(finish));
        let threads = (0..threads)
            .map(|thread| {
                let (sender, receiver) = sync_channel(AHEAD);
                let (options, sources) = (options.clone(), sources.clone());
                let (draw, finish) = (draw.clone(), finish.clone());
                std::thread::spawn(move || {
                    for step in (first + thread..options.steps).step_by(threads) {
                        let batch: Result<Vec<Sample>, TrainError> = (0..options.batch)
                            .map(|i| sample(&options, &sources, step * options.batch + i, &*draw))
                            .collect();
                        if sender.send(batch.map(|all| finish(step, all))).is_err() {
                            return;
                        }
                    }
                });
                receiver
            })
            .collect();
        Ok(Self { threads, taken: 0 })
    }

    /// The next step's batch.
    pub fn next(&mut self) -> Result<T, TrainError> {
        let thread = self.taken % self.threads.len();
        self.taken += 1;
        self.threads[thread].recv().map_err(|_| {
            content(
                "samples".as_ref(),
                "the thread that prepares them ended early",
            )
        })?
    }
}

fn sample(
    options: &StageOptions,
    sources: &Sources,
    index: usize,
    draw: &impl Draw,
) -> Result<Sample, TrainError> {
    let index = options.samples.map_or(index, |count| index % count);
    let seed = options.seed << 40 ^ index as u64;
    // Neighbours are of one kind: a part without real pairs needs no teacher.
    let kind = options.seed << 40 ^ (index / SAME_KIND) as u64;
    let mut dice = ChaCha8Rng::seed_from_u64(kind ^ 0xFEED);
    draw(sources, seed, &mut dice)
}

/// A stage that can run outside this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FedStage {
    /// [`vision::train_optical`].
    Optical,
    /// [`vision::train_segment`] of the default model.
    Segment,
}

impl FedStage {
    /// Its name, and that of its folder in the run.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Optical => "optical",
            Self::Segment => "segment",
        }
    }
}

/// What the weights of a stage's start are called in its folder.
const START_FILE: &str = "start.safetensors";
/// What else its trainer has to know.
const FEED_FILE: &str = "feed.json";

/// Writes a stage's first weights and its constants into its folder, then the batches from step `first` on to
/// `out`, little-endian. Each batch begins with a number from 0 to 99 that chooses the sensors, the patches kept
/// of a thinned tile `[g² / 4]` (both u32), and a word for each class of each legend, `[T, E]` f32; then come the
/// samples, bytes: whether it has a SAR tile, is clear, which legend, whether it is a whole tile, the optical and
/// the SAR tile `[3, S, S]`, the labels `[S, S]`.
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
        FedStage::Optical => vision::optical_start(options)?,
        FedStage::Segment => vision::segment_start(options)?,
    };
    if model.config().variant != "nano" {
        return Err(content(
            &options.run,
            "it starts from a released variant, which learns by the paper's own recipe: run the stage itself",
        ));
    }
    describe(stage, options, &model)?;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let square = Square::of(model.config());
    let grid = model.config().dino_grid();
    let seed = options.seed;
    let finish = move |step, samples| record(grid, &words, seed, step, samples);
    let draw = match stage {
        FedStage::Optical => vision::optical_sample,
        FedStage::Segment => vision::segment_sample,
    };
    let mut feed = Feed::start(options, square, first, threads, draw, finish)?;
    let closed = |error| content("samples".as_ref(), format!("nobody takes them ({error})"));
    for _ in first..options.steps {
        out.write_all(&feed.next()?).map_err(closed)?;
    }
    out.flush().map_err(closed)
}

/// A step's bytes.
fn record(grid: usize, words: &Words, seed: u64, step: usize, samples: Vec<Sample>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let roll = u32::from(vision::sensors_roll(seed, step));
    bytes.extend(roll.to_le_bytes());
    for place in vision::a_quarter(grid, seed, step) {
        bytes.extend(place.to_le_bytes());
    }
    for legend in Legend::ALL {
        let text = batch::drawn_words(words, legend, seed, step);
        bytes.extend(text.iter().flat_map(|value| value.to_le_bytes()));
    }
    for sample in &samples {
        bytes.extend([
            u8::from(sample.has_sar),
            u8::from(sample.is_clear),
            sample.legend as u8,
            u8::from(sample.is_whole),
        ]);
        for planes in [&sample.optical, &sample.sar] {
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

fn describe(stage: FedStage, options: &StageOptions, model: &MmOvSeg) -> Result<(), TrainError> {
    let folder = options.run.join(stage.name());
    std::fs::create_dir_all(&folder).map_err(TrainError::file(&folder, tensors::NO_ROOM))?;
    let weights = values(model)?;
    let learns: fn(&str) -> bool = match stage {
        FedStage::Optical => vision::optical_learns,
        FedStage::Segment => vision::segment_learns,
    };
    let learned: Vec<&String> = weights.keys().filter(|name| learns(name)).collect();
    let recipe = Recipe::OURS;
    let told = serde_json::json!({
        "config": model.config(),
        "learned": learned,
        "class_weights": Legend::ALL.map(class_weights),
        "pixel_mean": PIXEL_MEAN,
        "pixel_std": PIXEL_STD,
        "temperature": batch::TEMPERATURE,
        "dense_weight": vision::DENSE_WEIGHT,
        "place_weight": vision::PLACE_WEIGHT,
        "weight_decay": recipe.weight_decay,
        "beta_2": recipe.beta_2,
        "warm_up": recipe.warm_up,
        "last": recipe.last,
        "average_every": average::EVERY_STEPS,
        "average_looks": average::LOOKS,
    });
    let path = folder.join(START_FILE);
    tensors::write(&path, &weights)?;
    let text = serde_json::to_vec_pretty(&told).map_err(|e| content(&folder, e))?;
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
    fn a_stage_that_ran_outside_got_the_same_samples_and_its_weights_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/nano");
        start_from(&package, &run).unwrap();
        let options = options(run.clone());

        let mut all = Vec::new();
        stream(FedStage::Segment, &options, 0, &mut all).unwrap();
        let config = ModelConfig::nano();
        let area = config.input_px * config.input_px;
        let keep = config.dino_grid() * config.dino_grid() / 4;
        let head = 4 + 4 * keep + 4 * 17 * config.clip.embed;
        let step = head + BATCH * (4 + 7 * area);
        assert_eq!(all.len(), STEPS * step);
        // From a later step on, as a trainer that goes on asks for it.
        let mut rest = Vec::new();
        stream(FedStage::Segment, &options, 1, &mut rest).unwrap();
        assert!(rest == all[step..]);
        // Of the first sample: scenes have a SAR tile and seven classes, and tiles are pictures.
        let sample = &all[head..][..4 + 7 * area];
        assert_eq!((sample[0], sample[2], sample[3]), (1, 0, 0));
        let (tiles, labels) = sample[4..].split_at(6 * area);
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
