//! How a package keeps the parameters of a network.

use mmovseg_model::config::EncoderConfig;
use mmovseg_model::parameters::{ParameterTable, Part, Role, is_fine_tuned};
use mmovseg_weights::{Bits, Placement};

/// Shards and bits of each parameter of a network with these encoders, for
/// `mmovseg_weights::write_package`.
///
/// The released files of a variant differ only in what training touched: the head, the projections
/// and the q and v matrices of CLIP. Frozen towers have shards of their own, so that packages share
/// them.
pub fn package_layout(encoders: &[EncoderConfig]) -> impl Fn(&str) -> Placement + use<> {
    let table = ParameterTable::of_encoders(encoders);
    // The order of shards in every package: DINOs, CLIP visual, CLIP text, what is fine-tuned, the
    // rest.
    let (clip, dense): (Vec<_>, Vec<_>) = encoders.iter().partition(|e| e.is_clip());
    let mut towers: Vec<Part> = dense
        .into_iter()
        .chain(clip)
        .map(|encoder| Part::Encoder(encoder.id.clone()))
        .collect();
    towers.push(Part::Text);
    move |name| {
        let parameter = table.of(name);
        let tower = towers.iter().position(|part| *part == parameter.part);
        let group = match tower {
            Some(_) if is_fine_tuned(name) => towers.len(),
            Some(tower) if parameter.in_tower => tower,
            _ => towers.len() + 1,
        };
        let bits = match (&parameter.part, parameter.role) {
            (Part::Text, _) => Bits::Text,
            (_, Role::Stem | Role::Embedding | Role::Guidance | Role::Head) => Bits::Wide,
            (_, Role::Block | Role::Frame | Role::PixelGuidance | Role::PixelEmbedding) => {
                Bits::Package
            }
        };
        Placement { group, bits }
    }
}

#[cfg(test)]
mod tests {
    use super::package_layout;
    use mmovseg_model::ModelConfig;
    use mmovseg_weights::{Bits, Placement};

    #[test]
    fn towers_have_shards_of_their_own_and_what_is_trained_is_apart() {
        let place = package_layout(&ModelConfig::b().encoders);
        let clip = "sem_seg_head.predictor.clip_model.";
        let visual = format!("{clip}visual.transformer.resblocks.0.");
        for (name, group, bits) in [
            (
                "dino_model.blocks.0.attn.qkv.weight".into(),
                0,
                Bits::Package,
            ),
            ("dino_sarmodel.pos_embed".into(), 1, Bits::Package),
            (
                "dino_sarmodel.patch_embed.proj.weight".into(),
                1,
                Bits::Wide,
            ),
            (format!("{visual}mlp.c_fc.weight"), 2, Bits::Package),
            (format!("{clip}visual.proj"), 2, Bits::Wide),
            (format!("{clip}visual.conv1.weight"), 2, Bits::Wide),
            (format!("{clip}token_embedding.weight"), 3, Bits::Text),
            (format!("{visual}attn.q_proj_weight"), 4, Bits::Package),
            (
                format!("{clip}transformer.resblocks.0.attn.v_proj_weight"),
                4,
                Bits::Text,
            ),
            ("dino_sardown_sample.weight".into(), 5, Bits::Wide),
            ("dino_decod_proj1.weight".into(), 5, Bits::Wide),
            ("upsample2.weight".into(), 5, Bits::Wide),
            ("upsample2_pixels.conv1.weight".into(), 5, Bits::Package),
            ("dino_sarpixel_tower.near.weight".into(), 5, Bits::Package),
            ("pixel_head.text.weight".into(), 5, Bits::Package),
            (
                "sem_seg_head.predictor.transformer.head.weight".into(),
                5,
                Bits::Wide,
            ),
        ] {
            assert_eq!(place(&name), Placement { group, bits }, "{name}");
        }
    }
}
