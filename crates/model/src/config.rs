//! Every size of the network in one value, stored in the package beside the weights.

use mmovseg_types::{EncoderId, Sensor};
use serde::{Deserialize, Serialize};

/// The sizes of one network (docs/network.md §2), stored in the package beside the weights.
///
/// Packages written before encoders were a list name a `clip` and a `dino` instead; they are read
/// as the list that they mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct ModelConfig {
    /// Name of the variant: `B`, `L`, `nano`, `CAT-Seg B`.
    pub variant: String,
    /// Side of the square that preprocessing makes of the tiles.
    pub input_px: usize,
    /// How 8-bit tiles are brought to a common radiometry before they are normalised.
    pub radiometry: Radiometry,
    /// What reads tiles, in the order of a run. One of them is a CLIP tower.
    pub encoders: Vec<EncoderConfig>,
    /// The CLIP text tower.
    pub text: TextConfig,
    /// Correlation, aggregator and decoder.
    pub head: HeadConfig,
}

/// Which network an encoder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// CLIP's visual tower in dense mode; its features lie in the space of the text
    /// (docs/network.md §4).
    ClipVit,
    /// Learned position table, one prefix token (docs/network.md §6).
    DinoV1,
    /// Rotary positions, layer scale, five prefix tokens (docs/network.md §7).
    DinoV3,
}

/// One encoder and what leads from its taps to the head (docs/network.md §4, §6, §7).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EncoderConfig {
    /// Its name.
    pub id: EncoderId,
    /// Which network it is.
    pub architecture: Architecture,
    /// The tile that it reads.
    pub sensor: Sensor,
    /// Channels of the residual stream.
    pub width: usize,
    /// Blocks.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Side of a patch.
    pub patch_px: usize,
    /// Side of the square the tower reads; tiles are resized to it inside the model.
    pub input_px: usize,
    /// Side of the stored position table's grid; 0 for rotary positions.
    pub table_grid: usize,
    /// 0-based blocks whose outputs are used: the coarse and the fine guidance's, then, for a
    /// DINO, the one that is compared with text.
    pub taps: Vec<usize>,
    /// Prefix of the tower's parameters in a checkpoint, with its final period.
    pub prefix: String,
    /// What leads from the taps to the head.
    pub projections: Projections,
}

/// Names of the parameters between an encoder's taps and the head, each without its final period.
/// Their shapes follow from the grids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Projections {
    /// From the deepest tap to the text's space; `None` where the tower itself ends there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding: Option<String>,
    /// To the guidance of the first decoder stage.
    pub coarse: String,
    /// To the guidance of the second decoder stage.
    pub fine: String,
    /// What the pixels add to the fine guidance, in models with [`HeadConfig::pixel_guidance`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel_guidance: Option<String>,
    /// The tower of the pixels' own embeddings, in models with [`HeadConfig::pixel_embed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel_tower: Option<String>,
}

impl EncoderConfig {
    /// Side of the grid of its patches.
    #[must_use]
    pub fn grid(&self) -> usize {
        self.input_px / self.patch_px.max(1)
    }

    /// How the names of its parameters begin: the tower's, then each projection's. Encoders of one
    /// model have the same places in the same order.
    #[must_use]
    pub fn prefixes(&self) -> Vec<String> {
        let names = &self.projections;
        let projections = [
            names.embedding.as_ref(),
            Some(&names.coarse),
            Some(&names.fine),
            names.pixel_guidance.as_ref(),
            names.pixel_tower.as_ref(),
        ];
        let projections = projections.into_iter().flatten();
        std::iter::once(self.prefix.clone())
            .chain(projections.map(|name| format!("{name}.")))
            .collect()
    }

