//! Which part of the network each parameter belongs to: the one table that is used by loading,
//! packing, precision, freezing and the self-test.

use crate::config::{EncoderConfig, ModelConfig};
use mmovseg_types::EncoderId;

/// A part of the network that can be run by itself once its inputs are there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The text tower.
    Text,
    /// An encoder with its projections.
    Encoder(EncoderId),
    /// Correlation, aggregator and decoder.
    Head,
}

/// What a parameter does in its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Turns pixels into tokens.
    Stem,
    /// Belongs to a transformer block.
    Block,
    /// Position tables, prefix tokens, token table and norms outside of blocks.
    Frame,
    /// Leads from a tower to the space of the text.
    Embedding,
    /// Leads from a tap to the decoder's guidance.
    Guidance,
    /// Adds what single pixels show to the fine guidance.
    PixelGuidance,
    /// Gives pixels embeddings of their own, or compares those with text.
    PixelEmbedding,
    /// Correlation, aggregator and decoder.
    Head,
}

/// Where a parameter belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Part of the network.
    pub part: Part,
    /// What it does there.
    pub role: Role,
    /// Whether it belongs to a transformer tower, and not to what leads from towers to the head.
    pub in_tower: bool,
}

/// Parameters of a network by the beginnings of their checkpoint names (docs/network.md §13).
#[derive(Clone, Debug)]
pub struct ParameterTable {
    /// The longest beginnings first.
    rows: Vec<(String, Parameter)>,
}

/// Beginning of the names of the text tower; the visual tower's are longer.
const TEXT: &str = "sem_seg_head.predictor.clip_model.";

impl ParameterTable {
    /// The table of a configuration.
    #[must_use]
    pub fn new(config: &ModelConfig) -> Self {
        Self::of_encoders(&config.encoders)
    }

    /// The table of a network with these encoders.
    #[must_use]
    pub fn of_encoders(encoders: &[EncoderConfig]) -> Self {
        let mut rows = Vec::new();
        let mut add = |begins: String, part: &Part, role: Role, in_tower: bool| {
            let part = part.clone();
            let parameter = Parameter {
                part,
                role,
                in_tower,
            };
            rows.push((begins, parameter));
        };
        add(TEXT.into(), &Part::Text, Role::Frame, true);
        let blocks = format!("{TEXT}transformer.resblocks.");
        add(blocks, &Part::Text, Role::Block, true);
        add(
            "pixel_head.".into(),
            &Part::Head,
            Role::PixelEmbedding,
            false,
        );
        for encoder in encoders {
            let part = Part::Encoder(encoder.id.clone());
            let tower = |rest: &str| format!("{}{rest}", encoder.prefix);
            add(tower(""), &part, Role::Frame, true);
            if encoder.is_clip() {
                add(tower("transformer.resblocks."), &part, Role::Block, true);
                add(tower("conv1."), &part, Role::Stem, true);
                add(tower("proj"), &part, Role::Embedding, true);
            } else {
                add(tower("blocks."), &part, Role::Block, true);
                add(tower("patch_embed."), &part, Role::Stem, true);
            }
            let names = &encoder.projections;
            let projections = [
                (names.embedding.as_ref(), Role::Embedding),
                (Some(&names.coarse), Role::Guidance),
                (Some(&names.fine), Role::Guidance),
                (names.pixel_guidance.as_ref(), Role::PixelGuidance),
                (names.pixel_tower.as_ref(), Role::PixelEmbedding),
            ];
            for (name, role) in projections {
                if let Some(name) = name {
                    add(format!("{name}."), &part, role, false);
                }
            }
        }
        rows.sort_by_key(|(begins, _)| std::cmp::Reverse(begins.len()));
        Self { rows }
    }

    /// Where the parameter of this checkpoint name belongs.
    #[must_use]
    pub fn of(&self, name: &str) -> Parameter {
        let found = self
            .rows
            .iter()
            .find(|(begins, _)| name.starts_with(begins));
        found.map_or(
            Parameter {
                part: Part::Head,
                role: Role::Head,
                in_tower: false,
            },
            |(_, parameter)| parameter.clone(),
        )
    }
}

/// Whether a parameter is one of the queries and values of CLIP, which the released models train
/// while the rest of the towers is frozen (docs/network.md §14).
#[must_use]
pub fn is_fine_tuned(name: &str) -> bool {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    leaf == "q_proj_weight" || leaf == "v_proj_weight"
}
