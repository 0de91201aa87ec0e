//! Class words as unit vectors: every name a class may be called by in training.

use std::path::Path;

use mmovseg_model::{MmOvSeg, Silent};
use mmovseg_text::{Tokenizer, prompt};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::TrainError;
use crate::data::Legend;

/// The words of each class of each legend with their embeddings.
pub struct Words {
    /// `[legend][class][word]`, each of the embedding's width; the first word is the class's own name.
    vectors: Vec<Vec<Vec<Vec<f32>>>>,
    embed: usize,
}

impl Words {
    /// Embeds every name and synonym of every legend with the model's own text tower.
    ///
    /// # Errors
    /// When a word cannot be tokenized or the device fails.
    pub fn embed(
        model: &MmOvSeg,
        tokenizer: &Tokenizer,
        template: &str,
    ) -> Result<Self, TrainError> {
        let text = &model.config().text;
        let class = |words: Vec<&str>| -> Result<Vec<Vec<f32>>, TrainError> {
            let prompts = words
                .iter()
                .map(|word| tokenizer.encode(&prompt(template, word), text.context))
                .collect::<Result<Vec<_>, _>>()?;
            let flat: Vec<f32> = model
                .encode_text(&prompts, &mut Silent)
                .into_data()
                .try_into_vec()
                .map_err(TrainError::device(Path::new("text tower")))?;
            Ok(flat.chunks_exact(text.embed).map(<[f32]>::to_vec).collect())
        };
        let vectors = Legend::ALL
            .iter()
            .map(|legend| legend.words().into_iter().map(class).collect())
            .collect::<Result<_, _>>()?;
        Ok(Self {
            vectors,
            embed: text.embed,
        })
    }

    /// Channels of a vector.
    #[must_use]
    pub fn width(&self) -> usize {
        self.embed
    }

    /// One word for each class of a legend, `[T, E]` flat: the class's own name half of the time, else
    /// any of its words.
    pub fn draw(&self, legend: Legend, dice: &mut ChaCha8Rng) -> Vec<f32> {
        self.vectors[legend as usize]
            .iter()
            .flat_map(|words| {
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
