//! Sums.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::backend::FusedOps;

/// `a + b`, with broadcasting. On the CPU the sum takes the memory of an operand that nobody else
/// holds, and `[N, 1, L]` added to `[N, M, L]` is shared among threads.
#[must_use]
pub fn add<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_add(
        a.into_dispatch(),
        b.into_dispatch(),
    ))
}
