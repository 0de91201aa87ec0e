//! The whole network, stage by stage, so that a caller can cache what does not change: features
//! per tile pair, text per class name, the head alone when a class is added (docs/network.md §1, §2.1).

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};

use crate::clip_text::TextTower;
use crate::clip_visual::ClipVisual;
use crate::config::ModelConfig;
use crate::dino::{Dino, DinoTaps};
use crate::head::Head;
pub use crate::head::{Ground, Volumes};
use crate::layers::{Upsample, bytes, constant, normal, to_map, tokens};
use crate::observe::{Observer, see};
use crate::pixels::{PixelGuidance, PixelHead, PixelTower};
use mmovseg_kernels::{self as kernels, Epilogue, SpinGuard};

/// Which tiles a run listens to.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
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

/// One of the six convolutions between a DINO tap and the head. Kernel and stride are equal;
/// whether it shrinks or enlarges follows from the variant (docs/network.md §6, §7).
#[derive(Module, Debug)]
struct Projection {
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
    enlarges: bool,
}

impl Projection {
    fn new(input: usize, output: usize, kernel: usize, enlarges: bool, device: &Device) -> Self {
        let std = (1.0 / (input * if enlarges { 1 } else { kernel * kernel }) as f64).sqrt();
        let shape = if enlarges {
            [input, output, kernel, kernel]
        } else {
            [output, input, kernel, kernel]
        };
        Self {
            weight: normal(shape, std, device),
            bias: constant([output], 0.0, device),
            enlarges,
        }
    }

    /// Row-major tokens `[N, g², W]` to a map `[N, out, g′, g′]`.
    fn forward(&self, x: Tensor<3>, grid: usize) -> Tensor<4> {
        if self.enlarges {
            return kernels::upsample(
                x,
                [grid; 2],
                self.weight.val(),
                self.bias.val(),
                Epilogue::None,
            );
        }
        let map = to_map(x, grid, grid);
        kernels::patch_map(
            map,
            self.weight.val(),
            Some(self.bias.val()),
            Epilogue::None,
        )
    }
}

/// What CLIP gives to the head.
#[derive(Clone)]
pub struct ClipMaps {
    /// Dense features, not normalised, `[N, g², E]`.
    pub dense: Tensor<3>,
    /// Guidance for the first decoder stage, `[N, 256, 2g, 2g]` (widths of the released models).
    pub coarse: Tensor<4>,
    /// Guidance for the second, `[N, 128, 4g, 4g]`.
    pub fine: Tensor<4>,
}

impl ClipMaps {
    /// Bytes of all maps.
    #[must_use]
    pub fn bytes(&self) -> usize {
        bytes(&self.dense) + bytes(&self.coarse) + bytes(&self.fine)
    }
}

/// What one DINO tower, or the sum of both, gives to the head.
#[derive(Clone)]
pub struct DinoMaps {
    /// Features for the correlation, `[N, E, g, g]`.
    pub down: Tensor<4>,
    /// Guidance for the first decoder stage, `[N, 256, 2g, 2g]`.
    pub coarse: Tensor<4>,
    /// Guidance for the second, `[N, 128, 4g, 4g]`.
    pub fine: Tensor<4>,
    /// Embeddings of the pixels, `[N, 16 g², P]`, where the model has them.
    pub pixels: Option<Tensor<3>>,
}

impl DinoMaps {
    /// Bytes of all maps.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let pixels = self.pixels.as_ref().map_or(0, bytes);
        bytes(&self.down) + bytes(&self.coarse) + bytes(&self.fine) + pixels
    }

    /// The fusion of the modalities: a plain sum (docs/network.md §6).
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            down: kernels::add(self.down, other.down),
            coarse: kernels::add(self.coarse, other.coarse),
            fine: kernels::add(self.fine, other.fine),
            pixels: self
                .pixels
                .zip(other.pixels)
                .map(|(a, b)| kernels::add(a, b)),
        }
    }

    /// All maps times `weight [N, 1, 1, 1]`: a sample without this tile has weight 0.
    #[must_use]
    pub fn weighted(self, weight: Tensor<4>) -> Self {
        let n = weight.dims()[0];
        Self {
            down: self.down * weight.clone(),
            coarse: self.coarse * weight.clone(),
            fine: self.fine * weight.clone(),
            pixels: self.pixels.map(|pixels| pixels * weight.reshape([n, 1, 1])),
        }
    }
}

