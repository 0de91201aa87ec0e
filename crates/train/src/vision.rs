//! The vision stages: both optical towers, the SAR tower after the optical one (the paper's
//! cross-modal unification), and segmentation under clouds (the paper's stage 2).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::activation::{log_softmax, relu, softmax};
use burn::tensor::{Device, Tensor, TensorData};
use mmovseg_model::network::Modality;
use mmovseg_model::{MmOvSeg, ModelConfig, Silent, cosine};
use mmovseg_scene::CLASSES;
use mmovseg_text::Tokenizer;
use mmovseg_weights::{Checkpoint, HostTensor, Manifest, StoreDtype};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::TrainError;
use crate::average::Average;
use crate::data::{CloudMix, IGNORE, SIDE_PX, Sample, Sources};
use crate::import::{self, Imported};
use crate::run::{Run, StageOptions, result};
use crate::start;
use crate::words::Words;

/// Prompt of the default model: the bare class name, which the text tower was taught on.
pub const NANO_TEMPLATE: &str = "{}";
/// Temperature of the dense classification that teaches the towers.
const TEMPERATURE: f64 = 0.07;
/// Samples prepared ahead of the step that uses them.
const AHEAD: usize = 3;
/// Samples of one kind (scene, collage, real pair) in a row.
const SAME_KIND: usize = 2;
/// Confidence under which a pseudo-label of a real tile does not count.
const PSEUDO_CONFIDENCE: f32 = 0.5;
/// Weight of a labelled pixel by its class, in the order of [`CLASSES`]: roads are a twenty-fifth of
/// the ground, and without more weight the first trained model never named one.
const CLASS_WEIGHTS: [f32; CLASSES.len()] = [1.0, 1.0, 1.0, 3.0, 1.0, 1.0, 1.0];
/// Weight of the towers' own classification beside the segmentation losses.
const DENSE_WEIGHT: f64 = 0.3;
/// Steps between two lines of the log.
const LOG_STEPS: usize = 10;

/// Teaches both optical towers land cover, on scenes and EuroSAT collages, clear and clouded:
/// every cell of the feature grid is classified by its cosine with class words.
///
/// # Errors
/// When the text stage has not been run, or a file cannot be read or written.
pub fn train_optical(options: &StageOptions) -> Result<(), TrainError> {
    let origin = Origin::open(options)?;
    let words = origin.words()?;
    let model = if origin.has_weights {
        origin.model
    } else {
        start::towers(origin.model, &options.device.clone().autodiff())?
    };
    let model = model.learn_only(|name| {
        name.contains("clip_model.visual")
            || name.starts_with("dino_model.")
            || name.starts_with("dino_down_sample.")
    });
    let all: Vec<usize> = (0..CLASSES.len()).collect();
    let draw = |sources: &Sources, seed, dice: &mut ChaCha8Rng| {
        if sources.has_eurosat() && dice.random_bool(0.4) {
            sources.collage(seed, CloudMix::MOSTLY_CLEAR)
        } else {
            Ok(sources.scene(seed, CloudMix::MOSTLY_CLEAR))
        }
    };
    learn("optical", options, model, draw, |model, batch, step| {
        let text = batch.text(&words, &all, options.seed, step);
        let clip = model.encode_clip(batch.optical.clone(), &mut Silent).dense;
        let [_, _, deepest] = model.dino_taps(batch.optical.clone(), false, &mut Silent);
        let dino = model.dino_embedding(deepest, false);
        let clip = dense_loss(cosine(clip, text.clone()), batch);
        let dino = dense_loss(cosine(dino, text), batch);
        Loss {
            total: clip.clone() + dino.clone(),
            terms: vec![("clip", clip), ("dino", dino)],
        }
    })
}

