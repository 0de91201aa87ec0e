//! Reference of the elementwise activations.

use burn::tensor::{Tensor, activation};

use crate::activation::Activation;

/// See [`crate::activate`].
#[must_use]
pub fn activate<const D: usize>(x: Tensor<D>, which: Activation) -> Tensor<D> {
    match which {
        Activation::Gelu => activation::gelu(x),
        Activation::QuickGelu => x.clone() * activation::sigmoid(x * 1.702),
        Activation::Relu => activation::relu(x),
        Activation::Sigmoid => activation::sigmoid(x),
    }
}
