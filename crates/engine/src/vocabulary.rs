//! Which words of a class name a model's vocabulary does not know.

use crate::Session;

impl Session {
    /// The words of a class name that the tokenizer does not know, in their order. A label by such
    /// a word is chance.
    #[must_use]
    pub fn unknown_words(&self, class: &str) -> Vec<String> {
        // A name that is too long to be read is refused when it is encoded.
        self.tokenizer.unknown_words(class).unwrap_or_default()
    }
}