/// Cross-modal unification: the optical DINO is frozen and sees the clear tile, the SAR DINO
/// starts as its copy and learns to give the same features from SAR, on scenes and real pairs;
/// on scenes it also classifies.
///
/// # Errors
/// When the optical stage has not been run, or a file cannot be read or written.
pub fn train_align(options: &StageOptions) -> Result<(), TrainError> {
    let origin = Origin::open(options)?;
    let words = origin.words()?;
    let model = match origin.after(options, "optical")? {
        (model, true) => copy_optical_to_sar(model, &options.device.clone().autodiff())?,
        // A package's SAR tower goes on from where it is.
        (model, false) => model,
    };
    let model = model.learn_only(|name| {
        name.starts_with("dino_sarmodel.") || name.starts_with("dino_sardown_sample.")
    });
    let all: Vec<usize> = (0..CLASSES.len()).collect();
    let draw = |sources: &Sources, seed, dice: &mut ChaCha8Rng| {
        Ok(if sources.has_pairs() && dice.random_bool(0.4) {
            sources.pair(seed, CloudMix::CLEAR)
        } else {
            sources.scene(seed, CloudMix::CLEAR)
        })
    };
    learn("align", options, model, draw, |model, batch, step| {
        let text = batch.text(&words, &all, options.seed, step);
        let theirs = model.dino_taps(batch.clear.clone(), false, &mut Silent);
        let ours = model.dino_taps(batch.sar.clone(), true, &mut Silent);
        let deepest = ours[2].clone();
        let [first, second, third] = theirs.map(Tensor::detach);
        let [a, b, c] = ours;
        let apart = unlike(a, first) + unlike(b, second) + unlike(c, third);
        let dense = dense_loss(cosine(model.dino_embedding(deepest, true), text), batch);
        Loss {
            total: apart.clone() + dense.clone(),
            terms: vec![("unlike", apart / 3.0), ("dense", dense)],
        }
    })
}

/// Segmentation under clouds: all but the text tower learns, on scenes with their ground truth,
/// EuroSAT collages (optical alone) and real pairs with the pseudo-labels that the towers of the
/// align stage give to the clear tile. The towers keep classifying by themselves, so that their
/// features stay comparable with any text.
///
/// # Errors
/// When the align stage has not been run, or a file cannot be read or written.
pub fn train_segment(options: &StageOptions) -> Result<(), TrainError> {
    let origin = Origin::open(options)?;
    let words = origin.words()?;
    let has_head = origin.has_weights;
    let (model, _) = origin.after(options, "align")?;
    let teacher = model.clone().learn_only(|_| false);
    let model = if has_head {
        model
    } else {
        start::correlation(model, &options.device.clone().autodiff())?
    };
    let model = model
        .learn_only(|name| name.contains("clip_model.visual") || !name.contains("clip_model."));
    let all: Vec<usize> = (0..CLASSES.len()).collect();
    let draw = |sources: &Sources, seed, dice: &mut ChaCha8Rng| {
        let roll = dice.random_range(0..100u8);
        match roll {
            0..18 if sources.has_eurosat() => sources.collage(seed, CloudMix::CLOUDY),
            18..34 if sources.has_pairs() => Ok(sources.pair(seed, CloudMix::CLOUDY)),
            _ => Ok(sources.scene(seed, CloudMix::CLOUDY)),
        }
    };
    learn("segment", options, model, draw, |model, batch, step| {
        let mut dice = ChaCha8Rng::seed_from_u64(options.seed ^ 0x0DA1 ^ (step as u64) << 16);
        let text = batch.text(&words, &all, options.seed, step);
        let modality = match dice.random_range(0..10u8) {
            0..2 => Modality::Optical,
            2..4 => Modality::Sar,
            _ => Modality::Fused,
        };
        let (target, weight) = batch.pixel_targets(&teacher, &text);
        let blank = Tensor::zeros(batch.optical.dims(), &batch.device);
        let seen = if modality == Modality::Sar {
            blank
        } else {
            batch.optical.clone()
        };
        let clip = model.encode_clip(seen, &mut Silent);
        let optical = || model.encode_dino(batch.optical.clone(), false, &mut Silent);
        // A sample without SAR contributes nothing from that tower, as in an optical-only run.
        let radar = || {
            let mut maps = model.encode_dino(batch.sar.clone(), true, &mut Silent);
            maps.down = maps.down * batch.has_sar.clone();
            maps.coarse = maps.coarse * batch.has_sar.clone();
            maps.fine = maps.fine * batch.has_sar.clone();
            maps
        };
        let dino = match modality {
            Modality::Fused => optical().plus(radar()),
            Modality::Optical => optical(),
            Modality::Sar => radar(),
        };
        // In a SAR-only step, samples without SAR have nothing to be judged by.
        let weight = if modality == Modality::Sar {
            weight * batch.has_sar.clone()
        } else {
            weight
        };
        let [n, embed, h, w] = dino.down.dims();
        let down = dino.down.clone().reshape([n, embed, h * w]).swap_dims(1, 2);
        let mut dense = dense_loss(cosine(down, text.clone()), batch);
        if modality != Modality::Sar {
            dense = dense + dense_loss(cosine(clip.dense.clone(), text.clone()), batch);
        }
        let logits = model.head(&clip, &dino, text, &mut Silent);
        let total = weight.clone().sum() + 1e-6;
        // The paper's loss: binary cross-entropy a class and pixel (spec §21), here without the
        // pixels that have no label.
        let bce = relu(logits.clone()) - logits.clone() * target.clone()
            + (-logits.clone().abs()).exp().log1p();
        let bce = (bce.mean_dim(1) * weight.clone()).sum() / total.clone();
        // Labels are an argmax over classes, so classes are also told apart from one another.
        let ce = -(target * log_softmax(logits, 1)).sum_dim(1);
        let ce = (ce * weight).sum() / total;
        Loss {
            total: bce.clone() * 4.0 + ce.clone() + dense.clone() * DENSE_WEIGHT,
            terms: vec![("bce", bce), ("ce", ce), ("dense", dense)],
        }
    })
}

