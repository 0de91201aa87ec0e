//! Reference of the group norm.

use burn::tensor::Tensor;

use super::activate;
use crate::epilogue::GroupNorm;

/// See [`crate::group_norm`].
#[must_use]
pub fn group_norm(x: Tensor<4>, norm: &GroupNorm) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    let flat = x.reshape([n * norm.groups, c / norm.groups * h * w]);
    let centred = flat.clone() - flat.mean_dim(1);
    let variance = centred.clone().square().mean_dim(1);
    let y = (centred / (variance + norm.eps).sqrt()).reshape([n, c, h, w]);
    let [gamma, beta] = [&norm.gamma, &norm.beta]
        .map(|values| Tensor::<1>::from_dispatch(values.clone()).reshape([1, c, 1, 1]));
    let y = y * gamma + beta;
    match norm.activation {
        Some(activation) => activate(y, activation),
        None => y,
    }
}
