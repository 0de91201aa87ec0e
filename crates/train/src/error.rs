//! What can go wrong while the text tower is trained.

use std::path::{Path, PathBuf};

/// A failure of [`super::train_text`].
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A file could not be read or written.
    #[error("{path}: {source}; {hint}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// A file does not hold what it should.
    #[error("{path}: {what}; delete it or give the right one")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The tokenizer refused a phrase or a vocabulary.
    #[error(transparent)]
    Text(#[from] mmovseg_text::TextError),
    /// The package could not be written.
    #[error(transparent)]
    Weights(#[from] mmovseg_weights::WeightsError),
}

impl TrainError {
    /// For `map_err` on a file operation.
    pub(crate) fn file<'a>(
        path: &'a Path,
        hint: &'static str,
    ) -> impl FnOnce(std::io::Error) -> Self + 'a {
        move |source| Self::File {
            path: path.to_owned(),
            source,
            hint,
        }
    }

    /// For `map_err` on reading a tensor.
    pub(crate) fn device<'a, E: std::fmt::Debug>(path: &'a Path) -> impl FnOnce(E) -> Self + 'a {
        move |error| Self::Content {
            path: path.to_owned(),
            what: format!("the device gave no values ({error:?})"),
        }
    }

    /// For `map_err` on a parser.
    pub(crate) fn content<'a, E: std::fmt::Display>(path: &'a Path) -> impl FnOnce(E) -> Self + 'a {
        move |error| Self::Content {
            path: path.to_owned(),
            what: error.to_string(),
        }
    }
}
