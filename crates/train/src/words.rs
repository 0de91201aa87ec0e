//! Class words as unit vectors: every name a class may be called by in training.

use std::path::Path;

use mmovseg_model::{MmOvSeg, Silent};
use mmovseg_text::{Tokenizer, prompt};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::TrainError;
use crate::labels::LabelSet;

/// Longest random step beside a word's unit vector: a cosine of 0.86 with it.
const NOISE_MOST: f32 = 0.6;

/// The words of each class of each label set with their embeddings.
pub struct Words {
    /// `[label set][class][word]`, each of the embedding's width; the first word is the class's own
    /// name.
    vectors: Vec<Vec<Vec<Vec<f32>>>>,
    embed: usize,
}

impl Words {
    /// Embeds every name and synonym of every label set with the model's own text tower.
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
        let vectors = LabelSet::ALL
            .iter()
            .map(|set| set.words().into_iter().map(class).collect())
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

    /// The vector of each class's own name, `[T][E]`.
    #[must_use]
    pub fn names(&self, set: LabelSet) -> Vec<&[f32]> {
        self.vectors[set as usize]
            .iter()
            .filter_map(|words| words.first().map(Vec::as_slice))
            .collect()
    }

    /// One word for each class of a label set, `[T, E]` flat: the class's own name half of the
    /// time, else any of its words. Half of the time all are moved a little in a random direction,
    /// so that words near them mean the same to what learns from them.
    pub fn draw(&self, set: LabelSet, dice: &mut ChaCha8Rng) -> Vec<f32> {
        let reach = if dice.random_bool(0.5) {
            // Of uniform numbers between -1 and 1, the mean square is a third.
            dice.random_range(0.0..NOISE_MOST) * (3.0 / self.embed as f32).sqrt()
        } else {
            0.0
        };
        let mut drawn = Vec::with_capacity(self.embed * set.classes());
        for words in &self.vectors[set as usize] {
            let word = if dice.random_bool(0.5) {
                0
            } else {
                dice.random_range(0..words.len())
            };
            let moved: Vec<f32> = words[word]
                .iter()
                .map(|x| x + dice.random_range(-1.0..=1.0) * reach)
                .collect();
            let norm = moved.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
            drawn.extend(moved.iter().map(|x| x / norm));
        }
        drawn
    }
}
