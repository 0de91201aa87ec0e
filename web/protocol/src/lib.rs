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
pub use tier::{Plan, Probe, plan, threads};

use serde::{Deserialize, Serialize};

/// The largest number of classes in one run: a label is a byte, and 255 stands for "ignored".
pub const MAX_CLASSES: usize = 255;

/// The browser's store (Cache API) that keeps the files of packages, by address.
pub const PACKAGE_STORE: &str = "mmovseg-packages";

/// The longest side of a picture that the page is given, in pixels. A larger tile is shown a
/// whole number of times smaller; results and exports keep its full size.
pub const MAX_SHOWN_PX: u32 = 4096;

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
    /// Reads the `device` parameter of the page's address; anything unknown is
    /// [`DeviceChoice::Auto`].
    #[must_use]
    pub fn from_query(value: &str) -> Self {
        match value {
            "gpu" => Self::Gpu,
            "cpu" => Self::Cpu,
            _ => Self::Auto,
        }
    }

    /// The parameter's value; `None` for [`DeviceChoice::Auto`], which needs none.
    #[must_use]
    pub fn to_query(self) -> Option<&'static str> {
        match self {
            Self::Auto => None,
            Self::Gpu => Some("gpu"),
            Self::Cpu => Some("cpu"),
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
    /// WebAssembly with SIMD, on several threads where the page is isolated from other origins.
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

impl Modality {
    /// All of them, in the order they are shown.
    pub const ALL: [Self; 3] = [Self::Fused, Self::Optical, Self::Sar];
}

/// A cloud over the optical tile; the same values give the same cloud.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cloud {
    /// Opacity of the densest parts, 0 (no cloud) to 1 (the ground is invisible).
    pub opacity: f32,
    /// Share of the tile with at least a trace of cloud, 0 to 1.
    pub cover: f32,
    /// Chooses shapes, place and the sun's direction.
    pub seed: u32,
}

impl Cloud {
    /// A clear sky.
    pub const NONE: Self = Self {
        opacity: 0.0,
        cover: 0.7,
        seed: 1,
    };

    /// Whether it changes the tile.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        self.opacity > 0.0 && self.cover > 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_device_in_the_address_means_auto_and_a_known_one_returns() {
        for choice in [DeviceChoice::Gpu, DeviceChoice::Cpu] {
            let written = choice.to_query().unwrap_or_default();
            assert_eq!(DeviceChoice::from_query(written), choice);
        }
        assert_eq!(DeviceChoice::from_query("tpu"), DeviceChoice::Auto);
        assert_eq!(DeviceChoice::from_query(""), DeviceChoice::Auto);
    }

    #[test]
    fn a_cloud_needs_both_opacity_and_cover_to_be_seen() {
        let cloud = |opacity, cover| Cloud {
            opacity,
            cover,
            seed: 1,
        };
        assert!(!Cloud::NONE.is_visible());
        assert!(!cloud(0.5, 0.0).is_visible());
        assert!(cloud(0.5, 0.5).is_visible());
    }
}