#[derive(Module, Debug)]
struct Clip {
    visual: ClipVisual,
    text: TextTower,
}

/// The network.
#[derive(Module, Debug)]
pub struct MmOvSeg {
    dino_model: Dino,
    dino_sarmodel: Dino,
    dino_decod_proj1: Projection,
    dino_decod_proj2: Projection,
    dino_down_sample: Projection,
    dino_sardecod_proj1: Projection,
    dino_sardecod_proj2: Projection,
    dino_sardown_sample: Projection,
    upsample1: Upsample,
    upsample2: Upsample,
    upsample2_pixels: Option<PixelGuidance>,
    dino_decod_pixels: Option<PixelGuidance>,
    dino_sardecod_pixels: Option<PixelGuidance>,
    dino_pixel_tower: Option<PixelTower>,
    dino_sarpixel_tower: Option<PixelTower>,
    clip: Clip,
    fusion: Head,
    pixel_head: Option<PixelHead>,
    #[module(skip)]
    config: ModelConfig,
}

impl MmOvSeg {
    /// A network whose weights are drawn at random on first use. Nothing is allocated before a
    /// parameter is read or loaded.
    ///
    /// # Errors
    /// When the configuration does not fit together.
    pub fn new(config: &ModelConfig, device: &Device) -> Result<Self, crate::config::ConfigError> {
        config.validate()?;
        let head = &config.head;
        let [coarse, fine] = head.decoder_guidance;
        let embed = config.clip.embed;
        let ratio = config.dino_grid() / head.grid;
        let width = config.dino.width;
        // The DINO grid is once (L, nano) or twice (B) the feature grid; the maps the head wants
        // are g, 2g and 4g wide, so each projection shrinks, keeps or enlarges accordingly.
        let proj1 = || Projection::new(width, coarse, 2 / ratio, ratio == 1, device);
        let proj2 = || Projection::new(width, fine, 4 / ratio, true, device);
        let down = || Projection::new(width, embed, ratio, false, device);
        let pixels = || {
            head.pixel_guidance
                .map(|hidden| PixelGuidance::new(hidden, fine, device))
        };
        let tower = || {
            head.pixel_embed
                .map(|width| PixelTower::new(fine, width, head.pixel_deep, embed, device))
        };
        Ok(Self {
            dino_model: Dino::new(&config.dino, device),
            dino_sarmodel: Dino::new(&config.dino, device),
            dino_decod_proj1: proj1(),
            dino_decod_proj2: proj2(),
            dino_down_sample: down(),
            dino_sardecod_proj1: proj1(),
            dino_sardecod_proj2: proj2(),
            dino_sardown_sample: down(),
            upsample1: Upsample::new(config.clip.width, coarse, 2, device),
            upsample2: Upsample::new(config.clip.width, fine, 4, device),
            upsample2_pixels: pixels(),
            dino_decod_pixels: pixels(),
            dino_sardecod_pixels: pixels(),
            dino_pixel_tower: tower(),
            dino_sarpixel_tower: tower(),
            clip: Clip {
                visual: ClipVisual::new(&config.clip, device),
                text: TextTower::new(&config.text, device),
            },
            fusion: Head::new(config, device),
            pixel_head: head
                .pixel_embed
                .map(|width| PixelHead::new(embed, width, device)),
            config: config.clone(),
        })
    }

    /// The sizes this network was made with.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Prompts (`SOT + ids + EOT` each) to unit vectors `[T, E]`.
    pub fn encode_text(&self, prompts: &[Vec<u32>], observer: &mut dyn Observer) -> Tensor<2> {
        self.clip.text.forward(prompts, observer)
    }

    /// The text tower, for training it alone.
    #[must_use]
    pub fn text_tower(&self) -> &TextTower {
        &self.clip.text
    }

