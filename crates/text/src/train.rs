//! Builds a small vocabulary of CLIP's kind from a corpus.

use std::collections::HashMap;

use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Trainer};

use crate::clean::{Cleaning, clean};
use crate::tokenizer::{TextError, Tokenizer, WORD_END, byte_symbols, word_splitter};

/// Entries that every vocabulary has: byte symbols, the same at a word's end, two marks.
const FIXED_ENTRIES: usize = 2 * 256 + 2;

impl Tokenizer {
    /// Learns merges from `texts` until the vocabulary has `vocab_size` entries; `context` is the
    /// longest sequence that its model will read. Same texts, same vocabulary. Native only.
    ///
    /// # Errors
    /// [`TextError::Table`] when the texts are too few for so many merges.
    pub fn train<'a>(
        texts: impl Iterator<Item = &'a str>,
        vocab_size: usize,
        context: usize,
    ) -> Result<Self, TextError> {
        let library = |error: tokenizers::Error| TextError::Library(error.to_string());
        let splitter = word_splitter().map_err(library)?;
        let mut counts: HashMap<String, u64> = HashMap::new();
        for text in texts {
            let mut words = PreTokenizedString::from(clean(text, Cleaning::Clip));
            splitter.pre_tokenize(&mut words).map_err(library)?;
            for (word, _, _) in words.get_splits(OffsetReferential::Original, OffsetType::Byte) {
                *counts.entry(word.to_owned()).or_default() += 1;
            }
        }
        let wanted = vocab_size.saturating_sub(FIXED_ENTRIES);
        let mut trainer = BpeTrainer::builder()
            .show_progress(false)
            .min_frequency(2)
            // The library counts only the end-of-word symbols it has seen: ask for enough merges
            // in any case and keep the best.
            .vocab_size(wanted + FIXED_ENTRIES)
            .initial_alphabet(byte_symbols().into_iter().collect())
            .end_of_word_suffix(WORD_END.into())
            .build();
        // `feed` is the library's only way in; it counts, so every word is repeated.
        let (words, process) = (counts.iter(), |text: &str| Ok(vec![text.to_owned()]));
        trainer
            .feed(
                words.flat_map(|(word, &n)| std::iter::repeat_n(word.as_str(), n as usize)),
                process,
            )
            .map_err(library)?;
        let mut bpe = BPE::default();
        trainer.train(&mut bpe).map_err(library)?;
        // The merges in their order are public only through the stored form.
        let stored =
            serde_json::to_value(&bpe).map_err(|error| TextError::Library(error.to_string()))?;
        let merges = stored["merges"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|merge| {
                let part = |i: usize| merge.get(i)?.as_str().map(str::to_owned);
                Some((part(0)?, part(1)?))
            });
        let merges: Vec<_> = merges.take(wanted).collect();
        if merges.len() < wanted {
            return Err(TextError::Table(format!(
                "the texts give {} merges, {wanted} are needed for {vocab_size} entries",
                merges.len()
            )));
        }
        Self::from_merges(merges, Cleaning::Clip, context).map_err(TextError::Table)
    }
}
