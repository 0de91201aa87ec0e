//! Reference of the epilogues.

use burn::tensor::Tensor;

use super::{activate, group_norm};
use crate::epilogue::{Epilogue, GroupNorm};

/// Applies an epilogue to a result `y`; see [`Epilogue`].
///
/// # Panics
/// When the shapes do not fit together, or a norm meets a tensor that is no map `[N, C, H, W]`.
#[must_use]
pub fn apply_epilogue<const D: usize>(y: Tensor<D>, epilogue: Epilogue) -> Tensor<D> {
    match epilogue {
        Epilogue::None => y,
        Epilogue::Activation(activation) => activate(y, activation),
        Epilogue::Add(residual) => add(y, Tensor::from_dispatch(residual)),
        Epilogue::Norm(norm) => normalise(y, &norm),
        Epilogue::AddNorm(residual, norm) => {
            normalise(add(y, Tensor::from_dispatch(residual)), &norm)
        }
        Epilogue::NormAdd(norm, residual) => normalise(y, &norm) + Tensor::from_dispatch(residual),
    }
}

/// `residual [M, ..] + y [N, ..]`, each entry of the residual for `N / M` consecutive entries of
/// `y`.
fn add<const D: usize>(y: Tensor<D>, residual: Tensor<D>) -> Tensor<D> {
    let (shape, m) = (y.dims(), residual.dims()[0]);
    let entry = shape[1..].iter().product();
    let y: Tensor<3> = y.reshape([m, shape[0] / m, entry]);
    let residual: Tensor<3> = residual.reshape([m, 1, entry]);
    (residual + y).reshape(shape)
}

fn normalise<const D: usize>(y: Tensor<D>, norm: &GroupNorm) -> Tensor<D> {
    let map = Tensor::<4>::from_dispatch(y.into_dispatch());
    Tensor::from_dispatch(group_norm(map, norm).into_dispatch())
}
