//! Which network a checkpoint holds, by the names and shapes of its tensors (docs/network.md §2,
//! §13).

use crate::clip_visual::{LastAttention, LastBlock};
use crate::config::{
    Architecture, ConfigError, EncoderConfig, HeadConfig, ModelConfig, Projections, Radiometry,
    TextConfig, Vit,
};
use crate::segearth::{Gelu, Kind, SegEarthConfig, Windows};
use crate::upsampler::UpsamplerConfig;
use mmovseg_types::Sensor;

const CLIP: &str = "sem_seg_head.predictor.clip_model.";
const HEAD: &str = "sem_seg_head.predictor.transformer.";

/// Side of `SegEarth-OV`'s windows.
const SEGEARTH_CROP_PX: usize = 224;

/// Shapes by name, with the errors of a checkpoint that lacks one.
struct Shapes<F>(F);

impl<F: Fn(&str) -> Option<Vec<usize>>> Shapes<F> {
    fn has(&self, name: &str) -> bool {
        (self.0)(name).is_some()
    }

    fn dim(&self, name: &str, axis: usize) -> Result<usize, ConfigError> {
        (self.0)(name)
            .and_then(|shape| shape.get(axis).copied())
            .ok_or_else(|| ConfigError(format!("the checkpoint has no usable tensor {name}")))
    }

    /// How many blocks there are at `prefix`, which ends before their number.
    fn blocks(&self, prefix: &str, leaf: &str) -> usize {
        (0..)
            .take_while(|i| self.has(&format!("{prefix}{i}.{leaf}")))
            .count()
    }
}

/// Side of the grid of a position table with one row for the class token.
fn side(rows: usize) -> usize {
    (rows.saturating_sub(1) as f64).sqrt().round() as usize
}

/// Heads of a tower, which do not follow from shapes: released towers have 64 channels a head;
/// towers narrower than 128, which only test checkpoints have, are taken to have two heads.
fn heads(width: usize) -> usize {
    if width < 128 { 2 } else { width / 64 }
}

impl SegEarthConfig {
    /// Reads the sizes of a CLIP tower, and of an upsampler where there is one, off a checkpoint's
    /// tensors, in the names that this project gives them. The rest is as `SegEarth-OV`'s authors
    /// set it.
    ///
    /// # Errors
    /// When an entry that determines a size is missing or has the wrong rank, or the sizes do not
    /// fit.
    pub fn from_shapes(shape: impl Fn(&str) -> Option<Vec<usize>>) -> Result<Self, ConfigError> {
        let shapes = Shapes(shape);
        let table_grid = side(shapes.dim(&format!("{CLIP}visual.positional_embedding"), 0)?);
        let mut visual = EncoderConfig::clip(
            &clip_visual(&shapes, |patch_px| table_grid * patch_px)?,
            [0, 0],
        );
        visual.taps = Vec::new();
        visual.projections = Projections::default();
        let radius = |step: &str| {
            let places = shapes.dim(&format!("upsampler.{step}.fixup_proj.3.weight"), 0);
            places
                .ok()
                .map(|places| places.isqrt().saturating_sub(1) / 2)
        };
        let upsampler = [("up", true), ("up1", false)]
            .into_iter()
            .find_map(|(step, shared)| {
                radius(step).map(|radius| UpsamplerConfig { radius, shared })
            });
        let config = Self {
            network: Kind::SegearthOv,
            variant: "SegEarth-OV".into(),
            visual,
            text: clip_text(&shapes)?,
            gelu: Gelu::default(),
            last_block: LastBlock {
                attention: LastAttention::QueriesKeysValues,
                residual: false,
            },
            upsampler,
            cls_weight: -0.3,
            long_side_px: 2 * SEGEARTH_CROP_PX,
            windows: Windows {
                crop_px: SEGEARTH_CROP_PX,
                stride_px: SEGEARTH_CROP_PX / 2,
            },
            logit_scale: 50.0,
        };
        config.validate()?;
        Ok(config)
    }
}

/// The sizes of CLIP's visual tower; `input_px` gives the side of what it reads by that of a patch.
fn clip_visual<F: Fn(&str) -> Option<Vec<usize>>>(
    shapes: &Shapes<F>,
    input_px: impl Fn(usize) -> usize,
) -> Result<Vit, ConfigError> {
    let clip = |name: &str, axis: usize| shapes.dim(&format!("{CLIP}visual.{name}"), axis);
    let width = clip("class_embedding", 0)?;
    let patch_px = clip("conv1.weight", 2)?;
    Ok(Vit {
        width,
        layers: shapes.blocks(
            &format!("{CLIP}visual.transformer.resblocks."),
            "ln_1.weight",
        ),
        heads: heads(width),
        patch_px,
        input_px: input_px(patch_px),
        table_grid: side(clip("positional_embedding", 0)?),
    })
}

