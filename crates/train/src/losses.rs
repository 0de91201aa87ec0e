//! The losses of the vision stages. `torch/train.py` computes the same ones.

use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{Bool, Tensor};

use crate::batch::{Batch, Targets};

/// Temperature of cosines in cross-entropies.
pub(crate) const TEMPERATURE: f64 = 0.07;
/// Cells along each side of a region whose mean feature InfoNCE compares.
pub(crate) const REGION_CELLS: usize = 3;

/// InfoNCE between paired features `[N, L, W]` of a square grid of `L` cells, docs/network.md
/// section 14: each region of 3 × 3 cells must find its partner among the regions of all *other*
/// samples. The second argument stays fixed.
pub(crate) fn info_nce(features: Tensor<3>, fixed: Tensor<3>) -> Tensor<1> {
    let n = features.dims()[0];
    let features = region_means(features);
    let fixed = region_means(fixed.detach());
    let all = features.dims()[0];
    let regions = all / n;
    let scores = features.matmul(fixed.transpose()) / TEMPERATURE;
    // Regions of the same sample are no negatives: neighbours look alike.
    let excluded: Vec<bool> = (0..all * all)
        .map(|i| {
            let (row, column) = (i / all, i % all);
            row / regions == column / regions && row != column
        })
        .collect();
    let excluded = Tensor::<1, Bool>::from_data(excluded.as_slice(), &scores.device());
    let scores = scores.mask_fill(excluded.reshape([all, all]), -1e9);
    let log = log_softmax(scores, 1);
    let here = Tensor::<2>::eye(all, &log.device());
    -(log * here).sum() / all as f64
}

/// Mean absolute difference of paired features of unit length, `[N, L, W]`; the second argument
/// stays fixed.
pub(crate) fn l1(features: Tensor<3>, fixed: Tensor<3>) -> Tensor<1> {
    let unit = |map: Tensor<3>| {
        let norm = map.clone().square().sum_dim(2).clamp_min(1e-24).sqrt();
        map / norm
    };
    let width = features.dims()[2];
    (unit(features) - unit(fixed.detach())).abs().mean() * width as f64
}

/// Unit means of the regions of each sample, `[N · regions, W]`; cells that fill no whole region
/// are left out.
pub(crate) fn region_means(features: Tensor<3>) -> Tensor<2> {
    let [n, cells, width] = features.dims();
    let grid = cells.isqrt();
    let across = grid / REGION_CELLS;
    let used = across * REGION_CELLS;
    let means = features
        .reshape([n, grid, grid, width])
        .slice([0..n, 0..used, 0..used, 0..width])
        .reshape([n * across, REGION_CELLS, across, REGION_CELLS * width])
        .sum_dim(1)
        .reshape([n * across * across, REGION_CELLS, width])
        .sum_dim(1)
        .reshape([n * across * across, width]);
    let norm = means.clone().square().sum_dim(1).clamp_min(1e-24).sqrt();
    means / norm
}

/// Cross-entropy of cosines `[N, T, L]` against the classes of the cells. A tile that is labelled
/// as a whole is compared at any cells, `L` of them.
pub(crate) fn dense_loss(cosines: Tensor<3>, batch: &Batch) -> Tensor<1> {
    let scores = cosines / TEMPERATURE;
    let cells = scores.dims()[2];
    let (share, weight) = flat(&batch.cells);
    let (share, weight) = if batch.kind.is_whole {
        (
            share.narrow(2, 0, 1).repeat_dim(2, cells),
            weight.narrow(2, 0, 1).repeat_dim(2, cells),
        )
    } else {
        (share, weight)
    };
    let each = cross_entropy(scores.clone(), share, weight);
    with_mean_of_tile(each, scores, batch)
}

/// Cross-entropy of logits `[N, T, 4g, 4g]`.
pub(crate) fn logits_loss(logits: Tensor<4>, batch: &Batch) -> Tensor<1> {
    let [n, classes, h, w] = logits.dims();
    let scores = logits.reshape([n, classes, h * w]);
    let (share, weight) = flat(&batch.pixels);
    let each = cross_entropy(scores.clone(), share, weight);
    with_mean_of_tile(each, scores, batch)
}

