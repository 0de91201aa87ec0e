//! The session behind command line, Worker and evaluation: load a package, encode a tile pair,
//! segment it, run the self-test.
//!
//! Shells (command line, Worker, training's evaluation) see tiles, class names, labels and events;
//! the model sees normalised pixels and tokens; this crate stands between them. Everything that may
//! wait is `async`, since a browser's GPU answers only asynchronously; native shells block on it.

mod api;
mod cache;
mod device;
mod error;
mod explain;
mod labels;
#[cfg(not(target_arch = "wasm32"))]
mod layout;
mod load;
mod package;
mod pixels;
mod precision;
mod probability;
mod readback;
pub mod resolution;
mod run;
mod scene;
mod self_test;
mod session;
mod stages;
mod tiles;
mod vocabulary;
mod windows;
mod words;

pub use api::{CancelFlag, Event, SegmentRequest, Segmentation, SelfTestReport, WordRule};
pub use device::{DeviceInfo, PrecisionChoice, half_precision, is_gpu_layer, open_device};
pub use error::EngineError;
pub use explain::{PatchSimilarity, StageMap};
pub use labels::labels;
#[cfg(not(target_arch = "wasm32"))]
pub use layout::package_layout;
#[cfg(not(target_arch = "wasm32"))]
pub use package::FolderSource;
pub use package::PackageSource;
pub use pixels::{model_pixels, normalise_pixels};
pub use probability::{ENTROPY_BAND, PixelShares, Wanted, pixel_shares};
#[cfg(not(target_arch = "wasm32"))]
pub use self_test::add_self_test;
pub use session::Session;
pub use tiles::HashedPair;
pub use windows::Tiling;

pub use mmovseg_kernels::threads;
pub use mmovseg_model::Precision;
pub use mmovseg_raster::{Preprocess, TilePair};
pub use mmovseg_types::{
    DeviceChoice, EncoderId, Modality, Resolution, Sensor, Stage, StageTiming, Tier,
};
pub use mmovseg_weights::MANIFEST_FILE;
