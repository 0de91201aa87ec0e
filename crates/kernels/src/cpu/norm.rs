//! Layer norm over the last axis.

use burn::backend::flex::FlexTensor;

use super::activation::activate_all;
use super::math::sum;
use super::{PARALLEL_ELEMENTS, contiguous, each, in_parts, own, tensor, vectorised, zeros};
use crate::Activation;

/// `(x − mean) / √(variance + eps) · gamma + beta` a row, with the biased variance.
pub(crate) fn layer_norm(
    x: &FlexTensor,
    gamma: &FlexTensor,
    beta: &FlexTensor,
    eps: f32,
) -> FlexTensor {
    let (x, gamma, beta) = (contiguous(x), contiguous(gamma), contiguous(beta));
    let width = gamma.layout().num_elements();
    let len = x.layout().num_elements();
    let from = &x.storage::<f32>()[..len];
    let gamma = &gamma.storage::<f32>()[..width];
    let beta = &beta.storage::<f32>()[..width];
    let mut out = zeros(len);
    in_parts(&mut out, width.max(1), |first, part| {
        vectorised(
            #[inline(always)]
            |_| {
                for (row, out) in part.chunks_exact_mut(width).enumerate() {
                    let x = &from[first + row * width..][..width];
                    let (mean, scale) = moments(x, eps);
                    for i in 0..width {
                        out[i] = (x[i] - mean) * scale * gamma[i] + beta[i];
                    }
                }
            },
        );
    });
    tensor(out, x.layout().shape().to_vec())
}

/// Values whose mean and squares are summed while they are in a core's first cache.
const NEAR: usize = 2048;

/// Mean of a row and one over its deviation.
///
/// A long row comes from memory once, part by part (after Chan, Golub and LeVeque, "Updating formulae and a pairwise
/// algorithm for computing sample variances", 1979).
#[inline(always)]
fn moments(x: &[f32], eps: f32) -> (f32, f32) {
    let (mut mean, mut squares, mut count) = (0.0f32, 0.0f32, 0.0f32);
    for part in x.chunks(NEAR) {
        let n = part.len() as f32;
        let own = sum(part.len(), |i| part[i]) / n;
        let own_squares = sum(part.len(), |i| (part[i] - own) * (part[i] - own));
        let (apart, all) = (own - mean, count + n);
        mean += apart * (n / all);
        squares += own_squares + apart * apart * (count * n / all);
        count = all;
    }
    (mean, 1.0 / (squares / count.max(1.0) + eps).sqrt())
}

/// Gradients of x, gamma and beta.
pub(crate) fn layer_norm_backward(
    x: &FlexTensor,
    gamma: &FlexTensor,
    grad: &FlexTensor,
    eps: f32,
) -> [FlexTensor; 3] {
    let (x, gamma, grad) = (contiguous(x), contiguous(gamma), contiguous(grad));
    let width = gamma.layout().num_elements();
    let len = x.layout().num_elements();
    let rows = len / width.max(1);
    let from = &x.storage::<f32>()[..len];
    let above = &grad.storage::<f32>()[..len];
    let weight = &gamma.storage::<f32>()[..width];
    // Each thread sums its own rows into its own gamma and beta; the parts are added in order.
    let parts = if len < PARALLEL_ELEMENTS { 1 } else { 2 };
    let size = rows.div_ceil(parts).max(1);
    let results = each(parts, parts > 1, |part| {
        let first = (part * size).min(rows);
        let count = size.min(rows - first);
        let mut dx = vec![0.0f32; count * width];
        let mut dgamma = vec![0.0f32; width];
        let mut dbeta = vec![0.0f32; width];
        vectorised(
            #[inline(always)]
            |_| {
                for (row, dx) in dx.chunks_exact_mut(width).enumerate() {
                    let at = (first + row) * width;
                    let (x, g) = (&from[at..at + width], &above[at..at + width]);
                    let (mean, scale) = moments(x, eps);
                    let n = width as f32;
                    let mean_g = sum(width, |i| g[i] * weight[i]) / n;
                    let mean_gx = sum(width, |i| g[i] * weight[i] * (x[i] - mean) * scale) / n;
                    for i in 0..width {
                        let unit = (x[i] - mean) * scale;
                        dx[i] = scale * (g[i] * weight[i] - mean_g - unit * mean_gx);
                        dgamma[i] += g[i] * unit;
                        dbeta[i] += g[i];
                    }
                }
            },
        );
        (dx, dgamma, dbeta)
    });
    let mut dx = Vec::with_capacity(len);
    let mut dgamma = vec![0.0f32; width];
    let mut dbeta = vec![0.0f32; width];
    for (part, gamma, beta) in results {
        dx.extend_from_slice(&part);
        for i in 0..width {
            dgamma[i] += gamma[i];
            dbeta[i] += beta[i];
        }
    }
    [
        tensor(dx, x.layout().shape().to_vec()),
        tensor(dgamma, [width]),
        tensor(dbeta, [width]),
    ]
}

