//! The vision stages: both optical towers, the SAR tower after the optical one (the paper's
//! cross-modal unification), and segmentation under clouds (the paper's stage 2).

use std::path::Path;

use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use mmovseg_model::dino::DinoTaps;
use mmovseg_model::network::{DinoMaps, Modality};
use mmovseg_model::{MmOvSeg, ModelConfig, Silent, cosine};
use mmovseg_scene::CLASSES;
use mmovseg_text::Tokenizer;
use mmovseg_weights::{HostTensor, Manifest, StoreDtype};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::TrainError;
use crate::alignment::report_of_stage;
use crate::batch::{dense_loss, logits_loss, pixel_loss, place_loss};
use crate::data::{CloudMix, Sample, Sources};
use crate::import::{self, Imported};
use crate::learn::{Loss, learn};
use crate::paper;
use crate::run::{Recipe, StageOptions, result};
use crate::start;
use crate::tensors;
use crate::words::Words;

/// Prompt of the default model: the bare class name, which the text tower was taught on.
pub const NANO_TEMPLATE: &str = "{}";
/// Weight of the towers' own classification beside the segmentation losses.
pub(crate) const DENSE_WEIGHT: f64 = 0.3;

/// Weight of the unification of SAR with optical embeddings beside the losses of stage 1.
const ALIGN_PLACE_WEIGHT: f64 = 0.3;
/// The same beside the segmentation losses.
pub(crate) const PLACE_WEIGHT: f64 = 0.1;

/// Teaches both optical towers land cover, on scenes, EuroSAT tiles and collages of them, clear and clouded:
/// every cell of the feature grid is classified by its cosine with class words. Of a tile that stands alone,
/// enlarged, the towers read a quarter of the patches, which say almost as much in a quarter of the time.
///
/// # Errors
/// When the text stage has not been run, or a file cannot be read or written.
pub fn train_optical(options: &StageOptions) -> Result<(), TrainError> {
    let (model, words) = optical_start(options)?;
    learn(
        "optical",
        options,
        &Recipe::OURS,
        model.learn_only(optical_learns),
        optical_sample,
        |model, batch, step| {
            let text = batch.text(&words, options.seed, step);
            let optical = batch.optical.clone();
            let (embeddings, names) = if batch.is_whole {
                let keep = a_quarter(model.config().dino_grid(), options.seed, step);
                let count = keep.len();
                let keep = Tensor::from_data(TensorData::new(keep, [count]), &batch.device);
                let embeddings = model.thinned_embeddings(optical, keep, &mut Silent);
                (embeddings, ["clip of tiles", "dino of tiles"])
            } else {
                let clip = model.encode_clip(optical.clone(), &mut Silent).dense;
                let [_, _, deepest] = model.dino_taps(optical, false, &mut Silent);
                (
                    [clip, model.dino_embedding(deepest, false)],
                    ["clip", "dino"],
                )
            };
            let [clip, dino] =
                embeddings.map(|embedding| dense_loss(cosine(embedding, text.clone()), batch));
            Loss {
                total: clip.clone() + dino.clone(),
                terms: names.into_iter().zip([clip, dino]).collect(),
            }
        },
    )
}

/// The model that `optical` starts with, and its words.
pub(crate) fn optical_start(options: &StageOptions) -> Result<(MmOvSeg, Words), TrainError> {
    let origin = Origin::open(options)?;
    let words = origin.words()?;
    let model = if origin.has_weights {
        origin.model
    } else {
        start::towers(origin.model)?
    };
    Ok((model, words))
}

/// Whether `optical` teaches the parameter of this checkpoint name.
pub(crate) fn optical_learns(name: &str) -> bool {
    name.contains("clip_model.visual")
        || name.starts_with("dino_model.")
        || name.starts_with("dino_down_sample.")
}

/// A sample of `optical`.
pub(crate) fn optical_sample(
    sources: &Sources,
    seed: u64,
    dice: &mut ChaCha8Rng,
) -> Result<Sample, TrainError> {
    match dice.random_range(0..100u8) {
        0..88 if sources.has_eurosat() => sources.tile(seed, CloudMix::MOSTLY_CLEAR),
        88..92 if sources.has_eurosat() => sources.collage(seed, CloudMix::MOSTLY_CLEAR),
        _ => Ok(sources.scene(seed, CloudMix::MOSTLY_CLEAR)),
    }
}

