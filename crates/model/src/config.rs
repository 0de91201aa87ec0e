//! Every size of the network in one value, stored in the package beside the weights.

use serde::{Deserialize, Serialize};

/// The sizes of one MM-OVSeg network (docs/network.md §2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// What a person calls it: `B`, `L`, `nano`.
    pub variant: String,
    /// Side of the square that preprocessing makes of both tiles.
    pub input_px: usize,
    /// How 8-bit tiles are brought to a common radiometry before they are normalised.
    pub radiometry: Radiometry,
    /// The CLIP visual tower.
    pub clip: ClipVisualConfig,
    /// The CLIP text tower.
    pub text: TextConfig,
    /// Both DINO towers, optical and SAR.
    pub dino: DinoConfig,
    /// Correlation, aggregator and decoder.
    pub head: HeadConfig,
}

/// What a tile was taken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sensor {
    /// A camera: red, green, blue.
    Optical,
    /// Synthetic-aperture radar: backscatter.
    Sar,
}

/// What happens to the bytes of a tile before the CLIP mean and deviation are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Radiometry {
    /// Nothing, as in the authors' loader (docs/network.md §3.2).
    AsIs,
    /// The robust stretch of `mmovseg_raster::robust_rgb` and `robust_sar`, per tile.
    Robust,
}

/// The CLIP visual tower (docs/network.md §4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClipVisualConfig {
    /// Channels of the residual stream.
    pub width: usize,
    /// Blocks, the dense one included.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Side of a patch.
    pub patch_px: usize,
    /// Side of the square the tower reads; tiles are resized to it inside the model.
    pub input_px: usize,
    /// Side of the stored position table's grid.
    pub table_grid: usize,
    /// 0-based blocks whose outputs feed the decoder's two stages.
    pub taps: [usize; 2],
    /// Channels shared with the text tower, `E`.
    pub embed: usize,
}

/// The CLIP text tower (docs/network.md §5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextConfig {
    /// Channels of the residual stream.
    pub width: usize,
    /// Blocks.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Rows of the token table.
    pub vocab: usize,
    /// Longest token sequence, start and end marks included.
    pub context: usize,
    /// Channels of the output, `E`.
    pub embed: usize,
}

/// Which DINO the two towers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DinoKind {
    /// Learned position table, one prefix token (docs/network.md §6).
    V1,
    /// Rotary positions, layer scale, five prefix tokens (docs/network.md §7).
    V3,
}

/// A DINO tower (docs/network.md §6, §7).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DinoConfig {
    /// Version.
    pub kind: DinoKind,
    /// Channels of the residual stream.
    pub width: usize,
    /// Blocks.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Side of a patch.
    pub patch_px: usize,
    /// Side of the stored position table's grid (V1 only).
    pub table_grid: usize,
    /// 0-based blocks whose normalised outputs are used.
    pub taps: [usize; 3],
}

/// Correlation, aggregator and decoder (docs/network.md §8 to §11).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadConfig {
    /// Channels of the cost volume.
    pub hidden: usize,
    /// Aggregator layers.
    pub layers: usize,
    /// Heads of window and class attention.
    pub heads: usize,
    /// Channels of the projected appearance guidance.
    pub appearance_guidance: usize,
    /// Channels of the projected text guidance.
    pub text_guidance: usize,
    /// Channels of the decoder guidance as the towers give it, coarse then fine.
    pub decoder_guidance: [usize; 2],
    /// The same after projection.
    pub projected_guidance: [usize; 2],
    /// Channels of the convolutions that add what the pixels themselves show to the fine guidance.
    /// `None` in the released models, whose fine guidance comes from tokens alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel_guidance: Option<usize>,
    /// Channels of the pixels' own embeddings, whose cosines with text are added to the logits.
    /// `None` in the released models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel_embed: Option<usize>,
    /// Channels of the pixels' towers at an eighth of the resolution, where they reach that far down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel_deep: Option<usize>,
    /// Channels of the decoder's two stages.
    pub decoder: [usize; 2],
    /// Groups of each decoder stage's group norms.
    pub groups: [usize; 2],
    /// Length the class axis is padded to in class attention.
    pub class_pad: usize,
    /// Side of the feature grid.
    pub grid: usize,
    /// Side of an attention window.
    pub window: usize,
}

