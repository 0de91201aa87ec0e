//! Training, native only: data sets, the paper's two stages, metrics.
//!
//! Each stage is one function, seeded and resumable, that logs its losses to a file:
//! [`text::train_text`] distils the text tower; [`vision::train_optical`] teaches both optical
//! towers; [`vision::train_align`] is the paper's cross-modal unification; and
//! [`vision::train_segment`] its segmentation stage. [`evaluate`] measures a session on a folder,
//! [`report`] on all that the default model is held to.

mod alignment;
mod average;
mod batch;
pub mod data;
pub mod evaluate;
pub mod feed;
pub mod import;
mod learn;
pub mod metrics;
mod paper;
pub mod report;
pub mod run;
mod start;
mod tensors;
pub mod text;
pub mod vision;
pub mod words;

pub use text::TrainError;
