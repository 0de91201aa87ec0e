//! The whole network, stage by stage, so that a caller can cache what does not change: features
//! per tile, text per class name, the head alone when a class is added (docs/network.md §1).

use burn::tensor::{Device, Int, Tensor};
use mmovseg_kernels::{self as kernels, SpinGuard};

use crate::clip_text::TextTower;
use crate::config::{ConfigError, ModelConfig};
use crate::dino::DinoTaps;
use crate::encoder::Encoder;
use crate::features::EncoderMaps;
use crate::head::{ClassAgnostic, CostVolumes, Head};
use crate::named::{Flat, Named, flat_module};
use crate::observe::{Observer, see};
use crate::pixels::PixelHead;

/// The network: encoders, the text tower, and the head that compares and fuses them.
#[derive(Clone, Debug)]
pub struct MmOvSeg {
    encoders: Flat<Encoder>,
    text: Named<TextTower>,
    head: Named<Head>,
    pixel_head: Option<Named<PixelHead>>,
    config: ModelConfig,
}

flat_module!(MmOvSeg { encoders, text, head, pixel_head } { config });

impl MmOvSeg {
    /// A network whose weights are drawn at random on first use. Nothing is allocated before a
    /// parameter is read or loaded.
    ///
    /// # Errors
    /// When the configuration does not fit together.
    pub fn new(config: &ModelConfig, device: &Device) -> Result<Self, ConfigError> {
        config.validate()?;
        let embed = config.text.embed;
        let encoders = config
            .encoders
            .iter()
            .map(|encoder| Encoder::new(encoder, config, device))
            .collect();
        // CAT-Seg's checkpoints call parts of the head otherwise.
        let has_dense = config.dense().next().is_some();
        let head = if has_dense { "fusion" } else { "clip_fusion" };
        Ok(Self {
            encoders: Flat(encoders),
            text: Named::new("clip.text", TextTower::new(&config.text, device)),
            head: Named::new(head, Head::new(config, device)),
            pixel_head: config
                .head
                .pixel_embed
                .filter(|_| has_dense)
                .map(|width| Named::new("pixel_head", PixelHead::new(embed, width, device))),
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
        self.text.forward(prompts, observer)
    }

    /// The text tower, for training it alone.
    #[must_use]
    pub fn text_tower(&self) -> &TextTower {
        &self.text
    }

    /// The encoder of this name.
    fn encoder(&self, id: &str) -> &Encoder {
        let found = self
            .encoders
            .0
            .iter()
            .find(|e| e.config().id.as_str() == id);
        match found {
            Some(encoder) => encoder,
            None => panic!("the model has no encoder {id}; ask its configuration first"),
        }
    }

    /// Normalised pixels `[N, 3, S, S]` through an encoder and its projections.
    ///
    /// # Panics
    /// When the configuration has no encoder `id`: a fault of the caller.
    pub fn encode(&self, id: &str, pixels: Tensor<4>, observer: &mut dyn Observer) -> EncoderMaps {
        let _spinning = SpinGuard::new(&pixels.device());
        self.encoder(id).forward(pixels, observer)
    }

    /// The taps of an encoder, `[N, g², W]` each, after the final norm: what the cross-modal
    /// unification of stage 1 compares.
    ///
    /// # Panics
    /// When the configuration has no encoder `id`: a fault of the caller.
    pub fn taps(&self, id: &str, pixels: Tensor<4>, observer: &mut dyn Observer) -> DinoTaps {
        self.encoder(id).taps(pixels, observer)
    }

    /// What an encoder compares with text, `[N, k², E]`, where it reads a square of `k × k` patches
    /// only: `keep` names them row by row. For teaching towers with position tables many tiles in
    /// little time (after Li et al., "Scaling language-image pre-training via masking", 2023).
    ///
    /// # Panics
    /// When the configuration has no encoder `id`: a fault of the caller.
    pub fn thinned_embedding(
        &self,
        id: &str,
        pixels: Tensor<4>,
        keep: Tensor<1, Int>,
        observer: &mut dyn Observer,
    ) -> Tensor<3> {
        self.encoder(id).thinned(pixels, keep, observer)
    }

    /// Deepest tap of an encoder, `[N, g², W]`, as what the correlation compares with text,
    /// `[N, g², E]` on the feature grid.
    ///
    /// # Panics
    /// When the configuration has no encoder `id`: a fault of the caller.
    pub fn embedding(&self, id: &str, deepest: Tensor<3>) -> Tensor<3> {
        let encoder = self.encoder(id);
        let grid = encoder.config().grid();
        encoder.project(deepest, grid).tokens()
    }

    /// Cosines of text `[T, E]` with the pixels' own embeddings, `[N, T, 16 g²]`, where the model
    /// has them.
    pub fn pixel_cosine(&self, dense: &EncoderMaps, text: Tensor<2>) -> Option<Tensor<3>> {
        let head = self.pixel_head.as_ref()?;
        Some(head.cosine(dense.pixels.clone()?, text))
    }

    /// The head's class-agnostic features, from CLIP's maps and the sum of the other encoders'.
    pub fn class_agnostic(
        &self,
        clip: &EncoderMaps,
        dense: Option<&EncoderMaps>,
        observer: &mut dyn Observer,
    ) -> ClassAgnostic {
        let _spinning = SpinGuard::new(&clip.coarse.device());
        self.head.class_agnostic(clip, dense, observer)
    }

    /// The largest cosine of each class of text `[T, E]` with a cell, `[N, T]`, where there are
    /// more classes than the head reads. Of these, [`most_similar`] ones are decoded, and the
    /// others have the logit [`LEFT_OUT`].
    pub fn class_peaks(&self, features: &ClassAgnostic, text: Tensor<2>) -> Option<Tensor<2>> {
        let most = self.config.head.max_classes?;
        (text.dims()[0] > most).then(|| Head::peaks(features, text))
    }

    /// The cost volume of each class before the classes see one another, for text `[T, E]`.
    pub fn cost_volumes(
        &self,
        features: &ClassAgnostic,
        text: Tensor<2>,
        observer: &mut dyn Observer,
    ) -> CostVolumes {
        let _spinning = SpinGuard::new(&text.device());
        let by_pixels = self.pixel_head.as_ref().zip(features.pixels.clone());
        CostVolumes {
            cells: self.head.cost_volumes(features, text.clone(), observer),
            pixels: by_pixels.map(|(head, pixels)| head.logits(head.unit_cosine(pixels, text))),
        }
    }

    /// The rest of the head, for text `[T, E]` and the cost volumes of the same classes: logits
    /// `[N, T, 4g, 4g]`.
    pub fn decode(
        &self,
        features: &ClassAgnostic,
        volumes: CostVolumes,
        text: Tensor<2>,
        observer: &mut dyn Observer,
    ) -> Tensor<4> {
        let _spinning = SpinGuard::new(&text.device());
        let logits = self.head.decode(features, volumes.cells, text, observer);
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

    /// Features and text `[T, E]` to logits `[N, T, 4g, 4g]`: [`MmOvSeg::class_agnostic`],
    /// [`MmOvSeg::cost_volumes`] and [`MmOvSeg::decode`] in one, for callers that keep nothing
    /// between class lists.
    pub fn head(
        &self,
        clip: &EncoderMaps,
        dense: Option<&EncoderMaps>,
        text: Tensor<2>,
        observer: &mut dyn Observer,
    ) -> Tensor<4> {
        let features = self.class_agnostic(clip, dense, observer);
        let volumes = self.cost_volumes(&features, text.clone(), observer);
        self.decode(&features, volumes, text, observer)
    }
}

/// The logit of classes that the head does not read, see [`MmOvSeg::class_peaks`].
pub const LEFT_OUT: f32 = -100.0;

/// The `count` classes with the largest peaks, in ascending order; of equal ones the first.
#[must_use]
pub fn most_similar(peaks: &[f32], count: usize) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..peaks.len()).collect();
    classes.sort_by(|&a, &b| peaks[b].total_cmp(&peaks[a]));
    classes.truncate(count);
    classes.sort_unstable();
    classes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::observe::Silent;
    use burn::tensor::{Distribution, Tolerance};
    use mmovseg_types::EncoderId;

    #[test]
    fn towers_that_keep_every_patch_give_what_they_always_give() {
        let device = Device::flex();
        device.seed(3);
        let model = MmOvSeg::new(&ModelConfig::nano(), &device).unwrap();
        let pixels = Tensor::<4>::random([1, 3, 192, 192], Distribution::Normal(0.0, 1.0), &device);
        let keep = Tensor::arange(0..24 * 24, &device);
        let [clip, dino] = [EncoderId::CLIP, EncoderId::DINO_OPTICAL]
            .map(|id| model.thinned_embedding(id, pixels.clone(), keep.clone(), &mut Silent));
        let [_, _, deepest] = model.taps(EncoderId::DINO_OPTICAL, pixels.clone(), &mut Silent);
        let same = |a: Tensor<3>, b: Tensor<3>| {
            a.into_data()
                .assert_approx_eq::<f32>(&b.into_data(), Tolerance::absolute(1e-5));
        };
        let maps = model.encode(EncoderId::CLIP, pixels.clone(), &mut Silent);
        same(clip, maps.embedding.tokens());
        same(dino, model.embedding(EncoderId::DINO_OPTICAL, deepest));

        let some = Tensor::arange_step(1..24 * 24, 4, &device);
        for id in [EncoderId::CLIP, EncoderId::DINO_OPTICAL] {
            let embedding = model.thinned_embedding(id, pixels.clone(), some.clone(), &mut Silent);
            assert_eq!(embedding.dims(), [1, 144, 128]);
        }
    }
}
