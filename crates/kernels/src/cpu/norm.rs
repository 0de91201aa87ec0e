//! Layer norm of rows, and group norm of maps.

use std::sync::{Mutex, PoisonError};

use burn::backend::flex::FlexTensor;
use pulp::{Simd, WithSimd};

use super::activation::activate_slice;
use super::bands::{split_bands, write_bands};
use super::math::sum;
use super::memory::{into_writable, new_tensor, to_contiguous, values, zeros};
use super::parallel::{PARALLEL_ELEMENTS, for_each_part, map_indices, map_jobs};
use super::simd::vectorised;
use crate::activation::Activation;

/// `(x − mean) / √(variance + eps) · gamma + beta` per row, with biased variance.
pub(crate) fn layer_norm(
    x: &FlexTensor,
    gamma: &FlexTensor,
    beta: &FlexTensor,
    eps: f32,
) -> FlexTensor {
    let (x, gamma, beta) = (to_contiguous(x), to_contiguous(gamma), to_contiguous(beta));
    let width = gamma.layout().num_elements();
    let len = x.layout().num_elements();
    let from = &x.storage::<f32>()[..len];
    let gamma = &gamma.storage::<f32>()[..width];
    let beta = &beta.storage::<f32>()[..width];
    let mut out = zeros(len);
    for_each_part(&mut out, width.max(1), |first, part| {
        pulp::Arch::new().dispatch(Rows {
            from: &from[first..][..part.len()],
            gamma,
            beta,
            eps,
            into: part,
        });
    });
    new_tensor(out, x.layout().shape().to_vec())
}

/// The rows of a layer norm.
struct Rows<'a> {
    from: &'a [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
    eps: f32,
    into: &'a mut [f32],
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.gamma.len().max(1);
        let (gamma, gamma_end) = S::as_simd_f32s(self.gamma);
        let (beta, beta_end) = S::as_simd_f32s(self.beta);
        let ends = [gamma_end, beta_end].map(|end| simd.partial_load_f32s(end));
        let rows = self.from.chunks_exact(width);
        for (x, into) in rows.zip(self.into.chunks_exact_mut(width)) {
            let moments = Moments::of(simd, x);
            let mean = simd.splat_f32s(moments.mean);
            let scale = simd.splat_f32s(moments.scale(self.eps));
            let (x, x_end) = S::as_simd_f32s(x);
            let (into, into_end) = S::as_mut_simd_f32s(into);
            for (((x, into), gamma), beta) in x.iter().zip(into).zip(gamma).zip(beta) {
                let unit = simd.mul_f32s(simd.sub_f32s(*x, mean), scale);
                *into = simd.mul_add_e_f32s(unit, *gamma, *beta);
            }
            if !x_end.is_empty() {
                let x = simd.partial_load_f32s(x_end);
                let unit = simd.mul_f32s(simd.sub_f32s(x, mean), scale);
                simd.partial_store_f32s(into_end, simd.mul_add_e_f32s(unit, ends[0], ends[1]));
            }
        }
    }
}

/// Values of a block whose mean and squares are computed while it is in the L1 cache.
const MOMENTS_BLOCK: usize = 2048;

/// Mean, sum of squared differences from it, and count of some values.
#[derive(Clone, Copy)]
struct Moments {
    mean: f32,
    squares: f32,
    count: f32,
}

impl Moments {
    /// Of no values.
    const NONE: Self = Self {
        mean: 0.0,
        squares: 0.0,
        count: 0.0,
    };

    /// Long rows are read from memory once, block by block; blocks are merged after Chan, Golub and
    /// LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
    #[inline(always)]
    fn of<S: Simd>(simd: S, x: &[f32]) -> Self {
        let mut all = Self::NONE;
        for part in x.chunks(MOMENTS_BLOCK) {
            let count = part.len() as f32;
            let zero = simd.splat_f32s(0.0);
            let (registers, rest) = S::as_simd_f32s(part);
            let (fours, ones) = registers.as_chunks::<4>();
            let mut sums = [zero; 4];
            for four in fours {
                for i in 0..4 {
                    sums[i] = simd.add_f32s(sums[i], four[i]);
                }
            }
            for one in ones {
                sums[0] = simd.add_f32s(sums[0], *one);
            }
            let rest_sum: f32 = rest.iter().sum();
            let mean = (total(simd, sums) + rest_sum) / count;
            let middle = simd.splat_f32s(mean);
            let mut sums = [zero; 4];
            for four in fours {
                for i in 0..4 {
                    let apart = simd.sub_f32s(four[i], middle);
                    sums[i] = simd.mul_add_e_f32s(apart, apart, sums[i]);
                }
            }
            for one in ones {
                let apart = simd.sub_f32s(*one, middle);
                sums[0] = simd.mul_add_e_f32s(apart, apart, sums[0]);
            }
            let mut squares = total(simd, sums);
            for value in rest {
                squares += (value - mean) * (value - mean);
            }
            all = all.and(Self {
                mean,
                squares,
                count,
            });
        }
        all
    }

