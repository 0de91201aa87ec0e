//! Attention with scores for a block of queries and keys at a time.

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Shape};

use super::attention_narrow;
use super::gemm::{MatrixLayout, PackedPanels, gemm};
use super::math::exp;
use super::memory::{add_to, forward_strides, with_scratch, zeros};
use super::parallel::{PARALLEL_PRODUCTS, map_indices, map_jobs, threads};
use super::simd::vectorised;
use super::softmax::{SoftmaxRow, exponentials};
use crate::bias::WindowBias;

/// Scores of a block: 512 KiB, inside the L2 cache.
const SCORES: usize = 1 << 17;
/// Keys of a block in the forward pass. With more keys a block would have so few queries that
/// packing dominates each product.
const KEYS: usize = 640;

/// An operand `[N, heads, L, d]` with any strides.
struct Operand<'a> {
    values: &'a [f32],
    start: usize,
    shape: [usize; 4],
    strides: [usize; 4],
}

impl<'a> Operand<'a> {
    fn new(tensor: &'a FlexTensor) -> Self {
        let layout = tensor.layout();
        let four = |f: &dyn Fn(usize) -> usize| std::array::from_fn(f);
        Self {
            values: tensor.storage::<f32>(),
            start: layout.start_offset(),
            shape: four(&|i| layout.shape()[i]),
            // Not negative: see `forward_strides`.
            strides: four(&|i| layout.strides()[i].unsigned_abs()),
        }
    }

    /// The matrix `[L, d]` of a head of a sequence.
    fn head(&self, sequence: usize, head: usize) -> (&'a [f32], MatrixLayout) {
        let start = self.start + sequence * self.strides[0] + head * self.strides[1];
        let place = MatrixLayout {
            start,
            shape: [self.shape[2], self.shape[3]],
            strides: [self.strides[2], self.strides[3]],
        };
        (self.values, place)
    }
}

/// Puts heads together as `[N, L, heads, d]` in memory, seen as `[N, heads, L, d]`, so that merging
/// heads copies nothing.
fn merged(heads: &[Vec<f32>], [n, count, length, width]: [usize; 4]) -> FlexTensor {
    let row = count * width;
    let mut out = zeros(n * length * row);
    for (i, head) in heads.iter().enumerate() {
        let start = i / count * length * row + i % count * width;
        for (l, values) in head.chunks_exact(width).enumerate() {
            out[start + l * row..][..width].copy_from_slice(values);
        }
    }
    FlexTensor::new(
        Bytes::from_elems(out),
        Layout::contiguous(Shape::from(vec![n, length, count, width])),
        DType::F32,
    )
    .permute(&[0, 2, 1, 3])
}

/// Queries of a block.
fn queries(length: usize, keys: usize) -> usize {
    (SCORES / keys.max(1)).clamp(1, length.max(1))
}

fn is_parallel([n, heads, length, width]: [usize; 4], keys: usize) -> bool {
    n * heads * length * keys * width >= PARALLEL_PRODUCTS
}

/// Fewest queries of a thread where threads share a sequence: each packs all keys and values again.
const SHARED_QUERIES_MIN: usize = 64;

/// `softmax(scale · q kᵀ + bias) v`, `[N, heads, L, d]`, and the softmax state of each row,
/// `[N, L, heads]`.
///
/// The threads share the sequences, or the queries of a sequence. They do not share heads: three
/// heads would be an uneven load for two threads.
pub(crate) fn attention(
    q: FlexTensor,
    k: FlexTensor,
    v: FlexTensor,
    scale: f32,
    bias: Option<&WindowBias>,
) -> (FlexTensor, Vec<SoftmaxRow>) {
    let [q, k, v] = [q, k, v].map(forward_strides);
    let (q, k, v) = (Operand::new(&q), Operand::new(&k), Operand::new(&v));
    let [n, heads, length, _] = q.shape;
    let width = v.shape[3];
    let row = heads * width;
    let blocks = (2 * threads()).div_ceil(n.max(1));
    let rows = length
        .div_ceil(blocks)
        .max(SHARED_QUERIES_MIN.min(length))
        .max(1);
    // `[N, L, heads, d]` in memory, so that merging heads copies nothing.
    let mut out = zeros(n * length * row);
    let mut softmax = vec![SoftmaxRow::EMPTY; n * length * heads];
    let sequences = out
        .chunks_exact_mut((length * row).max(1))
        .zip(softmax.chunks_exact_mut((length * heads).max(1)));
    let mut jobs = Vec::with_capacity(n * blocks);
    for (sequence, (out, softmax)) in sequences.enumerate() {
        let parts = out
            .chunks_mut(rows * row)
            .zip(softmax.chunks_mut(rows * heads));
        jobs.extend(parts.enumerate().map(|(part, (out, softmax))| Queries {
            sequence,
            first: part * rows,
            out,
            softmax,
        }));
    }
    map_jobs(jobs, is_parallel(q.shape, k.shape[2]), |job| {
        job.run([&q, &k, &v], scale, bias);
    });
    let out = FlexTensor::new(
        Bytes::from_elems(out),
        Layout::contiguous(Shape::from(vec![n, length, heads, width])),
        DType::F32,
    )
    .permute(&[0, 2, 1, 3]);
    (out, softmax)
}