    /// Whether it is a CLIP tower, whose features lie in the space of the text by themselves.
    #[must_use]
    pub fn is_clip(&self) -> bool {
        self.architecture == Architecture::ClipVit
    }
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
    /// Channels of the decoder guidance after projection, coarse then fine.
    pub projected_guidance: [usize; 2],
    /// Channels of the convolutions that add what the pixels themselves show to the fine guidance.
    /// `None` in the released models, whose fine guidance comes from tokens alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel_guidance: Option<usize>,
    /// Channels of the pixels' own embeddings, whose cosines with text are added to the logits.
    /// `None` in the released models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel_embed: Option<usize>,
    /// Channels of the pixels' towers at an eighth of the resolution, where they reach that far
    /// down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel_deep: Option<usize>,
    /// Channels of the decoder's two stages.
    pub decoder: [usize; 2],
    /// Groups of each decoder stage's group norms.
    pub groups: [usize; 2],
    /// Length the class axis is padded to in class attention.
    pub class_pad: usize,
    /// Cells along each axis that class attention pools before classes see one another, 1 or 2. No
    /// weight depends on it: CAT-Seg and GSNet are trained with 2 and evaluated with 1.
    #[serde(default = "released_class_pool")]
    pub class_pool: usize,
    /// How many classes the head reads at most: CAT-Seg takes the 256 that look most like some
    /// cell. `None` in the other networks, which read all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_classes: Option<usize>,
    /// Side of the feature grid.
    pub grid: usize,
    /// Side of an attention window.
    pub window: usize,
}

impl ModelConfig {
    /// The released B: CLIP ViT-B/16 and two DINO ViT-B/8 (docs/network.md §2).
    #[must_use]
    pub fn b() -> Self {
        let dino = Vit {
            width: 768,
            layers: 12,
            heads: 12,
            patch_px: 8,
            input_px: 384,
            table_grid: 28,
        };
        Self {
            variant: "B".into(),
            input_px: 384,
            radiometry: Radiometry::AsIs,
            encoders: vec![
                EncoderConfig::clip(
                    &Vit {
                        patch_px: 16,
                        table_grid: 14,
                        ..dino
                    },
                    [3, 7],
                ),
                EncoderConfig::dino(Architecture::DinoV1, Sensor::Optical, &dino, [3, 7, 11]),
                EncoderConfig::dino(Architecture::DinoV1, Sensor::Sar, &dino, [3, 7, 11]),
            ],
            text: TextConfig {
                width: 512,
                layers: 12,
                heads: 8,
                vocab: 49408,
                context: 77,
                embed: 512,
            },
            head: HeadConfig::released(),
        }
    }

