//! Adds whole words to the vocabulary of a package, each with the meaning of phrases that its text
//! tower knows. Nothing else that the tower reads changes: one unused entry of the vocabulary
//! becomes the word, and one row of the token table is fitted to it (textual inversion, Gal et al.
//! 2022, with phrases in place of pictures).

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module as _;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use mmovseg_model::{MmOvSeg, Silent};
use mmovseg_text::Tokenizer;

use crate::TrainError;
use crate::import::open_package;
use crate::labels::LabelSet;
use crate::package::pack;
use crate::tensors;

use super::landcover::{ADDED_WORDS, EVERYDAY, TEMPLATES, TERMS};

/// Steps of Adam on the new row.
const STEPS: usize = 150;
/// Learning rate of the first step; it falls to a tenth. Components of the table are about 0.5.
const LEARNING_RATE: f32 = 0.03;
const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.98;
/// The parameter that holds the token table.
const TABLE: &str = "clip_model.token_embedding.weight";

/// What adding a word gave.
#[derive(Clone, Debug, PartialEq)]
pub struct AddedWord {
    /// The word.
    pub word: &'static str,
    /// The entry of the vocabulary that it replaces.
    pub replaces: String,
    /// Mean cosine between the word in every template and its meaning there, before.
    pub before: f32,
    /// Mean cosine between the word in every template and its meaning there, after.
    pub after: f32,
}

/// Adds [`ADDED_WORDS`] to the package in the folder `package` and writes the result to `out`.
/// Words that the vocabulary has are left alone.
///
/// # Errors
/// When the package is damaged or has no WordPiece vocabulary, or `out` cannot be written.
pub fn add_words(package: &Path, out: &Path) -> Result<Vec<AddedWord>, TrainError> {
    let device = Device::flex().autodiff();
    let mut opened = open_package(package, &device)?;
    let mut told = Vec::new();
    for &(word, meanings) in ADDED_WORDS {
        if opened.tokenizer.pieces().iter().any(|piece| piece == word) {
            continue;
        }
        let (tokenizer, slot) = with_word(&opened.tokenizer, word)
            .ok_or_else(|| TrainError::content(package)("its vocabulary has no entry to spare"))?;
        let (model, [before, after]) = fit(
            opened.model,
            [&opened.tokenizer, &tokenizer],
            slot,
            word,
            meanings,
            &device,
        )?;
        told.push(AddedWord {
            word,
            replaces: opened.tokenizer.pieces()[slot].clone(),
            before,
            after,
        });
        opened.model = model;
        opened.tokenizer = tokenizer;
    }
    let mut manifest = opened.manifest;
    manifest.shards.clear();
    pack(opened.model, manifest, &opened.tokenizer.to_json(), out)?;
    Ok(told)
}

/// The vocabulary with `word` in place of its last entry that no word of training needs, and the
/// id.
fn with_word(tokenizer: &Tokenizer, word: &str) -> Option<(Tokenizer, usize)> {
    let context = tokenizer.context();
    let needed: Vec<&str> = LabelSet::ALL
        .iter()
        .flat_map(|set| set.words().concat())
        .chain(TERMS.iter().copied())
        .chain(
            EVERYDAY
                .iter()
                .flat_map(|class| [class.known, class.held_out].concat()),
        )
        .filter(|phrase| !phrase.contains(word))
        .collect();
    for slot in (0..tokenizer.pieces().len()).rev() {
        let piece = tokenizer.pieces()[slot].trim_start_matches("##");
        // Letters spell what nothing else does.
        if piece.len() < 3 || piece.starts_with('[') {
            continue;
        }
        let mut pieces = tokenizer.pieces().to_vec();
        word.clone_into(&mut pieces[slot]);
        let changed = Tokenizer::from_pieces(pieces, context).ok()?;
        let same = |phrase: &&str| {
            tokenizer.encode_cut(phrase, context).ok() == changed.encode_cut(phrase, context).ok()
        };
        if needed.iter().all(same) {
            return Some((changed, slot));
        }
    }
    None
}

