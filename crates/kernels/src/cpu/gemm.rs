//! General matrix products (GEMM) over borrowed memory with any strides.
//! The right operand is packed into panels of as many columns as two registers hold, row after row,
//! so that the innermost loop reads it sequentially. The left operand is read unpacked, six rows at
//! a time, or twelve with AVX-512. The loop is written to contain nothing but loads and fused
//! multiply-adds: where two hardware threads share a core, each address computation costs as much
//! as a multiply-add.

use pulp::{Simd, WithSimd};

use super::memory::{LINE, with_scratch};
use super::parallel::{PARALLEL_ELEMENTS, for_each_chunk};
use super::simd::{REGISTER_PAIR_MAX, register_pair};

/// Layout of a matrix in a slice: element `(r, c)` is at `start + r · strides[0] + c · strides[1]`.
#[derive(Clone, Copy)]
pub(crate) struct MatrixLayout {
    pub start: usize,
    pub shape: [usize; 2],
    pub strides: [usize; 2],
}

impl MatrixLayout {
    /// A row-major matrix at the start of a slice.
    pub fn row_major(rows: usize, columns: usize) -> Self {
        Self {
            start: 0,
            shape: [rows, columns],
            strides: [columns, 1],
        }
    }

    /// The transpose, over the same memory.
    pub fn transposed(self) -> Self {
        Self {
            start: self.start,
            shape: [self.shape[1], self.shape[0]],
            strides: [self.strides[1], self.strides[0]],
        }
    }

    /// Rows `first .. first + count`.
    pub fn row_range(self, first: usize, count: usize) -> Self {
        debug_assert!(first + count <= self.shape[0]);
        Self {
            start: self.start + first * self.strides[0],
            shape: [count, self.shape[1]],
            strides: self.strides,
        }
    }

    /// Columns `first .. first + count`.
    pub fn column_range(self, first: usize, count: usize) -> Self {
        self.transposed().row_range(first, count).transposed()
    }

    /// Index of element `(row, column)`.
    pub fn index(self, row: usize, column: usize) -> usize {
        self.start + row * self.strides[0] + column * self.strides[1]
    }
}

/// Terms that are summed in registers before the result is written, for panels of so many columns.
/// The rows of a tile with so many terms fit the L1 cache.
pub(super) const fn depth_block(columns: usize) -> usize {
    if columns == REGISTER_PAIR_MAX {
        768
    } else {
        384
    }
}

/// Panels that a tile of the left operand is multiplied with in a row. With [`depth_block`] rows
/// each they fit the L2 cache.
pub(super) const fn panels_per_block(columns: usize) -> usize {
    3072 / depth_block(columns)
}

/// A right operand `[k, n]` packed as `[k / depth, n / columns, depth, columns]`; the last panel of
/// each depth is padded with zeros.
pub(crate) struct PackedPanels<'a> {
    values: &'a [f32],
    /// `[k, n]`.
    shape: [usize; 2],
    columns: usize,
}

impl<'a> PackedPanels<'a> {
    /// Packs a matrix, by all threads where `is_shared`, and passes it to `f`.
    pub fn with<T>(
        b: &[f32],
        at: MatrixLayout,
        is_shared: bool,
        f: impl FnOnce(&PackedPanels) -> T,
    ) -> T {
        let [k, n] = at.shape;
        let columns = register_pair();
        let padded = n.next_multiple_of(columns);
        with_scratch(k * padded, |values| {
            let is_parallel = is_shared && values.len() >= PARALLEL_ELEMENTS;
            for first in (0..k).step_by(depth_block(columns)) {
                let depth = depth_block(columns).min(k - first);
                let values = &mut values[first * padded..][..depth * padded];
                for_each_chunk(values, depth * columns, is_parallel, |panel, into| {
                    let column = panel * columns;
                    let at = MatrixLayout {
                        start: at.index(first, column),
                        shape: [depth, columns.min(n - column)],
                        ..at
                    };
                    pack(b, at, into, columns);
                });
            }
            f(&PackedPanels {
                values,
                shape: at.shape,
                columns,
            })
        })
    }