    /// The released L: CLIP ViT-L/14@336 and two DINOv3 ViT-L/16 (docs/network.md §2).
    #[must_use]
    pub fn l() -> Self {
        let dino = Vit {
            width: 1024,
            layers: 24,
            heads: 16,
            patch_px: 16,
            input_px: 384,
            table_grid: 0,
        };
        Self {
            variant: "L".into(),
            input_px: 384,
            radiometry: Radiometry::AsIs,
            encoders: vec![
                EncoderConfig::clip(
                    &Vit {
                        patch_px: 14,
                        input_px: 336,
                        table_grid: 24,
                        ..dino
                    },
                    [7, 15],
                ),
                EncoderConfig::dino(Architecture::DinoV3, Sensor::Optical, &dino, [7, 15, 23]),
                EncoderConfig::dino(Architecture::DinoV3, Sensor::Sar, &dino, [7, 15, 23]),
            ],
            text: TextConfig {
                width: 768,
                layers: 12,
                heads: 12,
                vocab: 49408,
                context: 77,
                embed: 768,
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
        let tower = Vit {
            width: 96,
            layers: 5,
            heads: 3,
            patch_px: 8,
            input_px: 192,
            table_grid: 24,
        };
        Self {
            variant: "nano".into(),
            input_px: 192,
            radiometry: Radiometry::Robust,
            encoders: vec![
                EncoderConfig::clip(&tower, [1, 3]),
                EncoderConfig::dino(Architecture::DinoV1, Sensor::Optical, &tower, [1, 3, 4]),
                EncoderConfig::dino(Architecture::DinoV1, Sensor::Sar, &tower, [1, 3, 4]),
            ],
            text: TextConfig {
                width: 192,
                layers: 4,
                heads: 3,
                vocab: 22_528,
                context: 32,
                embed: 128,
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
                class_pool: released_class_pool(),
                max_classes: None,
                grid: 24,
                window: 12,
            },
        }
    }

    /// The encoder of this name.
    #[must_use]
    pub fn encoder(&self, id: &str) -> Option<&EncoderConfig> {
        self.encoders.iter().find(|e| e.id.as_str() == id)
    }

    /// The CLIP tower. [`ModelConfig::validate`] makes sure that there is one.
    #[must_use]
    pub fn clip(&self) -> Option<&EncoderConfig> {
        self.encoders.iter().find(|e| e.is_clip())
    }

    /// The encoders beside CLIP, whose features are summed.
    pub fn dense(&self) -> impl Iterator<Item = &EncoderConfig> {
        self.encoders.iter().filter(|e| !e.is_clip())
    }

    /// Whether some encoder reads tiles of this sensor.
    #[must_use]
    pub fn uses(&self, sensor: Sensor) -> bool {
        self.encoders.iter().any(|e| e.sensor == sensor)
    }

    /// Checks what the code takes for granted.
    ///
    /// # Errors
    /// One line that names the first size that does not fit.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let fail = |what: &str| Err(ConfigError(what.to_owned()));
        let head = &self.head;
        let is_clip = self.encoders.iter().filter(|e| e.is_clip()).count();
        if is_clip != 1 {
            return fail("exactly one encoder must be a CLIP tower");
        }
        if self.input_px == 0 || self.encoders.iter().any(|e| e.patch_px == 0) {
            return fail("patch and input sizes must be positive");
        }
        for (i, encoder) in self.encoders.iter().enumerate() {
            if self.encoders[..i].iter().any(|e| e.id == encoder.id) {
                return fail("two encoders have one name");
            }
            self.validate_encoder(encoder)?;
        }
        if head.window == 0 || head.grid != 2 * head.window {
            return fail("the feature grid must be two windows wide");
        }
        if ![1, 2].contains(&head.class_pool) {
            return fail("class attention pools one or two cells");
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
            ("text", self.text.width, self.text.heads),
            ("head", head.hidden, head.heads),
        ] {
            if heads == 0 || !width.is_multiple_of(heads) {
                return fail(&format!("{name} width is not a multiple of its heads"));
            }
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

    fn validate_encoder(&self, encoder: &EncoderConfig) -> Result<(), ConfigError> {
        let id = encoder.id.as_str();
        let fail = |what: &str| Err(ConfigError(format!("{id}: {what}")));
        let (grid, own) = (self.head.grid, encoder.grid());
        if encoder.heads == 0 || !encoder.width.is_multiple_of(encoder.heads) {
            return fail("its width is not a multiple of its heads");
        }
        if encoder.input_px != own * encoder.patch_px {
            return fail("its input is not grid × patch");
        }
        if encoder.is_clip() {
            if own != grid {
                return fail("its grid must be the feature grid");
            }
            let last = encoder.layers.saturating_sub(1);
            if encoder.taps.len() != 2 || encoder.taps.iter().any(|&t| t >= last) {
                return fail("it needs two taps before its last block");
            }
        } else {
            if encoder.input_px != self.input_px {
                return fail("it must read the tiles as they are fitted");
            }
            if own != grid && own != 2 * grid {
                return fail("its grid must be once or twice the feature grid");
            }
            if encoder.taps.len() != 3 || encoder.taps.iter().any(|&t| t >= encoder.layers) {
                return fail("it needs three taps inside the tower");
            }
            if encoder.projections.embedding.is_none() {
                return fail("it needs a projection to the text's space");
            }
        }
        let named = &encoder.projections;
        let pixels = [
            (self.head.pixel_guidance, &named.pixel_guidance, true),
            (
                self.head.pixel_embed,
                &named.pixel_tower,
                !encoder.is_clip(),
            ),
        ];
        if pixels
            .iter()
            .any(|(width, name, wanted)| *wanted && width.is_some() && name.is_none())
        {
            return fail("its parameters that read pixels have no name");
        }
        Ok(())
    }
}

/// Sizes of a transformer over patches.
#[derive(Clone, Copy)]
pub(crate) struct Vit {
    pub width: usize,
    pub layers: usize,
    pub heads: usize,
    pub patch_px: usize,
    pub input_px: usize,
    pub table_grid: usize,
}

impl EncoderConfig {
    /// CLIP's visual tower over the optical tile, with the released names.
    pub(crate) fn clip(vit: &Vit, taps: [usize; 2]) -> Self {
        Self::new(
            EncoderId::CLIP,
            (Architecture::ClipVit, Sensor::Optical),
            vit,
            &taps,
            "sem_seg_head.predictor.clip_model.visual.",
            Projections {
                embedding: None,
                coarse: "upsample1".into(),
                fine: "upsample2".into(),
                pixel_guidance: Some("upsample2_pixels".into()),
                pixel_tower: None,
            },
        )
    }

    /// A DINO with the released names.
    pub(crate) fn dino(
        architecture: Architecture,
        sensor: Sensor,
        vit: &Vit,
        taps: [usize; 3],
    ) -> Self {
        let (id, stem) = match sensor {
            Sensor::Optical => (EncoderId::DINO_OPTICAL, "dino_"),
            Sensor::Sar => (EncoderId::DINO_SAR, "dino_sar"),
        };
        let name = |part: &str| format!("{stem}{part}");
        Self::new(
            id,
            (architecture, sensor),
            vit,
            &taps,
            &name("model."),
            Projections {
                embedding: Some(name("down_sample")),
                coarse: name("decod_proj1"),
                fine: name("decod_proj2"),
                pixel_guidance: Some(name("decod_pixels")),
                pixel_tower: Some(name("pixel_tower")),
            },
        )
    }

    fn new(
        id: &str,
        (architecture, sensor): (Architecture, Sensor),
        vit: &Vit,
        taps: &[usize],
        prefix: &str,
        projections: Projections,
    ) -> Self {
        Self {
            id: id.into(),
            architecture,
            sensor,
            width: vit.width,
            layers: vit.layers,
            heads: vit.heads,
            patch_px: vit.patch_px,
            input_px: vit.input_px,
            table_grid: vit.table_grid,
            taps: taps.to_vec(),
            prefix: prefix.into(),
            projections,
        }
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
            class_pool: released_class_pool(),
            max_classes: None,
            grid: 24,
            window: 12,
        }
    }
}

/// Class pooling of MM-OVSeg, and of packages that do not say.
fn released_class_pool() -> usize {
    2
}

/// A configuration that no network can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the model's architecture does not fit together: {0}; the package is damaged or from a newer version"
)]
pub struct ConfigError(pub(crate) String);