/// The patches that a step keeps of thinned tiles: one of each two by two, row by row, `[grid² / 4]`.
pub(crate) fn a_quarter(grid: usize, seed: u64, step: usize) -> Vec<i32> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed ^ 0x9A7C ^ (step as u64) << 16);
    let half = grid / 2;
    (0..half * half)
        .map(|i| {
            let [row, column] =
                [i / half, i % half].map(|at| 2 * at + dice.random_range(0..2usize));
            (row * grid + column) as i32
        })
        .collect()
}

/// Cross-modal unification: the optical DINO is frozen and sees the clear tile, the SAR DINO
/// starts as its copy and learns to give the same features from SAR, on scenes and real pairs;
/// on scenes it also classifies. Ends with a report on real pairs that it has not seen, `report.json`.
///
/// # Errors
/// When the optical stage has not been run, or a file cannot be read or written.
pub fn train_align(options: &StageOptions) -> Result<(), TrainError> {
    let origin = Origin::open(options)?;
    if origin.is_released() {
        return align_released(options, origin.model);
    }
    let words = origin.words()?;
    let is_new = !origin.has_weights;
    let model = origin.after(options, &["optical"], "optical")?;
    // A package's SAR tower goes on from where it is.
    let model = if is_new {
        copy_optical_to_sar(model)?
    } else {
        model
    };
    let model = model.learn_only(|name| {
        name.starts_with("dino_sarmodel.") || name.starts_with("dino_sardown_sample.")
    });
    let draw = |sources: &Sources, seed, dice: &mut ChaCha8Rng| Ok(clear_pair(sources, seed, dice));
    learn(
        "align",
        options,
        &Recipe::OURS,
        model.clone(),
        draw,
        |model, batch, step| {
            let text = batch.text(&words, options.seed, step);
            let theirs = model.dino_taps(batch.clear.clone(), false, &mut Silent);
            let ours = model.dino_taps(batch.sar.clone(), true, &mut Silent);
            let [optical, radar] = [(&theirs, false), (&ours, true)]
                .map(|([_, _, deepest], sar)| model.dino_embedding(deepest.clone(), sar));
            let apart = apart(ours, theirs);
            let place = place_loss(radar.clone(), optical, batch.has_sar.clone());
            let dense = dense_loss(cosine(radar, text), batch);
            Loss {
                total: apart.clone() + place.clone() * ALIGN_PLACE_WEIGHT + dense.clone(),
                terms: vec![("unlike", apart / 3.0), ("place", place), ("dense", dense)],
            }
        },
    )?;
    report_of_stage(&result(&options.run, "align", model)?, options)
}

/// Stage 1 for a released variant: the SAR DINO alone learns, from likeness alone.
fn align_released(options: &StageOptions, model: MmOvSeg) -> Result<(), TrainError> {
    let model = model.learn_only(|name| name.starts_with("dino_sarmodel."));
    let draw = |sources: &Sources, seed, dice: &mut ChaCha8Rng| Ok(clear_pair(sources, seed, dice));
    learn(
        "align",
        options,
        &Recipe::OURS,
        model.clone(),
        draw,
        |model, batch, _| {
            let theirs = model.dino_taps(batch.clear.clone(), false, &mut Silent);
            let ours = model.dino_taps(batch.sar.clone(), true, &mut Silent);
            let apart = apart(ours, theirs);
            Loss {
                total: apart.clone(),
                terms: vec![("unlike", apart / 3.0)],
            }
        },
    )?;
    report_of_stage(&result(&options.run, "align", model)?, options)
}

/// A clear pair, real or generated.
fn clear_pair(sources: &Sources, seed: u64, dice: &mut ChaCha8Rng) -> Sample {
    if sources.has_pairs() && dice.random_bool(0.4) {
        sources.pair(seed, CloudMix::CLEAR)
    } else {
        sources.scene(seed, CloudMix::CLEAR)
    }
}

/// Sum over the taps of how unlike SAR features are to the optical ones, which stay as they are.
fn apart(ours: DinoTaps, theirs: DinoTaps) -> Tensor<1> {
    let [a, b, c] = ours;
    let [first, second, third] = theirs.map(Tensor::detach);
    unlike(a, first) + unlike(b, second) + unlike(c, third)
}