    /// Normalised optical pixels `[N, 3, S, S]` through CLIP.
    pub fn encode_clip(&self, pixels: Tensor<4>, observer: &mut dyn Observer) -> ClipMaps {
        let _spinning = SpinGuard::new(&pixels.device());
        let grid = self.config.head.grid;
        let features = self.clip.visual.forward(pixels.clone(), None, observer);
        let [tap_a, tap_b] = features.taps;
        let coarse = self.upsample1.forward_tokens(tap_a, grid, grid);
        see(observer, "proj.upsample1", &coarse);
        let fine = self.upsample2.forward_tokens(tap_b, grid, grid);
        see(observer, "proj.upsample2", &fine);
        let fine = PixelGuidance::add(self.upsample2_pixels.as_ref(), fine, pixels);
        ClipMaps {
            dense: features.dense,
            coarse,
            fine,
        }
    }

    /// The taps of the optical DINO (`sar == false`) or the SAR DINO, `[N, g², W]` each, after
    /// the final norm: what the cross-modal unification of stage 1 compares.
    pub fn dino_taps(&self, pixels: Tensor<4>, sar: bool, observer: &mut dyn Observer) -> DinoTaps {
        if sar {
            self.dino_sarmodel
                .forward(pixels, None, "dino_sar", observer)
        } else {
            self.dino_model.forward(pixels, None, "dino_rgb", observer)
        }
    }

    /// What CLIP and the optical DINO compare with text, `[N, k², E]` each, where they read a square of
    /// `k × k` patches only: `keep` names them row by row. For teaching towers with position tables many
    /// tiles in little time (after Li et al., "Scaling language-image pre-training via masking", 2023).
    pub fn thinned_embeddings(
        &self,
        pixels: Tensor<4>,
        keep: Tensor<1, Int>,
        observer: &mut dyn Observer,
    ) -> [Tensor<3>; 2] {
        let side = keep.dims()[0].isqrt();
        let (visual, dino) = (&self.clip.visual, &self.dino_model);
        let clip = visual.forward(pixels.clone(), Some(keep.clone()), observer);
        let [_, _, deepest] = dino.forward(pixels, Some(keep), "dino_rgb", observer);
        let map = self.dino_down_sample.forward(deepest, side);
        [clip.dense, tokens(map)]
    }

    /// Normalised pixels `[N, 3, S, S]` through the optical or the SAR DINO and its projections.
    pub fn encode_dino(
        &self,
        pixels: Tensor<4>,
        sar: bool,
        observer: &mut dyn Observer,
    ) -> DinoMaps {
        let _spinning = SpinGuard::new(&pixels.device());
        let taps = self.dino_taps(pixels.clone(), sar, observer);
        let mut maps = self.project_dino(taps, sar, observer);
        let (guidance, tower) = if sar {
            (&self.dino_sardecod_pixels, &self.dino_sarpixel_tower)
        } else {
            (&self.dino_decod_pixels, &self.dino_pixel_tower)
        };
        maps.fine = PixelGuidance::add(guidance.as_ref(), maps.fine, pixels.clone());
        maps.pixels = tower
            .as_ref()
            .map(|tower| tower.forward(pixels, maps.fine.clone(), maps.down.clone()));
        maps
    }

    /// Deepest tap of one DINO, `[N, g², W]`, as what the correlation compares with text,
    /// `[N, g², E]` on the feature grid.
    pub fn dino_embedding(&self, deepest: Tensor<3>, sar: bool) -> Tensor<3> {
        let down = if sar {
            &self.dino_sardown_sample
        } else {
            &self.dino_down_sample
        };
        tokens(down.forward(deepest, self.config.dino_grid()))
    }

    /// Taps of one DINO through its three projections.
    fn project_dino(&self, taps: DinoTaps, sar: bool, observer: &mut dyn Observer) -> DinoMaps {
        let grid = self.config.dino_grid();
        let (proj1, proj2, down, name) = if sar {
            (
                &self.dino_sardecod_proj1,
                &self.dino_sardecod_proj2,
                &self.dino_sardown_sample,
                "sar",
            )
        } else {
            (
                &self.dino_decod_proj1,
                &self.dino_decod_proj2,
                &self.dino_down_sample,
                "",
            )
        };
        let [first, second, third] = taps;
        let maps = DinoMaps {
            down: down.forward(third, grid),
            coarse: proj1.forward(first, grid),
            fine: proj2.forward(second, grid),
            pixels: None,
        };
        see(
            observer,
            &format!("proj.dino_{name}down_sample"),
            &maps.down,
        );
        see(
            observer,
            &format!("proj.dino_{name}decod_proj1"),
            &maps.coarse,
        );
        see(
            observer,
            &format!("proj.dino_{name}decod_proj2"),
            &maps.fine,
        );
        maps
    }

