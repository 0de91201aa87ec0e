//! The messages that page and Worker exchange.
//!
//! One `postMessage` carries the object `{ msg, buffers }`: `msg` is a [`Request`] (page to Worker) or an
//! [`Event`] (Worker to page), `buffers` is the array of binary parts that its documentation names. Parts
//! are transferred or shared, never copied: `ArrayBuffer` for pixels, `File` for the user's files.
//!
//! Pictures are RGBA, 8 bit, row-major, `[height_px, width_px, 4]`, alpha 255: ready for `ImageData`.

use serde::{Deserialize, Serialize};

/// The largest number of classes in one run: a label is a byte, and 255 stands for "ignored".
pub const MAX_CLASSES: usize = 255;

/// The browser's store (Cache API) that keeps the files of packages, by address.
pub const PACKAGE_STORE: &str = "mmovseg-packages";

/// Which device the user asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceChoice {
    /// The fastest that works: a hardware GPU, else the CPU.
    Auto,
    /// WebGPU, even in software.
    Gpu,
    /// The CPU tier.
    Cpu,
}

impl DeviceChoice {
    /// Reads the `device` parameter of the page's address; anything unknown is [`DeviceChoice::Auto`].
    #[must_use]
    pub fn from_query(value: &str) -> Self {
        match value {
            "gpu" => Self::Gpu,
            "cpu" => Self::Cpu,
            _ => Self::Auto,
        }
    }
}

/// What the engine really runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tier {
    /// A hardware GPU through WebGPU.
    Gpu,
    /// WebGPU emulated on the CPU: correct, but slower than [`Tier::Cpu`].
    SoftwareGpu,
    /// WebAssembly with SIMD on one core.
    Cpu,
}

/// Which sensors the model may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Modality {
    /// Both tiles.
    Fused,
    /// The optical tile alone.
    Optical,
    /// The SAR tile alone.
    Sar,
}

/// How much of the ground clouds hide on the optical tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CloudKind {
    /// The tile as it is.
    None,
    /// Veils that the ground shows through.
    Thin,
    /// Opaque clouds over most of the tile.
    Thick,
}

/// A cloud layer; the same values give the same cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cloud {
    /// How dense.
    pub kind: CloudKind,
    /// Which one of its kind.
    pub seed: u32,
}

/// What the page asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Choose a device and load the model; the first message to a fresh Worker. Answered by
    /// [`Event::Opened`] and [`Event::SelfTest`], or [`Event::Failed`].
    Open {
        /// Wanted device.
        device: DeviceChoice,
        /// Absolute address of the package's folder, ending with `/`.
        model_url: String,
    },
    /// Read a pair of files. Buffers: the optical `File`, the SAR `File`. Answered by [`Event::Tiles`].
    Files {
        /// The optical file's name, for messages.
        rgb_name: String,
        /// The SAR file's name.
        sar_name: String,
        /// Laid over the optical tile.
        cloud: Cloud,
    },
    /// Generate a pair with ground truth. Answered by [`Event::Tiles`].
    Scene {
        /// Chooses the place.
        seed: u32,
        /// Side of both tiles; one pixel is 10 m.
        size_px: u32,
        /// Laid over the optical tile.
        cloud: Cloud,
    },
    /// Replace the cloud over the current optical tile. Answered by [`Event::Optical`].
    SetCloud(Cloud),
    /// Segment the current pair as shown. Answered by [`Event::Segmented`]; waits for the model.
    Segment {
        /// Class names in the order of the labels, 1 to [`MAX_CLASSES`] of them.
        classes: Vec<String>,
        /// Sensors to use.
        modality: Modality,
    },
}

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
    /// A run is finished. Buffers: the mask as a picture in exactly the colours of
    /// `mmovseg_raster::palette_for`.
    Segmented(Segmented),
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
}

/// Outcome of the golden self-test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelfTest {
    /// Whether the results agree with the package's.
    pub passed: bool,
    /// A sentence with the measured difference, or why there was no test.
    pub detail: String,
}

/// An open pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tiles {
    /// Columns of both pictures.
    pub width_px: u32,
    /// Rows of both pictures.
    pub height_px: u32,
    /// Whether the true class of each pixel is known.
    pub has_truth: bool,
    /// What was chosen or changed while reading, one sentence each.
    pub notes: Vec<String>,
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
}

/// A finished run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segmented {
    /// Columns of the mask: those of the optical tile.
    pub width_px: u32,
    /// Rows of the mask.
    pub height_px: u32,
    /// One per requested class, in that order.
    pub classes: Vec<ClassResult>,
    /// Time of each stage, in order.
    pub timings: Vec<StageTiming>,
    /// Sensors used.
    pub modality: Modality,
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
}

/// Time that one stage took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageTiming {
    /// The engine's name of the stage.
    pub stage: String,
    /// Wall-clock milliseconds.
    pub ms: f64,
}

/// Which request went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activity {
    /// [`Request::Open`].
    Open,
    /// [`Request::Files`], [`Request::Scene`] or [`Request::SetCloud`].
    Tiles,
    /// [`Request::Segment`].
    Segment,
}

/// A request that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which one.
    pub during: Activity,
    /// What, where and what to do, in the engine's words.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_device_in_the_address_means_auto() {
        assert_eq!(DeviceChoice::from_query("gpu"), DeviceChoice::Gpu);
        assert_eq!(DeviceChoice::from_query("cpu"), DeviceChoice::Cpu);
        assert_eq!(DeviceChoice::from_query("tpu"), DeviceChoice::Auto);
        assert_eq!(DeviceChoice::from_query(""), DeviceChoice::Auto);
    }
}
