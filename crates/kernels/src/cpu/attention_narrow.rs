//! Attention with heads of up to 16 channels, such as the 8 of the head's windows: packing would
//! take longer than such products. Each lane of a register is a query; K and V are streamed
//! unpacked, and nothing is summed across lanes.

use pulp::{Simd, WithSimd};

use super::gemm::MatrixLayout;
use super::math::LANES as QUERIES;
use super::memory::with_scratch;
use super::simd::vectorised;
use super::softmax::{SoftmaxRow, exp_or_zero};

/// Most channels of a narrow head.
pub(super) const WIDTH_MAX: usize = 16;
/// Channels of a head in registers at a time.
const CHANNELS: usize = 8;
/// Keys whose terms are summed before they are added to the total. Adding key by key would double
/// the rounding error.
const KEY_BLOCK: usize = 16;

/// Queries, keys and values of a head of a sequence, `[L, d]` each.
pub(super) struct Head<'a> {
    pub q: (&'a [f32], MatrixLayout),
    pub k: (&'a [f32], MatrixLayout),
    pub v: (&'a [f32], MatrixLayout),
    pub scale: f32,
    /// The bias `[keys, ..]` from the first of these queries on, and its stride from key to key.
    pub bias: Option<(&'a [f32], usize)>,
}

impl Head<'_> {
    /// Writes `softmax(scale · q kᵀ + bias) v`, and calls `done` with the softmax state of each
    /// query.
    pub fn run(
        &self,
        (out, into): (&mut [f32], MatrixLayout),
        mut done: impl FnMut(usize, SoftmaxRow),
    ) {
        let [queries, depth] = self.q.1.shape;
        let [keys, width] = self.v.1.shape;
        let [deep, wide] = [depth, width].map(|numbers| numbers.next_multiple_of(CHANNELS));
        let sizes = [deep * keys, wide * keys, deep * QUERIES, keys * QUERIES];
        let arch = pulp::Arch::new();
        with_scratch(sizes.iter().sum::<usize>() + wide * QUERIES, |buffer| {
            let (k, buffer) = buffer.split_at_mut(sizes[0]);
            let (v, buffer) = buffer.split_at_mut(sizes[1]);
            let (q, buffer) = buffer.split_at_mut(sizes[2]);
            let (scores, mixed) = buffer.split_at_mut(sizes[3]);
            gather(self.k, k);
            gather(self.v, v);
            // Padding channels and queries are zero.
            q.fill(0.0);
            for first in (0..queries).step_by(QUERIES) {
                let count = QUERIES.min(queries - first);
                for (d, row) in q.chunks_exact_mut(QUERIES).take(depth).enumerate() {
                    row[count..].fill(0.0);
                    for (i, value) in row[..count].iter_mut().enumerate() {
                        *value = self.scale * self.q.0[self.q.1.index(first + i, d)];
                    }
                }
                if let Some((bias, step)) = self.bias {
                    let (rows, _) = scores.as_chunks_mut::<QUERIES>();
                    for (row, bias) in rows.iter_mut().zip(bias[first..].chunks(step)) {
                        row[count..].fill(0.0);
                        row[..count].copy_from_slice(&bias[..count]);
                    }
                }
                let is_begun = self.bias.is_some();
                arch.dispatch(Scores {
                    q,
                    k,
                    is_begun,
                    scores,
                });
                let (max, total) = softmax(scores);
                arch.dispatch(WeightedSum { scores, v, mixed });
                for i in 0..count {
                    let part = 1.0 / total[i];
                    let row = &mut out[into.index(first + i, 0)..][..width];
                    for (d, value) in row.iter_mut().enumerate() {
                        *value = mixed[d * QUERIES + i] * part;
                    }
                    done(first + i, SoftmaxRow::new(max[i], total[i]));
                }
            }
        });
    }
}

/// Copies `[L, d]` to `[d / 8, L, 8]`, padded with zeros.
fn gather((from, at): (&[f32], MatrixLayout), into: &mut [f32]) {
    let [length, width] = at.shape;
    let (rows, _) = into.as_chunks_mut::<CHANNELS>();
    for (part, rows) in rows.chunks_exact_mut(length.max(1)).enumerate() {
        let first = part * CHANNELS;
        let count = CHANNELS.min(width - first);
        for (l, row) in rows.iter_mut().enumerate() {
            let start = at.index(l, first);
            if at.strides[1] == 1 && count == CHANNELS {
                row.copy_from_slice(&from[start..][..CHANNELS]);
                continue;
            }
            row.fill(0.0);
            for (d, value) in row[..count].iter_mut().enumerate() {
                *value = from[start + d * at.strides[1]];
            }
        }
    }
}

/// The exponentials of each query's scores minus their maximum, in place. Returns the maxima and
/// the sums.
fn softmax(scores: &mut [f32]) -> ([f32; QUERIES], [f32; QUERIES]) {
    let (rows, _) = scores.as_chunks_mut::<QUERIES>();
    vectorised(
        #[inline(always)]
        move |fused| {
            let mut max = [f32::NEG_INFINITY; QUERIES];
            for row in rows.iter() {
                for i in 0..QUERIES {
                    max[i] = if row[i] > max[i] { row[i] } else { max[i] };
                }
            }
            let mut total = [0.0f32; QUERIES];
            for rows in rows.chunks_mut(KEY_BLOCK) {
                let mut part = [0.0f32; QUERIES];
                for row in rows {
                    for i in 0..QUERIES {
                        row[i] = exp_or_zero(row[i] - max[i], fused);
                        part[i] += row[i];
                    }
                }
                for i in 0..QUERIES {
                    total[i] += part[i];
                }
            }
            (max, total)
        },
    )
}

/// Queries `[d, QUERIES]` times keys `[d / 8, L, 8]`, to `[L, QUERIES]`.
struct Scores<'a> {
    q: &'a [f32],
    k: &'a [f32],
    /// Whether the scores are added to the values there.
    is_begun: bool,
    scores: &'a mut [f32],
}

impl WithSimd for Scores<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (rows, _) = self.scores.as_chunks_mut::<QUERIES>();
        let parts = self.q.chunks_exact(CHANNELS * QUERIES);
        let keys = self.k.chunks_exact((rows.len() * CHANNELS).max(1));
        for (part, (q, keys)) in parts.zip(keys).enumerate() {
            let (keys, _) = keys.as_chunks::<CHANNELS>();
            for lanes in 0..QUERIES / S::F32_LANES {
                let mut own = [simd.splat_f32s(0.0); CHANNELS];
                for d in 0..CHANNELS {
                    let (row, _) = S::as_simd_f32s(&q[d * QUERIES..][..QUERIES]);
                    own[d] = row[lanes];
                }
                for (row, key) in rows.iter_mut().zip(keys) {
                    let (row, _) = S::as_mut_simd_f32s(row);
                    // Two sums, so that consecutive multiply-adds do not wait for each other.
                    let mut sums = [simd.splat_f32s(0.0); 2];
                    if self.is_begun || part > 0 {
                        sums[0] = row[lanes];
                    }
                    for d in 0..CHANNELS {
                        let key = simd.splat_f32s(key[d]);
                        sums[d % 2] = simd.mul_add_e_f32s(key, own[d], sums[d % 2]);
                    }
                    row[lanes] = simd.add_f32s(sums[0], sums[1]);
                }
            }
        }
    }
}

