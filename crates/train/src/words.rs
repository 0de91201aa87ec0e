//! Class words as unit vectors: every name a class may be called by in training.

use mmovseg_model::{MmOvSeg, Silent};
use mmovseg_scene::CLASSES;
use mmovseg_text::{Tokenizer, prompt};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::path::PathBuf;

use crate::TrainError;

/// The words of each class with their embeddings.
pub struct Words {
    /// `[class][word]`, each of the embedding's width; the first word is the class's own name.
    vectors: Vec<Vec<Vec<f32>>>,
    embed: usize,
}

impl Words {
    /// Embeds every name and synonym of [`CLASSES`] with the model's own text tower.
    ///
    /// # Errors
    /// When a word cannot be tokenized or the device fails.
    pub fn embed(
        model: &MmOvSeg,
        tokenizer: &Tokenizer,
        template: &str,
    ) -> Result<Self, TrainError> {
        let mut vectors = Vec::with_capacity(CLASSES.len());
        let embed = model.config().text.embed;
        for class in CLASSES {
            let prompts = std::iter::once(&class.name)
                .chain(class.synonyms)
                .map(|word| tokenizer.encode(&prompt(template, word), model.config().text.context))
                .collect::<Result<Vec<_>, _>>()?;
            let flat: Vec<f32> = model
                .encode_text(&prompts, &mut Silent)
                .into_data()
                .try_into_vec()
                .map_err(|error| TrainError::Content {
                    path: PathBuf::from("text tower"),
                    what: format!("the device gave no values ({error:?})"),
                })?;
            vectors.push(flat.chunks_exact(embed).map(<[f32]>::to_vec).collect());
        }
        Ok(Self { vectors, embed })
    }

    /// Channels of a vector.
    #[must_use]
    pub fn width(&self) -> usize {
        self.embed
    }

    /// One word for each of `classes`, `[classes, E]` flat: the class's own name half of the time,
    /// else a synonym.
    pub fn draw(&self, classes: &[usize], dice: &mut ChaCha8Rng) -> Vec<f32> {
        classes
            .iter()
            .flat_map(|&class| {
                let words = &self.vectors[class];
                let word = if dice.random_bool(0.5) {
                    0
                } else {
                    dice.random_range(0..words.len())
                };
                words[word].iter().copied()
            })
            .collect()
    }
}