/// Writes what the segment stage gave as a package.
///
/// # Errors
/// When a stage has not been run or the folder cannot be written.
pub fn write_nano(run: &Path, out: &Path, dtype: StoreDtype) -> Result<Manifest, TrainError> {
    let device = Device::flex();
    let imported = Imported::open(run)?;
    let config = imported
        .as_ref()
        .map_or_else(ModelConfig::nano, |imported| imported.config.clone());
    let model = MmOvSeg::new(&config, &device).map_err(|e| content(out, e))?;
    let model = result(run, "segment", model)?;
    let folder = if imported.is_some() {
        import::FOLDER
    } else {
        "text"
    };
    let path = run.join(folder).join("tokenizer.json");
    let tokenizer = std::fs::read(&path).map_err(|source| TrainError::File {
        path,
        source,
        hint: "run the stage `text` first",
    })?;
    let architecture = serde_json::to_value(&config).map_err(|e| content(out, e))?;
    if let Some(Imported { mut manifest, .. }) = imported.filter(|i| i.config.variant != "nano") {
        // Words, palette, licence and attribution are those of the weights it started from.
        manifest.dtype = dtype;
        manifest.shards.clear();
        return pack(model, manifest, &tokenizer, out);
    }
    let mut manifest = Manifest::new("nano", architecture, dtype, NANO_TEMPLATE);
    manifest.default_classes = CLASSES.iter().map(|class| class.name.to_owned()).collect();
    manifest.palette = vec![
        [0, 114, 178],
        [0, 110, 60],
        [213, 94, 0],
        [110, 110, 110],
        [240, 200, 60],
        [140, 200, 90],
        [196, 154, 108],
    ];
    manifest.licence = "MIT OR Apache-2.0".into();
    manifest.attribution = "Trained by the mmovseg project on generated scenes, EuroSAT (Helber et al., MIT) and \
        Sentinel-1/Sentinel-2 tiles (VolkovVl/Optical-SAR-dataset; contains modified Copernicus Sentinel data 2020); \
        text distilled from all-MiniLM-L6-v2 (Apache-2.0) over WordNet 3.0."
        .into();
    pack(model, manifest, &tokenizer, out)
}