    /// `into = [into +] scale · a · b`, where this is `b`.
    ///
    /// # Panics
    /// When the shapes do not match or a matrix exceeds its slice.
    pub fn gemm(
        &self,
        (into, at): (&mut [f32], MatrixLayout),
        add: bool,
        (a, a_at): (&[f32], MatrixLayout),
        scale: f32,
    ) {
        let [m, n] = at.shape;
        assert_eq!(
            (a_at.shape[0], n),
            (m, self.shape[1]),
            "shapes of a product"
        );
        if at.strides[1] == 1 || n <= 1 {
            self.gemm_into(&mut Results::Matrix(into, at), add, (a, a_at), scale);
            return;
        }
        // The tiles write rows only: compute into row-major memory and copy.
        let mut rows = vec![0.0f32; m * n];
        self.gemm(
            (&mut rows, MatrixLayout::row_major(m, n)),
            false,
            (a, a_at),
            scale,
        );
        for (r, row) in rows.chunks_exact(n).enumerate() {
            for (c, value) in row.iter().enumerate() {
                let into = &mut into[at.index(r, c)];
                *into = if add { *into + value } else { *value };
            }
        }
    }

    /// `into = [into +] a · b` for rows of results in separate slices, where this is `b`.
    ///
    /// # Panics
    /// When the shapes do not match.
    pub fn gemm_rows(&self, into: &mut [&mut [f32]], add: bool, a: (&[f32], MatrixLayout)) {
        assert_eq!(a.1.shape[0], into.len(), "rows of a product");
        self.gemm_into(&mut Results::Rows(into), add, a, 1.0);
    }

    fn gemm_into(
        &self,
        into: &mut Results,
        add: bool,
        (a, a_at): (&[f32], MatrixLayout),
        scale: f32,
    ) {
        let [k, n] = self.shape;
        let m = a_at.shape[0];
        assert_eq!(a_at.shape[1], k, "terms of a product");
        if m == 0 || n == 0 {
            return;
        }
        if k == 0 && !add {
            for r in 0..m {
                into.part(r, 0, n).fill(0.0);
            }
        }
        let mut multiply = |a: &[f32], a_at: MatrixLayout| {
            pulp::Arch::new().dispatch(Multiply {
                into: &mut *into,
                add,
                a,
                a_at,
                b: self,
                scale,
            });
        };
        if a_at.strides[1] == 1 || k <= 1 {
            multiply(a, a_at);
        } else {
            with_scratch(m * k, |rows| {
                // In blocks of rows: usually the columns are contiguous.
                for (block, rows) in rows.chunks_mut(LINE * k).enumerate() {
                    for c in 0..k {
                        for (r, row) in rows.chunks_exact_mut(k).enumerate() {
                            row[c] = a[a_at.index(block * LINE + r, c)];
                        }
                    }
                }
                multiply(rows, MatrixLayout::row_major(m, k));
            });
        }
    }
}

/// Where a product's results are written.
enum Results<'a, 'r> {
    /// A matrix with contiguous rows.
    Matrix(&'a mut [f32], MatrixLayout),
    /// Rows in separate slices: some columns of a larger matrix.
    Rows(&'a mut [&'r mut [f32]]),
}

impl Results<'_, '_> {
    /// `count` results of a row from a column on.
    #[inline(always)]
    fn part(&mut self, row: usize, column: usize, count: usize) -> &mut [f32] {
        match self {
            Self::Matrix(values, at) => &mut values[at.index(row, column)..][..count],
            Self::Rows(rows) => &mut rows[row][column..][..count],
        }
    }
}

/// `into = [into +] scale · a · b`.
///
/// # Panics
/// When the shapes do not match or a matrix exceeds its slice.
pub(crate) fn gemm(
    into: (&mut [f32], MatrixLayout),
    add: bool,
    a: (&[f32], MatrixLayout),
    b: (&[f32], MatrixLayout),
    scale: f32,
) {
    if into.1.strides[1] != 1 && into.1.strides[0] == 1 {
        let (a_turned, b_turned) = (a.1.transposed(), b.1.transposed());
        let into = (into.0, into.1.transposed());
        return gemm(into, add, (b.0, b_turned), (a.0, a_turned), scale);
    }
    PackedPanels::with(b.0, b.1, false, |b| b.gemm(into, add, a, scale));
}

