//! Every network that this project runs, as one type for what loads, stores and measures them.

use std::collections::BTreeMap;

use burn::tensor::{DType, Device};
use serde::Serialize;

use crate::config::{ConfigError, EncoderConfig, ModelConfig, TextConfig};
use crate::network::MmOvSeg;
use crate::parameters::ParameterTable;
use crate::params::{Mismatch, Precision, compare, load_as, shapes};
use crate::segearth::{SegEarth, SegEarthConfig};

/// The sizes of any network, as a package holds them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum NetworkConfig {
    /// Encoders and a head: MM-OVSeg, GSNet, CAT-Seg.
    MmOvSeg(ModelConfig),
    /// A CLIP whose patches are compared with words.
    SegEarth(SegEarthConfig),
}

impl NetworkConfig {
    /// Name of the variant.
    #[must_use]
    pub fn variant(&self) -> &str {
        match self {
            Self::MmOvSeg(config) => &config.variant,
            Self::SegEarth(config) => &config.variant,
        }
    }

    /// What reads tiles.
    #[must_use]
    pub fn encoders(&self) -> &[EncoderConfig] {
        match self {
            Self::MmOvSeg(config) => &config.encoders,
            Self::SegEarth(config) => std::slice::from_ref(&config.visual),
        }
    }

    /// The text tower.
    #[must_use]
    pub fn text(&self) -> &TextConfig {
        match self {
            Self::MmOvSeg(config) => &config.text,
            Self::SegEarth(config) => &config.text,
        }
    }

    /// Side of the windows that a large scene is cut into, in pixels.
    #[must_use]
    pub fn window_px(&self) -> usize {
        match self {
            Self::MmOvSeg(config) => config.input_px,
            Self::SegEarth(config) => match config.windows.crop_px {
                0 => config.long_side_px,
                crop_px => crop_px,
            },
        }
    }
}

/// Any network.
#[derive(Clone, Debug)]
pub enum Network {
    /// Encoders and a head.
    MmOvSeg(Box<MmOvSeg>),
    /// A CLIP whose patches are compared with words.
    SegEarth(Box<SegEarth>),
}

impl Network {
    /// A network whose weights are drawn at random on first use. Nothing is allocated before a
    /// parameter is read or loaded.
    ///
    /// # Errors
    /// When the configuration does not fit together.
    pub fn new(config: &NetworkConfig, device: &Device) -> Result<Self, ConfigError> {
        Ok(match config {
            NetworkConfig::MmOvSeg(config) => {
                Self::MmOvSeg(Box::new(MmOvSeg::new(config, device)?))
            }
            NetworkConfig::SegEarth(config) => {
                Self::SegEarth(Box::new(SegEarth::new(config, device)?))
            }
        })
    }

    /// Every parameter's checkpoint name and shape.
    #[must_use]
    pub fn parameter_shapes(&self) -> BTreeMap<String, Vec<usize>> {
        match self {
            Self::MmOvSeg(network) => network.parameter_shapes(),
            Self::SegEarth(network) => shapes(network.as_ref()),
        }
    }

    /// Which part of the network each parameter belongs to.
    #[must_use]
    pub fn parameters(&self) -> ParameterTable {
        match self {
            Self::MmOvSeg(network) => network.parameters(),
            Self::SegEarth(network) => {
                ParameterTable::of_encoders(std::slice::from_ref(&network.config().visual))
            }
        }
    }

    /// Compares the names and shapes of a checkpoint with what this network reads, see
    /// [`MmOvSeg::compare`].
    #[must_use]
    pub fn compare<'a>(&self, given: impl IntoIterator<Item = (&'a str, &'a [usize])>) -> Mismatch {
        match self {
            Self::MmOvSeg(network) => network.compare(given),
            // Every block has queries and keys.
            Self::SegEarth(_) => compare(self.parameter_shapes(), given, usize::MAX),
        }
    }

    /// Puts tensors in place by checkpoint name, see [`MmOvSeg::load_as`]. Half precision is for
    /// networks with a head.
    #[must_use]
    pub fn load_as(
        self,
        tensors: &mut BTreeMap<String, (Vec<usize>, Vec<f32>)>,
        precision: Precision,
    ) -> Self {
        match self {
            Self::MmOvSeg(network) => Self::MmOvSeg(Box::new(network.load_as(tensors, precision))),
            Self::SegEarth(network) => {
                Self::SegEarth(Box::new(load_as(*network, tensors, &|_| DType::F32)))
            }
        }
    }
}
