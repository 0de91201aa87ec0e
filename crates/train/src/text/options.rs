//! What the text stage is told.

use std::path::PathBuf;

use burn::tensor::Device;
use mmovseg_model::config::{ModelConfig, TextConfig};

/// What `train text` needs to know.
pub struct TextOptions {
    /// Folder for the results and checkpoints; a run that was cut short resumes from it.
    pub out: PathBuf,
    /// Folder with WordNet 3.0's `data.noun`.
    pub wordnet: PathBuf,
    /// Folder with all-MiniLM-L6-v2's `model.safetensors` and `tokenizer.json`.
    pub teacher: PathBuf,
    /// Sizes of the student.
    pub tower: TextConfig,
    /// Optimiser steps.
    pub steps: usize,
    /// Phrases a step.
    pub batch: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Seed of weights and of the order of phrases.
    pub seed: u64,
    /// Where to compute, without gradients.
    pub device: Device,
    /// Called with each line of progress.
    pub progress: fn(&str),
}

impl TextOptions {
    /// The nano student, trained in about ten minutes on two cores.
    #[must_use]
    pub fn nano(out: PathBuf, wordnet: PathBuf, teacher: PathBuf) -> Self {
        Self {
            out,
            wordnet,
            teacher,
            tower: ModelConfig::nano().text,
            steps: 1200,
            batch: 384,
            learning_rate: 1.5e-3,
            seed: 1,
            device: Device::flex(),
            progress: |line| println!("{line}"),
        }
    }
}
