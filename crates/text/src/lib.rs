//! Prompts, templates and tokenizers: from a class name in plain words to the token ids that the
//! text tower reads (docs/network.md §5).

mod clean;
mod prompt;
mod templates;
mod tokenizer;

pub use clean::{Cleaning, clean};
pub use prompt::{CLIP_TEMPLATE, prompt};
pub use templates::{CLIP_TEMPLATES, synonyms};
pub use tokenizer::{TextError, Tokenizer};

/// OpenAI's CLIP byte-pair table, gzipped text: what [`Tokenizer::clip`] takes. Native only, so
/// that the browser's engine, which reads its tokenizer from the package, does not carry it.
#[cfg(not(target_arch = "wasm32"))]
pub const CLIP_BPE_GZ: &[u8] = include_bytes!("../assets/bpe_simple_vocab_16e6.txt.gz");
