//! Attention whose scores exist for a few queries at a time only.

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Shape};

use super::math::{LANES, exp, exp_within, fold, max};
use super::narrow;
use super::product::{Panels, Place, product};
use super::{
    PARALLEL_PRODUCTS, add_to, each, each_of, forward_strides, threads, vectorised, with_buffer,
    zeros,
};
use crate::bias::WindowBias;

/// Scores that are held at once: half a megabyte, inside a core's second cache.
const SCORES: usize = 1 << 17;
/// Keys whose scores are held at once in the forward pass. With more keys a block has few queries, and each
/// product spends its time on bringing all keys and values into its own order.
const KEYS: usize = 640;

/// One operand `[N, heads, L, d]` with whatever strides its views have given it.
struct Operand<'a> {
    values: &'a [f32],
    start: usize,
    shape: [usize; 4],
    step: [usize; 4],
}

impl<'a> Operand<'a> {
    fn new(tensor: &'a FlexTensor) -> Self {
        let layout = tensor.layout();
        let four = |f: &dyn Fn(usize) -> usize| std::array::from_fn(f);
        Self {
            values: tensor.storage::<f32>(),
            start: layout.start_offset(),
            shape: four(&|i| layout.shape()[i]),
            // Checked by `forward_strides` before.
            step: four(&|i| layout.strides()[i].unsigned_abs()),
        }
    }

    /// The matrix `[L, d]` of one head of one sequence.
    fn head(&self, sequence: usize, head: usize) -> (&'a [f32], Place) {
        let start = self.start + sequence * self.step[0] + head * self.step[1];
        let place = Place {
            start,
            shape: [self.shape[2], self.shape[3]],
            step: [self.step[2], self.step[3]],
        };
        (self.values, place)
    }
}

/// Heads gathered to `[N, L, heads, d]` in memory, seen as `[N, heads, L, d]`: merging heads
/// afterwards moves nothing.
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

/// Queries whose scores are held at once.
fn queries(length: usize, keys: usize) -> usize {
    (SCORES / keys.max(1)).clamp(1, length.max(1))
}

fn is_much([n, heads, length, width]: [usize; 4], keys: usize) -> bool {
    n * heads * length * keys * width >= PARALLEL_PRODUCTS
}

/// Queries of one sequence that a core takes at least, where cores share a sequence: each brings all keys and values
/// into its own order once more.
const SHARED_QUERIES_MIN: usize = 64;

/// `softmax(scale · q kᵀ + bias) v`, `[N, heads, L, d]`, and what the softmax of each row knows in the end,
/// `[N · L · heads]`.
///
/// The cores share sequences, or the queries of one: never heads, of which there may be three for two cores.
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
    let shares = (2 * threads()).div_ceil(n.max(1));
    let rows = length
        .div_ceil(shares)
        .max(SHARED_QUERIES_MIN.min(length))
        .max(1);
    // `[N, L, heads, d]` in memory, seen as `[N, heads, L, d]`: merging heads afterwards moves nothing.
    let mut out = zeros(n * length * row);
    let mut sums = vec![SoftmaxRow::EMPTY; n * length * heads];
    let sequences = out
        .chunks_exact_mut((length * row).max(1))
        .zip(sums.chunks_exact_mut((length * heads).max(1)));
    let mut jobs = Vec::with_capacity(n * shares);
    for (sequence, (out, sums)) in sequences.enumerate() {
        let parts = out
            .chunks_mut(rows * row)
            .zip(sums.chunks_mut(rows * heads));
        jobs.extend(parts.enumerate().map(|(part, (out, sums))| Queries {
            sequence,
            first: part * rows,
            out,
            sums,
        }));
    }
    each_of(jobs, is_much(q.shape, k.shape[2]), |job| {
        job.run([&q, &k, &v], scale, bias);
    });
    let out = FlexTensor::new(
        Bytes::from_elems(out),
        Layout::contiguous(Shape::from(vec![n, length, heads, width])),
        DType::F32,
    )
    .permute(&[0, 2, 1, 3]);
    (out, sums)
}

/// Some queries of one sequence, and where their results go.
struct Queries<'a> {
    sequence: usize,
    /// The first of them.
    first: usize,
    /// `[rows, heads, d]`.
    out: &'a mut [f32],
    /// `[rows, heads]`.
    sums: &'a mut [SoftmaxRow],
}

