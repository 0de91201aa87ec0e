//! A training sample: the normalised tiles that the model reads, and a label for each pixel.

use mmovseg_engine::normalise_pixels;
use mmovseg_model::ModelConfig;
use mmovseg_model::config::Radiometry;
use mmovseg_raster::{Rgb8, robust_rgb, robust_sar};
use rand_chacha::ChaCha8Rng;

use crate::data::augment::vary_sar;
use crate::labels::LabelSet;

/// One training sample.
#[derive(Clone)]
pub struct Sample {
    /// Optical tile with its cloud, normalised, `[3, side_px, side_px]`; zeros without an optical
    /// tile.
    pub optical: Vec<f32>,
    /// Optical tile without the cloud, `[3, side_px, side_px]`.
    pub clear: Vec<f32>,
    /// SAR tile, normalised, `[3, side_px, side_px]`; zeros without a SAR tile.
    pub sar: Vec<f32>,
    /// What kind of sample this is; samples of one kind are computed together.
    pub kind: Kind,
    /// Index into the label set for each pixel, or [`IGNORE`](crate::labels::IGNORE).
    pub label: Vec<u8>,
    /// For a sample without labels, the classes that its ground can be, bit `i` for class `i`: the
    /// clear optical tile's own prediction among them is its label. 0 where labels are given.
    pub candidates: u8,
}

/// What samples computed together have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// What labels are indices into.
    pub label_set: LabelSet,
    /// Whether there is an optical tile.
    pub has_optical: bool,
    /// Whether there is a SAR tile.
    pub has_sar: bool,
    /// Whether the label names the tile as a whole.
    pub is_whole: bool,
    /// Whether labels come from the prediction on the clear optical tile.
    pub is_taught: bool,
}

impl Sample {
    /// Side of the square tiles.
    #[must_use]
    pub fn side_px(&self) -> usize {
        self.label.len().isqrt()
    }
}

/// The square that a model reads.
#[derive(Clone, Copy, Debug)]
pub struct Square {
    /// Side.
    pub side_px: usize,
    /// What happens to bytes before they are normalised.
    pub radiometry: Radiometry,
}

impl Square {
    /// The square of a model.
    #[must_use]
    pub fn of(config: &ModelConfig) -> Self {
        Self {
            side_px: config.input_px,
            radiometry: config.radiometry,
        }
    }

    /// Planes `[3, side_px, side_px]` of an optical tile.
    pub(crate) fn optical(self, rgb: &Rgb8) -> Vec<f32> {
        match self.radiometry {
            Radiometry::AsIs => normalise_pixels(rgb),
            Radiometry::Robust => normalise_pixels(&robust_rgb(rgb)),
        }
    }

    /// Planes `[3, side_px, side_px]` of a SAR tile, its appearance varied.
    pub(crate) fn sar(self, sar: &Rgb8, dice: &mut ChaCha8Rng) -> Vec<f32> {
        match self.radiometry {
            Radiometry::AsIs => normalise_pixels(sar),
            Radiometry::Robust => normalise_pixels(&vary_sar(&robust_sar(sar), dice)),
        }
    }
}
