//! Stage `align`, the paper's stage 1 (docs/network.md section 14): the SAR DINO learns the
//! features of the frozen optical DINO from co-registered pairs.

use mmovseg_model::config::EncoderConfig;
use mmovseg_model::dino::DinoTaps;
use mmovseg_model::parameters::{ParameterTable, Part, Role};
use mmovseg_model::{EncoderId, MmOvSeg, Silent};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::alignment::report_of_stage;
use crate::data::sample::Sample;
use crate::data::sources::{CloudMix, Source, Sources};
use crate::learn::{Loss, learn};
use crate::losses::{info_nce, l1};
use crate::origin::Origin;
use crate::run::{Recipe, StageOptions, result};
use crate::start;

/// What stage 1 minimises; the paper's ablation compares them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlignLoss {
    /// InfoNCE with negatives from other samples, the paper's choice.
    #[default]
    InfoNce,
    /// Mean absolute difference.
    L1,
}

/// AdamW as in the paper: weight decay 1e-4, a constant rate there, a cosine here.
pub(crate) const RECIPE: Recipe = Recipe {
    weight_decay: 1e-4,
    beta_2: 0.999,
    warm_up: 0.04,
    last: 0.01,
    clip_norm: None,
    slow: None,
};

/// Shares of the samples in hundredths; the rest are generated scenes.
const SHARES: [(Source, u8); 2] = [(Source::CalifornianPair, 35), (Source::OtherPair, 40)];

/// Trains the SAR DINO, from a copy of the optical one for the default model, from its own weights
/// for a released variant. The loss is the mean over the tapped blocks. All samples of a step are
/// one part, because they are each other's negatives. Ends with `report.json`, measured on held-out
/// pairs.
///
/// # Errors
/// When the optical stage has not been run, a step has fewer than two samples, or a file cannot be
/// read or written.
pub fn train_align(options: &StageOptions, loss: AlignLoss) -> Result<(), TrainError> {
    let options = &StageOptions {
        part: options.batch,
        ..options.clone()
    };
    if options.batch < 2 {
        let what = "stage 1 takes its negatives from other samples: give --batch 2 or more";
        return Err(TrainError::content(&options.run)(what));
    }
    let model = align_start(options)?;
    let table = model.parameters();
    let model = model.learn_only(|name| align_learns(&table, name));
    learn(
        "align",
        options,
        &RECIPE,
        model.clone(),
        align_sample,
        |model, batch, _| {
            let optical = model.taps(EncoderId::DINO_OPTICAL, batch.clear.clone(), &mut Silent);
            let sar = model.taps(EncoderId::DINO_SAR, batch.sar.clone(), &mut Silent);
            let total = mean_over_taps(loss, sar, optical);
            Loss {
                total: total.clone(),
                terms: vec![("align", total)],
            }
        },
    )?;
    report_of_stage(&result(&options.run, "align", model)?, options)
}

fn mean_over_taps(loss: AlignLoss, sar: DinoTaps, optical: DinoTaps) -> burn::tensor::Tensor<1> {
    let loss = match loss {
        AlignLoss::InfoNce => info_nce,
        AlignLoss::L1 => l1,
    };
    let taps = sar.len() as f64;
    let [a, b, c] = sar;
    let [first, second, third] = optical;
    (loss(a, first) + loss(b, second) + loss(c, third)) / taps
}

/// The model that `align` starts with.
pub(crate) fn align_start(options: &StageOptions) -> Result<MmOvSeg, TrainError> {
    let origin = Origin::open(options)?;
    if origin.is_released() {
        return Ok(origin.model);
    }
    copy_optical_to_sar(origin.after(options, &["optical"], "optical")?)
}

/// Whether `align` trains the parameter of this checkpoint name.
pub(crate) fn align_learns(table: &ParameterTable, name: &str) -> bool {
    let parameter = table.of(name);
    parameter.part == Part::Encoder(EncoderId::DINO_SAR.into()) && parameter.in_tower
}

/// A clear pair, real or generated.
pub(crate) fn align_sample(
    sources: &Sources,
    seed: u64,
    dice: &mut ChaCha8Rng,
) -> Result<Sample, TrainError> {
    let mut sample = sources.draw(sources.choose(&SHARES, dice), seed, CloudMix::CLEAR)?;
    // Labels are not used, and samples of all sources are one batch.
    sample.kind.is_whole = false;
    sample.kind.is_taught = false;
    Ok(sample)
}

/// Gives the SAR encoder the weights of the optical one: those of the same place in the encoder.
fn copy_optical_to_sar(model: MmOvSeg) -> Result<MmOvSeg, TrainError> {
    let (config, table) = (model.config(), model.parameters());
    let of = |id| config.encoder(id).map(EncoderConfig::prefixes);
    let Some((optical, sar)) = of(EncoderId::DINO_OPTICAL).zip(of(EncoderId::DINO_SAR)) else {
        return Ok(model);
    };
    start::change(model, |tensors| {
        let copies: Vec<_> = tensors
            .iter()
            .filter_map(|(name, tensor)| {
                let mut places = optical.iter().zip(&sar);
                // Pixel towers are trained for each sensor from the start.
                if table.of(name).role == Role::PixelEmbedding {
                    return None;
                }
                let of_sar = places.find_map(|(from, to)| {
                    Some(format!("{to}{}", name.strip_prefix(from.as_str())?))
                })?;
                Some((of_sar, tensor.clone()))
            })
            .collect();
        tensors.extend(copies);
    })
}
