//! Attention of narrow heads, eight numbers wide in the head's windows: products so thin that bringing their operands into
//! panels and their results back takes most of the time. Each lane of a register is a query: keys and values go by one
//! after the other where they lie, and nothing is ever summed across lanes.

use pulp::{Simd, WithSimd};

use super::attention::{SoftmaxRow, share};
use super::math::LANES as QUERIES;
use super::product::Place;
use super::{vectorised, with_buffer};

/// The widest of narrow heads.
pub(super) const WIDTH_MOST: usize = 16;
/// Numbers of a head that are in registers at once.
const NUMBERS: usize = 8;
/// Keys whose terms are added to one another before they are added to a sum: one key after the other, a sum would lose twice
/// as much to rounding.
const TOGETHER: usize = 16;

/// One head's queries, keys and values of a sequence, each `[L, d]` at a place of a slice.
pub(super) struct Head<'a> {
    pub q: (&'a [f32], Place),
    pub k: (&'a [f32], Place),
    pub v: (&'a [f32], Place),
    pub scale: f32,
    /// `[keys, ..]` from these queries on, and values from one key to the next.
    pub bias: Option<(&'a [f32], usize)>,
}

impl Head<'_> {
    /// `softmax(scale · q kᵀ + bias) v` at a place of `out`, and what `done` makes of each query's sum.
    pub fn run(&self, (out, into): (&mut [f32], Place), mut done: impl FnMut(usize, SoftmaxRow)) {
        let [queries, depth] = self.q.1.shape;
        let [keys, width] = self.v.1.shape;
        let [deep, wide] = [depth, width].map(|numbers| numbers.next_multiple_of(NUMBERS));
        let sizes = [deep * keys, wide * keys, deep * QUERIES, keys * QUERIES];
        let arch = pulp::Arch::new();
        with_buffer(sizes.iter().sum::<usize>() + wide * QUERIES, |buffer| {
            let (k, buffer) = buffer.split_at_mut(sizes[0]);
            let (v, buffer) = buffer.split_at_mut(sizes[1]);
            let (q, buffer) = buffer.split_at_mut(sizes[2]);
            let (scores, mixed) = buffer.split_at_mut(sizes[3]);
            gather(self.k, k);
            gather(self.v, v);
            // What is beyond the head or the last query stays zero.
            q.fill(0.0);
            for first in (0..queries).step_by(QUERIES) {
                let count = QUERIES.min(queries - first);
                for (d, row) in q.chunks_exact_mut(QUERIES).take(depth).enumerate() {
                    row[count..].fill(0.0);
                    for (i, value) in row[..count].iter_mut().enumerate() {
                        *value = self.scale * self.q.0[self.q.1.at(first + i, d)];
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
                let (most, total) = softmax(scores);
                arch.dispatch(Mix { scores, v, mixed });
                for i in 0..count {
                    let part = 1.0 / total[i];
                    let row = &mut out[into.at(first + i, 0)..][..width];
                    for (d, value) in row.iter_mut().enumerate() {
                        *value = mixed[d * QUERIES + i] * part;
                    }
                    done(first + i, SoftmaxRow::new(most[i], total[i]));
                }
            }
        });
    }
}

/// `[L, d]` as `[d / 8, L, 8]`, zeros for what is wider than `d`.
fn gather((from, at): (&[f32], Place), into: &mut [f32]) {
    let [length, width] = at.shape;
    let (rows, _) = into.as_chunks_mut::<NUMBERS>();
    for (part, rows) in rows.chunks_exact_mut(length.max(1)).enumerate() {
        let first = part * NUMBERS;
        let count = NUMBERS.min(width - first);
        for (l, row) in rows.iter_mut().enumerate() {
            let start = at.at(l, first);
            if at.step[1] == 1 && count == NUMBERS {
                row.copy_from_slice(&from[start..][..NUMBERS]);
                continue;
            }
            row.fill(0.0);
            for (d, value) in row[..count].iter_mut().enumerate() {
                *value = from[start + d * at.step[1]];
            }
        }
    }
}

/// The exponentials of each query's scores less the largest, in place; the largest of each and their sum.
fn softmax(scores: &mut [f32]) -> ([f32; QUERIES], [f32; QUERIES]) {
    let (rows, _) = scores.as_chunks_mut::<QUERIES>();
    vectorised(
        #[inline(always)]
        move |fused| {
            let mut most = [f32::NEG_INFINITY; QUERIES];
            for row in rows.iter() {
                for i in 0..QUERIES {
                    most[i] = if row[i] > most[i] { row[i] } else { most[i] };
                }
            }
            let mut total = [0.0f32; QUERIES];
            for rows in rows.chunks_mut(TOGETHER) {
                let mut part = [0.0f32; QUERIES];
                for row in rows {
                    for i in 0..QUERIES {
                        row[i] = share(row[i] - most[i], fused);
                        part[i] += row[i];
                    }
                }
                for i in 0..QUERIES {
                    total[i] += part[i];
                }
            }
            (most, total)
        },
    )
}

/// Queries `[d, QUERIES]` times keys `[d / 8, L, 8]`, to `[L, QUERIES]`.
struct Scores<'a> {
    q: &'a [f32],
    k: &'a [f32],
    /// Whether they are added to what is there.
    is_begun: bool,
    scores: &'a mut [f32],
}

impl WithSimd for Scores<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (rows, _) = self.scores.as_chunks_mut::<QUERIES>();
        let parts = self.q.chunks_exact(NUMBERS * QUERIES);
        let keys = self.k.chunks_exact((rows.len() * NUMBERS).max(1));
        for (part, (q, keys)) in parts.zip(keys).enumerate() {
            let (keys, _) = keys.as_chunks::<NUMBERS>();
            for lanes in 0..QUERIES / S::F32_LANES {
                let mut own = [simd.splat_f32s(0.0); NUMBERS];
                for d in 0..NUMBERS {
                    let (row, _) = S::as_simd_f32s(&q[d * QUERIES..][..QUERIES]);
                    own[d] = row[lanes];
                }
                for (row, key) in rows.iter_mut().zip(keys) {
                    let (row, _) = S::as_mut_simd_f32s(row);
                    // Two sums: one alone would wait for itself.
                    let mut sums = [simd.splat_f32s(0.0); 2];
                    if self.is_begun || part > 0 {
                        sums[0] = row[lanes];
                    }
                    for d in 0..NUMBERS {
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
struct Mix<'a> {
    scores: &'a [f32],
    v: &'a [f32],
    mixed: &'a mut [f32],
}

impl WithSimd for Mix<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (rows, _) = self.scores.as_chunks::<QUERIES>();
        let parts = self.mixed.chunks_exact_mut(NUMBERS * QUERIES);
        let values = self.v.chunks_exact((rows.len() * NUMBERS).max(1));
        for (mixed, values) in parts.zip(values) {
            let (values, _) = values.as_chunks::<NUMBERS>();
            for lanes in 0..QUERIES / S::F32_LANES {
                let mut sums = [simd.splat_f32s(0.0); NUMBERS];
                for (rows, values) in rows.chunks(TOGETHER).zip(values.chunks(TOGETHER)) {
                    let mut part = [simd.splat_f32s(0.0); NUMBERS];
                    for (row, value) in rows.iter().zip(values) {
                        let (row, _) = S::as_simd_f32s(row);
                        let score = row[lanes];
                        for d in 0..NUMBERS {
                            let value = simd.splat_f32s(value[d]);
                            part[d] = simd.mul_add_e_f32s(value, score, part[d]);
                        }
                    }
                    for d in 0..NUMBERS {
                        sums[d] = simd.add_f32s(sums[d], part[d]);
                    }
                }
                for d in 0..NUMBERS {
                    let (into, _) = S::as_mut_simd_f32s(&mut mixed[d * QUERIES..][..QUERIES]);
                    into[lanes] = sums[d];
                }
            }
        }
    }
}