/// Some queries of a sequence, and where their results go.
struct Queries<'a> {
    sequence: usize,
    /// The first query.
    first: usize,
    /// `[rows, heads, d]`.
    out: &'a mut [f32],
    /// `[rows, heads]`.
    softmax: &'a mut [SoftmaxRow],
}

impl Queries<'_> {
    fn run(self, qkv: [&Operand; 3], scale: f32, bias: Option<&WindowBias>) {
        let [q, k, v] = qkv;
        let keys = k.shape[2];
        if keys > 0 && keys <= KEYS && q.shape[3].max(v.shape[3]) <= attention_narrow::WIDTH_MAX {
            self.with_narrow_heads(qkv, scale, bias);
        } else {
            let bias = bias.map(|bias| bias.of(self.sequence));
            self.with_panels(qkv, scale, bias);
        }
    }

    fn with_narrow_heads(self, [q, k, v]: [&Operand; 3], scale: f32, bias: Option<&WindowBias>) {
        let [_, heads, length, _] = q.shape;
        let width = v.shape[3];
        let bias = bias.map(|bias| &bias.of_by_key(self.sequence)[self.first..]);
        let count = self.softmax.len() / heads.max(1);
        for head in 0..heads {
            let (queries, at) = q.head(self.sequence, head);
            let narrow = attention_narrow::Head {
                q: (queries, at.row_range(self.first, count)),
                k: k.head(self.sequence, head),
                v: v.head(self.sequence, head),
                scale,
                bias: bias.map(|bias| (bias, length)),
            };
            let into = MatrixLayout {
                start: head * width,
                shape: [count, width],
                strides: [heads * width, 1],
            };
            narrow.run((&mut *self.out, into), |query, sum| {
                self.softmax[query * heads + head] = sum;
            });
        }
    }

    fn with_panels(self, [q, k, v]: [&Operand; 3], scale: f32, bias: Option<&[f32]>) {
        let Self {
            sequence,
            first,
            out,
            softmax,
        } = self;
        let [_, heads, _, _] = q.shape;
        let (keys, width) = (k.shape[2], v.shape[3]);
        let row = heads * width;
        let span = keys.div_ceil(keys.div_ceil(KEYS).max(1));
        let all = softmax.len() / heads.max(1);
        let max = queries(all, span);
        let mut states = vec![SoftmaxRow::EMPTY; all];
        with_scratch(max * span, |scores| {
            for head in 0..heads {
                let (q, k, v) = (
                    q.head(sequence, head),
                    k.head(sequence, head),
                    v.head(sequence, head),
                );
                states.fill(SoftmaxRow::EMPTY);
                // Keys and values are packed once for all queries.
                for start in (0..keys).step_by(span.max(1)) {
                    let count = span.min(keys - start);
                    let (keys_at, values_at) =
                        (k.1.row_range(start, count), v.1.row_range(start, count));
                    PackedPanels::with(k.0, keys_at.transposed(), false, |k| {
                        PackedPanels::with(v.0, values_at, false, |v| {
                            let blocks = states.chunks_mut(max.max(1)).enumerate();
                            for (block, states) in blocks {
                                let (begin, rows) = (block * max, states.len());
                                let at = MatrixLayout::row_major(rows, count);
                                let scores = &mut scores[..rows * count];
                                let q = (q.0, q.1.row_range(first + begin, rows));
                                k.gemm((scores, at), false, q, scale);
                                if let Some(bias) = bias {
                                    let bias = bias[(first + begin) * keys..].chunks_exact(keys);
                                    for (row, bias) in scores.chunks_exact_mut(count).zip(bias) {
                                        add_to(row, &bias[start..start + count]);
                                    }
                                }
                                exponentials(scores, count, states);
                                let into = MatrixLayout {
                                    start: begin * row + head * width,
                                    shape: [rows, width],
                                    strides: [row, 1],
                                };
                                if start > 0 {
                                    for (i, state) in states.iter().enumerate() {
                                        let row = &mut out[into.start + i * row..][..width];
                                        row.iter_mut().for_each(|value| *value *= state.rescale);
                                    }
                                }
                                v.gemm((out, into), start > 0, (scores, at), 1.0);
                            }
                        });
                    });
                }
                // Dividing the results by the sums is cheaper than dividing the scores.
                for (i, state) in states.iter().enumerate() {
                    let row = &mut out[i * row + head * width..][..width];
                    let part = 1.0 / state.sum;
                    row.iter_mut().for_each(|value| *value *= part);
                    softmax[i * heads + head] = *state;
                }
            }
        });
    }
}

