//! MM-OVSeg as Burn modules, from the transformer block to the whole network.
//!
//! One code path serves every size: a [`ModelConfig`] says widths, depths, taps, patch sizes and
//! input size; variants B and L follow the authors' releases bit for bit (up to f32 rounding) and
//! `nano` is the same network, smaller. This crate reads no file and decodes no image: tokens
//! and normalised pixels come in, logits go out, and every stage between them can be observed.
//!
//! | module | holds |
//! |---|---|
//! | [`config`], `recognise` | sizes, presets, and which network a checkpoint holds |
//! | [`parameters`], `names` | the part that a parameter belongs to, and its checkpoint name |
//! | [`params`] | loading and exporting by checkpoint name; missing and misshapen tensors |
//! | [`observe`] | observing the stages of a pass |
//! | `layers`, `attention`, `resample`, `named` | building blocks |
//! | `clip_visual`, [`clip_text`], `dino` | the towers |
//! | `encoder`, [`features`] | a tower with its projections, and what it gives |
//! | `head`, `correlation`, `aggregator`, `decoder` | from features and words to masks |
//! | `pixels` | the default model's branch for single pixels |
//! | [`segearth`], `upsampler` | the network that compares enlarged patches with words |
//! | [`network`] | the whole, stage by stage |
//! | `kinds` | any of the networks as one type |

mod aggregator;
mod attention;
pub mod clip_text;
pub mod clip_visual;
pub mod config;
mod correlation;
mod decoder;
pub mod dino;
mod encoder;
pub mod features;
mod head;
mod kinds;
mod layers;
mod named;
mod names;
pub mod network;
pub mod observe;
pub mod parameters;
pub mod params;
mod pixels;
mod recognise;
mod resample;
pub mod segearth;
mod upsampler;

pub use clip_visual::{LastAttention, LastBlock};
pub use config::ModelConfig;
pub use correlation::cosine;
pub use features::EncoderMaps;
pub use head::{ClassAgnostic, CostVolumes};
pub use kinds::{Network, NetworkConfig};
pub use network::{LEFT_OUT, MmOvSeg, most_similar};
pub use observe::{Observer, Silent, Trace, TracedTensor};
pub use params::Precision;
pub use resample::enlarge;
pub use segearth::{SegEarth, SegEarthConfig};
pub use upsampler::UpsamplerConfig;

pub use mmovseg_types::{EncoderId, Modality, Sensor};

/// The CLIP pixel mean (RGB order, 8-bit scale), used by every branch, SAR included
/// (docs/network.md §3.2).
pub const PIXEL_MEAN: [f32; 3] = [122.770_94, 116.746_01, 104.093_74];
/// The CLIP pixel deviation that goes with [`PIXEL_MEAN`] (docs/network.md §3.2).
pub const PIXEL_STD: [f32; 3] = [68.500_53, 66.632_16, 70.323_16];
