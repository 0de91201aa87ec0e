//! The messages that page and Worker exchange, and the choice of the tier that they speak of.
//!
//! One `postMessage` carries the object `{ msg, buffers }`: `msg` is a [`Request`] (page to Worker)
//! or an [`Event`] (Worker to page), `buffers` is the array of binary parts that its documentation
//! names. Parts are transferred or shared, never copied: `ArrayBuffer` for pixels, `File` for the
//! user's files.
//!
//! Pictures are RGBA, 8 bit, row-major, `[height_px, width_px, 4]`, alpha 255: ready for
//! `ImageData`. `f32` arrays are in the machine's byte order.

mod event;
mod request;
mod tier;

pub use event::*;
pub use request::*;
pub use tier::{Plan, Probe, plan};

pub use mmovseg_raster::{Cloud, OpticalOptions, SarOptions, SarScale, Stretch};
pub use mmovseg_types::{
    DeviceChoice, Modality, Resolution, StageTiming, Tier, class_probabilities, sigmoid,
};

/// The largest number of classes in one run: a label is a byte, and 255 stands for "ignored".
pub const MAX_CLASSES: usize = 255;

/// The browser's store (Cache API) that keeps the files of packages, by address.
pub const PACKAGE_STORE: &str = "mmovseg-packages";

/// The longest side of a picture that the page is given, in pixels. A larger tile is shown a
/// whole number of times smaller; results and exports keep its full size.
pub const MAX_SHOWN_PX: u32 = 4096;