impl ModelConfig {
    /// The released B: CLIP ViT-B/16 and two DINO ViT-B/8 (docs/network.md §2).
    #[must_use]
    pub fn b() -> Self {
        Self {
            variant: "B".into(),
            input_px: 384,
            radiometry: Radiometry::AsIs,
            clip: ClipVisualConfig {
                width: 768,
                layers: 12,
                heads: 12,
                patch_px: 16,
                input_px: 384,
                table_grid: 14,
                taps: [3, 7],
                embed: 512,
            },
            text: TextConfig {
                width: 512,
                layers: 12,
                heads: 8,
                vocab: 49408,
                context: 77,
                embed: 512,
            },
            dino: DinoConfig {
                kind: DinoKind::V1,
                width: 768,
                layers: 12,
                heads: 12,
                patch_px: 8,
                table_grid: 28,
                taps: [3, 7, 11],
            },
            head: HeadConfig::released(),
        }
    }

    /// The released L: CLIP ViT-L/14@336 and two DINOv3 ViT-L/16 (docs/network.md §2).
    #[must_use]
    pub fn l() -> Self {
        Self {
            variant: "L".into(),
            input_px: 384,
            radiometry: Radiometry::AsIs,
            clip: ClipVisualConfig {
                width: 1024,
                layers: 24,
                heads: 16,
                patch_px: 14,
                input_px: 336,
                table_grid: 24,
                taps: [7, 15],
                embed: 768,
            },
            text: TextConfig {
                width: 768,
                layers: 12,
                heads: 12,
                vocab: 49408,
                context: 77,
                embed: 768,
            },
            dino: DinoConfig {
                kind: DinoKind::V3,
                width: 1024,
                layers: 24,
                heads: 16,
                patch_px: 16,
                table_grid: 0,
                taps: [7, 15, 23],
            },
            head: HeadConfig::released(),
        }
    }

    /// The default model, trained by this project on 192×192 tiles of about 10 m.
    ///
    /// Patch 8 gives the 24×24 grid of the released models at a quarter of their area, so head,
    /// windows and projections keep the L kind of geometry.
    #[must_use]
    pub fn nano() -> Self {
        Self {
            variant: "nano".into(),
            input_px: 192,
            radiometry: Radiometry::Robust,
            clip: ClipVisualConfig {
                width: 96,
                layers: 5,
                heads: 3,
                patch_px: 8,
                input_px: 192,
                table_grid: 24,
                taps: [1, 3],
                embed: 128,
            },
            text: TextConfig {
                width: 192,
                layers: 4,
                heads: 3,
                vocab: 22_528,
                context: 32,
                embed: 128,
            },
            dino: DinoConfig {
                kind: DinoKind::V1,
                width: 96,
                layers: 5,
                heads: 3,
                patch_px: 8,
                table_grid: 24,
                taps: [1, 3, 4],
            },
            head: HeadConfig {
                hidden: 32,
                layers: 2,
                heads: 4,
                appearance_guidance: 32,
                text_guidance: 32,
                decoder_guidance: [64, 32],
                projected_guidance: [16, 8],
                // Roads and banks are narrower than a patch, and small towers do not keep them.
                pixel_guidance: Some(16),
                pixel_embed: Some(32),
                pixel_deep: Some(128),
                decoder: [32, 16],
                groups: [2, 1],
                class_pad: 256,
                grid: 24,
                window: 12,
            },
        }
    }

    /// Side of the DINO feature grid.
    #[must_use]
    pub fn dino_grid(&self) -> usize {
        self.input_px / self.dino.patch_px
    }

