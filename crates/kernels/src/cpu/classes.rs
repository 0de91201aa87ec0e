//! Operations across the classes of a cost volume. Burn has no kernel for them, and runs their
//! parts on one thread.

use burn::backend::flex::FlexTensor;

use super::math::exp;
use super::memory::{into_writable, new_tensor, to_contiguous, values, zeros};
use super::parallel::for_each_part;
use super::simd::vectorised;
use crate::reference::corners;

/// Means of 2 × 2 cells; see [`crate::pool_classes`].
pub(crate) fn pool_classes(x: &FlexTensor, pairs: usize, grid: usize) -> FlexTensor {
    let x = to_contiguous(x);
    let [sequences, _, width] = x.layout().shape().to_vec()[..] else {
        unreachable!("three axes")
    };
    let (classes, half) = (sequences / pairs.max(1), grid / 2);
    let from = values(&x);
    let mut out = zeros(pairs * half * half * classes * width);
    for_each_part(&mut out, width.max(1), |first, part| {
        for (i, mean) in part.chunks_exact_mut(width.max(1)).enumerate() {
            let at = first / width + i;
            let (place, class) = (at / classes, at % classes);
            let (pair, row, column) = (place / (half * half), place / half % half, place % half);
            let cell = |dy: usize, dx: usize| {
                let cell = (2 * row + dy) * grid + 2 * column + dx;
                &from[((pair * classes + class) * grid * grid + cell) * width..][..width]
            };
            let [a, b, c, d] = [cell(0, 0), cell(0, 1), cell(1, 0), cell(1, 1)];
            for i in 0..width {
                mean[i] = 0.25 * ((a[i] + c[i]) + (b[i] + d[i]));
            }
        }
    });
    new_tensor(out, [pairs * half * half, classes, width])
}

/// Bilinear interpolation; see [`crate::spread_classes`]. The result takes the memory of a residual
/// that nobody else holds.
pub(crate) fn spread_classes(x: &FlexTensor, residual: FlexTensor, grid: usize) -> FlexTensor {
    let (x, mut residual) = (to_contiguous(x), into_writable(residual));
    let [classes, width] = [1, 2].map(|axis| x.layout().shape()[axis]);
    let (cells, half) = (grid * grid, grid / 2);
    let from = values(&x);
    let len = residual.layout().num_elements();
    let taps: Vec<(usize, f32)> = corners(half, grid).collect();
    for_each_part(
        &mut residual.storage_mut::<f32>()[..len],
        width.max(1),
        |first, part| {
            vectorised({
                let taps = &taps;
                #[inline(always)]
                move |_| {
                    for (i, cell) in part.chunks_exact_mut(width.max(1)).enumerate() {
                        let at = first / width + i;
                        let (sequence, place) = (at / cells, at % cells);
                        let (pair, class) = (sequence / classes, sequence % classes);
                        let [(row, down), (column, right)] =
                            [taps[place / grid], taps[place % grid]];
                        let start = pair * half * half + row * half + column;
                        let [beside, below] =
                            [usize::from(right > 0.0), usize::from(down > 0.0) * half];
                        let near = |step: usize| {
                            &from[((start + step) * classes + class) * width..][..width]
                        };
                        let (a, b) = (near(0), near(beside));
                        let (c, d) = (near(below), near(below + beside));
                        for i in 0..width {
                            let above = (1.0 - right) * a[i] + right * b[i];
                            let under = (1.0 - right) * c[i] + right * d[i];
                            cell[i] += (1.0 - down) * above + down * under;
                        }
                    }
                }
            });
        },
    );
    residual
}

/// Linear attention; see [`crate::class_attention`].
pub(crate) fn class_attention(
    qkv: [&FlexTensor; 3],
    guidance: [&FlexTensor; 2],
    pads: [&FlexTensor; 2],
    pad_count: f32,
    heads: usize,
) -> FlexTensor {
    let [q, k, v] = qkv.map(to_contiguous);
    let guidance = guidance.map(to_contiguous);
    let pads = pads.map(to_contiguous);
    let shape = q.layout().shape().to_vec();
    let [places, classes, width] = shape[..] else {
        unreachable!("three axes")
    };
    let (q, k, v) = (values(&q), values(&k), values(&v));
    let [guide_q, guide_k] = guidance.each_ref().map(values);
    let [pad_k, pad_v] = pads.each_ref().map(values);
    let (sequence, depth) = (classes * width, width / heads);
    let mut out = zeros(places * sequence);
    for_each_part(&mut out, sequence.max(1), |first, part| {
        // Of one place: φ(q) and φ(k) of all classes, and per head Σ φ(k) vᵀ and Σ φ(k).
        let mut features = [vec![0.0f32; sequence], vec![0.0f32; sequence]];
        let mut pad = vec![0.0f32; width];
        let mut products = vec![0.0f32; width * depth];
        let mut totals = vec![0.0f32; width];
        vectorised(
            #[inline(always)]
            |fused| {
                for (pad, value) in pad.iter_mut().zip(pad_k) {
                    *pad = feature(*value, fused) * pad_count;
                }
                for (i, out) in part.chunks_exact_mut(sequence).enumerate() {
                    let at = first + i * sequence;
                    let own = [&q[at..at + sequence], &k[at..at + sequence]];
                    let v = &v[at..at + sequence];
                    let [q, k] = &mut features;
                    for ((to, own), guide) in [&mut *q, &mut *k]
                        .into_iter()
                        .zip(own)
                        .zip([guide_q, guide_k])
                    {
                        for ((to, own), guide) in to.iter_mut().zip(own).zip(guide) {
                            *to = feature(*own + *guide, fused);
                        }
                    }
                    totals.copy_from_slice(&pad);
                    for row in k.chunks_exact(width) {
                        for (total, value) in totals.iter_mut().zip(row) {
                            *total += *value;
                        }
                    }
                    for head in 0..heads {
                        let of = head * depth..(head + 1) * depth;
                        let products = &mut products[of.start * depth..of.end * depth];
                        for (row, pad) in products.chunks_exact_mut(depth).zip(&pad[of.clone()]) {
                            for (sum, value) in row.iter_mut().zip(&pad_v[of.clone()]) {
                                *sum = *pad * *value;
                            }
                        }
                        for (k, v) in k.chunks_exact(width).zip(v.chunks_exact(width)) {
                            let v = &v[of.clone()];
                            for (row, k) in products.chunks_exact_mut(depth).zip(&k[of.clone()]) {
                                for (sum, value) in row.iter_mut().zip(v) {
                                    *sum += *k * *value;
                                }
                            }
                        }
                        for (q, out) in q.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
                            let (q, out) = (&q[of.clone()], &mut out[of.clone()]);
                            let mut below = 1e-6f32;
                            for (q, total) in q.iter().zip(&totals[of.clone()]) {
                                below += *q * *total;
                            }
                            out.fill(0.0);
                            for (row, q) in products.chunks_exact(depth).zip(q) {
                                for (out, product) in out.iter_mut().zip(row) {
                                    *out += *q * *product;
                                }
                            }
                            for out in out.iter_mut() {
                                *out /= below;
                            }
                        }
                    }
                }
            },
        );
    });
    new_tensor(out, shape)
}

/// `φ(z) = elu(z) + 1`.
#[inline(always)]
fn feature(z: f32, fused: bool) -> f32 {
    z.max(0.0) + exp(z.min(0.0), fused)
}
