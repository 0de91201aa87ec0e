//! Attention of narrow heads, eight numbers wide in the head's windows: products so thin that bringing their operands into
//! panels and their results back takes most of the time. Keys and values lie turned, a number of all keys after the
//! other, so that registers run along the keys in both products.

use pulp::{Simd, WithSimd};

use super::attention::{SoftmaxRow, exponentials};
use super::product::Place;
use super::{LINE, add, with_buffer};

/// The widest of narrow heads.
pub(super) const WIDTH_MOST: usize = 16;
/// Queries whose scores are held at once: with the keys of a window in a core's first cache.
const QUERIES: usize = 16;
/// Queries that meet a key while it is in a register, three registers of keys each.
const ROWS: usize = 4;
/// Numbers of the values that a score is multiplied with while it is in a register.
const VALUES: usize = 8;

/// One head's queries, keys and values of a sequence, each `[L, d]` at a place of a slice.
pub(super) struct Head<'a> {
    pub q: (&'a [f32], Place),
    pub k: (&'a [f32], Place),
    pub v: (&'a [f32], Place),
    pub scale: f32,
    /// `[queries, keys]` from these queries on.
    pub bias: Option<&'a [f32]>,
}

impl Head<'_> {
    /// `softmax(scale · q kᵀ + bias) v` at a place of `out`, and what `done` makes of each query's sum.
    pub fn run(&self, (out, into): (&mut [f32], Place), mut done: impl FnMut(usize, SoftmaxRow)) {
        let [queries, depth] = self.q.1.shape;
        let [keys, width] = self.v.1.shape;
        let (padded, wide) = (keys.next_multiple_of(LINE), width.next_multiple_of(VALUES));
        let sizes = [
            depth * padded,
            wide * padded,
            QUERIES * depth,
            QUERIES * padded,
            QUERIES * wide,
        ];
        let arch = pulp::Arch::new();
        with_buffer(sizes.iter().sum(), |buffer| {
            let (turned_keys, buffer) = buffer.split_at_mut(sizes[0]);
            let (turned_values, buffer) = buffer.split_at_mut(sizes[1]);
            let (scaled, buffer) = buffer.split_at_mut(sizes[2]);
            let (scores, mixed) = buffer.split_at_mut(sizes[3]);
            turn(self.k, padded, turned_keys);
            turn(self.v, padded, turned_values);
            for first in (0..queries).step_by(QUERIES) {
                let count = QUERIES.min(queries - first);
                for (i, row) in scaled.chunks_exact_mut(depth.max(1)).enumerate() {
                    // Beyond the last query: its scores again.
                    let query = first + i.min(count - 1);
                    for (d, value) in row.iter_mut().enumerate() {
                        *value = self.scale * self.q.0[self.q.1.at(query, d)];
                    }
                }
                arch.dispatch(Scores {
                    q: scaled,
                    keys: turned_keys,
                    depth,
                    padded,
                    scores,
                });
                if let Some(bias) = self.bias {
                    let bias = bias[first * keys..].chunks_exact(keys).take(count);
                    for (row, bias) in scores.chunks_exact_mut(padded).zip(bias) {
                        add(&mut row[..keys], bias);
                    }
                }
                let mut sums = [SoftmaxRow::EMPTY; QUERIES];
                // What is beyond the keys stays zero: the product with keys of zeros.
                exponentials(scores, padded, keys, &mut sums);
                arch.dispatch(Mix {
                    scores,
                    values: turned_values,
                    padded,
                    mixed,
                });
                for (i, (mixed, sum)) in mixed.chunks_exact(wide).zip(sums).take(count).enumerate()
                {
                    let part = 1.0 / sum.total;
                    let row = &mut out[into.at(first + i, 0)..][..width];
                    for (value, mixed) in row.iter_mut().zip(mixed) {
                        *value = mixed * part;
                    }
                    done(first + i, sum);
                }
            }
        });
    }
}

/// `[L, d]` as rows of all `L`, zeros behind them and for what is wider than `d`.
fn turn((from, at): (&[f32], Place), padded: usize, into: &mut [f32]) {
    let [length, width] = at.shape;
    for (d, row) in into.chunks_exact_mut(padded.max(1)).enumerate() {
        if d >= width {
            row.fill(0.0);
            continue;
        }
        for (l, value) in row[..length].iter_mut().enumerate() {
            *value = from[at.at(l, d)];
        }
        row[length..].fill(0.0);
    }
}

/// Queries `[rows, depth]` times keys `[depth, padded]`.
struct Scores<'a> {
    q: &'a [f32],
    keys: &'a [f32],
    depth: usize,
    padded: usize,
    scores: &'a mut [f32],
}