/// The pixels' towers and their comparison with text, everything else frozen: a step costs a third of one
/// of the segment stage, and small convolutions need many. Judged by each sensor alone and by both.
///
/// # Errors
/// When the align stage has not been run, or a file cannot be read or written.
pub fn train_pixels(options: &StageOptions) -> Result<(), TrainError> {
    let origin = Origin::open(options)?;
    if origin.is_released() {
        return Err(content(
            &options.run,
            "it starts from a released variant, which has no towers for pixels: go on with `segment`",
        ));
    }
    let words = origin.words()?;
    let model = origin.after(options, &["align", "optical"], "align")?;
    let model =
        model.learn_only(|name| name.contains("pixel_tower") || name.contains("pixel_head"));
    let draw = |sources: &Sources, seed, dice: &mut ChaCha8Rng| {
        labelled(sources, seed, dice, [35, 10], CloudMix::CLOUDY)
    };
    learn(
        "pixels",
        options,
        &Recipe::OURS,
        model,
        draw,
        |model, batch, step| {
            let text = batch.text(&words, options.seed, step);
            let judge = |maps: &DinoMaps, weight: &Tensor<4>| {
                let cosines = model.pixel_cosine(maps, text.clone());
                cosines.map(|cosines| pixel_loss(cosines, &batch.pixels, weight))
            };
            let optical = model.encode_dino(batch.optical.clone(), false, &mut Silent);
            let mut terms = vec![("optical", judge(&optical, &batch.pixel_weight))];
            if batch.any_sar {
                let radar = model.encode_dino(batch.sar.clone(), true, &mut Silent);
                let radar = radar.weighted(batch.has_sar.clone());
                let weight = batch.pixel_weight.clone() * batch.has_sar.clone();
                terms.push(("sar", judge(&radar, &weight)));
                terms.push(("fused", judge(&optical.plus(radar), &batch.pixel_weight)));
            }
            let terms: Vec<(&'static str, Tensor<1>)> = terms
                .into_iter()
                .filter_map(|(name, term)| Some((name, term?)))
                .collect();
            let zero = Tensor::zeros([1], &batch.device);
            Loss {
                total: terms.iter().fold(zero, |sum, (_, term)| sum + term.clone()),
                terms,
            }
        },
    )
}

/// A sample with labels: collages and real pairs in the given hundredths where there are any, else a
/// scene under `clouds`. EuroSAT is mostly clear: its tiles have no SAR to lean on.
fn labelled(
    sources: &Sources,
    seed: u64,
    dice: &mut ChaCha8Rng,
    [collages, pairs]: [u8; 2],
    clouds: CloudMix,
) -> Result<Sample, TrainError> {
    let roll = dice.random_range(0..100u8);
    if roll < collages && sources.has_eurosat() {
        sources.collage(seed, CloudMix::MOSTLY_CLEAR)
    } else if roll >= collages && roll < collages + pairs && sources.has_pairs() {
        Ok(sources.pair(seed, clouds))
    } else {
        Ok(sources.scene(seed, clouds))
    }
}

/// Segmentation under clouds: all but the text tower learns, on scenes with their ground truth,
/// EuroSAT collages (optical alone) and real pairs where both tiles say plainly what the ground is. The
/// towers keep classifying by themselves, so that their
/// features stay comparable with any text.
///
/// # Errors
/// When the align stage has not been run, or a file cannot be read or written.
pub fn train_segment(options: &StageOptions) -> Result<(), TrainError> {
    let origin = Origin::open(options)?;
    if origin.is_released() {
        let context = origin.model.config().text.context;
        let prompts = paper::prompts(&origin.tokenizer, &origin.template, context)?;
        let model = origin.after(options, &["align"], "align")?;
        return paper::segment(options, model, &prompts);
    }
    let (model, words) = origin.segment_start(options)?;
    learn(
        "segment",
        options,
        &Recipe::OURS,
        model.learn_only(segment_learns),
        segment_sample,
        |model, batch, step| {
            let text = batch.text(&words, options.seed, step);
            let modality = match sensors_roll(options.seed, step) {
                _ if !batch.any_sar => Modality::Optical,
                0..15 => Modality::Optical,
                15..40 => Modality::Sar,
                _ => Modality::Fused,
            };
            let (target, weight) = (batch.pixels.clone(), batch.pixel_weight.clone());
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
                let maps = model.encode_dino(batch.sar.clone(), true, &mut Silent);
                maps.weighted(batch.has_sar.clone())
            };
            let mut place = None;
            let dino = match modality {
                Modality::Fused => {
                    let (optical, radar) = (optical(), radar());
                    place = batch.both_see.as_ref().map(|both_see| {
                        let [radar, optical] = [&radar, &optical].map(patches);
                        place_loss(radar, optical, both_see.clone())
                    });
                    optical.plus(radar)
                }
                Modality::Optical => optical(),
                Modality::Sar => radar(),
            };
            // In a SAR-only step, samples without SAR have nothing to be judged by.
            let weight = if modality == Modality::Sar {
                weight * batch.has_sar.clone()
            } else {
                weight
            };
            let mut dense = dense_loss(cosine(patches(&dino), text.clone()), batch);
            if modality != Modality::Sar {
                dense = dense + dense_loss(cosine(clip.dense.clone(), text.clone()), batch);
            }
            let sight = model
                .pixel_cosine(&dino, text.clone())
                .map(|cosines| pixel_loss(cosines, &batch.pixels, &weight));
            let logits = model.head(&clip, &dino, text, &mut Silent);
            let total = weight.clone().sum() + 1e-6;
            // The paper's loss: binary cross-entropy a class and pixel (docs/network.md §14), here without the
            // pixels that have no label.
            let bce = relu(logits.clone()) - logits.clone() * target.clone()
                + (-logits.clone().abs()).exp().log1p();
            let bce = (bce.mean_dim(1) * weight.clone()).sum() / total.clone();
            // Labels are an argmax over classes, so classes are also told apart from one another.
            let ce = logits_loss(logits, batch, &weight);
            let mut loss = Loss {
                total: bce.clone() * 4.0 + ce.clone() + dense.clone() * DENSE_WEIGHT,
                terms: vec![("bce", bce), ("ce", ce), ("dense", dense)],
            };
            if let Some(sight) = sight {
                loss.total = loss.total + sight.clone() * DENSE_WEIGHT;
                loss.terms.push(("pixels", sight));
            }
            if let Some(place) = place {
                loss.total = loss.total + place.clone() * PLACE_WEIGHT;
                loss.terms.push(("place", place));
            }
            loss
        },
    )
}