    /// Checks what the code takes for granted.
    ///
    /// # Errors
    /// One line that names the first size that does not fit.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let fail = |what: &str| Err(ConfigError(what.to_owned()));
        let head = &self.head;
        if self.clip.patch_px == 0 || self.dino.patch_px == 0 || self.input_px == 0 {
            return fail("patch and input sizes must be positive");
        }
        if self.clip.input_px != head.grid * self.clip.patch_px {
            return fail("CLIP input is not grid × patch");
        }
        let ratio = self.input_px / self.dino.patch_px;
        if !self.input_px.is_multiple_of(self.dino.patch_px)
            || (ratio != head.grid && ratio != 2 * head.grid)
        {
            return fail("the DINO grid must be once or twice the feature grid");
        }
        if head.window == 0 || head.grid != 2 * head.window {
            return fail("the feature grid must be two windows wide");
        }
        for width in [head.pixel_guidance, head.pixel_embed]
            .into_iter()
            .flatten()
        {
            if width == 0 || self.input_px != 8 * head.grid {
                return fail("reading pixels needs an input of eight times the feature grid");
            }
        }
        let groups = crate::pixels::GROUPS;
        if head.pixel_embed.is_some() && !head.decoder_guidance[1].is_multiple_of(groups) {
            return fail(
                "the fine guidance's width must be a multiple of the pixel towers' norm groups",
            );
        }
        if head
            .pixel_deep
            .is_some_and(|width| width == 0 || !width.is_multiple_of(groups))
        {
            return fail("the pixel towers' deepest width must be a multiple of their norm groups");
        }
        for (name, width, heads) in [
            ("CLIP visual", self.clip.width, self.clip.heads),
            ("text", self.text.width, self.text.heads),
            ("DINO", self.dino.width, self.dino.heads),
            ("head", head.hidden, head.heads),
        ] {
            if heads == 0 || !width.is_multiple_of(heads) {
                return fail(&format!("{name} width is not a multiple of its heads"));
            }
        }
        if self.clip.layers < 2 || self.clip.taps.iter().any(|&t| t + 1 >= self.clip.layers) {
            return fail("CLIP taps must lie before its last block");
        }
        if self.dino.taps.iter().any(|&t| t >= self.dino.layers) {
            return fail("DINO taps must lie inside the tower");
        }
        if self.text.embed != self.clip.embed {
            return fail("text and visual towers must share their embedding width");
        }
        for stage in 0..2 {
            let from = if stage == 0 {
                head.hidden
            } else {
                head.decoder[0]
            };
            if from <= head.projected_guidance[stage] {
                return fail("decoder guidance is wider than what it guides");
            }
            if head.groups[stage] == 0 || !head.decoder[stage].is_multiple_of(head.groups[stage]) {
                return fail("decoder width is not a multiple of its groups");
            }
        }
        Ok(())
    }
}

impl HeadConfig {
    /// The head of both released variants.
    #[must_use]
    pub fn released() -> Self {
        Self {
            hidden: 128,
            layers: 2,
            heads: 4,
            appearance_guidance: 128,
            text_guidance: 128,
            decoder_guidance: [256, 128],
            projected_guidance: [32, 16],
            pixel_guidance: None,
            pixel_embed: None,
            pixel_deep: None,
            decoder: [64, 32],
            groups: [4, 2],
            class_pad: 256,
            grid: 24,
            window: 12,
        }
    }
}

/// A configuration that no network can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the model's architecture does not fit together: {0}; the package is damaged or from a newer version"
)]
pub struct ConfigError(String);

