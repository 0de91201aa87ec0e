//! Training, native only: data, the text tower, the vision stages, measurement.
//!
//! Each stage is one function, seeded and resumable, that logs its losses to a file:
//! [`text::train_text`] distils the text tower; [`stages`] holds the four vision stages.
//! [`evaluate`] measures a session on a folder, [`report`] on everything that the default model is
//! held to.
//!
//! This crate owns data, augmentation, label sets, schedules, the constants of the losses and
//! packages. `torch/train.py` is a second implementation of the networks and losses of three stages
//! for graphics cards: it reads samples, draws and constants from [`feed`], and its weights come
//! back into the run as a stage's result.

mod alignment;
mod average;
mod batch;
mod calibration;
pub mod data;
mod error;
pub mod evaluate;
pub mod feed;
pub mod import;
pub mod labels;
mod learn;
mod losses;
pub mod metrics;
pub mod origin;
pub mod package;
mod paper;
mod prefetch;
pub mod report;
pub mod run;
pub mod stages;
mod start;
mod tensors;
pub mod text;
pub mod words;

pub use error::TrainError;