/// `a · b` plus a bias per row, each row of results in its own slice.
pub(crate) fn gemm_planes(
    into: &mut [&mut [f32]],
    bias: Option<&[f32]>,
    a: (&[f32], MatrixLayout),
    b: (&[f32], MatrixLayout),
) {
    let (m, n) = (a.1.shape[0], b.1.shape[1]);
    with_scratch(m * n, |rows| {
        gemm((rows, MatrixLayout::row_major(m, n)), false, a, b, 1.0);
        for (i, (into, row)) in into.iter_mut().zip(rows.chunks_exact(n.max(1))).enumerate() {
            let bias = bias.map_or(0.0, |bias| bias[i]);
            for (into, value) in into.iter_mut().zip(row) {
                *into = value + bias;
            }
        }
    });
}

/// Packs a panel `[depth, columns]` of a matrix, padded with zeros.
fn pack(b: &[f32], at: MatrixLayout, into: &mut [f32], columns: usize) {
    let [_, count] = at.shape;
    let rows = into.chunks_exact_mut(columns).enumerate();
    if at.strides[1] == 1 {
        for (row, into) in rows {
            into[..count].copy_from_slice(&b[at.index(row, 0)..][..count]);
            into[count..].fill(0.0);
        }
        return;
    }
    if at.strides[0] == 1 && count == columns {
        match columns {
            8 => return interleave::<8>(b, at, into),
            16 => return interleave::<16>(b, at, into),
            32 => return interleave::<32>(b, at, into),
            _ => {}
        }
    }
    for (row, into) in rows {
        for (column, value) in into.iter_mut().enumerate() {
            *value = if column < count {
                b[at.index(row, column)]
            } else {
                0.0
            };
        }
    }
}

/// Packs `C` contiguous columns.
fn interleave<const C: usize>(b: &[f32], at: MatrixLayout, into: &mut [f32]) {
    let depth = at.shape[0];
    let columns: [&[f32]; C] = std::array::from_fn(|column| &b[at.index(0, column)..][..depth]);
    let (rows, _) = into.as_chunks_mut::<C>();
    for (row, into) in rows[..depth].iter_mut().enumerate() {
        for column in 0..C {
            into[column] = columns[column][row];
        }
    }
}

/// The arguments of [`PackedPanels::gemm`]; the rows of `a` and of `into` are contiguous.
struct Multiply<'a, 'o, 'r> {
    into: &'a mut Results<'o, 'r>,
    add: bool,
    a: &'a [f32],
    a_at: MatrixLayout,
    b: &'a PackedPanels<'a>,
    scale: f32,
}

impl WithSimd for Multiply<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if 2 * S::F32_LANES == REGISTER_PAIR_MAX {
            self.by_tiles::<S, Twelve, 12>(simd);
        } else {
            self.by_tiles::<S, Six, 6>(simd);
        }
    }
}

impl Multiply<'_, '_, '_> {
    #[inline(always)]
    fn by_tiles<S: Simd, T: Tile<ROWS>, const ROWS: usize>(self, simd: S) {
        let Self {
            into,
            add,
            a,
            a_at,
            b,
            scale,
        } = self;
        let m = a_at.shape[0];
        let ([k, n], columns) = (b.shape, 2 * S::F32_LANES);
        let together = panels_per_block(columns);
        debug_assert_eq!(columns, b.columns);
        let padded = n.next_multiple_of(columns);
        for first in (0..k).step_by(depth_block(columns)) {
            let depth = depth_block(columns).min(k - first);
            let panels = &b.values[first * padded..][..depth * padded];
            let write = Write {
                add: add || first > 0,
                scale,
            };
            for (i, panels) in panels.chunks(together * depth * columns).enumerate() {
                for row in (0..m).step_by(ROWS) {
                    // Beyond the last row, that row is computed again and not written.
                    let mut rows = [&a[..0]; ROWS];
                    for i in 0..ROWS {
                        rows[i] = &a[a_at.index((row + i).min(m - 1), first)..][..depth];
                    }
                    for (j, panel) in panels.chunks_exact(depth * columns).enumerate() {
                        let column = (i * together + j) * columns;
                        let shape = [ROWS.min(m - row), columns.min(n - column)];
                        let at = [row, column];
                        if shape[1] > S::F32_LANES {
                            let sums = T::sums::<S, 2, 8>(simd, rows, panel);
                            write.tile(simd, sums, into, at, shape);
                        } else {
                            let sums = narrow(simd, rows, panel);
                            write.tile(simd, sums, into, at, shape);
                        }
                    }
                }
            }
        }
    }
}