impl WithSimd for Scores<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            q,
            keys,
            depth,
            padded,
            scores,
        } = self;
        let registers = padded / S::F32_LANES;
        let rows = q.chunks_exact((ROWS * depth).max(1));
        for (q, scores) in rows.zip(scores.chunks_exact_mut((ROWS * padded).max(1))) {
            let mut at = 0;
            while at + 3 <= registers {
                meet::<S, 3>(simd, q, (keys, depth, padded), at, scores);
                at += 3;
            }
            while at < registers {
                meet::<S, 1>(simd, q, (keys, depth, padded), at, scores);
                at += 1;
            }
        }
    }
}

/// The scores of [`ROWS`] queries with `C` registers of keys.
#[inline(always)]
fn meet<S: Simd, const C: usize>(
    simd: S,
    q: &[f32],
    (keys, depth, padded): (&[f32], usize, usize),
    at: usize,
    scores: &mut [f32],
) {
    let mut sums = [[simd.splat_f32s(0.0); C]; ROWS];
    for (d, row) in keys.chunks_exact(padded).take(depth).enumerate() {
        let (row, _) = S::as_simd_f32s(row);
        let row = &row[at..at + C];
        for i in 0..ROWS {
            let left = simd.splat_f32s(q[i * depth + d]);
            for c in 0..C {
                sums[i][c] = simd.mul_add_e_f32s(left, row[c], sums[i][c]);
            }
        }
    }
    for i in 0..ROWS {
        let (into, _) = S::as_mut_simd_f32s(&mut scores[i * padded..][..padded]);
        into[at..at + C].copy_from_slice(&sums[i]);
    }
}

/// Scores `[rows, padded]` times values `[wide, padded]`, to `[rows, wide]`.
struct Mix<'a> {
    scores: &'a [f32],
    values: &'a [f32],
    padded: usize,
    mixed: &'a mut [f32],
}

impl WithSimd for Mix<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let padded = self.padded.max(1);
        let registers = padded / S::F32_LANES;
        let wide = self.values.len() / padded;
        let rows = self.scores.chunks_exact(padded);
        for (scores, mixed) in rows.zip(self.mixed.chunks_exact_mut(wide.max(1))) {
            let (scores, _) = S::as_simd_f32s(scores);
            let scores = &scores[..registers];
            let parts = self.values.chunks_exact(VALUES * padded);
            for (values, mixed) in parts.zip(mixed.chunks_exact_mut(VALUES)) {
                let mut of: [&[S::f32s]; VALUES] = [&[]; VALUES];
                for d in 0..VALUES {
                    let (row, _) = S::as_simd_f32s(&values[d * padded..][..padded]);
                    of[d] = &row[..registers];
                }
                let mut sums = [simd.splat_f32s(0.0); VALUES];
                for (i, score) in scores.iter().enumerate() {
                    for d in 0..VALUES {
                        sums[d] = simd.mul_add_e_f32s(*score, of[d][i], sums[d]);
                    }
                }
                for d in 0..VALUES {
                    mixed[d] = simd.reduce_sum_f32s(sums[d]);
                }
            }
        }
    }
}
