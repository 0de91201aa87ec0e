//! Stage `optical`: both optical towers learn land cover.

use burn::tensor::{Tensor, TensorData};
use mmovseg_model::parameters::{ParameterTable, Part, Role};
use mmovseg_model::{EncoderId, MmOvSeg, Silent, cosine};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::TrainError;
use crate::data::sample::Sample;
use crate::data::sources::{CloudMix, Source, Sources};
use crate::learn::{Loss, learn};
use crate::losses::dense_loss;
use crate::origin::Origin;
use crate::run::{Recipe, StageOptions};
use crate::start;
use crate::words::Words;

/// Shares of the samples in hundredths; the rest are generated scenes.
const SHARES: [(Source, u8); 3] = [
    (Source::Tile, 60),
    (Source::Collage, 4),
    (Source::WorldCover, 28),
];

/// Teaches both optical towers land cover: each cell of the feature grid is classified by its
/// cosine with class words. Of a tile that is labelled as a whole the towers read a quarter of the
/// patches, which costs a quarter of the time.
///
/// # Errors
/// When the text stage has not been run, or a file cannot be read or written.
pub fn train_optical(options: &StageOptions) -> Result<(), TrainError> {
    let (model, words) = optical_start(options)?;
    let table = model.parameters();
    let grid = model.config().head.grid;
    learn(
        "optical",
        options,
        &Recipe::OURS,
        model.learn_only(|name| optical_learns(&table, name)),
        optical_sample,
        |model, batch, step| {
            let text = batch.text(&words, options.seed, step);
            let optical = batch.optical.clone();
            let (embeddings, names) = if batch.kind.is_whole {
                let keep = a_quarter(grid, options.seed, step);
                let count = keep.len();
                let keep = Tensor::from_data(TensorData::new(keep, [count]), &batch.device);
                let embeddings = [EncoderId::CLIP, EncoderId::DINO_OPTICAL].map(|id| {
                    model.thinned_embedding(id, optical.clone(), keep.clone(), &mut Silent)
                });
                (embeddings, ["clip of tiles", "dino of tiles"])
            } else {
                let embeddings = [EncoderId::CLIP, EncoderId::DINO_OPTICAL].map(|id| {
                    let [_, _, deepest] = model.taps(id, optical.clone(), &mut Silent);
                    model.embedding(id, deepest)
                });
                (embeddings, ["clip", "dino"])
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

/// Whether `optical` trains the parameter of this checkpoint name.
pub(crate) fn optical_learns(table: &ParameterTable, name: &str) -> bool {
    let parameter = table.of(name);
    let is_optical = [EncoderId::CLIP, EncoderId::DINO_OPTICAL]
        .map(|id| Part::Encoder(id.into()))
        .contains(&parameter.part);
    is_optical && (parameter.in_tower || parameter.role == Role::Embedding)
}

/// A sample of `optical`.
pub(crate) fn optical_sample(
    sources: &Sources,
    seed: u64,
    dice: &mut ChaCha8Rng,
) -> Result<Sample, TrainError> {
    sources.draw(sources.choose(&SHARES, dice), seed, CloudMix::MOSTLY_CLEAR)
}

/// The patches that a step keeps of tiles labelled as a whole: one of each two by two, row by row,
/// `[grid² / 4]`.
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
