//! Products of a few rows, such as the tokens of one class name, with a weight. Each weight is used
//! so few times that packing it would take longer than the product: it is read once, unpacked.

use pulp::{Simd, WithSimd};

use super::gemm::MatrixLayout;

/// Rows of `x` per pass over two rows of the weight. With [`PAIR`], eight sums hide the latency of
/// a fused multiply-add, and fourteen of the sixteen registers of AVX2 and wasm are used.
const ROWS: usize = 4;
/// Rows of the weight read together.
const PAIR: usize = 2;

/// `into = [into +] x Wᵀ` for the rows of `weight` that the slices of `into` are the results of.
pub(super) struct FewRows<'a, 'r> {
    /// Contiguous rows.
    pub x: &'a [&'a [f32]],
    pub weight: &'a [f32],
    /// With contiguous rows.
    pub at: MatrixLayout,
    pub into: &'a mut [&'r mut [f32]],
    pub add: bool,
}

impl WithSimd for FewRows<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let [output, input] = self.at.shape;
        for first in (0..output).step_by(PAIR) {
            let last = output.min(first + PAIR);
            // Beyond the last row, that row is read again and its result not written.
            let weights = [
                &self.weight[self.at.index(first, 0)..][..input],
                &self.weight[self.at.index(last - 1, 0)..][..input],
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

/// The dot products of each row with each row of the weight.
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

/// Adds the products of one register of each row.
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