/// How a sum becomes a result.
#[derive(Clone, Copy)]
struct Write {
    add: bool,
    scale: f32,
}

impl Write {
    /// Writes the sums of a tile, `rows × columns` of them, from a row and a column of the results
    /// on.
    #[inline(always)]
    #[expect(
        clippy::needless_range_loop,
        reason = "a loop with a constant bound is unrolled, so that all sums stay in registers"
    )]
    fn tile<S: Simd, const R: usize, const ROWS: usize>(
        self,
        simd: S,
        sums: [[S::f32s; R]; ROWS],
        into: &mut Results,
        [row, column]: [usize; 2],
        [rows, columns]: [usize; 2],
    ) {
        let whole = R * S::F32_LANES;
        if rows == ROWS && columns == whole {
            // Constant bounds: the sums are stored directly from their registers.
            for i in 0..ROWS {
                self.row(simd, sums[i], into.part(row + i, column, whole));
            }
            return;
        }
        for i in 0..rows {
            self.row(simd, sums[i], into.part(row + i, column, columns));
        }
    }

    /// Writes the sums of one row.
    #[inline(always)]
    fn row<S: Simd, const R: usize>(self, simd: S, sums: [S::f32s; R], into: &mut [f32]) {
        let scale = simd.splat_f32s(self.scale);
        if into.len() == R * S::F32_LANES {
            let (into, _) = S::as_mut_simd_f32s(into);
            for r in 0..R {
                into[r] = if self.add {
                    simd.mul_add_e_f32s(scale, sums[r], into[r])
                } else {
                    simd.mul_f32s(scale, sums[r])
                };
            }
        } else {
            let mut values = [0.0f32; REGISTER_PAIR_MAX];
            let (registers, _) = S::as_mut_simd_f32s(&mut values);
            for r in 0..R {
                registers[r] = simd.mul_f32s(scale, sums[r]);
            }
            for (into, value) in into.iter_mut().zip(&values) {
                *into = if self.add { *into + value } else { *value };
            }
        }
    }
}

/// The sums of a tile of `ROWS` rows and a panel.
trait Tile<const ROWS: usize> {
    /// The sums of `R` registers each; `R4` is `4 · R`.
    fn sums<S: Simd, const R: usize, const R4: usize>(
        simd: S,
        rows: [&[f32]; ROWS],
        panel: &[f32],
    ) -> [[S::f32s; R]; ROWS];
}

/// Defines a tile with that many named rows. Zipped iterators leave one loop counter and no bounds
/// checks in the loop.
macro_rules! tile {
    ($tile:ident, $rows:literal: $first:ident $($row:ident)*) => {
        struct $tile;

        impl Tile<$rows> for $tile {
            #[inline(always)]
            fn sums<S: Simd, const R: usize, const R4: usize>(
                simd: S,
                [$first, $($row),*]: [&[f32]; $rows],
                panel: &[f32],
            ) -> [[S::f32s; R]; $rows] {
                let mut sums = [[simd.splat_f32s(0.0); R]; $rows];
                let (panel, _) = S::as_simd_f32s(panel);
                let (fours, rest) = panel.as_chunks::<R4>();
                let whole = $first.as_chunks::<4>().0.iter()$(.zip($row.as_chunks::<4>().0))*;
                for (columns, tile!(@ $first => $($row)*)) in fours.iter().zip(whole) {
                    let (columns, _) = columns.as_chunks::<R>();
                    for i in 0..4 {
                        step(simd, &mut sums, [$first[i], $($row[i]),*], &columns[i]);
                    }
                }
                let (rest, _) = rest.as_chunks::<R>();
                let last = $first.as_chunks::<4>().1.iter()$(.zip($row.as_chunks::<4>().1))*;
                for (columns, tile!(@ $first => $($row)*)) in rest.iter().zip(last) {
                    step(simd, &mut sums, [*$first, $(*$row),*], columns);
                }
                sums
            }
        }
    };
    (@ $all:pat =>) => { $all };
    (@ $all:pat => $row:ident $($rest:ident)*) => { tile!(@ ($all, $row) => $($rest)*) };
}

