//! What turns features and words into masks: correlation, aggregator and decoder, the part that the
//! authors call the predictor's transformer. Cut in three, so that a changed word repeats only what
//! depends on it: the class-agnostic features ([`ClassAgnostic`]), the cost volume of each class
//! before the classes see one another ([`CostVolumes`]), and the rest.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use mmovseg_kernels::{self as kernels, Activation};

use crate::aggregator::AggregatorLayer;
use crate::config::ModelConfig;
use crate::correlation::{clip_volume, fuse, unit_cosine};
use crate::decoder::DecoderStage;
use crate::features::EncoderMaps;
use crate::layers::{Conv, Linear, bytes, tokens};
use crate::observe::{Observer, see};

/// Classes decoded at once for one tile pair. The decoder treats classes apart, so cutting the list
/// is exact; 16 keep the widest buffer of the released models below 48 MB (docs/network.md §2.1).
const DECODED_CLASSES_MAX: usize = 16;

/// What the head makes of `N` scenes without any class.
#[derive(Clone)]
pub struct ClassAgnostic {
    /// CLIP's dense features, of unit length, `[N, g², E]`.
    clip: Tensor<3>,
    /// The sum of the other encoders' features, of unit length, `[N, g², E]`, where there are any.
    dense: Option<Tensor<3>>,
    /// Embeddings of the pixels, of unit length, `[N, 16 g², P]`, where the model has them.
    pub(crate) pixels: Option<Tensor<3>>,
    /// Guides the aggregator: `[N, g², G]`, not normalised.
    appearance: Tensor<3>,
    /// What guidance adds to the first convolution of each decoder stage: `[N, C, 2g, 2g]` and
    /// `[N, C, 4g, 4g]`.
    decoder: [Tensor<4>; 2],
}

impl ClassAgnostic {
    /// Bytes of all maps.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let [coarse, fine] = &self.decoder;
        let pixels = self.pixels.as_ref().map_or(0, bytes);
        let maps =
            bytes(&self.clip) + self.dense.as_ref().map_or(0, bytes) + bytes(&self.appearance);
        maps + bytes(coarse) + bytes(fine) + pixels
    }
}

/// Cost volumes of `T` classes on `N` scenes before the classes see one another.
#[derive(Clone)]
pub struct CostVolumes {
    /// After the window attention of the first aggregator layer, `[N·T, g², C]`.
    pub(crate) cells: Tensor<3>,
    /// What the pixels' own embeddings add to the logits, `[N, T, 16 g²]`, where the model has
    /// them.
    pub(crate) pixels: Option<Tensor<3>>,
}

impl CostVolumes {
    /// Bytes of the volumes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        bytes(&self.cells) + self.pixels.as_ref().map_or(0, bytes)
    }

    /// One class's, of volumes of one pair. A view.
    ///
    /// # Panics
    /// When there are not so many classes: a fault of the caller.
    #[must_use]
    pub fn class(&self, index: usize) -> Self {
        Self {
            cells: self.cells.clone().narrow(0, index, 1),
            pixels: self.pixels.clone().map(|p| p.narrow(1, index, 1)),
        }
    }

    /// Those of several classes of one pair, in this order; of no class there are none.
    #[must_use]
    pub fn join(classes: Vec<Self>) -> Option<Self> {
        let pixels: Option<Vec<_>> = classes.iter().map(|v| v.pixels.clone()).collect();
        if classes.is_empty() {
            return None;
        }
        let cells = classes.into_iter().map(|v| v.cells).collect();
        Some(Self {
            cells: Tensor::cat(cells, 0),
            pixels: pixels.map(|pixels| Tensor::cat(pixels, 1)),
        })
    }
}

#[derive(Module, Debug)]
pub(crate) struct Head {
    conv1: Conv,
    conv2: Option<Conv>,
    fusion_corr: Option<Conv>,
    guidance_projection: Conv,
    text_guidance_projection: Linear,
    clip_decoder_guidance_projection: Vec<Conv>,
    dino_decoder_guidance_projection: Vec<Conv>,
    layers: Vec<AggregatorLayer>,
    decoder1: DecoderStage,
    decoder2: DecoderStage,
    head: Conv,
    #[module(skip)]
    grid: usize,
}

impl Head {
    pub fn new(config: &ModelConfig, device: &Device) -> Self {
        let (embed, head) = (config.text.embed, &config.head);
        let [coarse, fine] = head.decoder_guidance;
        let [g0, g1] = head.projected_guidance;
        let has_dense = config.dense().next().is_some();
        let guides = || {
            vec![
                Conv::new(coarse, g0, 3, true, device),
                Conv::new(fine, g1, 3, true, device),
            ]
        };
        let decoder = |input: usize, stage: usize| {
            let guidance = [g0, g1][stage];
            let sources = if has_dense { 2 } else { 1 };
            let (output, groups) = (head.decoder[stage], head.groups[stage]);
            DecoderStage::new(input, output, [guidance, sources], groups, device)
        };
        Self {
            conv1: Conv::new(1, head.hidden, 7, true, device),
            conv2: has_dense.then(|| Conv::new(1, head.hidden, 7, true, device)),
            fusion_corr: has_dense
                .then(|| Conv::new(2 * head.hidden, head.hidden, 7, true, device)),
            guidance_projection: Conv::new(embed, head.appearance_guidance, 3, true, device),
            text_guidance_projection: Linear::new(embed, head.text_guidance, device),
            clip_decoder_guidance_projection: guides(),
            dino_decoder_guidance_projection: if has_dense { guides() } else { Vec::new() },
            layers: (0..head.layers)
                .map(|_| AggregatorLayer::new(head, device))
                .collect(),
            decoder1: decoder(head.hidden, 0),
            decoder2: decoder(head.decoder[0], 1),
            head: Conv::new(head.decoder[1], 1, 3, true, device),
            grid: head.grid,
        }
    }

