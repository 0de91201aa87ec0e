//! MM-OVSeg as Burn modules, from the transformer block to the whole network.
//!
//! One code path serves every size: a [`ModelConfig`] says widths, depths, taps, patch sizes and
//! input size; variants B and L follow the authors' releases bit for bit (up to f32 rounding) and
//! `nano` is the same network, smaller. This room reads no file and knows no image format: tokens
//! and normalised pixels come in, logits go out, and every stage between them can be observed.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | every size of the network, and the three presets |
//! | [`params`] | checkpoint names of parameters; load, export, missing and misshapen tensors |
//! | [`observe`] | how a caller watches stages go by |
//! | `layers`, `attention`, `resample` | building blocks |
//! | `clip_visual`, [`clip_text`], `dino` | the towers |
//! | `head`, `correlation`, `aggregator`, `decoder` | from features and words to masks |
//! | `pixels` | what the default model reads off single pixels |
//! | [`network`] | the whole, stage by stage |

mod aggregator;
mod attention;
pub mod clip_text;
pub mod clip_visual;
pub mod config;
mod correlation;
mod decoder;
pub mod dino;
mod head;
mod layers;
pub mod network;
pub mod observe;
pub mod params;
mod pixels;
mod resample;

pub use config::{ModelConfig, Sensor};
pub use correlation::cosine;
pub use network::{MmOvSeg, Modality};
pub use observe::{Observer, Silent, Trace, TracedTensor};
pub use params::Precision;
pub use resample::enlarge;

/// The CLIP pixel mean (RGB order, 8-bit scale), used by every branch, SAR included (docs/network.md §3.2).
pub const PIXEL_MEAN: [f32; 3] = [122.770_94, 116.746_01, 104.093_74];
/// The CLIP pixel deviation that goes with [`PIXEL_MEAN`] (docs/network.md §3.2).
pub const PIXEL_STD: [f32; 3] = [68.500_53, 66.632_16, 70.323_16];
