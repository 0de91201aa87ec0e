//! The pixel branch of the default model (docs/network.md §11.3): roads, banks and parcels are
//! narrower than a patch, and small towers lose them. The released models have no such branch.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use mmovseg_kernels::{self as kernels, Activation};

use crate::correlation::{cosine, unit_cosine};
use crate::layers::{Conv, GroupNorm, Linear, Upsample, constant};

/// Adds features of single pixels to the fine guidance: a 2 × 2 convolution with stride 2, then two
/// 3 × 3 convolutions.
#[derive(Module, Debug)]
pub(crate) struct PixelGuidance {
    pairs: Conv,
    conv1: Conv,
    conv2: Conv,
}

impl PixelGuidance {
    pub fn new(hidden: usize, output: usize, device: &Device) -> Self {
        let mut conv2 = Conv::new(hidden, output, 3, true, device);
        // Zero at first: training adds what tokens lack.
        conv2.weight = constant([output, hidden, 3, 3], 0.0, device);
        Self {
            pairs: Conv::new(3, hidden, 2, true, device),
            conv1: Conv::new(hidden, hidden, 3, true, device),
            conv2,
        }
    }

    /// Adds to a map `[N, out, S/2, S/2]` what the pixels `[N, 3, S, S]` show.
    pub fn add(guidance: Option<&Self>, map: Tensor<4>, pixels: Tensor<4>) -> Tensor<4> {
        let Some(guidance) = guidance else {
            return map;
        };
        let x = guidance.pairs.patch_map_activated(pixels, Activation::Relu);
        let x = guidance.conv1.activated(x, Activation::Relu);
        guidance.conv2.onto(x, map)
    }
}

/// Residual blocks at a quarter of the resolution.
const ROUNDS: usize = 3;
/// Residual blocks at an eighth.
const DEEP_ROUNDS: usize = 2;
/// Groups of the group norms.
pub(crate) const GROUPS: usize = 4;

/// A small convolutional tower that gives each 2 × 2 pixels an embedding: features at a quarter and
/// an eighth of the resolution, added at half of it. The transformer tower of the same sensor is
/// added at an eighth and at half.
#[derive(Module, Debug)]
pub(crate) struct PixelTower {
    pairs: Conv,
    near: Conv,
    down: Conv,
    rounds: Vec<Round>,
    deep: Option<Deep>,
    up: Upsample,
    join: Conv,
    norm: GroupNorm,
    out: Conv,
}

/// A residual block: 3 × 3 convolution, group norm, ReLU.
#[derive(Module, Debug)]
struct Round {
    conv: Conv,
    norm: GroupNorm,
}

impl Round {
    fn new(width: usize, device: &Device) -> Self {
        Self {
            conv: Conv::new(width, width, 3, false, device),
            norm: GroupNorm::new(width, GROUPS, device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv.normed_onto(x.clone(), &self.norm, x)
    }
}

/// Features at an eighth of the resolution.
#[derive(Module, Debug)]
struct Deep {
    down: Conv,
    tokens: Conv,
    rounds: Vec<Round>,
    up: Upsample,
    join: Round,
}

impl Deep {
    /// `width` channels of the map it is added to, `deep` of its own, `tokens` of the tower's.
    fn new(width: usize, deep: usize, tokens: usize, device: &Device) -> Self {
        let mut up = Upsample::new(deep, width, 2, device);
        // Zero at first: training adds what the finer features lack.
        up.weight = constant([deep, width, 2, 2], 0.0, device);
        Self {
            down: Conv::new(width, deep, 2, true, device),
            tokens: Conv::new(tokens, deep, 1, true, device),
            rounds: (0..DEEP_ROUNDS).map(|_| Round::new(deep, device)).collect(),
            up,
            join: Round::new(width, device),
        }
    }

    /// `[N, width, 2g, 2g]` and tokens `[N, tokens, g, g]` to `[N, width, 2g, 2g]`.
    fn forward(&self, x: Tensor<4>, tokens: Tensor<4>) -> Tensor<4> {
        let near = kernels::add(
            self.down.patch_map(x.clone()),
            self.tokens.patch_map(tokens),
        );
        let mut deep = kernels::activate(near, Activation::Relu);
        for round in &self.rounds {
            deep = round.forward(deep);
        }
        self.join.forward(self.up.onto(deep, x))
    }
}

impl PixelTower {
    /// `width` channels, as many as the fine guidance has; `embed` channels out. With `deep`
    /// channels at an eighth, which is then the grid of the `tokens`-wide transformer map.
    pub fn new(
        width: usize,
        embed: usize,
        deep: Option<usize>,
        tokens: usize,
        device: &Device,
    ) -> Self {
        let wide = 2 * width;
        Self {
            pairs: Conv::new(3, width, 2, true, device),
            near: Conv::new(width, width, 3, true, device),
            down: Conv::new(width, wide, 2, true, device),
            rounds: (0..ROUNDS).map(|_| Round::new(wide, device)).collect(),
            deep: deep.map(|deep| Deep::new(wide, deep, tokens, device)),
            up: Upsample::new(wide, width, 2, device),
            join: Conv::new(width, width, 3, false, device),
            norm: GroupNorm::new(width, GROUPS, device),
            out: Conv::new(width, embed, 1, true, device),
        }
    }

    /// Pixels `[N, 3, S, S]`, the transformer's fine map `[N, width, S/2, S/2]` and its features
    /// `[N, tokens, S/8, S/8]` to embeddings `[N, (S/2)², embed]`, row-major.
    pub fn forward(&self, pixels: Tensor<4>, fine: Tensor<4>, tokens: Tensor<4>) -> Tensor<3> {
        let near = self.pairs.patch_map_activated(pixels, Activation::Relu);
        let near = self.near.activated(near, Activation::Relu);
        let mut x = self
            .down
            .patch_map_activated(near.clone(), Activation::Relu);
        for round in &self.rounds {
            x = round.forward(x);
        }
        if let Some(deep) = &self.deep {
            x = deep.forward(x, tokens);
        }
        let x = kernels::add(self.up.onto(x, near), fine);
        let x = self.join.normed(x, &self.norm);
        self.out.patches(x)
    }
}

/// Cosines of the pixels' embeddings with text as logits, with a learned gain and offset.
#[derive(Module, Debug)]
pub(crate) struct PixelHead {
    text: Linear,
    gain: Param<Tensor<1>>,
    offset: Param<Tensor<1>>,
}

/// Logits that a cosine of 1 adds per unit of the learned gain.
const COSINE_LOGITS: f64 = 8.0;

impl PixelHead {
    pub fn new(embed: usize, pixel_embed: usize, device: &Device) -> Self {
        Self {
            text: Linear::new(embed, pixel_embed, device),
            gain: constant([1], 0.5, device),
            offset: constant([1], 0.0, device),
        }
    }

    /// Cosines of text `[T, E]` with embeddings `[N, L, embed]`, `[N, T, L]`.
    pub fn cosine(&self, pixels: Tensor<3>, text: Tensor<2>) -> Tensor<3> {
        cosine(pixels, self.text.forward(text))
    }

    /// [`PixelHead::cosine`] for embeddings of unit length.
    pub fn unit_cosine(&self, pixels: Tensor<3>, text: Tensor<2>) -> Tensor<3> {
        unit_cosine(pixels, self.text.forward(text))
    }

    /// Cosines as logits that are added to the decoder's.
    pub fn logits(&self, cosine: Tensor<3>) -> Tensor<3> {
        let gain = self.gain.val().reshape([1, 1, 1]) * COSINE_LOGITS;
        cosine * gain + self.offset.val().reshape([1, 1, 1])
    }
}
