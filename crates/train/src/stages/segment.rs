//! Stage `segment`, the paper's stage 2: all but the text tower learns to segment under clouds.

use burn::tensor::Tensor;
use mmovseg_model::parameters::{ParameterTable, Part};
use mmovseg_model::{EncoderId, MmOvSeg, Modality, Silent, cosine};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::TrainError;
use crate::batch::Batch;
use crate::data::sample::{Kind, Sample};
use crate::data::sources::{CloudMix, Source, Sources};
use crate::learn::{Loss, learn};
use crate::losses::{binary_loss, dense_loss, logits_loss, pixel_loss};
use crate::origin::Origin;
use crate::paper;
use crate::run::{Recipe, StageOptions};
use crate::start;
use crate::words::Words;

/// Weight of the binary cross-entropy of the logits.
pub(crate) const BINARY_WEIGHT: f64 = 4.0;
/// Weight of the towers' own classification beside the losses of the logits.
pub(crate) const DENSE_WEIGHT: f64 = 0.3;

/// Shares of the samples in hundredths; the rest are generated scenes.
const SHARES: [(Source, u8); 6] = [
    (Source::Collage, 12),
    (Source::Tile, 8),
    (Source::WorldCover, 30),
    (Source::CalifornianPair, 6),
    (Source::OtherPair, 14),
    (Source::Sar, 5),
];

/// Segmentation under clouds, on samples of all sources. A pair without labels is labelled by the
/// model's own prediction on its clear optical tile, for the fused and the SAR pass. The towers
/// keep classifying by themselves, so that their features stay comparable with any text.
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
    let (model, words) = start_of(origin, options)?;
    let table = model.parameters();
    learn(
        "segment",
        options,
        &Recipe::OURS,
        model.learn_only(|name| segment_learns(&table, name)),
        segment_sample,
        |model, batch, step| {
            let text = batch.text(&words, options.seed, step);
            let modality = modality_of(batch.kind, sensors_roll(options.seed, step));
            let taught;
            let batch = if batch.kind.is_taught {
                taught = batch.taught_by(clear_logits(model, batch, text.clone()));
                &taught
            } else {
                batch
            };
            loss(model, batch, modality, text)
        },
    )
}

/// What a model of a batch loses at `text [T, E]`, with the tiles of `modality`.
fn loss(model: &MmOvSeg, batch: &Batch, modality: Modality, text: Tensor<2>) -> Loss {
    let seen = if modality == Modality::Sar {
        Tensor::zeros(batch.optical.dims(), &batch.device)
    } else {
        batch.optical.clone()
    };
    let clip = model.encode(EncoderId::CLIP, seen, &mut Silent);
    let optical = || model.encode(EncoderId::DINO_OPTICAL, batch.optical.clone(), &mut Silent);
    let radar = || model.encode(EncoderId::DINO_SAR, batch.sar.clone(), &mut Silent);
    let dino = match modality {
        Modality::Fused => optical().plus(radar()),
        Modality::Optical => optical(),
        Modality::Sar => radar(),
    };
    let mut dense = dense_loss(cosine(dino.embedding.tokens(), text.clone()), batch);
    if modality != Modality::Sar {
        dense = dense + dense_loss(cosine(clip.embedding.tokens(), text.clone()), batch);
    }
    let pixels = model
        .pixel_cosine(&dino, text.clone())
        .map(|cosines| pixel_loss(cosines, batch));
    let logits = model.head(&clip, Some(&dino), text, &mut Silent);
    let bce = binary_loss(logits.clone(), batch);
    // A mask is the argmax over classes, so classes also compete in a softmax.
    let ce = logits_loss(logits, batch);
    let mut loss = Loss {
        total: bce.clone() * BINARY_WEIGHT + ce.clone() + dense.clone() * DENSE_WEIGHT,
        terms: vec![("bce", bce), ("ce", ce), ("dense", dense)],
    };
    if let Some(pixels) = pixels {
        loss.total = loss.total + pixels.clone() * DENSE_WEIGHT;
        loss.terms.push(("pixels", pixels));
    }
    loss
}

/// The model's logits on the clear optical tiles alone: the teacher of a batch without labels.
fn clear_logits(model: &MmOvSeg, batch: &Batch, text: Tensor<2>) -> Tensor<4> {
    let clip = model.encode(EncoderId::CLIP, batch.clear.clone(), &mut Silent);
    let dino = model.encode(EncoderId::DINO_OPTICAL, batch.clear.clone(), &mut Silent);
    model.head(&clip, Some(&dino), text, &mut Silent).detach()
}

/// The model that `segment` starts with, and its words.
pub(crate) fn segment_start(options: &StageOptions) -> Result<(MmOvSeg, Words), TrainError> {
    start_of(Origin::open(options)?, options)
}

/// The words of the run's model.
pub(crate) fn words(options: &StageOptions) -> Result<Words, TrainError> {
    Origin::open(options)?.words()
}

fn start_of(origin: Origin, options: &StageOptions) -> Result<(MmOvSeg, Words), TrainError> {
    let words = origin.words()?;
    let has_head = origin.has_weights;
    let model = origin.after(options, &["pixels", "align", "optical"], "align")?;
    let model = if has_head {
        model
    } else {
        start::correlation(model)?
    };
    Ok((model, words))
}

/// Whether `segment` trains the parameter of this checkpoint name.
pub(crate) fn segment_learns(table: &ParameterTable, name: &str) -> bool {
    table.of(name).part != Part::Text
}

/// A sample of `segment`. EuroSAT is mostly clear, as are 30 m tiles: they have no SAR tile to fall
/// back on.
pub(crate) fn segment_sample(
    sources: &Sources,
    seed: u64,
    dice: &mut ChaCha8Rng,
) -> Result<Sample, TrainError> {
    let source = sources.choose(&SHARES, dice);
    let clouds = match source {
        Source::Tile | Source::Collage | Source::WorldCover => CloudMix::MOSTLY_CLEAR,
        _ => CloudMix::CLOUDY,
    };
    sources.draw(source, seed, clouds)
}

/// The tiles that a batch is read by at a step: of pairs, the optical one alone below 15, SAR alone
/// below 40, both else.
fn modality_of(kind: Kind, roll: u8) -> Modality {
    match roll {
        _ if !kind.has_sar => Modality::Optical,
        _ if !kind.has_optical => Modality::Sar,
        0..15 => Modality::Optical,
        15..40 => Modality::Sar,
        _ => Modality::Fused,
    }
}

/// The number below 100 that chooses the sensors of a step.
pub(crate) fn sensors_roll(seed: u64, step: usize) -> u8 {
    ChaCha8Rng::seed_from_u64(seed ^ 0x0DA1 ^ (step as u64) << 16).random_range(0..100u8)
}
