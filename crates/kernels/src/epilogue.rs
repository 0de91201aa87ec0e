//! What happens to the result of a product, convolution or norm before it is written.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType};
use burn::tensor::Tensor;

use crate::activation::Activation;

/// A tensor operand that may be absent. `Option` does not implement [`ExtensionType`].
#[derive(Clone, Debug, ExtensionType)]
pub(crate) enum Optional<B: Backend> {
    /// Absent.
    None,
    /// Present.
    Some(FloatTensor<B>),
}

impl<B: Backend> Optional<B> {
    /// As the standard type.
    pub fn into_option(self) -> Option<FloatTensor<B>> {
        match self {
            Self::None => None,
            Self::Some(tensor) => Some(tensor),
        }
    }
}

impl<const D: usize> From<Option<Tensor<D>>> for Optional<Dispatch> {
    fn from(tensor: Option<Tensor<D>>) -> Self {
        tensor.map_or(Self::None, |tensor| Self::Some(tensor.into_dispatch()))
    }
}

/// A group norm over maps `[N, C, H, W]` with biased variance, and the activation after it.
#[derive(Clone, Debug, ExtensionType)]
pub struct GroupNorm<B: Backend = Dispatch> {
    /// `[C]`.
    pub(crate) gamma: FloatTensor<B>,
    /// `[C]`.
    pub(crate) beta: FloatTensor<B>,
    /// Number of groups, a divisor of `C`.
    pub(crate) groups: usize,
    /// Added to the variance.
    pub(crate) eps: f32,
    pub(crate) activation: Option<Activation>,
}

impl GroupNorm {
    /// With scale `gamma [C]`, shift `beta [C]`, `groups` groups of `C / groups` channels, and
    /// `eps` added to the variance.
    #[must_use]
    pub fn new(gamma: Tensor<1>, beta: Tensor<1>, groups: usize, eps: f64) -> Self {
        Self {
            gamma: gamma.into_dispatch(),
            beta: beta.into_dispatch(),
            groups,
            eps: eps as f32,
            activation: None,
        }
    }

    /// Followed by an activation.
    #[must_use]
    pub fn then(mut self, activation: Activation) -> Self {
        self.activation = Some(activation);
        self
    }
}

/// What happens to a result `y` before it is written.
///
/// A residual has the shape of `y`, or an `M` in place of the `N` of its first axis, with `N` a
/// multiple of `M`: each entry is then added to `N / M` consecutive entries of `y`. The norms are
/// for maps `[N, C, H, W]`.
#[derive(Clone, Debug, ExtensionType)]
pub enum Epilogue<B: Backend = Dispatch> {
    /// `y`.
    None,
    /// `f(y)`.
    Activation(Activation),
    /// `residual + y`.
    Add(FloatTensor<B>),
    /// `f(norm(y))`.
    Norm(#[extension_type] GroupNorm<B>),
    /// `f(norm(residual + y))`.
    AddNorm(FloatTensor<B>, #[extension_type] GroupNorm<B>),
    /// `residual + f(norm(y))`.
    NormAdd(#[extension_type] GroupNorm<B>, FloatTensor<B>),
}

impl Epilogue {
    /// `residual + y`.
    #[must_use]
    pub fn add<const D: usize>(residual: Tensor<D>) -> Self {
        Self::Add(residual.into_dispatch())
    }

    /// `f(norm(residual + y))`.
    #[must_use]
    pub fn add_norm(residual: Tensor<4>, norm: GroupNorm) -> Self {
        Self::AddNorm(residual.into_dispatch(), norm)
    }

    /// `residual + f(norm(y))`.
    #[must_use]
    pub fn norm_add(norm: GroupNorm, residual: Tensor<4>) -> Self {
        Self::NormAdd(norm, residual.into_dispatch())
    }
}
