//! Requests, results and events of a session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mmovseg_raster::Preprocess;
use mmovseg_types::{Modality, Stage, StageTiming};
use serde::{Deserialize, Serialize};

use crate::windows::Tiling;

/// Progress of a load or a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Event {
    /// Bytes of the package that have arrived.
    Download {
        /// So far.
        done_bytes: u64,
        /// In all; 0 until the manifest is there.
        total_bytes: u64,
    },
    /// Steps of a stage; `done == total` when its result is there.
    Stage {
        /// Which.
        stage: Stage,
        /// Steps done (transformer blocks in the towers).
        done: usize,
        /// Steps in all.
        total: usize,
    },
    /// Half precision did not pass the self-test: progress starts over, and the package is read
    /// again in single precision.
    HalfPrecisionLeft {
        /// What the self-test said.
        reason: String,
    },
}

/// What to segment, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentRequest {
    /// Class names in plain words; labels are positions in this list. For a network that compares
    /// pixels with words a name may list synonyms, separated by `,` or `|`.
    pub classes: Vec<String>,
    /// Which tiles to use.
    pub modality: Modality,
    /// How tiles become the model's square.
    pub preprocess: Preprocess,
    /// Whether a large scene is cut into windows.
    #[serde(default)]
    pub tiling: Tiling,
    /// How a network that compares pixels with words decides; `None` as its package says, and in
    /// all other networks.
    #[serde(default)]
    pub rule: Option<WordRule>,
}

/// How a network that compares pixels with words decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WordRule {
    /// Pixels whose most probable class has less than this become background.
    pub threshold: f32,
    /// Position of the class that they become.
    pub background: usize,
    /// How much of a window's own cosine with a word is added to its pixels'; `None` as the package
    /// says.
    #[serde(default)]
    pub window_weight: Option<f32>,
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segmentation {
    /// Class names, in the order of the labels.
    pub classes: Vec<String>,
    /// Columns of the optical tile.
    pub width_px: usize,
    /// Rows of the optical tile.
    pub height_px: usize,
    /// Class index of each pixel, row-major; 255 where no sensor that is used has data.
    pub labels: Vec<u8>,
    /// Rows and columns of the logits, which cover the scene evenly.
    pub grid_px: [usize; 2],
    /// `[T, h, w]`, before the sigmoid. Of a scene in windows they are the logits of the blended
    /// probabilities, on a grid of at most 2²⁴ values.
    pub logits: Vec<f32>,
    /// The package's temperature, by which logits become calibrated probabilities.
    pub temperature: Option<f32>,
    /// Share of each class in the pixels that have data, 0 to 1.
    pub share: Vec<f64>,
    /// Stages that ran, each summed over all windows; cached ones are absent.
    pub timings: Vec<StageTiming>,
    /// Windows that the scene was cut into; 1 when it was run as a whole.
    pub windows: usize,
}

/// Stops a run from outside, between two of its stages or windows.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// Makes the run that is going on end with `EngineError::Cancelled`. Without one, nothing.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the run is to end.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Withdraws the request to end.
    pub(crate) fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// How the golden self-test went on this device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelfTestReport {
    /// Whether every number was within tolerance.
    pub passed: bool,
    /// Largest absolute difference seen.
    pub max_error: f64,
    /// What is allowed.
    pub tolerance: f64,
}