/// Scores `[L, QUERIES]` times values `[d / 8, L, 8]`, to `[d, QUERIES]`.
struct WeightedSum<'a> {
    scores: &'a [f32],
    v: &'a [f32],
    mixed: &'a mut [f32],
}

impl WithSimd for WeightedSum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (rows, _) = self.scores.as_chunks::<QUERIES>();
        let parts = self.mixed.chunks_exact_mut(CHANNELS * QUERIES);
        let values = self.v.chunks_exact((rows.len() * CHANNELS).max(1));
        for (mixed, values) in parts.zip(values) {
            let (values, _) = values.as_chunks::<CHANNELS>();
            for lanes in 0..QUERIES / S::F32_LANES {
                let mut sums = [simd.splat_f32s(0.0); CHANNELS];
                for (rows, values) in rows.chunks(KEY_BLOCK).zip(values.chunks(KEY_BLOCK)) {
                    let mut part = [simd.splat_f32s(0.0); CHANNELS];
                    for (row, value) in rows.iter().zip(values) {
                        let (row, _) = S::as_simd_f32s(row);
                        let score = row[lanes];
                        for d in 0..CHANNELS {
                            let value = simd.splat_f32s(value[d]);
                            part[d] = simd.mul_add_e_f32s(value, score, part[d]);
                        }
                    }
                    for d in 0..CHANNELS {
                        sums[d] = simd.add_f32s(sums[d], part[d]);
                    }
                }
                for d in 0..CHANNELS {
                    let (into, _) = S::as_mut_simd_f32s(&mut mixed[d * QUERIES..][..QUERIES]);
                    into[lanes] = sums[d];
                }
            }
        }
    }
}