/// Gradients of `q`, `k` and `v`. `out` and `softmax` are the results of [`attention`]; the scores
/// are computed again.
#[expect(
    clippy::too_many_arguments,
    reason = "operands, results and gradient of one operation"
)]
pub(crate) fn attention_backward(
    q: FlexTensor,
    k: FlexTensor,
    v: FlexTensor,
    out: FlexTensor,
    softmax: &[SoftmaxRow],
    grad: FlexTensor,
    scale: f32,
    bias: Option<&WindowBias>,
) -> [FlexTensor; 3] {
    let [q, k, v, out, grad] = [q, k, v, out, grad].map(forward_strides);
    let [q, k, v, out, grad] = [&q, &k, &v, &out, &grad].map(Operand::new);
    let [n, heads, length, depth] = q.shape;
    let width = v.shape[3];
    let keys = k.shape[2];
    let results = map_indices(n * heads, is_parallel(q.shape, keys), |i| {
        let (sequence, head) = (i / heads, i % heads);
        let [q, k, v, out, grad] =
            [&q, &k, &v, &out, &grad].map(|operand| operand.head(sequence, head));
        let bias = bias.map(|bias| bias.of(sequence));
        // `[N, L, heads]`.
        let softmax = &softmax[sequence * length * heads + head..];
        let mut dq = vec![0.0f32; length * depth];
        let mut dk = vec![0.0f32; keys * depth];
        let mut dv = vec![0.0f32; keys * width];
        let max = queries(length, keys);
        let mut weights = vec![0.0f32; max * keys];
        let mut slopes = weights.clone();
        for first in (0..length).step_by(max) {
            let rows = max.min(length - first);
            let at = MatrixLayout::row_major(rows, keys);
            let q = (q.0, q.1.row_range(first, rows));
            let above = (grad.0, grad.1.row_range(first, rows));
            gemm((&mut weights, at), false, q, (k.0, k.1.transposed()), scale);
            let weights = &mut weights[..rows * keys];
            if let Some(bias) = bias {
                add_to(weights, &bias[first * keys..]);
            }
            gemm(
                (&mut slopes, at),
                false,
                above,
                (v.0, v.1.transposed()),
                1.0,
            );
            let slopes = &mut slopes[..rows * keys];
            let mean: Vec<f32> = (first..first + rows)
                .map(|row| dot(out, grad, row))
                .collect();
            vectorised(
                #[inline(always)]
                |fused| {
                    for (row, mean) in mean.iter().enumerate() {
                        let logarithm = softmax[(first + row) * heads].log_sum_exp();
                        let weights = &mut weights[row * keys..(row + 1) * keys];
                        let slopes = &mut slopes[row * keys..(row + 1) * keys];
                        for (weight, slope) in weights.iter_mut().zip(slopes) {
                            *weight = exp(*weight - logarithm, fused);
                            *slope = *weight * (*slope - mean) * scale;
                        }
                    }
                },
            );
            let into = MatrixLayout::row_major(keys, width);
            gemm(
                (&mut dv, into),
                true,
                (weights, at.transposed()),
                above,
                1.0,
            );
            let into = MatrixLayout::row_major(length, depth).row_range(first, rows);
            gemm((&mut dq, into), false, (slopes, at), k, 1.0);
            let into = MatrixLayout::row_major(keys, depth);
            gemm((&mut dk, into), true, (slopes, at.transposed()), q, 1.0);
        }
        (dq, dk, dv)
    });
    let mut gradients = [Vec::new(), Vec::new(), Vec::new()];
    for (dq, dk, dv) in results {
        for (all, one) in gradients.iter_mut().zip([dq, dk, dv]) {
            all.push(one);
        }
    }
    let [dq, dk, dv] = gradients;
    [
        merged(&dq, [n, heads, length, depth]),
        merged(&dk, [n, heads, keys, depth]),
        merged(&dv, [n, heads, keys, width]),
    ]
}

/// The dot product of a row of two matrices of one shape.
fn dot(a: (&[f32], MatrixLayout), b: (&[f32], MatrixLayout), row: usize) -> f32 {
    let value = |m: (&[f32], MatrixLayout), column: usize| {
        m.0[m.1.start + row * m.1.strides[0] + column * m.1.strides[1]]
    };
    (0..a.1.shape[1]).map(|c| value(a, c) * value(b, c)).sum()
}
