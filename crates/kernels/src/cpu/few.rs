//! Products of a few rows, as those of one class's words: every weight is used so few times that bringing it into a panel
//! would take longer than to use it. The weights pass by once, where they lie.

use pulp::{Simd, WithSimd};

use super::product::Place;

/// Rows that a weight meets while it is in a register: with [`PAIR`], eight sums, as many as a processor begins before the
/// first has ended, and fourteen of the sixteen registers of AVX2 and wasm.
const ROWS: usize = 4;
/// Rows of weights that are read at once.
const PAIR: usize = 2;

/// `into = [into +] x Wᵀ` for rows `x` and the rows of `weight` that the parts in `into` are the results of.
pub(super) struct Few<'a, 'r> {
    /// Rows that lie in one piece each.
    pub x: &'a [&'a [f32]],
    pub weight: &'a [f32],
    /// Its rows lie in one piece each.
    pub at: Place,
    pub into: &'a mut [&'r mut [f32]],
    pub add: bool,
}

impl WithSimd for Few<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let [output, input] = self.at.shape;
        for first in (0..output).step_by(PAIR) {
            let last = output.min(first + PAIR);
            // Beyond the last row it is read again, and what that gives not written.
            let weights = [
                &self.weight[self.at.at(first, 0)..][..input],
                &self.weight[self.at.at(last - 1, 0)..][..input],
            ];
            for (x, into) in self.x.chunks(ROWS).zip(self.into.chunks_mut(ROWS)) {
                let mut rows = [x[0]; ROWS];
                rows[..x.len()].copy_from_slice(x);
                let sums = sums(simd, rows, weights);
                for (into, sums) in into.iter_mut().zip(&sums) {
                    for (into, sum) in into[first..last].iter_mut().zip(sums) {
                        *into = if self.add { *into + sum } else { *sum };
                    }
                }
            }
        }
    }
}

/// The products of each row with each row of weights.
#[inline(always)]
fn sums<S: Simd>(
    simd: S,
    [p, q, r, s]: [&[f32]; ROWS],
    [a, b]: [&[f32]; PAIR],
) -> [[f32; PAIR]; ROWS] {
    let ((p, p_end), (q, q_end)) = (S::as_simd_f32s(p), S::as_simd_f32s(q));
    let ((r, r_end), (s, s_end)) = (S::as_simd_f32s(r), S::as_simd_f32s(s));
    let ((a, a_end), (b, b_end)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let mut sums = [[simd.splat_f32s(0.0); PAIR]; ROWS];
    let rows = p.iter().zip(q).zip(r).zip(s);
    for ((((p, q), r), s), (a, b)) in rows.zip(a.iter().zip(b)) {
        step(simd, &mut sums, [*p, *q, *r, *s], [*a, *b]);
    }
    if !p_end.is_empty() {
        let rows = [
            simd.partial_load_f32s(p_end),
            simd.partial_load_f32s(q_end),
            simd.partial_load_f32s(r_end),
            simd.partial_load_f32s(s_end),
        ];
        let weights = [simd.partial_load_f32s(a_end), simd.partial_load_f32s(b_end)];
        step(simd, &mut sums, rows, weights);
    }
    let mut totals = [[0.0; PAIR]; ROWS];
    for i in 0..ROWS {
        for j in 0..PAIR {
            totals[i][j] = simd.reduce_sum_f32s(sums[i][j]);
        }
    }
    totals
}

/// One register of each sum's terms.
#[inline(always)]
fn step<S: Simd>(
    simd: S,
    sums: &mut [[S::f32s; PAIR]; ROWS],
    rows: [S::f32s; ROWS],
    weights: [S::f32s; PAIR],
) {
    for i in 0..ROWS {
        for j in 0..PAIR {
            sums[i][j] = simd.mul_add_e_f32s(rows[i], weights[j], sums[i][j]);
        }
    }
}