    /// The moments of these and other values, at least one in all.
    #[inline(always)]
    fn and(self, other: Self) -> Self {
        let (apart, count) = (other.mean - self.mean, self.count + other.count);
        Self {
            mean: self.mean + apart * (other.count / count),
            squares: self.squares
                + other.squares
                + apart * apart * (self.count * other.count / count),
            count,
        }
    }

    /// `1 / √(variance + eps)`.
    #[inline(always)]
    fn scale(self, eps: f32) -> f32 {
        1.0 / (self.squares / self.count.max(1.0) + eps).sqrt()
    }
}

/// The sum of all lanes of four registers.
#[inline(always)]
fn total<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4]) -> f32 {
    let pairs = [simd.add_f32s(a, b), simd.add_f32s(c, d)];
    simd.reduce_sum_f32s(simd.add_f32s(pairs[0], pairs[1]))
}

/// Computes [`Moments`].
struct MomentsOf<'a>(&'a [f32]);

impl WithSimd for MomentsOf<'_> {
    type Output = Moments;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Moments {
        Moments::of(simd, self.0)
    }
}

/// The mean of a row and one over its standard deviation.
fn moments(x: &[f32], eps: f32) -> (f32, f32) {
    let moments = pulp::Arch::new().dispatch(MomentsOf(x));
    (moments.mean, moments.scale(eps))
}

/// Gradients of `x`, `gamma` and `beta`.
pub(crate) fn layer_norm_backward(
    x: &FlexTensor,
    gamma: &FlexTensor,
    grad: &FlexTensor,
    eps: f32,
) -> [FlexTensor; 3] {
    let (x, gamma, grad) = (to_contiguous(x), to_contiguous(gamma), to_contiguous(grad));
    let width = gamma.layout().num_elements();
    let len = x.layout().num_elements();
    let rows = len / width.max(1);
    let from = &x.storage::<f32>()[..len];
    let above = &grad.storage::<f32>()[..len];
    let weight = &gamma.storage::<f32>()[..width];
    // Each part sums its own rows; the parts are added in order, so that the result is
    // deterministic.
    let parts = if len < PARALLEL_ELEMENTS { 1 } else { 2 };
    let size = rows.div_ceil(parts).max(1);
    let results = map_indices(parts, parts > 1, |part| {
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
        new_tensor(dx, x.layout().shape().to_vec()),
        new_tensor(dgamma, [width]),
        new_tensor(dbeta, [width]),
    ]
}

/// A group norm and the activation after it.
pub(crate) struct Norm {
    gamma: FlexTensor,
    beta: FlexTensor,
    groups: usize,
    eps: f32,
    activation: Option<Activation>,
}

impl Norm {
    pub fn new(
        gamma: &FlexTensor,
        beta: &FlexTensor,
        groups: usize,
        eps: f32,
        activation: Option<Activation>,
    ) -> Self {
        Self {
            gamma: to_contiguous(gamma),
            beta: to_contiguous(beta),
            groups,
            eps,
            activation,
        }
    }

    /// Normalises all bands of an image.
    fn apply_to_bands(&self, mut bands: Vec<FinishedBand>, is_parallel: bool) {
        // In a fixed order, so that the sums do not depend on which thread finishes last.
        bands.sort_unstable_by_key(|finished| finished.band);
        let (gamma, beta) = (values(&self.gamma), values(&self.beta));
        let per_group = gamma.len() / self.groups.max(1);
        let of_group = |group: usize| {
            let own = group * per_group..(group + 1) * per_group;
            let parts = bands
                .iter()
                .flat_map(|finished| &finished.moments[own.clone()]);
            let all = parts.fold(Moments::NONE, |all, part| all.and(*part));
            own.map(move |channel| {
                let scale = all.scale(self.eps) * gamma[channel];
                [scale, beta[channel] - all.mean * scale]
            })
        };
        let channels: Vec<[f32; 2]> = (0..self.groups).flat_map(of_group).collect();
        map_jobs(bands, is_parallel, |finished| {
            for (part, by) in finished.parts.into_iter().zip(&channels) {
                self.apply(part, *by);
            }
        });
    }

    /// `f(scale · x + shift)` for values of a channel.
    fn apply(&self, x: &mut [f32], [scale, shift]: [f32; 2]) {
        vectorised({
            let x = &mut *x;
            #[inline(always)]
            move |_| {
                for x in x {
                    *x = *x * scale + shift;
                }
            }
        });
        if let Some(activation) = self.activation {
            activate_slice(x, activation);
        }
    }
}

/// [`write_bands`], then the norm of each image by the thread that finishes its last band, while
/// most of it is in cache.
pub(super) fn write_bands_with_norm(
    [images, planes, pixels]: [usize; 3],
    bands: usize,
    is_parallel: bool,
    pixels_of: impl Fn(usize) -> usize,
    norm: Option<&Norm>,
    f: impl Fn(usize, usize, &mut [&mut [f32]]) + Send + Sync,
) -> Vec<f32> {
    let Some(norm) = norm else {
        return write_bands([images, planes, pixels], bands, is_parallel, pixels_of, f);
    };
    let mut out = zeros(images * planes * pixels);
    let counts: Vec<usize> = (0..bands).map(pixels_of).collect();
    let jobs = split_bands(&mut out, [planes, pixels], &counts);
    let finished: Vec<Mutex<Vec<FinishedBand>>> = (0..images).map(|_| Mutex::default()).collect();
    map_jobs(jobs, is_parallel, |(job, mut parts)| {
        let (image, band) = (job / bands, job % bands);
        f(image, band, &mut parts);
        let arch = pulp::Arch::new();
        let moments = parts.iter().map(|part| arch.dispatch(MomentsOf(part)));
        let moments = moments.collect();
        let all = {
            let mut finished = finished[image]
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            finished.push(FinishedBand {
                band,
                parts,
                moments,
            });
            if finished.len() < bands {
                return;
            }
            std::mem::take(&mut *finished)
        };
        norm.apply_to_bands(all, is_parallel);
    });
    out
}

/// A band of an image before its norm.
struct FinishedBand<'a> {
    band: usize,
    /// Of each channel.
    parts: Vec<&'a mut [f32]>,
    moments: Vec<Moments>,
}