    /// From CLIP's maps and the sum of the other encoders', where there are any.
    pub fn class_agnostic(
        &self,
        clip: &EncoderMaps,
        dense: Option<&EncoderMaps>,
        observer: &mut dyn Observer,
    ) -> ClassAgnostic {
        let grid = self.grid;
        if let Some(dense) = dense.filter(|_| observer.wants_tensors()) {
            see(observer, "dino.down_fused", &dense.embedding.map(grid));
            see(observer, "dino.guid0_fused", &dense.coarse);
            see(observer, "dino.guid1_fused", &dense.fine);
        }
        let appearance = clip.embedding.map(grid);
        let appearance = self
            .guidance_projection
            .activated(appearance, Activation::Relu);
        see(observer, "guid.appearance", &appearance);
        let mut guide = |conv: &Conv, map: &Tensor<4>, name: &str| {
            let map = conv.activated(map.clone(), Activation::Relu);
            see(observer, name, &map);
            map
        };
        let [of_clip, of_dense] = [
            &self.clip_decoder_guidance_projection,
            &self.dino_decoder_guidance_projection,
        ];
        let mut coarse = vec![guide(&of_clip[0], &clip.coarse, "guid.clip_dec0")];
        let mut fine = vec![guide(&of_clip[1], &clip.fine, "guid.clip_dec1")];
        if let (Some(dense), [first, second]) = (dense, of_dense.as_slice()) {
            coarse.push(guide(first, &dense.coarse, "guid.dino_dec0"));
            fine.push(guide(second, &dense.fine, "guid.dino_dec1"));
        }
        ClassAgnostic {
            clip: kernels::unit(clip.embedding.tokens()),
            dense: dense.map(|dense| kernels::unit(dense.embedding.tokens())),
            pixels: dense.and_then(|dense| dense.pixels.clone().map(kernels::unit)),
            appearance: tokens(appearance),
            decoder: [self.decoder1.shared(coarse), self.decoder2.shared(fine)],
        }
    }

    /// The largest cosine of each class of text `[T, E]` with a cell of CLIP's, `[N, T]`.
    pub fn peaks(features: &ClassAgnostic, text: Tensor<2>) -> Tensor<2> {
        let cosines = unit_cosine(features.clip.clone(), text);
        let [n, classes, _] = cosines.dims();
        cosines.max_dim(2).reshape([n, classes])
    }

    /// [`CostVolumes::cells`] for text `[T, E]`.
    pub fn cost_volumes(
        &self,
        features: &ClassAgnostic,
        text: Tensor<2>,
        observer: &mut dyn Observer,
    ) -> Tensor<3> {
        let clip = unit_cosine(features.clip.clone(), text.clone());
        let volume = match (&features.dense, &self.conv2, &self.fusion_corr) {
            (Some(dense), Some(conv2), Some(fusion)) => {
                let dense = unit_cosine(dense.clone(), text);
                fuse(
                    clip,
                    dense,
                    self.grid,
                    [&self.conv1, conv2, fusion],
                    observer,
                )
            }
            _ => clip_volume(clip, self.grid, &self.conv1, observer),
        };
        let x = tokens(volume);
        match self.layers.first() {
            Some(first) => first.within_classes(x, features.appearance.clone(), "agg0", observer),
            None => x,
        }
    }

    /// Logits `[N, T, 4g, 4g]` without what the pixels add, from [`CostVolumes::cells`] and text
    /// `[T, E]`.
    pub fn decode(
        &self,
        features: &ClassAgnostic,
        cells: Tensor<3>,
        text: Tensor<2>,
        observer: &mut dyn Observer,
    ) -> Tensor<4> {
        let grid = self.grid;
        let [n, _, _] = features.clip.dims();
        let [classes, _] = text.dims();
        let projection = &self.text_guidance_projection;
        let text = projection.activated(kernels::unit(text), Activation::Relu);
        let width = text.dims()[1];
        let text = text.reshape([1, classes, width]);
        see(observer, "guid.text", &text);

        let mut x = cells;
        for (i, layer) in self.layers.iter().enumerate() {
            let name = format!("agg{i}");
            if i > 0 {
                x = layer.within_classes(x, features.appearance.clone(), &name, observer);
            }
            x = layer.across_classes(x, text.clone(), &name, observer);
        }
        let decode = |x: Tensor<3>, observer: &mut dyn Observer| {
            let [coarse, fine] = features.decoder.clone();
            let x = self
                .decoder1
                .forward(x, [grid; 2], coarse, "dec1", observer);
            let fine_grid = [2 * grid; 2];
            let x = self
                .decoder2
                .forward(tokens(x), fine_grid, fine, "dec2", observer);
            self.head.forward(x)
        };
        let logits = if n == 1 && classes > DECODED_CLASSES_MAX && !observer.wants_tensors() {
            let parts = (0..classes)
                .step_by(DECODED_CLASSES_MAX)
                .map(|start| {
                    let count = DECODED_CLASSES_MAX.min(classes - start);
                    decode(x.clone().narrow(0, start, count), observer)
                })
                .collect();
            Tensor::cat(parts, 0)
        } else {
            decode(x, observer)
        };
        logits.reshape([n, classes, 4 * grid, 4 * grid])
    }
}
