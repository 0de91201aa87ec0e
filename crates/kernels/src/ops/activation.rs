//! Elementwise activations.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::activation::Activation;
use crate::backend::FusedOps;
use crate::device::has_kernels;
use crate::{cpu, reference};

/// `f(x)`, elementwise.
#[must_use]
pub fn activate<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    if !has_kernels(&x.device()) {
        return reference::activate(x, activation);
    }
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_activation(
        x.into_dispatch(),
        activation,
    ))
}

/// `f(x)` in place, for values in the CPU's memory, on the calling thread.
pub fn activate_slice(values: &mut [f32], activation: Activation) {
    cpu::activate_slice(values, activation);
}