impl Queries<'_> {
    fn run(self, qkv: [&Operand; 3], scale: f32, bias: Option<&WindowBias>) {
        let [q, k, v] = qkv;
        let keys = k.shape[2];
        if keys > 0 && keys <= KEYS && q.shape[3].max(v.shape[3]) <= narrow::WIDTH_MOST {
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
        let count = self.sums.len() / heads.max(1);
        for head in 0..heads {
            let (queries, at) = q.head(self.sequence, head);
            let narrow = narrow::Head {
                q: (queries, at.cut(self.first, count)),
                k: k.head(self.sequence, head),
                v: v.head(self.sequence, head),
                scale,
                bias: bias.map(|bias| (bias, length)),
            };
            let into = Place {
                start: head * width,
                shape: [count, width],
                step: [heads * width, 1],
            };
            narrow.run((&mut *self.out, into), |query, sum| {
                self.sums[query * heads + head] = sum;
            });
        }
    }

    fn with_panels(self, [q, k, v]: [&Operand; 3], scale: f32, bias: Option<&[f32]>) {
        let Self {
            sequence,
            first,
            out,
            sums,
        } = self;
        let [_, heads, _, _] = q.shape;
        let (keys, width) = (k.shape[2], v.shape[3]);
        let row = heads * width;
        let span = keys.div_ceil(keys.div_ceil(KEYS).max(1));
        let all = sums.len() / heads.max(1);
        let most = queries(all, span);
        let mut so_far = vec![SoftmaxRow::EMPTY; all];
        with_buffer(most * span, |scores| {
            for head in 0..heads {
                let (q, k, v) = (
                    q.head(sequence, head),
                    k.head(sequence, head),
                    v.head(sequence, head),
                );
                so_far.fill(SoftmaxRow::EMPTY);
                // Keys and values come into panels once for all queries.
                for start in (0..keys).step_by(span.max(1)) {
                    let count = span.min(keys - start);
                    let (keys_at, values_at) = (k.1.cut(start, count), v.1.cut(start, count));
                    Panels::with(k.0, keys_at.transposed(), false, |k| {
                        Panels::with(v.0, values_at, false, |v| {
                            let blocks = so_far.chunks_mut(most.max(1)).enumerate();
                            for (block, so_far) in blocks {
                                let (begin, rows) = (block * most, so_far.len());
                                let at = Place::rows(rows, count);
                                let scores = &mut scores[..rows * count];
                                let q = (q.0, q.1.cut(first + begin, rows));
                                k.product((scores, at), false, q, scale);
                                if let Some(bias) = bias {
                                    let bias = bias[(first + begin) * keys..].chunks_exact(keys);
                                    for (row, bias) in scores.chunks_exact_mut(count).zip(bias) {
                                        add_to(row, &bias[start..start + count]);
                                    }
                                }
                                exponentials(scores, count, count, so_far);
                                let into = Place {
                                    start: begin * row + head * width,
                                    shape: [rows, width],
                                    step: [row, 1],
                                };
                                if start > 0 {
                                    for (i, state) in so_far.iter().enumerate() {
                                        let row = &mut out[into.start + i * row..][..width];
                                        row.iter_mut().for_each(|value| *value *= state.shrink);
                                    }
                                }
                                v.product((out, into), start > 0, (scores, at), 1.0);
                            }
                        });
                    });
                }
                // The sums divide `width` results instead of all scores.
                for (i, state) in so_far.iter().enumerate() {
                    let row = &mut out[i * row + head * width..][..width];
                    let part = 1.0 / state.total;
                    row.iter_mut().for_each(|value| *value *= part);
                    sums[i * heads + head] = *state;
                }
            }
        });
    }
}

/// What a row's softmax knows after the keys that it has seen so far (after Milakov and Gimelshein, "Online
/// normalizer calculation for softmax", 2018).
#[derive(Clone, Copy, Debug)]
pub(crate) struct SoftmaxRow {
    /// The largest score.
    most: f32,
    /// Sum of the exponentials of the scores less `most`.
    total: f32,
    /// What the last block of keys turned the exponentials before it into: they were taken from a smaller
    /// `most`.
    shrink: f32,
}

impl SoftmaxRow {
    const EMPTY: Self = Self::new(f32::NEG_INFINITY, 0.0);

    pub const fn new(most: f32, total: f32) -> Self {
        Self {
            most,
            total,
            shrink: 0.0,
        }
    }

    /// The logarithm of the sum of all exponentials.
    fn logarithm(self) -> f32 {
        self.most + self.total.ln()
    }
}

