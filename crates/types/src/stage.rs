//! The steps of a run and their times.

use serde::{Deserialize, Serialize};

use crate::EncoderId;

/// The steps of a run, in order. Events and reports spell them as one word each, an encoder's step
/// as the encoder's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Stage {
    /// Preprocessing on the host.
    Preprocess,
    /// The text tower, for class names not seen before.
    Text,
    /// An encoder over a tile.
    Encoder(EncoderId),
    /// Correlation, aggregator, decoder.
    Head,
    /// The windows of a scene larger than the model's input: all stages above but text, and the
    /// labels, one window after another.
    Windows,
    /// Resize and argmax on the host.
    Labels,
}

impl Stage {
    const WORDS: [(&'static str, Self); 5] = [
        ("preprocess", Self::Preprocess),
        ("text", Self::Text),
        ("head", Self::Head),
        ("windows", Self::Windows),
        ("labels", Self::Labels),
    ];

    /// The stage's name as events and reports spell it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Preprocess => "preprocess",
            Self::Text => "text",
            Self::Encoder(id) => id.as_str(),
            Self::Head => "head",
            Self::Windows => "windows",
            Self::Labels => "labels",
        }
    }
}

impl From<String> for Stage {
    fn from(name: String) -> Self {
        let known = Self::WORDS.into_iter().find(|(word, _)| *word == name);
        known.map_or_else(|| Self::Encoder(name.into()), |(_, stage)| stage)
    }
}

impl From<Stage> for String {
    fn from(stage: Stage) -> Self {
        stage.name().to_owned()
    }
}

/// Time of one stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageTiming {
    /// Which.
    pub stage: Stage,
    /// Wall time with the device's work awaited.
    pub ms: f64,
}

#[cfg(test)]
mod tests {
    use super::Stage;

    #[test]
    fn a_stage_is_told_by_its_name() {
        let stages = Stage::WORDS.map(|(_, stage)| stage).into_iter();
        for stage in stages.chain([Stage::Encoder("dino-sar".into())]) {
            assert_eq!(Stage::from(String::from(stage.clone())), stage);
        }
    }
}