/// The model that `segment` starts with, and its words.
pub(crate) fn segment_start(options: &StageOptions) -> Result<(MmOvSeg, Words), TrainError> {
    Origin::open(options)?.segment_start(options)
}

/// Whether `segment` teaches the parameter of this checkpoint name.
pub(crate) fn segment_learns(name: &str) -> bool {
    name.contains("clip_model.visual") || !name.contains("clip_model.")
}

/// A sample of `segment`.
pub(crate) fn segment_sample(
    sources: &Sources,
    seed: u64,
    dice: &mut ChaCha8Rng,
) -> Result<Sample, TrainError> {
    labelled(sources, seed, dice, [36, 12], CloudMix::CLOUDY)
}

/// What chooses the sensors of a step of `segment`, below 100.
pub(crate) fn sensors_roll(seed: u64, step: usize) -> u8 {
    ChaCha8Rng::seed_from_u64(seed ^ 0x0DA1 ^ (step as u64) << 16).random_range(0..100u8)
}

/// The embeddings of a fusion or of one sensor, `[N, g², E]`.
fn patches(maps: &DinoMaps) -> Tensor<3> {
    let [n, embed, h, w] = maps.down.dims();
    maps.down.clone().reshape([n, embed, h * w]).swap_dims(1, 2)
}