fn pack(
    model: MmOvSeg,
    manifest: Manifest,
    tokenizer: &[u8],
    out: &Path,
) -> Result<Manifest, TrainError> {
    let tensors = model.export().into_iter().map(|(name, shape, flat)| {
        let data = flat.into_data().try_into_vec().map_err(|error| {
            mmovseg_weights::WeightsError::Tensor {
                name: name.clone(),
                reason: format!("the device gave no values ({error:?})"),
            }
        })?;
        Ok(HostTensor { name, shape, data })
    });
    // The page checks itself against the self-test's figures before it shows a first mask.
    mmovseg_weights::write_package_then(out, manifest, tensors, tokenizer, |folder, manifest| {
        pollster::block_on(mmovseg_engine::add_self_test(folder, manifest))
            .map_err(|e| content(folder, e))
    })
}

/// What a run starts from: a package that was put into it, or a random nano with the text tower of
/// its own text stage.
struct Origin {
    model: MmOvSeg,
    tokenizer: Tokenizer,
    template: String,
    /// Whether all weights come from a package.
    has_weights: bool,
}

impl Origin {
    fn open(options: &StageOptions) -> Result<Self, TrainError> {
        let device = options.device.clone().autodiff();
        device.seed(options.seed);
        if let Some(Imported {
            manifest,
            config,
            tokenizer,
        }) = Imported::open(&options.run)?
        {
            let model = MmOvSeg::new(&config, &device).map_err(|e| content(&options.run, e))?;
            return Ok(Self {
                model: result(&options.run, import::FOLDER, model)?,
                tokenizer,
                template: manifest.prompt_template,
                has_weights: true,
            });
        }
        let (model, tokenizer) = fresh(options, &device)?;
        Ok(Self {
            model,
            tokenizer,
            template: NANO_TEMPLATE.into(),
            has_weights: false,
        })
    }

    fn words(&self) -> Result<Words, TrainError> {
        Words::embed(&self.model, &self.tokenizer, &self.template)
    }

    /// The model after `stage`, and whether that stage was run here; without it, a package's weights.
    fn after(self, options: &StageOptions, stage: &str) -> Result<(MmOvSeg, bool), TrainError> {
        if self.has_weights && !options.run.join(stage).exists() {
            return Ok((self.model, false));
        }
        Ok((result(&options.run, stage, self.model)?, true))
    }
}

/// A random nano with the text tower of the run, and its tokenizer.
fn fresh(options: &StageOptions, device: &Device) -> Result<(MmOvSeg, Tokenizer), TrainError> {
    let folder = options.run.join("text");
    let path = folder.join("tokenizer.json");
    let json = std::fs::read(&path).map_err(|source| TrainError::File {
        path: path.clone(),
        source,
        hint: "run the stage `text` first",
    })?;
    let tokenizer = Tokenizer::from_json(&json)?;
    let path = folder.join("text.safetensors");
    let checkpoint = Checkpoint::open(&path).map_err(|e| content(&path, e))?;
    let names: Vec<String> = checkpoint
        .names_and_shapes()
        .map(|(name, _)| name.to_owned())
        .collect();
    let mut tensors = BTreeMap::new();
    for name in names {
        let tensor = checkpoint.read(&name).map_err(|e| content(&path, e))?;
        tensors.insert(tensor.name, (tensor.shape, tensor.data));
    }
    let model = MmOvSeg::new(&ModelConfig::nano(), device).map_err(|e| content(&path, e))?;
    let wanted = model.parameter_shapes();
    for (name, (shape, _)) in &tensors {
        if wanted.get(name) != Some(shape) {
            return Err(content(
                &path,
                format!("{name} {shape:?} is not a tensor of this text tower"),
            ));
        }
    }
    Ok((model.load(&mut tensors, device), tokenizer))
}

/// Gives the SAR tower and its projections the weights of the optical ones.
fn copy_optical_to_sar(model: MmOvSeg, device: &Device) -> Result<MmOvSeg, TrainError> {
    start::change(model, device, |tensors| {
        let copies: Vec<_> = tensors
            .iter()
            .filter_map(|(name, tensor)| {
                let twin = if let Some(rest) = name.strip_prefix("dino_model.") {
                    format!("dino_sarmodel.{rest}")
                } else {
                    // `dino_decod_proj1` and `dino_down_sample` have SAR twins spelled `dino_sard…`.
                    format!("dino_sard{}", name.strip_prefix("dino_d")?)
                };
                Some((twin, tensor.clone()))
            })
            .collect();
        tensors.extend(copies);
    })
}

