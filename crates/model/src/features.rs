//! What encoders give to the head.

use burn::tensor::Tensor;
use mmovseg_kernels as kernels;

use crate::layers::{bytes, to_map, tokens};

/// Features that are compared with text, as the encoder's last operation leaves them: turning one
/// layout into the other is a copy.
#[derive(Clone)]
pub enum Embedding {
    /// `[N, g², E]`, as CLIP gives them.
    Tokens(Tensor<3>),
    /// `[N, E, g, g]`, as a projection gives them.
    Map(Tensor<4>),
}

impl Embedding {
    /// Row-major tokens, `[N, g², E]`.
    #[must_use]
    pub fn tokens(&self) -> Tensor<3> {
        match self {
            Self::Tokens(x) => x.clone(),
            Self::Map(x) => tokens(x.clone()),
        }
    }

    /// A map `[N, E, g, g]` for a grid of `g × g` cells.
    #[must_use]
    pub fn map(&self, grid: usize) -> Tensor<4> {
        match self {
            Self::Tokens(x) => to_map(x.clone(), grid, grid),
            Self::Map(x) => x.clone(),
        }
    }

    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Map(a), Self::Map(b)) => Self::Map(kernels::add(a, b)),
            (a, b) => Self::Tokens(kernels::add(a.tokens(), b.tokens())),
        }
    }
}

/// What one encoder, or the sum of several, gives to the head.
#[derive(Clone)]
pub struct EncoderMaps {
    /// Features for the correlation with text, not normalised.
    pub embedding: Embedding,
    /// Guidance for the first decoder stage, `[N, 256, 2g, 2g]` (widths of the released models).
    pub coarse: Tensor<4>,
    /// Guidance for the second, `[N, 128, 4g, 4g]`.
    pub fine: Tensor<4>,
    /// Embeddings of the pixels, `[N, 16 g², P]`, where the model has them.
    pub pixels: Option<Tensor<3>>,
}

impl EncoderMaps {
    /// Bytes of all maps.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let embedding = match &self.embedding {
            Embedding::Tokens(x) => bytes(x),
            Embedding::Map(x) => bytes(x),
        };
        let pixels = self.pixels.as_ref().map_or(0, bytes);
        embedding + bytes(&self.coarse) + bytes(&self.fine) + pixels
    }

    /// The fusion of sensors: a plain sum (docs/network.md §6).
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            embedding: self.embedding.plus(other.embedding),
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
        let of_tokens = || weight.clone().reshape([n, 1, 1]);
        Self {
            embedding: match self.embedding {
                Embedding::Tokens(x) => Embedding::Tokens(x * of_tokens()),
                Embedding::Map(x) => Embedding::Map(x * weight.clone()),
            },
            coarse: self.coarse * weight.clone(),
            fine: self.fine * weight.clone(),
            pixels: self.pixels.map(|pixels| pixels * of_tokens()),
        }
    }
}

/// Sum of the features of all encoders beside CLIP; of none, `None`.
#[must_use]
pub fn sum(maps: impl IntoIterator<Item = EncoderMaps>) -> Option<EncoderMaps> {
    maps.into_iter().reduce(EncoderMaps::plus)
}
