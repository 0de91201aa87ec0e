//! Stage `pixels`: the pixel towers of the default model and their comparison with text, everything
//! else frozen.

use burn::tensor::Tensor;
use mmovseg_model::parameters::Role;
use mmovseg_model::{EncoderId, EncoderMaps, Silent};
use rand_chacha::ChaCha8Rng;

use crate::TrainError;
use crate::data::sources::{CloudMix, Source, Sources};
use crate::learn::{Loss, learn};
use crate::losses::pixel_loss;
use crate::origin::Origin;
use crate::run::{Recipe, StageOptions};

/// Shares of the samples in hundredths; the rest are generated scenes.
const SHARES: [(Source, u8); 3] = [
    (Source::Collage, 25),
    (Source::WorldCover, 20),
    (Source::CalifornianPair, 10),
];

/// Trains the pixel towers, judged by each sensor alone and by both: a step costs a third of one of
/// `segment`.
///
/// # Errors
/// When the align stage has not been run, or a file cannot be read or written.
pub fn train_pixels(options: &StageOptions) -> Result<(), TrainError> {
    let origin = Origin::open(options)?;
    if origin.is_released() {
        return Err(TrainError::content(&options.run)(
            "it starts from a released variant, which has no pixel towers: go on with `segment`",
        ));
    }
    let words = origin.words()?;
    let model = origin.after(options, &["align", "optical"], "align")?;
    let table = model.parameters();
    let model = model.learn_only(|name| table.of(name).role == Role::PixelEmbedding);
    let draw = |sources: &Sources, seed, dice: &mut ChaCha8Rng| {
        sources.draw(sources.choose(&SHARES, dice), seed, CloudMix::CLOUDY)
    };
    learn(
        "pixels",
        options,
        &Recipe::OURS,
        model,
        draw,
        |model, batch, step| {
            let text = batch.text(&words, options.seed, step);
            let judge = |maps: &EncoderMaps| {
                let cosines = model.pixel_cosine(maps, text.clone());
                cosines.map(|cosines| pixel_loss(cosines, batch))
            };
            let optical = model.encode(EncoderId::DINO_OPTICAL, batch.optical.clone(), &mut Silent);
            let mut terms = vec![("optical", judge(&optical))];
            if batch.kind.has_sar {
                let radar = model.encode(EncoderId::DINO_SAR, batch.sar.clone(), &mut Silent);
                terms.push(("sar", judge(&radar)));
                terms.push(("fused", judge(&optical.plus(radar))));
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