/// Group norm of maps `[N, C, H, W]` with biased variance, then the activation.
pub(crate) fn group_norm(x: FlexTensor, norm: &Norm) -> FlexTensor {
    let mut x = into_writable(x);
    let Norm { groups, eps, .. } = *norm;
    let (gamma, beta) = (values(&norm.gamma), values(&norm.beta));
    let len = x.layout().num_elements();
    let shape = x.layout().shape();
    let area = shape[2] * shape[3];
    let per_group = gamma.len() / groups;
    let size = per_group * area;
    let all = &mut x.storage_mut::<f32>()[..len];
    for_each_part(all, size.max(1), |first, part| {
        for (g, x) in part.chunks_exact_mut(size).enumerate() {
            let (mean, scale) = moments(x, eps);
            let channel = (first / size + g) % groups * per_group;
            for (c, x) in x.chunks_exact_mut(area).enumerate() {
                let scale = scale * gamma[channel + c];
                norm.apply(x, [scale, beta[channel + c] - mean * scale]);
            }
        }
    });
    x
}

/// Gradients of `x`, `gamma` and `beta`.
pub(crate) fn group_norm_backward(
    x: &FlexTensor,
    gamma: &FlexTensor,
    grad: &FlexTensor,
    groups: usize,
    eps: f32,
) -> [FlexTensor; 3] {
    let (x, gamma, grad) = (to_contiguous(x), to_contiguous(gamma), to_contiguous(grad));
    let channels = gamma.layout().num_elements();
    let len = x.layout().num_elements();
    let shape = x.layout().shape().to_vec();
    let area = shape[2] * shape[3];
    let per_group = channels / groups;
    let size = per_group * area;
    let from = &x.storage::<f32>()[..len];
    let above = &grad.storage::<f32>()[..len];
    let weight = &gamma.storage::<f32>()[..channels];
    let results = map_indices(len / size.max(1), len >= PARALLEL_ELEMENTS, |i| {
        let (x, g) = (
            &from[i * size..(i + 1) * size],
            &above[i * size..(i + 1) * size],
        );
        let channel = i % groups * per_group;
        let mut dx = vec![0.0f32; size];
        // Per channel: the sums of the gradient and of the gradient times the normalised value.
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
        new_tensor(dx, shape),
        new_tensor(dgamma, [channels]),
        new_tensor(dbeta, [channels]),
    ]
}
