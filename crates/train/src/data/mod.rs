//! Training data: readers of the data folder, held-out places, sampling, augmentation and
//! pseudo-labels.

pub mod augment;
pub mod pseudo_label;
pub mod read;
pub mod sample;
pub mod sources;
pub mod split;