tile!(Six, 6: a b c d e f);
tile!(Twelve, 12: a b c d e f g h j k l m);

/// The sums of a tile and the first half of a panel's columns.
#[inline(always)]
fn narrow<S: Simd, const ROWS: usize>(
    simd: S,
    rows: [&[f32]; ROWS],
    panel: &[f32],
) -> [[S::f32s; 1]; ROWS] {
    let mut sums = [[simd.splat_f32s(0.0)]; ROWS];
    let (panel, _) = S::as_simd_f32s(panel);
    let (panel, _) = panel.as_chunks::<2>();
    for (i, [columns, _]) in panel.iter().enumerate() {
        let mut left = [0.0; ROWS];
        for row in 0..ROWS {
            left[row] = rows[row][i];
        }
        step(simd, &mut sums, left, &[*columns]);
    }
    sums
}

/// Adds one term to all sums.
#[inline(always)]
fn step<S: Simd, const R: usize, const ROWS: usize>(
    simd: S,
    sums: &mut [[S::f32s; R]; ROWS],
    left: [f32; ROWS],
    columns: &[S::f32s; R],
) {
    for i in 0..ROWS {
        let left = simd.splat_f32s(left[i]);
        for r in 0..R {
            sums[i][r] = simd.mul_add_e_f32s(left, columns[r], sums[i][r]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MatrixLayout, depth_block, gemm};
    use crate::cpu::simd::register_pair;

    /// A matrix layout with contiguous rows, contiguous columns or neither.
    fn layout([rows, columns]: [usize; 2], order: usize, start: usize) -> (MatrixLayout, usize) {
        let strides = match order {
            0 => [columns + 1, 1],
            1 => [1, rows + 2],
            _ => [2 * columns + 1, 2],
        };
        let last =
            start + rows.saturating_sub(1) * strides[0] + columns.saturating_sub(1) * strides[1];
        let layout = MatrixLayout {
            start,
            shape: [rows, columns],
            strides,
        };
        (layout, last + 1)
    }

    fn values(len: usize, seed: usize) -> Vec<f32> {
        (0..len)
            .map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.0 - 1.0)
            .collect()
    }

    proptest! {
        #[test]
        fn products_agree_with_their_sums(
            (m, n) in (0usize..40, 0usize..70),
            k in prop_oneof![0usize..40, depth_block(register_pair()) - 2..depth_block(register_pair()) + 7],
            orders in [0usize..3, 0..3, 0..3],
            (start, add) in (0usize..5, any::<bool>()),
        ) {
            let scale = 0.5;
            let (at, len) = layout([m, n], orders[0], start);
            let (a_at, a_len) = layout([m, k], orders[1], start + 1);
            let (b_at, b_len) = layout([k, n], orders[2], start + 2);
            let (a, b) = (values(a_len, 1), values(b_len, 2));
            let before = values(len, 3);
            let mut into = before.clone();
            gemm((&mut into, at), add, (&a, a_at), (&b, b_at), scale);
            let mut wanted = before.clone();
            // The error bound of single precision: proportional to the sum of the terms'
            // magnitudes.
            let mut slack = vec![0.0f64; len];
            for r in 0..m {
                for c in 0..n {
                    let terms = (0..k)
                        .map(|i| f64::from(a[a_at.index(r, i)]) * f64::from(b[b_at.index(i, c)]));
                    let sum: f64 = terms.clone().sum();
                    slack[at.index(r, c)] = 1e-6 + 2e-6 * terms.map(f64::abs).sum::<f64>();
                    let residual = if add { f64::from(before[at.index(r, c)]) } else { 0.0 };
                    wanted[at.index(r, c)] = (residual + f64::from(scale) * sum) as f32;
                }
            }
            // Values outside of the result keep their bits.
            for (i, ((got, wanted), slack)) in into.iter().zip(&wanted).zip(&slack).enumerate() {
                let apart = f64::from((got - wanted).abs());
                prop_assert!(apart <= *slack, "{i}: {got} instead of {wanted}");
            }
            for (i, (got, before)) in into.iter().zip(&before).enumerate() {
                let inside = (0..m).any(|r| (0..n).any(|c| at.index(r, c) == i));
                prop_assert!(inside || got == before, "{i} is outside");
            }
        }
    }
}