/// The exponentials of a block of keys' scores in place, row by row, less the largest score of the row so
/// far; from one row to the next are `step` values.
fn exponentials(scores: &mut [f32], step: usize, keys: usize, so_far: &mut [SoftmaxRow]) {
    vectorised(
        #[inline(always)]
        |fused| {
            let rows = scores.chunks_exact_mut(step.max(1));
            for (row, state) in rows.zip(so_far) {
                let row = &mut row[..keys];
                let most = max(row).max(state.most);
                let mut lanes = [0.0f32; LANES];
                let mut chunks = row.chunks_exact_mut(LANES);
                for chunk in &mut chunks {
                    for (value, lane) in chunk.iter_mut().zip(&mut lanes) {
                        *value = share(*value - most, fused);
                        *lane += *value;
                    }
                }
                let mut total = fold(lanes, |a, b| a + b);
                for value in chunks.into_remainder() {
                    *value = share(*value - most, fused);
                    total += *value;
                }
                let shrink = exp(state.most - most, fused);
                *state = SoftmaxRow {
                    most,
                    total: state.total * shrink + total,
                    shrink,
                };
            }
        },
    );
}

/// `eˣ` of `x` up to 0, zero where it is nothing beside the largest share, 1: of keys that a mask hides, whose products with
/// values would be numbers so small that each costs a processor a hundred steps.
#[inline(always)]
pub(super) fn share(x: f32, fused: bool) -> f32 {
    let share = exp_within(if x < -60.0 { -60.0 } else { x }, fused);
    if x < -60.0 { 0.0 } else { share }
}

/// Gradients of q, k and v. `out` and `sums` are what [`attention`] gave; the scores are computed
/// again.
#[expect(
    clippy::too_many_arguments,
    reason = "operands, results and gradient of one operation"
)]
pub(crate) fn attention_backward(
    q: FlexTensor,
    k: FlexTensor,
    v: FlexTensor,
    out: FlexTensor,
    sums: &[SoftmaxRow],
    grad: FlexTensor,
    scale: f32,
    bias: Option<&WindowBias>,
) -> [FlexTensor; 3] {
    let [q, k, v, out, grad] = [q, k, v, out, grad].map(forward_strides);
    let [q, k, v, out, grad] = [&q, &k, &v, &out, &grad].map(Operand::new);
    let [n, heads, length, depth] = q.shape;
    let width = v.shape[3];
    let keys = k.shape[2];
    let results = each(n * heads, is_much(q.shape, keys), |i| {
        let (sequence, head) = (i / heads, i % heads);
        let [q, k, v, out, grad] =
            [&q, &k, &v, &out, &grad].map(|operand| operand.head(sequence, head));
        let bias = bias.map(|bias| bias.of(sequence));
        // Kept `[N, L, heads]`.
        let sums = &sums[sequence * length * heads + head..];
        let mut dq = vec![0.0f32; length * depth];
        let mut dk = vec![0.0f32; keys * depth];
        let mut dv = vec![0.0f32; keys * width];
        let most = queries(length, keys);
        let mut shares = vec![0.0f32; most * keys];
        let mut slopes = shares.clone();
        for first in (0..length).step_by(most) {
            let rows = most.min(length - first);
            let at = Place::rows(rows, keys);
            let q = (q.0, q.1.cut(first, rows));
            let above = (grad.0, grad.1.cut(first, rows));
            product((&mut shares, at), false, q, (k.0, k.1.transposed()), scale);
            let shares = &mut shares[..rows * keys];
            if let Some(bias) = bias {
                add_to(shares, &bias[first * keys..]);
            }
            product(
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
                        let logarithm = sums[(first + row) * heads].logarithm();
                        let shares = &mut shares[row * keys..(row + 1) * keys];
                        let slopes = &mut slopes[row * keys..(row + 1) * keys];
                        for (share, slope) in shares.iter_mut().zip(slopes) {
                            *share = exp(*share - logarithm, fused);
                            *slope = *share * (*slope - mean) * scale;
                        }
                    }
                },
            );
            let into = Place::rows(keys, width);
            product((&mut dv, into), true, (shares, at.transposed()), above, 1.0);
            let into = Place::rows(length, depth).cut(first, rows);
            product((&mut dq, into), false, (slopes, at), k, 1.0);
            let into = Place::rows(keys, depth);
            product((&mut dk, into), true, (slopes, at.transposed()), q, 1.0);
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

/// The product of a row of two matrices of one shape, summed.
fn dot(a: (&[f32], Place), b: (&[f32], Place), row: usize) -> f32 {
    let value = |m: (&[f32], Place), column: usize| {
        m.0[m.1.start + row * m.1.step[0] + column * m.1.step[1]]
    };
    (0..a.1.shape[1]).map(|c| value(a, c) * value(b, c)).sum()
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn hidden_keys_have_no_share_and_no_number_is_smaller_than_a_processor_likes() {
        for fused in [false, true] {
            assert_eq!(share(-100.0, fused), 0.0);
            assert_eq!(share(-1e30, fused), 0.0);
            assert_eq!(share(f32::NEG_INFINITY, fused), 0.0);
            assert!(share(-59.0, fused) > 1e-27);
            assert!((share(0.0, fused) - 1.0).abs() < 1e-6);
        }
    }
}