/// Writes what the segment stage gave as a package.
///
/// # Errors
/// When a stage has not been run or the folder cannot be written.
pub fn write_nano(run: &Path, out: &Path, dtype: StoreDtype) -> Result<Manifest, TrainError> {
    let device = Device::flex();
    let imported = Imported::open(run)?;
    let config = config_of(run, imported.as_ref());
    let model = MmOvSeg::new(&config, &device).map_err(|e| content(out, e))?;
    let model = result(run, "segment", model)?;
    let folder = if has_text(run) {
        "text"
    } else {
        import::FOLDER
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
    // Its words lie far enough apart: quantised, they label the same (models/nano/README.md).
    manifest.text_dtype = Some(dtype);
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
    // In the order of a converted package: what training left alone is then in the same shards.
    let mut exported = model.export();
    exported.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    let tensors = exported.into_iter().map(|(name, shape, flat)| {
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
        let Some(imported) = Imported::open(&options.run)? else {
            let model = MmOvSeg::new(&ModelConfig::nano(), &device)
                .map_err(|e| content(&options.run, e))?;
            let (model, tokenizer) = with_text_of(&options.run, model)?;
            return Ok(Self {
                model,
                tokenizer,
                template: NANO_TEMPLATE.into(),
                has_weights: false,
            });
        };
        let config = config_of(&options.run, Some(&imported));
        let old = MmOvSeg::new(&imported.config, &device).map_err(|e| content(&options.run, e))?;
        let old = result(&options.run, import::FOLDER, old)?;
        let (model, tokenizer) = if config == imported.config {
            (old, imported.tokenizer)
        } else {
            let model = MmOvSeg::new(&config, &device).map_err(|e| content(&options.run, e))?;
            let model = start::take_over(model, old)?;
            if has_text(&options.run) {
                with_text_of(&options.run, model)?
            } else {
                (model, imported.tokenizer)
            }
        };
        Ok(Self {
            model,
            tokenizer,
            template: imported.manifest.prompt_template,
            has_weights: true,
        })
    }

    /// Whether this is a released variant, which learns by the paper's own recipe.
    fn is_released(&self) -> bool {
        self.model.config().variant != "nano"
    }

    fn words(&self) -> Result<Words, TrainError> {
        Words::embed(&self.model, &self.tokenizer, &self.template)
    }

    fn segment_start(self, options: &StageOptions) -> Result<(MmOvSeg, Words), TrainError> {
        let words = self.words()?;
        let has_head = self.has_weights;
        let model = self.after(options, &["pixels", "align", "optical"], "align")?;
        let model = if has_head {
            model
        } else {
            start::correlation(model)?
        };
        Ok((model, words))
    }

    /// The model after the first of `stages` that was run here; without any, a package's weights.
    /// A model that started from nothing must have been through `needed`.
    fn after(
        self,
        options: &StageOptions,
        stages: &[&str],
        needed: &str,
    ) -> Result<MmOvSeg, TrainError> {
        let done = stages.iter().find(|stage| options.run.join(stage).exists());
        if !self.has_weights && !options.run.join(needed).exists() {
            return result(&options.run, needed, self.model);
        }
        match done {
            Some(stage) => result(&options.run, stage, self.model),
            None => Ok(self.model),
        }
    }
}

/// Whether the run has a text stage of its own.
fn has_text(run: &Path) -> bool {
    run.join("text").join("text.safetensors").exists()
}

/// The sizes that a run trains: a package's, but a default model of older sizes grows to today's; its
/// text tower does where the run has one.
fn config_of(run: &Path, imported: Option<&Imported>) -> ModelConfig {
    let mut config = ModelConfig::nano();
    if let Some(Imported { config: old, .. }) = imported {
        if old.variant != config.variant {
            return old.clone();
        }
        if !has_text(run) {
            config.text = old.text.clone();
        }
    }
    config
}

/// The model with the text tower of the run, and its tokenizer.
fn with_text_of(run: &Path, model: MmOvSeg) -> Result<(MmOvSeg, Tokenizer), TrainError> {
    let folder = run.join("text");
    let path = folder.join("tokenizer.json");
    let json = std::fs::read(&path).map_err(|source| TrainError::File {
        path: path.clone(),
        source,
        hint: "run the stage `text` first",
    })?;
    let tokenizer = Tokenizer::from_json(&json)?;
    let path = folder.join("text.safetensors");
    let mut tensors = tensors::read(&path)?;
    let wanted = model.parameter_shapes();
    for (name, (shape, _)) in &tensors {
        if wanted.get(name) != Some(shape) {
            return Err(content(
                &path,
                format!("{name} {shape:?} is not a tensor of this text tower"),
            ));
        }
    }
    Ok((model.load(&mut tensors), tokenizer))
}

/// Gives the SAR tower and its projections the weights of the optical ones.
fn copy_optical_to_sar(model: MmOvSeg) -> Result<MmOvSeg, TrainError> {
    start::change(model, |tensors| {
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

/// `1 − cos` of matching tokens, `[N, L, W]` each, mean over all.
fn unlike(a: Tensor<3>, b: Tensor<3>) -> Tensor<1> {
    let dot = (a.clone() * b.clone()).sum_dim(2);
    let norms = (a.square().sum_dim(2) * b.square().sum_dim(2) + 1e-12).sqrt();
    -(dot / norms).mean() + 1.0
}