/// Binary cross-entropy of logits `[N, T, 4g, 4g]`, the loss of docs/network.md section 14, over
/// labelled pixels.
pub(crate) fn binary_loss(logits: Tensor<4>, batch: &Batch) -> Tensor<1> {
    let Targets { share, weight } = batch.pixels.clone();
    let each = relu(logits.clone()) - logits.clone() * share + (-logits.abs()).exp().log1p();
    let total = weight.clone().sum() + 1e-6;
    (each.mean_dim(1) * weight).sum() / total
}

/// Cross-entropy of cosines of pixel features, `[N, T, 16 g²]`.
pub(crate) fn pixel_loss(cosines: Tensor<3>, batch: &Batch) -> Tensor<1> {
    let (share, weight) = flat(&batch.pixels);
    cross_entropy(cosines / TEMPERATURE, share, weight)
}

/// For tiles that are labelled as a whole, half of the loss is that of the scores' mean: a tile of
/// a river is mostly fields.
fn with_mean_of_tile(each: Tensor<1>, scores: Tensor<3>, batch: &Batch) -> Tensor<1> {
    if !batch.kind.is_whole {
        return each;
    }
    let (share, weight) = flat(&batch.cells);
    let (share, weight) = (share.narrow(2, 0, 1), weight.narrow(2, 0, 1));
    (each + cross_entropy(scores.mean_dim(2), share, weight)) / 2.0
}

/// Share `[N, T, L]` and weight `[N, 1, L]` of targets.
fn flat(targets: &Targets) -> (Tensor<3>, Tensor<3>) {
    let [n, classes, h, w] = targets.share.dims();
    (
        targets.share.clone().reshape([n, classes, h * w]),
        targets.weight.clone().reshape([n, 1, h * w]),
    )
}

/// Mean over cells by `weight [N, 1, L]`; scores and shares `[N, T, L]`.
fn cross_entropy(scores: Tensor<3>, shares: Tensor<3>, weight: Tensor<3>) -> Tensor<1> {
    let each = -(shares * log_softmax(scores, 1)).sum_dim(1) * weight.clone();
    each.sum() / (weight.sum() + 1e-6)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::{info_nce, l1, region_means};
    use burn::tensor::{Device, Distribution, Tensor};

    fn random(device: &Device) -> Tensor<3> {
        Tensor::random([3, 36, 32], Distribution::Normal(0.0, 1.0), device)
    }

    #[test]
    fn a_region_is_found_among_those_of_other_samples() {
        let device = Device::flex();
        device.seed(7);
        let (fixed, other) = (random(&device), random(&device));
        let loss = |features: &Tensor<3>| -> f32 {
            info_nce(features.clone(), fixed.clone()).into_scalar()
        };
        assert!(loss(&fixed) < 0.01);
        // Nine candidates: the own region and the four of each of the two other samples.
        assert!(loss(&other) > 9f32.ln());
    }

    #[test]
    fn regions_of_one_sample_are_no_negatives() {
        let device = Device::flex();
        device.seed(8);
        // All cells of a sample are alike: only regions of other samples could be confused.
        let alike = random(&device).narrow(1, 0, 1).repeat_dim(1, 36);
        let loss: f32 = info_nce(alike.clone(), alike).into_scalar();
        assert!(loss < 0.01, "{loss}");
    }

    #[test]
    fn region_means_are_means_of_squares() {
        let device = Device::flex();
        let ramp: Vec<f32> = (0..49 * 2).map(|i| ((i * 37) % 11) as f32).collect();
        let features = Tensor::<1>::from_data(ramp.as_slice(), &device).reshape([1, 49, 2]);
        let means: Vec<f32> = region_means(features).into_data().try_into_vec().unwrap();
        assert_eq!(means.len(), 4 * 2, "a grid of 7 has 2 x 2 whole regions");
        // The second region: rows 0 to 2, columns 3 to 5.
        let sum = |channel: usize| -> f32 {
            (0..9)
                .map(|i| ramp[(i / 3 * 7 + 3 + i % 3) * 2 + channel])
                .sum()
        };
        let norm = sum(0).hypot(sum(1));
        assert!((means[2] - sum(0) / norm).abs() < 1e-5);
        assert!((means[3] - sum(1) / norm).abs() < 1e-5);
    }

    #[test]
    fn equal_directions_have_no_distance() {
        let device = Device::flex();
        device.seed(9);
        let features = random(&device);
        let loss: f32 = l1(features.clone() * 3.0, features).into_scalar();
        assert!(loss.abs() < 1e-4);
    }
}