/// The sizes of CLIP's text tower.
fn clip_text<F: Fn(&str) -> Option<Vec<usize>>>(
    shapes: &Shapes<F>,
) -> Result<TextConfig, ConfigError> {
    let clip = |name: &str, axis: usize| shapes.dim(&format!("{CLIP}{name}"), axis);
    let width = clip("ln_final.weight", 0)?;
    Ok(TextConfig {
        width,
        layers: shapes.blocks(&format!("{CLIP}transformer.resblocks."), "ln_1.weight"),
        heads: heads(width),
        vocab: clip("token_embedding.weight", 0)?,
        context: clip("positional_embedding", 0)?,
        embed: clip("text_projection", 1)?,
    })
}

impl ModelConfig {
    /// Reads the sizes off a checkpoint's tensors: `shape(name)` gives the shape of an entry, or
    /// `None` when the checkpoint lacks it. MM-OVSeg has two DINOs, GSNet the optical one, CAT-Seg
    /// none.
    ///
    /// # Errors
    /// When an entry that determines a size is missing or has the wrong rank, or the sizes do not
    /// fit.
    pub fn from_shapes(shape: impl Fn(&str) -> Option<Vec<usize>>) -> Result<Self, ConfigError> {
        let shapes = Shapes(shape);
        let head = |name: &str, axis: usize| shapes.dim(&format!("{HEAD}{name}"), axis);
        let window = 12;
        let grid = 2 * window;

        let is_catseg =
            !shapes.has("dino_model.cls_token") && shapes.has(&format!("{HEAD}decoder1.up.weight"));
        let has_sar = shapes.has("dino_sarmodel.cls_token");
        let visual = clip_visual(&shapes, |patch_px| grid * patch_px)?;
        let is_v3 = shapes.has("dino_model.storage_tokens");
        // CLIP ViT-L has 24 blocks, ViT-B 12.
        let is_large = is_v3 || (is_catseg && visual.layers > 12);
        let taps = if is_large { [7, 15] } else { [3, 7] };
        let mut encoders = vec![EncoderConfig::clip(&visual, taps)];
        let mut input_px = 384;
        if !is_catseg {
            let width = shapes.dim("dino_model.cls_token", 2)?;
            let layers = shapes.blocks("dino_model.blocks.", "norm1.weight");
            let patch_px = shapes.dim("dino_model.patch_embed.proj.weight", 2)?;
            let shrinks = shapes.dim("dino_decod_proj1.weight", 2)? == 1;
            input_px = grid * patch_px * if shrinks { 2 } else { 1 };
            let (architecture, table_grid, heads) = if is_v3 {
                let periods = shapes.dim("dino_model.rope_embed.periods", 0)?;
                (Architecture::DinoV3, 0, width / (4 * periods).max(1))
            } else {
                let rows = shapes.dim("dino_model.pos_embed", 1)?;
                (Architecture::DinoV1, side(rows), heads(width))
            };
            let vit = Vit {
                width,
                layers,
                heads,
                patch_px,
                input_px,
                table_grid,
            };
            let taps = [taps[0], taps[1], layers.saturating_sub(1)];
            for sensor in [Sensor::Optical, Sensor::Sar] {
                if sensor == Sensor::Optical || has_sar {
                    encoders.push(EncoderConfig::dino(architecture, sensor, &vit, taps));
                }
            }
        }

        let [decoder, guidance] = if is_catseg {
            ["decoder", "decoder_guidance_projection"]
        } else {
            ["Fusiondecoder", "CLIP_decoder_guidance_projection"]
        };
        let stage = |i: usize| head(&format!("{decoder}{i}.conv.double_conv.3.weight"), 0);
        let decoder = [stage(1)?, stage(2)?];
        let projected = |i: usize, axis: usize| head(&format!("{guidance}.{i}.0.weight"), axis);
        let size = if is_large { "L" } else { "B" };
        let config = Self {
            variant: match (is_catseg, has_sar) {
                (true, _) => format!("CAT-Seg {size}"),
                (false, false) => "GSNet".into(),
                (false, true) => size.into(),
            },
            input_px,
            radiometry: Radiometry::AsIs,
            encoders,
            text: clip_text(&shapes)?,
            head: HeadConfig {
                hidden: head("conv1.weight", 0)?,
                layers: shapes.blocks(&format!("{HEAD}layers."), "swin_block.guidance_norm.weight"),
                heads: 4,
                appearance_guidance: head("guidance_projection.0.weight", 0)?,
                text_guidance: head("text_guidance_projection.0.weight", 0)?,
                decoder_guidance: [projected(0, 1)?, projected(1, 1)?],
                projected_guidance: [projected(0, 0)?, projected(1, 0)?],
                pixel_guidance: None,
                pixel_embed: None,
                pixel_deep: None,
                decoder,
                // The authors' group norms hold sixteen channels a group.
                groups: decoder.map(|c| (c / 16).max(1)),
                class_pad: 256,
                // CAT-Seg's and GSNet's published numbers are without pooling.
                class_pool: if has_sar { 2 } else { 1 },
                max_classes: is_catseg.then_some(256),
                grid,
                window,
            },
        };
        config.validate()?;
        Ok(config)
    }
}
