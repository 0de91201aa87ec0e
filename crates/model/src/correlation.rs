//! Cost volumes of text against pixels and their fusion, `query_guided` (docs/network.md §8).

use burn::tensor::Tensor;
use mmovseg_kernels::{self as kernels, Activation, Epilogue};

use crate::layers::Conv;
use crate::observe::{Observer, see};

/// Cosine of every class with every cell: `[N, g², E]` and `[T, E]` to `[N, T, g²]`.
pub fn cosine(features: Tensor<3>, text: Tensor<2>) -> Tensor<3> {
    unit_cosine(kernels::unit(features), text)
}

/// [`cosine`] for features of unit length.
pub(crate) fn unit_cosine(features: Tensor<3>, text: Tensor<2>) -> Tensor<3> {
    let text = kernels::unit(text);
    let [n, cells, width] = features.dims();
    let [classes, _] = text.dims();
    // Of each class all cells lie together, as what follows reads them.
    kernels::linear(
        text,
        features.reshape([n * cells, width]),
        None,
        Epilogue::None,
    )
    .reshape([classes, n, cells])
    .swap_dims(0, 1)
}

/// The first cost volume, `[N·T, C, g, g]`, from the two correlations `[N, T, g²]`.
///
/// Zero padding of the fusion convolution comes after the sigmoid, so it means 0, not ½.
pub(crate) fn fuse(
    clip: Tensor<3>,
    dino: Tensor<3>,
    grid: usize,
    [conv1, conv2, fusion]: [&Conv; 3],
    observer: &mut dyn Observer,
) -> Tensor<4> {
    let [n, classes, _] = clip.dims();
    let shape = [n, 1, classes, grid, grid];
    see(observer, "corr.clip", &clip.clone().reshape(shape));
    see(observer, "corr.dino", &dino.clone().reshape(shape));
    let map = [n * classes, 1, grid, grid];
    let a = conv1.activated(clip.reshape(map), Activation::Sigmoid);
    let d = conv2.activated(dino.reshape(map), Activation::Sigmoid);
    see_volume(observer, "corr.clip_embed_sigmoid", &a, n);
    see_volume(observer, "corr.dino_embed_sigmoid", &d, n);
    let fused = fusion.activated(Tensor::cat(vec![a.clone(), d], 1), Activation::Sigmoid);
    see_volume(observer, "corr.fused_sigmoid", &fused, n);
    let volume = kernels::add(fused, a);
    see_volume(observer, "corr.embed", &volume, n);
    volume
}

/// The cost volume of CLIP alone, `[N·T, C, g, g]`, from its correlation `[N, T, g²]`, as CAT-Seg
/// has it: without sigmoid and residual.
pub(crate) fn clip_volume(
    clip: Tensor<3>,
    grid: usize,
    conv: &Conv,
    observer: &mut dyn Observer,
) -> Tensor<4> {
    let [n, classes, _] = clip.dims();
    let shape = [n, 1, classes, grid, grid];
    see(observer, "corr.clip", &clip.clone().reshape(shape));
    let volume = conv.forward(clip.reshape([n * classes, 1, grid, grid]));
    see_volume(observer, "corr.embed", &volume, n);
    volume
}

/// Shows `[N·T, C, g, g]` as the authors keep it, `[N, C, T, g, g]`.
fn see_volume(observer: &mut dyn Observer, name: &str, volume: &Tensor<4>, n: usize) {
    if observer.wants_tensors() {
        let [nt, c, h, w] = volume.dims();
        see(
            observer,
            name,
            &volume.clone().reshape([n, nt / n, c, h, w]).swap_dims(1, 2),
        );
    }
}
