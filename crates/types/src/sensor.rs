//! Sensors, which of them a run uses, and the encoders that read them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What a tile was taken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sensor {
    /// A camera: red, green, blue.
    Optical,
    /// Synthetic-aperture radar: backscatter.
    Sar,
}

/// What decides the pixel size that the model sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolution {
    /// A tile whose pixel size is known and far from the one that the model was trained for is
    /// resampled to that, and labels come back on the tile's own grid.
    #[default]
    Auto,
    /// The tile's own.
    Native,
}

/// Which tiles a run uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Modality {
    /// Both, the model as trained.
    #[default]
    Fused,
    /// The optical tile alone: the SAR tower's term is dropped from the sum.
    Optical,
    /// The SAR tile alone: the optical tower's term is dropped and CLIP sees a blank tile.
    Sar,
}

impl Modality {
    /// All of them, in the order they are shown.
    pub const ALL: [Self; 3] = [Self::Fused, Self::Optical, Self::Sar];

    /// The word that messages and reports have for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fused => "fused",
            Self::Optical => "optical",
            Self::Sar => "sar",
        }
    }

    /// Whether a run uses tiles of this sensor.
    #[must_use]
    pub fn uses(self, sensor: Sensor) -> bool {
        match self {
            Self::Fused => true,
            Self::Optical => sensor == Sensor::Optical,
            Self::Sar => sensor == Sensor::Sar,
        }
    }
}

/// Identifies an encoder in configurations, events, timings and reports.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct EncoderId(Arc<str>);

impl EncoderId {
    /// CLIP's visual tower over the optical tile.
    pub const CLIP: &'static str = "clip";
    /// The DINO over the optical tile.
    pub const DINO_OPTICAL: &'static str = "dino-optical";
    /// The DINO over the SAR tile.
    pub const DINO_SAR: &'static str = "dino-sar";

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for EncoderId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl From<String> for EncoderId {
    fn from(id: String) -> Self {
        Self(id.into())
    }
}

impl From<EncoderId> for String {
    fn from(id: EncoderId) -> Self {
        id.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::Modality;

    #[test]
    fn a_modality_is_named_as_it_is_serialised() {
        for modality in Modality::ALL {
            let written = serde_json::to_value(modality).expect("a word");
            assert_eq!(written, modality.name());
        }
    }
}
