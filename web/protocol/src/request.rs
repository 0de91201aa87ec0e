//! What the page asks for.

use mmovseg_raster::{Cloud, OpticalOptions, SarOptions};
use mmovseg_types::{Modality, Resolution};
use serde::{Deserialize, Serialize};

use crate::Plan;

/// What the page asks for. A new request of the same kind replaces one that has not begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Open the planned device and load the model; the first message to a fresh Worker. Answered by
    /// [`Event::Opened`](crate::Event::Opened) and [`Event::SelfTest`](crate::Event::SelfTest), or
    /// [`Event::Failed`](crate::Event::Failed).
    Open {
        /// What to run on.
        plan: Plan,
        /// Where the package is.
        model: ModelPlace,
    },
    /// Read a pair of files. Buffers: the optical `File`, the SAR `File`. Answered by
    /// [`Event::Tiles`](crate::Event::Tiles).
    Files {
        /// The optical file's name, for messages.
        rgb_name: String,
        /// The SAR file's name.
        sar_name: String,
        /// How samples become pictures.
        reading: Reading,
        /// Laid over the optical tile.
        cloud: Cloud,
    },
    /// Generate a pair with ground truth. Answered by [`Event::Tiles`](crate::Event::Tiles).
    Scene {
        /// Chooses the place.
        seed: u32,
        /// Side of both tiles; one pixel is 10 m.
        size_px: u32,
        /// Laid over the optical tile.
        cloud: Cloud,
    },
    /// Replace the cloud over the current optical tile. Answered by
    /// [`Event::Optical`](crate::Event::Optical).
    SetCloud(Cloud),
    /// Segment the current pair as shown; waits for the model. Answered by
    /// [`Event::Segmented`](crate::Event::Segmented), or not at all when a newer run replaces it.
    Segment(Run),
    /// Segment the current pair with each of [`Modality::ALL`]. Answered by
    /// [`Event::Compared`](crate::Event::Compared).
    Compare(Run),
    /// Show what each stage of the model makes of a run. Answered by
    /// [`Event::Explained`](crate::Event::Explained).
    Explain(Run),
    /// Cosine of every patch's feature with that of the optical patch at a place. Answered by
    /// [`Event::Similar`](crate::Event::Similar).
    Similar {
        /// Number of the request.
        id: u32,
        /// Position in the tile, each 0 to 1 from the top left.
        at: [f64; 2],
    },
    /// Cosines between the embeddings of the class names. Answered by
    /// [`Event::Vocabulary`](crate::Event::Vocabulary).
    Vocabulary {
        /// The names.
        classes: Vec<String>,
    },
    /// Give the last run as a file. Answered by [`Event::File`](crate::Event::File).
    Export {
        /// Which kind.
        format: Format,
    },
    /// Segment several pairs of files into one archive. Buffers: optical and SAR `File` of each
    /// pair in turn. Answered by progress and [`Event::File`](crate::Event::File).
    Batch {
        /// Name, optical file name and SAR file name of each pair.
        pairs: Vec<[String; 3]>,
        /// How samples become pictures.
        reading: Reading,
        /// Classes and sensors.
        run: Run,
    },
    /// Stop what runs, if the engine looks up in time. Answered by
    /// [`Event::Stopped`](crate::Event::Stopped).
    Stop,
}

/// Where a package is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModelPlace {
    /// Absolute address of its folder, ending with `/`.
    Url(String),
    /// The user's own files. Buffers: a `File` of each name.
    Files(Vec<String>),
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Number of the request: the page shows the newest only.
    pub id: u32,
    /// Class names in the order of the labels, 1 to [`MAX_CLASSES`](crate::MAX_CLASSES) of them.
    pub classes: Vec<String>,
    /// Sensors to use.
    pub modality: Modality,
    /// Cut a large scene into windows.
    pub windows: bool,
}

/// How samples of files become the 8-bit pictures that the model reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The optical tile.
    pub optical: OpticalOptions,
    /// The SAR tile.
    pub sar: SarOptions,
    /// The pixel size that the model sees.
    #[serde(default)]
    pub resolution: Resolution,
}

/// Kinds of result files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// PNG in the colours of the legend.
    ColourPng,
    /// Palette PNG whose indices are the labels.
    IndexedPng,
    /// Labels as GeoTIFF with the tile's reference system.
    GeoTiff,
    /// Polygons as GeoJSON.
    GeoJson,
    /// Probability of each class as a GeoTIFF of 8-bit bands, 0 to 254 for 0 to 1.
    Probabilities,
    /// Entropy of the classes as a GeoTIFF, 0 to 254 for 0 to 1.
    Entropy,
    /// JSON with model, hashes, settings and numbers.
    Report,
}
