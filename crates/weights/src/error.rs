//! Everything that can go wrong with a package or a checkpoint, each in one plain line.

use std::path::PathBuf;

/// An error of this crate. Each message says what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The manifest was written in a format this program does not know.
    #[error(
        "model.json has format_version {found}, but this program reads version {known}: \
         update the program, or convert the checkpoint again with this one"
    )]
    UnknownVersion {
        /// The version the manifest states.
        found: u64,
        /// The version this program reads and writes.
        known: u32,
    },
    /// The manifest is not valid JSON, lacks a field, or holds a value that cannot be right.
    #[error("model.json is not a usable manifest: {reason}; convert the checkpoint again")]
    Manifest {
        /// What is wrong.
        reason: String,
    },
    /// A package file has another length than the manifest says.
    #[error(
        "{file} has {found} bytes, the manifest says {expected}: \
         the file is cut short or belongs to another package; fetch it again"
    )]
    Size {
        /// File name inside the package.
        file: String,
        /// Bytes the manifest states.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// A package file has another sha256 than the manifest says.
    #[error("{file} does not have the sha256 in the manifest: it is damaged; fetch it again")]
    Hash {
        /// File name inside the package.
        file: String,
    },
    /// A shard has the right hash, but its content does not follow the package format.
    #[error("shard {file} cannot be read: {reason}; convert the checkpoint again")]
    Shard {
        /// File name inside the package.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor cannot be stored, read or joined.
    #[error("tensor {name}: {reason}")]
    Tensor {
        /// Name of the tensor.
        name: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// All shards were read, but some tensors are not whole.
    #[error(
        "{count} tensors are incomplete, the first is {first} with {have} of {want} rows: \
         a shard is missing; fetch the package again"
    )]
    Incomplete {
        /// How many tensors lack rows.
        count: usize,
        /// Name of the first of them.
        first: String,
        /// Rows of it that were read.
        have: usize,
        /// Rows that it has.
        want: usize,
    },
    /// A file or folder cannot be used.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
}

impl WeightsError {
    pub(crate) fn tensor(name: &str, reason: impl Into<String>) -> Self {
        Self::Tensor {
            name: name.to_owned(),
            reason: reason.into(),
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn file(path: &std::path::Path, reason: impl Into<String>) -> Self {
        Self::File {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}