impl ModelConfig {
    /// Reads the sizes off a checkpoint's tensors (docs/network.md §13): `shape(name)` gives the shape of an
    /// entry, or `None` when the checkpoint lacks it.
    ///
    /// Heads are not in any shape. Released towers have heads of 64 channels; towers narrower than
    /// 128, which only test checkpoints have, are taken to have two. Taps follow the kind.
    ///
    /// # Errors
    /// When an entry that tells a size is missing or has the wrong rank, or the sizes do not fit.
    pub fn from_shapes(shape: impl Fn(&str) -> Option<Vec<usize>>) -> Result<Self, ConfigError> {
        const CLIP: &str = "sem_seg_head.predictor.clip_model.";
        const HEAD: &str = "sem_seg_head.predictor.transformer.";
        let dim = |name: String, axis: usize| {
            shape(&name)
                .and_then(|s| s.get(axis).copied())
                .ok_or_else(|| ConfigError(format!("the checkpoint has no usable tensor {name}")))
        };
        let clip = |name: &str, axis: usize| dim(format!("{CLIP}{name}"), axis);
        let head = |name: &str, axis: usize| dim(format!("{HEAD}{name}"), axis);
        let count = |prefix: &str, leaf: &str| {
            (0..)
                .take_while(|i| shape(&format!("{prefix}{i}.{leaf}")).is_some())
                .count()
        };
        let side = |rows: usize| ((rows.saturating_sub(1)) as f64).sqrt().round() as usize;
        let heads = |width: usize| if width < 128 { 2 } else { width / 64 };

        let kind = if shape("dino_model.storage_tokens").is_some() {
            DinoKind::V3
        } else {
            DinoKind::V1
        };
        let dino_width = dim("dino_model.cls_token".into(), 2)?;
        let dino_layers = count("dino_model.blocks.", "norm1.weight");
        let dino_patch = dim("dino_model.patch_embed.proj.weight".into(), 2)?;
        let (table_grid, dino_heads) = match kind {
            DinoKind::V1 => (
                side(dim("dino_model.pos_embed".into(), 1)?),
                heads(dino_width),
            ),
            DinoKind::V3 => {
                let periods = dim("dino_model.rope_embed.periods".into(), 0)?;
                (0, dino_width / (4 * periods).max(1))
            }
        };
        let (clip_taps, dino_taps) = match kind {
            DinoKind::V1 => ([3, 7], [3, 7]),
            DinoKind::V3 => ([7, 15], [7, 15]),
        };
        let clip_width = clip("visual.class_embedding", 0)?;
        let clip_patch = clip("visual.conv1.weight", 2)?;
        let text_width = clip("ln_final.weight", 0)?;
        let embed = clip("text_projection", 1)?;
        let window = 12;
        let grid = 2 * window;
        let ratio = if dim("dino_decod_proj1.weight".into(), 2)? == 1 {
            2
        } else {
            1
        };
        let hidden = head("conv1.weight", 0)?;
        let decoder = [
            head("Fusiondecoder1.conv.double_conv.3.weight", 0)?,
            head("Fusiondecoder2.conv.double_conv.3.weight", 0)?,
        ];
        let config = Self {
            variant: match kind {
                DinoKind::V1 => "B".into(),
                DinoKind::V3 => "L".into(),
            },
            input_px: grid * ratio * dino_patch,
            radiometry: Radiometry::AsIs,
            clip: ClipVisualConfig {
                width: clip_width,
                layers: count(
                    &format!("{CLIP}visual.transformer.resblocks."),
                    "ln_1.weight",
                ),
                heads: heads(clip_width),
                patch_px: clip_patch,
                input_px: grid * clip_patch,
                table_grid: side(clip("visual.positional_embedding", 0)?),
                taps: clip_taps,
                embed,
            },
            text: TextConfig {
                width: text_width,
                layers: count(&format!("{CLIP}transformer.resblocks."), "ln_1.weight"),
                heads: heads(text_width),
                vocab: clip("token_embedding.weight", 0)?,
                context: clip("positional_embedding", 0)?,
                embed,
            },
            dino: DinoConfig {
                kind,
                width: dino_width,
                layers: dino_layers,
                heads: dino_heads,
                patch_px: dino_patch,
                table_grid,
                taps: [dino_taps[0], dino_taps[1], dino_layers.saturating_sub(1)],
            },
            head: HeadConfig {
                hidden,
                layers: count(&format!("{HEAD}layers."), "swin_block.guidance_norm.weight"),
                heads: 4,
                appearance_guidance: head("guidance_projection.0.weight", 0)?,
                text_guidance: head("text_guidance_projection.0.weight", 0)?,
                decoder_guidance: [
                    head("CLIP_decoder_guidance_projection.0.0.weight", 1)?,
                    head("CLIP_decoder_guidance_projection.1.0.weight", 1)?,
                ],
                projected_guidance: [
                    head("CLIP_decoder_guidance_projection.0.0.weight", 0)?,
                    head("CLIP_decoder_guidance_projection.1.0.weight", 0)?,
                ],
                pixel_guidance: None,
                pixel_embed: None,
                pixel_deep: None,
                decoder,
                // The authors' group norms hold sixteen channels a group.
                groups: decoder.map(|c| (c / 16).max(1)),
                class_pad: 256,
                grid,
                window,
            },
        };
        config.validate()?;
        Ok(config)
    }
}