    /// Cosines of text `[T, E]` with the pixels' own embeddings, `[N, T, 16 g²]`, where the model has
    /// them.
    pub fn pixel_cosine(&self, dino: &DinoMaps, text: Tensor<2>) -> Option<Tensor<3>> {
        let head = self.pixel_head.as_ref()?;
        Some(head.cosine(dino.pixels.clone()?, text))
    }

    /// What the head makes of features before it hears a word.
    pub fn ground(&self, clip: &ClipMaps, dino: &DinoMaps, observer: &mut dyn Observer) -> Ground {
        let _spinning = SpinGuard::new(&clip.dense.device());
        self.fusion.ground(clip, dino, observer)
    }

    /// What the head makes of each class before the classes see one another, for text `[T, E]`.
    pub fn volumes(
        &self,
        ground: &Ground,
        text: Tensor<2>,
        observer: &mut dyn Observer,
    ) -> Volumes {
        let _spinning = SpinGuard::new(&text.device());
        let by_pixels = self.pixel_head.as_ref().zip(ground.pixels.clone());
        Volumes {
            cells: self.fusion.volumes(ground, text.clone(), observer),
            pixels: by_pixels.map(|(head, pixels)| head.logits(head.unit_cosine(pixels, text))),
        }
    }

    /// The rest of the head, for text `[T, E]` and the volumes of the same classes: logits `[N, T, 4g, 4g]`.
    pub fn decode(
        &self,
        ground: &Ground,
        volumes: Volumes,
        text: Tensor<2>,
        observer: &mut dyn Observer,
    ) -> Tensor<4> {
        let _spinning = SpinGuard::new(&text.device());
        let logits = self.fusion.decode(ground, volumes.cells, text, observer);
        let logits = match volumes.pixels {
            Some(more) => {
                let shape = logits.dims();
                kernels::add(logits, more.reshape(shape))
            }
            None => logits,
        };
        see(observer, "logits", &logits);
        logits
    }

    /// Features and text `[T, E]` to logits `[N, T, 4g, 4g]`: [`MmOvSeg::ground`], [`MmOvSeg::volumes`] and
    /// [`MmOvSeg::decode`] in one, for callers that keep nothing between words.
    pub fn head(
        &self,
        clip: &ClipMaps,
        dino: &DinoMaps,
        text: Tensor<2>,
        observer: &mut dyn Observer,
    ) -> Tensor<4> {
        let ground = self.ground(clip, dino, observer);
        let volumes = self.volumes(&ground, text.clone(), observer);
        self.decode(&ground, volumes, text, observer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::observe::Silent;
    use burn::tensor::{Distribution, Tolerance};

    #[test]
    fn towers_that_keep_every_patch_give_what_they_always_give() {
        let device = Device::flex();
        device.seed(3);
        let model = MmOvSeg::new(&ModelConfig::nano(), &device).unwrap();
        let pixels = Tensor::<4>::random([1, 3, 192, 192], Distribution::Normal(0.0, 1.0), &device);
        let keep = Tensor::arange(0..24 * 24, &device);
        let [clip, dino] = model.thinned_embeddings(pixels.clone(), keep, &mut Silent);
        let [_, _, deepest] = model.dino_taps(pixels.clone(), false, &mut Silent);
        let same = |a: Tensor<3>, b: Tensor<3>| {
            a.into_data()
                .assert_approx_eq::<f32>(&b.into_data(), Tolerance::absolute(1e-5));
        };
        same(clip, model.encode_clip(pixels.clone(), &mut Silent).dense);
        same(dino, model.dino_embedding(deepest, false));

        let some = Tensor::arange_step(1..24 * 24, 4, &device);
        for embeddings in model.thinned_embeddings(pixels, some, &mut Silent) {
            assert_eq!(embeddings.dims(), [1, 144, 128]);
        }
    }
}