pub(crate) fn content(path: &Path, error: impl std::fmt::Display) -> TrainError {
    TrainError::Content {
        path: path.to_owned(),
        what: error.to_string(),
    }
}

/// What a stage minimises, and the terms it logs.
struct Loss {
    total: Tensor<1>,
    terms: Vec<(&'static str, Tensor<1>)>,
}

/// Runs a stage from its last checkpoint to its end: `draw` makes a sample, `loss` judges the model
/// on a batch at a step.
fn learn(
    name: &str,
    options: &StageOptions,
    model: MmOvSeg,
    draw: impl Fn(&Sources, u64, &mut ChaCha8Rng) -> Result<Sample, TrainError> + Send + 'static,
    loss: impl Fn(&MmOvSeg, &Batch, usize) -> Loss + Sync,
) -> Result<(), TrainError> {
    let (mut run, mut model, mut optimizer) = Run::start(name, options, model)?;
    let mut average = Average::open(&run, &model)?;
    let feed = feed(options, run.first(), draw)?;
    for step in run.first()..options.steps {
        let samples = feed
            .recv()
            .map_err(|_| content(&options.run, "the thread that prepares samples ended early"))??;
        let logs = step % LOG_STEPS == 0 || step + 1 == options.steps;
        let (gradients, terms) = gradients(&model, &samples, options, logs, |model, batch| {
            loss(model, batch, step)
        });
        model = optimizer.step(run.learning_rate(step), model, gradients);
        if logs {
            run.log(step, &terms)?;
        }
        average.take(step, &model)?;
        if run.is_checkpoint(step) {
            average.save(&run, &model)?;
            run.checkpoint(step, &model, &optimizer)?;
        }
    }
    Ok(())
}

/// Mean gradients of a batch, its parts computed side by side: most tensor operations of the CPU
/// backend use one thread. The mean of each logged term goes with them.
fn gradients(
    model: &MmOvSeg,
    samples: &[Sample],
    options: &StageOptions,
    logs: bool,
    loss: impl Fn(&MmOvSeg, &Batch) -> Loss + Sync,
) -> (GradientsParams, Vec<(&'static str, f32)>) {
    let device = options.device.clone().autodiff();
    let parts: Vec<&[Sample]> = samples.chunks(options.part.max(1)).collect();
    let share = 1.0 / parts.len().max(1) as f64;
    let judge = |part: &[Sample]| {
        // Parts that shared an autodiff graph would wait for one another; a fork has its own.
        let model = model.clone().fork(&device);
        let batch = Batch::new(part, model.config().head.grid, &device);
        let loss = loss(&model, &batch);
        let terms: Vec<(&'static str, f32)> = if logs {
            loss.terms
                .into_iter()
                .map(|(name, term)| (name, term.into_scalar::<f32>() * share as f32))
                .collect()
        } else {
            Vec::new()
        };
        let gradients = GradientsParams::from_grads((loss.total * share).backward(), &model);
        (gradients, terms)
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = parts
            .iter()
            .map(|part| scope.spawn(|| judge(part)))
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    let mut sum = GradientsAccumulator::new();
    let mut means: Vec<(&'static str, f32)> = Vec::new();
    for (gradients, terms) in results {
        sum.accumulate(model, gradients);
        for (i, (name, value)) in terms.into_iter().enumerate() {
            match means.get_mut(i) {
                Some(mean) => mean.1 += value,
                None => means.push((name, value)),
            }
        }
    }
    (sum.grads(), means)
}

/// Samples of the steps to come, made by a thread of their own.
fn feed(
    options: &StageOptions,
    first: usize,
    draw: impl Fn(&Sources, u64, &mut ChaCha8Rng) -> Result<Sample, TrainError> + Send + 'static,
) -> Result<Receiver<Result<Vec<Sample>, TrainError>>, TrainError> {
    let sources = Arc::new(Sources::open(&options.data, options.progress)?);
    let (sender, receiver) = sync_channel(AHEAD);
    let options = options.clone();
    std::thread::spawn(move || {
        for step in first..options.steps {
            let batch = (0..options.batch)
                .map(|i| {
                    let index = step * options.batch + i;
                    let seed = options.seed << 40 ^ index as u64;
                    // Neighbours are of one kind: a part without real pairs needs no teacher.
                    let kind = options.seed << 40 ^ (index / SAME_KIND) as u64;
                    let mut dice = ChaCha8Rng::seed_from_u64(kind ^ 0xFEED);
                    draw(&sources, seed, &mut dice)
                })
                .collect();
            if sender.send(batch).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

/// A batch on the device.
struct Batch {
    /// `[N, 3, S, S]`, clouded.
    optical: Tensor<4>,
    /// The same without clouds.
    clear: Tensor<4>,
    /// `[N, 3, S, S]`.
    sar: Tensor<4>,
    /// 1 where there is a SAR tile, `[N, 1, 1, 1]`.
    has_sar: Tensor<4>,
    /// Share of each class in each cell of the feature grid, `[N, T, g²]`.
    cells: Tensor<3>,
    /// Share of labelled pixels in each cell, `[N, 1, g²]`.
    cell_weight: Tensor<3>,
    /// The same for the logits' grid, `[N, T, 4g, 4g]` and `[N, 1, 4g, 4g]`.
    pixels: Tensor<4>,
    pixel_weight: Tensor<4>,
    /// 1 where a sample has no label at all, `[N, 1, 1, 1]`.
    unlabelled: Tensor<4>,
    grid: usize,
    device: Device,
}

impl Batch {
    fn new(samples: &[Sample], grid: usize, device: &Device) -> Self {
        let n = samples.len();
        let tile = |pick: fn(&Sample) -> &Vec<f32>| {
            let flat: Vec<f32> = samples
                .iter()
                .flat_map(|s| pick(s).iter().copied())
                .collect();
            Tensor::<4>::from_data(TensorData::new(flat, [n, 3, SIDE_PX, SIDE_PX]), device)
        };
        let flag = |pick: &dyn Fn(&Sample) -> bool| {
            let flat: Vec<f32> = samples
                .iter()
                .map(|s| f32::from(u8::from(pick(s))))
                .collect();
            Tensor::<4>::from_data(TensorData::new(flat, [n, 1, 1, 1]), device)
        };
        let (cells, cell_weight) = shares(samples, grid);
        let (pixels, pixel_weight) = shares(samples, 4 * grid);
        let classes = CLASSES.len();
        let fine = 4 * grid;
        Self {
            optical: tile(|s| &s.optical),
            clear: tile(|s| &s.clear),
            sar: tile(|s| &s.sar),
            has_sar: flag(&|s| s.has_sar),
            cells: Tensor::from_data(TensorData::new(cells, [n, classes, grid * grid]), device),
            cell_weight: Tensor::from_data(
                TensorData::new(cell_weight, [n, 1, grid * grid]),
                device,
            ),
            pixels: Tensor::from_data(TensorData::new(pixels, [n, classes, fine, fine]), device),
            pixel_weight: Tensor::from_data(
                TensorData::new(pixel_weight, [n, 1, fine, fine]),
                device,
            ),
            unlabelled: flag(&|s| s.label.iter().all(|&l| l == IGNORE)),
            grid,
            device: device.clone(),
        }
    }

    /// One word for each class, `[T, E]`, drawn by the step.
    fn text(&self, words: &Words, classes: &[usize], seed: u64, step: usize) -> Tensor<2> {
        let mut dice = ChaCha8Rng::seed_from_u64(seed ^ 0x7E87 ^ (step as u64) << 16);
        let flat = words.draw(classes, &mut dice);
        Tensor::from_data(
            TensorData::new(flat, [classes.len(), words.width()]),
            &self.device,
        )
    }

    /// Targets and weights for the logits. Samples without labels get what the frozen optical
    /// towers say of the clear tile, where they are confident.
    fn pixel_targets(&self, model: &MmOvSeg, text: &Tensor<2>) -> (Tensor<4>, Tensor<4>) {
        if self.unlabelled.clone().sum().into_scalar::<f32>() == 0.0 {
            return (self.pixels.clone(), self.pixel_weight.clone());
        }
        let clip = model.encode_clip(self.clear.clone(), &mut Silent).dense;
        let [_, _, deepest] = model.dino_taps(self.clear.clone(), false, &mut Silent);
        let dino = model.dino_embedding(deepest, false);
        let say = |features| softmax(cosine(features, text.clone()) / TEMPERATURE, 1);
        let soft = ((say(clip) + say(dino)) / 2.0).detach();
        let sure = soft
            .clone()
            .max_dim(1)
            .greater_elem(PSEUDO_CONFIDENCE)
            .float();
        let pseudo = self.unlabelled.clone();
        let target = self.pixels.clone() + self.enlarge(soft) * pseudo.clone();
        let weight = self.pixel_weight.clone() + self.enlarge(sure) * pseudo;
        (target, weight)
    }

    /// `[N, C, g²]` repeated to `[N, C, 4g, 4g]`.
    fn enlarge(&self, cells: Tensor<3>) -> Tensor<4> {
        let [n, c, _] = cells.dims();
        let g = self.grid;
        cells
            .reshape([n, c, g, 1, g, 1])
            .expand([n, c, g, 4, g, 4])
            .reshape([n, c, 4 * g, 4 * g])
    }
}

/// Share of each class, `[N, T, grid²]`, and of labelled pixels weighted by class, `[N, 1, grid²]`,
/// a cell.
fn shares(samples: &[Sample], grid: usize) -> (Vec<f32>, Vec<f32>) {
    let cell_px = SIDE_PX / grid;
    let area = grid * grid;
    let classes = CLASSES.len();
    let mut share = vec![0.0f32; samples.len() * classes * area];
    let mut weight = vec![0.0f32; samples.len() * area];
    let unit = 1.0 / (cell_px * cell_px) as f32;
    for (n, sample) in samples.iter().enumerate() {
        for (i, &label) in sample.label.iter().enumerate() {
            if label == IGNORE {
                continue;
            }
            let cell = i / SIDE_PX / cell_px * grid + i % SIDE_PX / cell_px;
            share[(n * classes + usize::from(label)) * area + cell] += unit;
            weight[n * area + cell] += unit;
        }
        for cell in 0..area {
            let labelled = weight[n * area + cell];
            if labelled > 0.0 {
                let mut weighted = 0.0;
                for (class, class_weight) in CLASS_WEIGHTS.iter().enumerate() {
                    let share = &mut share[(n * classes + class) * area + cell];
                    weighted += *share * class_weight;
                    *share /= labelled;
                }
                weight[n * area + cell] = weighted;
            }
        }
    }
    (share, weight)
}

/// Cross-entropy of cells against their class shares; `cosines [N, T, g²]`.
fn dense_loss(cosines: Tensor<3>, batch: &Batch) -> Tensor<1> {
    let log = log_softmax(cosines / TEMPERATURE, 1);
    let each = -(batch.cells.clone() * log).sum_dim(1) * batch.cell_weight.clone();
    each.sum() / (batch.cell_weight.clone().sum() + 1e-6)
}

/// `1 − cos` of matching tokens, `[N, L, W]` each, mean over all.
fn unlike(a: Tensor<3>, b: Tensor<3>) -> Tensor<1> {
    let dot = (a.clone() * b.clone()).sum_dim(2);
    let norms = (a.square().sum_dim(2) * b.square().sum_dim(2) + 1e-12).sqrt();
    -(dot / norms).mean() + 1.0
}

/// Where the default run lives, relative to the project.
#[must_use]
pub fn default_run() -> PathBuf {
    PathBuf::from("runs/nano")
}