/// Fits the row `slot` of the token table. Gives the model and the mean cosine before and after.
fn fit(
    mut model: MmOvSeg,
    [old, new]: [&Tokenizer; 2],
    slot: usize,
    word: &str,
    meanings: &[&str],
    device: &Device,
) -> Result<(MmOvSeg, [f32; 2]), TrainError> {
    let (context, width, embed) = {
        let text = &model.config().text;
        (text.context, text.width, text.embed)
    };
    let encode = |tokenizer: &Tokenizer, name: &str| -> Result<Vec<Vec<u32>>, TrainError> {
        TEMPLATES
            .iter()
            .map(|template| Ok(tokenizer.encode(&template.replace("{}", name), context)?))
            .collect()
    };
    let vectors = |model: &MmOvSeg, prompts: &[Vec<u32>]| -> Result<Vec<f32>, TrainError> {
        model
            .encode_text(prompts, &mut Silent)
            .into_data()
            .try_into_vec()
            .map_err(TrainError::device(Path::new("text tower")))
    };
    let mut targets = vec![0.0; TEMPLATES.len() * embed];
    for meaning in meanings {
        let vectors = vectors(&model, &encode(old, meaning)?)?;
        targets
            .iter_mut()
            .zip(vectors)
            .for_each(|(sum, x)| *sum += x);
    }
    for row in targets.chunks_exact_mut(embed) {
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
        row.iter_mut().for_each(|x| *x /= norm);
    }
    let mean_cosine = |found: &[f32]| {
        let sum: f32 = found.iter().zip(&targets).map(|(a, b)| a * b).sum();
        sum / TEMPLATES.len() as f32
    };
    let before = mean_cosine(&vectors(&model, &encode(old, word)?)?);

    let (name, (shape, mut table)) = tensors::values(&model)?
        .into_iter()
        .find(|(name, _)| name.ends_with(TABLE))
        .ok_or_else(|| TrainError::content(Path::new(TABLE))("the model has no such parameter"))?;
    let mut row = vec![0.0; width];
    let mut count = 0.0_f32;
    for meaning in meanings {
        let ids = old.encode(meaning, context)?;
        for &id in &ids[1..ids.len() - 1] {
            let known = &table[id as usize * width..][..width];
            row.iter_mut().zip(known).for_each(|(sum, x)| *sum += x);
            count += 1.0;
        }
    }
    row.iter_mut().for_each(|x| *x /= count.max(1.0));

    let prompts = encode(new, word)?;
    let wanted: Tensor<2> = Tensor::from_data(
        TensorData::new(targets.clone(), [TEMPLATES.len(), embed]),
        device,
    );
    let (mut mean, mut square) = (vec![0.0_f32; width], vec![0.0_f32; width]);
    for step in 0..=STEPS {
        table[slot * width..][..width].copy_from_slice(&row);
        let mut changed = BTreeMap::from([(name.clone(), (shape.clone(), table.clone()))]);
        model = model.load(&mut changed);
        if step == STEPS {
            break;
        }
        model = model.set_require_grad(true);
        let cosine = (model.encode_text(&prompts, &mut Silent) * wanted.clone())
            .sum_dim(1)
            .mean();
        let gradients = GradientsParams::from_grads((-cosine).backward(), &model);
        let id = model.parameter_ids().into_iter().find(|(n, _)| *n == name);
        let gradient: Vec<f32> = id
            .and_then(|(_, id)| gradients.get::<2>(id))
            .ok_or_else(|| TrainError::content(Path::new(TABLE))("it has no gradient"))?
            .narrow(0, slot, 1)
            .into_data()
            .try_into_vec()
            .map_err(TrainError::device(Path::new(TABLE)))?;
        let rate = LEARNING_RATE * (1.0 - 0.9 * step as f32 / STEPS as f32);
        let power = (step + 1) as i32;
        for (i, g) in gradient.into_iter().enumerate() {
            mean[i] = BETA_1 * mean[i] + (1.0 - BETA_1) * g;
            square[i] = BETA_2 * square[i] + (1.0 - BETA_2) * g * g;
            let m = mean[i] / (1.0 - BETA_1.powi(power));
            let s = square[i] / (1.0 - BETA_2.powi(power));
            row[i] -= rate * m / (s.sqrt() + 1e-8);
        }
    }
    let after = mean_cosine(&vectors(&model, &prompts)?);
    Ok((model, [before, after]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_word_takes_the_place_of_an_entry_that_no_class_needs() {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/nano");
        let opened = open_package(&package, &Device::flex()).unwrap();
        let old = opened.tokenizer;
        let (new, slot) = with_word(&old, "qwertyland").unwrap();
        assert_eq!(new.pieces()[slot], "qwertyland");
        assert_eq!(new.encode("a qwertyland", 32).unwrap().len(), 4);
        for phrase in ["water", "herbaceous vegetation", "bare land", "pasture"] {
            assert_eq!(
                old.encode(phrase, 32).unwrap(),
                new.encode(phrase, 32).unwrap()
            );
        }
    }
}