/// Group norm over `[N, C, H, W]`: mean and biased variance of each image's group of channels. Then the activation.
pub(crate) fn group_norm(
    x: FlexTensor,
    gamma: &FlexTensor,
    beta: &FlexTensor,
    groups: usize,
    eps: f32,
    activation: Option<Activation>,
) -> FlexTensor {
    let (mut x, gamma, beta) = (own(x), contiguous(gamma), contiguous(beta));
    let channels = gamma.layout().num_elements();
    let len = x.layout().num_elements();
    let shape = x.layout().shape();
    let area = shape[2] * shape[3];
    let per_group = channels / groups;
    let size = per_group * area;
    let gamma = &gamma.storage::<f32>()[..channels];
    let beta = &beta.storage::<f32>()[..channels];
    let all = &mut x.storage_mut::<f32>()[..len];
    in_parts(all, size.max(1), |first, part| {
        vectorised(
            #[inline(always)]
            |_| {
                for (g, x) in part.chunks_exact_mut(size).enumerate() {
                    let (mean, scale) = moments(x, eps);
                    let channel = (first / size + g) % groups * per_group;
                    for (c, x) in x.chunks_exact_mut(area).enumerate() {
                        let scale = scale * gamma[channel + c];
                        let shift = beta[channel + c] - mean * scale;
                        for x in x.iter_mut() {
                            *x = *x * scale + shift;
                        }
                        if let Some(activation) = activation {
                            activate_all(x, activation);
                        }
                    }
                }
            },
        );
    });
    x
}

/// Gradients of x, gamma and beta.
pub(crate) fn group_norm_backward(
    x: &FlexTensor,
    gamma: &FlexTensor,
    grad: &FlexTensor,
    groups: usize,
    eps: f32,
) -> [FlexTensor; 3] {
    let (x, gamma, grad) = (contiguous(x), contiguous(gamma), contiguous(grad));
    let channels = gamma.layout().num_elements();
    let len = x.layout().num_elements();
    let shape = x.layout().shape().to_vec();
    let area = shape[2] * shape[3];
    let per_group = channels / groups;
    let size = per_group * area;
    let from = &x.storage::<f32>()[..len];
    let above = &grad.storage::<f32>()[..len];
    let weight = &gamma.storage::<f32>()[..channels];
    let results = each(len / size.max(1), len >= PARALLEL_ELEMENTS, |i| {
        let (x, g) = (
            &from[i * size..(i + 1) * size],
            &above[i * size..(i + 1) * size],
        );
        let channel = i % groups * per_group;
        let mut dx = vec![0.0f32; size];
        // Per channel: the sums of the gradient and of the gradient times the unit value.
        let mut sums = vec![[0.0f32; 2]; per_group];
        vectorised(
            #[inline(always)]
            |_| {
                let (mean, scale) = moments(x, eps);
                let (mut mean_g, mut mean_gx) = (0.0, 0.0);
                for c in 0..per_group {
                    let (x, g) = (&x[c * area..(c + 1) * area], &g[c * area..(c + 1) * area]);
                    let plain = sum(area, |i| g[i]);
                    let unit = sum(area, |i| g[i] * (x[i] - mean)) * scale;
                    sums[c] = [plain, unit];
                    mean_g += plain * weight[channel + c];
                    mean_gx += unit * weight[channel + c];
                }
                let n = size as f32;
                let (mean_g, mean_gx) = (mean_g / n, mean_gx / n);
                for c in 0..per_group {
                    let w = weight[channel + c];
                    let at = c * area..(c + 1) * area;
                    let (dx, x, g) = (&mut dx[at.clone()], &x[at.clone()], &g[at]);
                    for i in 0..area {
                        let unit = (x[i] - mean) * scale;
                        dx[i] = scale * (g[i] * w - mean_g - unit * mean_gx);
                    }
                }
            },
        );
        (dx, sums)
    });
    let mut dx = Vec::with_capacity(len);
    let mut dgamma = vec![0.0f32; channels];
    let mut dbeta = vec![0.0f32; channels];
    for (i, (part, sums)) in results.into_iter().enumerate() {
        dx.extend_from_slice(&part);
        let channel = i % groups * per_group;
        for (c, [plain, unit]) in sums.into_iter().enumerate() {
            dbeta[channel + c] += plain;
            dgamma[channel + c] += unit;
        }
    }
    [
        tensor(dx, shape),
        tensor(dgamma, [channels]),
        tensor(dbeta, [channels]),
    ]
}
