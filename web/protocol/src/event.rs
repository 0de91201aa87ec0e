//! What the Worker reports.

use mmovseg_types::{Modality, StageTiming, Tier};
use serde::{Deserialize, Serialize};

/// What the Worker reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// Device and model are ready.
    Opened(Opened),
    /// The package's golden self-test ran on this device.
    SelfTest(SelfTest),
    /// A pair is open. Buffers: optical picture, SAR picture.
    Tiles(Tiles),
    /// The optical picture changed, its size did not. Buffers: optical picture.
    Optical,
    /// Work advanced.
    Progress(Progress),
    /// A run is finished. Buffers: labels `[height_px, width_px]` as bytes, logits
    /// `[classes, grid_px[0], grid_px[1]]` as `f32`.
    Segmented(Segmented),
    /// A comparison is finished: one result for each of [`Modality::ALL`]. Buffers: labels of each.
    Compared(Vec<Segmented>),
    /// A run's stages. Buffers: the values of each map as `f32`, `[classes, height, width]`.
    Explained(Explained),
    /// Patch similarity. Buffers: cosines with the optical patches and with the SAR patches as
    /// `f32`, `[grid[0], grid[1]]`.
    Similar(Similar),
    /// Cosines between class names.
    Vocabulary {
        /// The names.
        classes: Vec<String>,
        /// `[classes, classes]`, row-major.
        cosines: Vec<f32>,
    },
    /// A file for the user to save. Buffers: its bytes.
    File {
        /// Name.
        name: String,
        /// Media type.
        mime: String,
        /// What could not be done, one sentence each.
        notes: Vec<String>,
    },
    /// What ran was stopped; the Worker goes on.
    Stopped,
    /// A request was refused or went wrong; the Worker goes on.
    Failed(Failure),
    /// The Worker cannot be trusted any more and must be replaced.
    Crashed {
        /// The panic, trap or device error.
        message: String,
    },
}

/// Device and model in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// What it runs on.
    pub tier: Tier,
    /// The adapter's name, or what the browser tells of it.
    pub device: String,
    /// Why it is not what was asked for, or what to expect of it; a sentence.
    pub note: Option<String>,
    /// The model's name from its package.
    pub model: String,
    /// Side of the square that the model sees at once, in pixels.
    pub input_px: u32,
    /// The class names that the package suggests; may be empty.
    pub default_classes: Vec<String>,
    /// Class names to which the package gives a colour (sRGB).
    pub named_colours: Vec<(String, [u8; 3])>,
    /// Largest size the engine's memory reached while it loaded, in bytes.
    pub memory_bytes: u64,
    /// Largest shard of the package, in bytes.
    pub largest_shard_bytes: u64,
    /// The engine's memory before the first shard, in bytes.
    pub memory_before_bytes: u64,
}

/// Outcome of the golden self-test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelfTest {
    /// Whether the results agree with the package's.
    pub passed: bool,
    /// A sentence with the measured difference, or why there was no test.
    pub detail: String,
    /// How long it took: one pass of the whole model, in milliseconds.
    pub ms: f64,
}

/// The outline of a file on the ground: WGS 84 longitudes and latitudes in degrees, in order around
/// it.
pub type Outline = Vec<[f64; 2]>;

/// An open pair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tiles {
    /// Columns of both tiles.
    pub width_px: u32,
    /// Rows of both tiles.
    pub height_px: u32,
    /// Every how many pixels one is shown; 1 unless the tile is larger than
    /// [`MAX_SHOWN_PX`](crate::MAX_SHOWN_PX).
    pub step_px: u32,
    /// Columns of the pictures.
    pub shown_width_px: u32,
    /// Rows of the pictures.
    pub shown_height_px: u32,
    /// Whether the true class of each pixel is known.
    pub has_truth: bool,
    /// Whether the two files were given the wrong way round, by what they hold.
    pub looks_swapped: bool,
    /// The tile's reference system, as `EPSG:n`, when it has a place on the ground.
    pub crs: Option<String>,
    /// What was chosen or changed while reading, one sentence each.
    pub notes: Vec<String>,
    /// Outlines of the optical and of the SAR file, where both are known.
    #[serde(default)]
    pub outlines: Option<[Outline; 2]>,
}

/// A position within one piece of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Which work.
    pub step: Step,
    /// Finished: bytes for [`Step::Download`], else parts.
    pub done: u64,
    /// Of how many; 0 when unknown.
    pub total: u64,
}

/// Work that takes long enough to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Looking for a GPU and opening it.
    Device,
    /// Fetching the package, in bytes.
    Download,
    /// The golden self-test, which also compiles every GPU kernel.
    SelfTest,
    /// One stage of the model, by the engine's name for it.
    Stage(String),
    /// Pairs of a batch.
    Pair,
}

/// A finished run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segmented {
    /// The request's number.
    pub id: u32,
    /// Columns of the labels: those of the shown pictures.
    pub width_px: u32,
    /// Rows of the labels.
    pub height_px: u32,
    /// Rows and columns of the logits.
    pub grid_px: [u32; 2],
    /// The package's temperature, by which logits become calibrated probabilities.
    #[serde(default)]
    pub temperature: Option<f32>,
    /// A sentence, when the tiles were resampled to the pixel size that the model was trained for.
    #[serde(default)]
    pub resampled: Option<String>,
    /// One per requested class, in that order.
    pub classes: Vec<ClassResult>,
    /// Time of each stage that ran, in order; what is known from the run before does not run.
    pub timings: Vec<StageTiming>,
    /// Sensors used.
    pub modality: Modality,
    /// Windows that the scene was cut into; 1 when it was run as a whole.
    pub windows: u32,
}

/// What a run says about one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassResult {
    /// As requested.
    pub name: String,
    /// Part of all pixels, 0 to 1.
    pub share: f64,
    /// Intersection over union with the ground truth, 0 to 1, where there is one for this class.
    pub iou: Option<f64>,
    /// Words of the name that the model's vocabulary does not know.
    #[serde(default)]
    pub unknown_words: Vec<String>,
}

/// The stages of a run, as maps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// Class names.
    pub classes: Vec<String>,
    /// Sensors used.
    pub modality: Modality,
    /// Name, rows and columns of each stage's maps, in order.
    pub stages: Vec<(String, [u32; 2])>,
}

/// Similarity of patches to a chosen one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Similar {
    /// The request's number.
    pub id: u32,
    /// Rows and columns of patches.
    pub grid: [u32; 2],
    /// The chosen place, as asked.
    pub at: [f64; 2],
}

/// Which request went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activity {
    /// [`Request::Open`](crate::Request::Open).
    Open,
    /// [`Request::Files`](crate::Request::Files), [`Request::Scene`](crate::Request::Scene) or
    /// [`Request::SetCloud`](crate::Request::SetCloud).
    Tiles,
    /// A run of any kind.
    Segment,
    /// [`Request::Export`](crate::Request::Export).
    Export,
}

/// A request that went wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Which one.
    pub during: Activity,
    /// What, where and what to do, in the engine's words.
    pub message: String,
    /// Outlines of the optical and of the SAR file, when they have no ground in common.
    #[serde(default)]
    pub outlines: Option<[Outline; 2]>,
}