/// What a package holds: a list of encoders, or what packages held before there was one.
#[derive(Deserialize)]
struct Stored {
    variant: String,
    input_px: usize,
    radiometry: Radiometry,
    encoders: Option<Vec<EncoderConfig>>,
    clip: Option<StoredClip>,
    dino: Option<StoredDino>,
    text: TextConfig,
    head: HeadConfig,
}

/// CLIP's visual tower before encoders were a list.
#[derive(Deserialize)]
struct StoredClip {
    width: usize,
    layers: usize,
    heads: usize,
    patch_px: usize,
    input_px: usize,
    table_grid: usize,
    taps: [usize; 2],
}

/// Both DINOs before encoders were a list.
#[derive(Deserialize)]
struct StoredDino {
    kind: StoredKind,
    width: usize,
    layers: usize,
    heads: usize,
    patch_px: usize,
    table_grid: usize,
    taps: [usize; 3],
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredKind {
    V1,
    V3,
}

impl TryFrom<Stored> for ModelConfig {
    type Error = ConfigError;

    fn try_from(stored: Stored) -> Result<Self, ConfigError> {
        let encoders = match (stored.encoders, stored.clip, stored.dino) {
            (Some(encoders), None, None) => encoders,
            (None, Some(clip), Some(dino)) => {
                let architecture = match dino.kind {
                    StoredKind::V1 => Architecture::DinoV1,
                    StoredKind::V3 => Architecture::DinoV3,
                };
                let tower = Vit {
                    width: dino.width,
                    layers: dino.layers,
                    heads: dino.heads,
                    patch_px: dino.patch_px,
                    input_px: stored.input_px,
                    table_grid: dino.table_grid,
                };
                let visual = Vit {
                    width: clip.width,
                    layers: clip.layers,
                    heads: clip.heads,
                    patch_px: clip.patch_px,
                    input_px: clip.input_px,
                    table_grid: clip.table_grid,
                };
                vec![
                    EncoderConfig::clip(&visual, clip.taps),
                    EncoderConfig::dino(architecture, Sensor::Optical, &tower, dino.taps),
                    EncoderConfig::dino(architecture, Sensor::Sar, &tower, dino.taps),
                ]
            }
            _ => return Err(ConfigError("it has no list of encoders".into())),
        };
        Ok(Self {
            variant: stored.variant,
            input_px: stored.input_px,
            radiometry: stored.radiometry,
            encoders,
            text: stored.text,
            head: stored.head,
        })
    }
}
