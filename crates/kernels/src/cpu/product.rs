//! Matrix products over borrowed memory with any strides.
//!
//! The right operand is brought into panels first: as many of its columns side by side as two registers hold, one row of them after
//! the other, so that the innermost loop reads it straight through. The left one is read where it lies, six rows at
//! a time, or twelve where there are registers for them. What the loop does beside its fused products counts: on a core whose
//! other thread is busy it gets half of the instructions, and every address that is computed anew costs as much as a
//! product.

use pulp::{Simd, WithSimd};

use super::{LINE, PAIR_MAX, PARALLEL_ELEMENTS, each_chunk, pair, with_buffer};

/// A matrix inside a slice: element `(r, c)` is `data[start + r·step[0] + c·step[1]]`.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub start: usize,
    pub shape: [usize; 2],
    pub step: [usize; 2],
}

impl Place {
    /// A row-major matrix at the start of a slice.
    pub fn rows(rows: usize, columns: usize) -> Self {
        Self {
            start: 0,
            shape: [rows, columns],
            step: [columns, 1],
        }
    }

    /// Rows and columns exchanged, over the same memory.
    pub fn transposed(self) -> Self {
        Self {
            start: self.start,
            shape: [self.shape[1], self.shape[0]],
            step: [self.step[1], self.step[0]],
        }
    }

    /// Rows `first .. first + count`.
    pub fn cut(self, first: usize, count: usize) -> Self {
        debug_assert!(first + count <= self.shape[0]);
        Self {
            start: self.start + first * self.step[0],
            shape: [count, self.shape[1]],
            step: self.step,
        }
    }

    /// Columns `first .. first + count`.
    pub fn cut_columns(self, first: usize, count: usize) -> Self {
        self.transposed().cut(first, count).transposed()
    }

    /// Where element `(row, column)` is.
    pub fn at(self, row: usize, column: usize) -> usize {
        self.start + row * self.step[0] + column * self.step[1]
    }
}

/// Terms of a sum that are added up before it is written, for panels of so many columns: those of a tile's rows lie in a core's
/// first cache.
pub(super) const fn depth_of(columns: usize) -> usize {
    if columns == PAIR_MAX { 768 } else { 384 }
}

/// Panels that the rows of the left operand meet while they are in the first cache; with their depth they lie in
/// the second.
pub(super) const fn panels_of(columns: usize) -> usize {
    3072 / depth_of(columns)
}

/// The right operand of a product in panels: `[k / depth, n / columns, depth, columns]`, the last panel of each
/// depth filled up with zeros.
pub(crate) struct Panels<'a> {
    values: &'a [f32],
    /// `[k, n]`.
    shape: [usize; 2],
    columns: usize,
}

impl<'a> Panels<'a> {
    /// Brings a matrix into panels, by all cores where `is_shared`, and lends them to `f`.
    pub fn with<T>(b: &[f32], at: Place, is_shared: bool, f: impl FnOnce(&Panels) -> T) -> T {
        let [k, n] = at.shape;
        let columns = pair();
        let padded = n.next_multiple_of(columns);
        with_buffer(k * padded, |values| {
            let is_much = is_shared && values.len() >= PARALLEL_ELEMENTS;
            for first in (0..k).step_by(depth_of(columns)) {
                let depth = depth_of(columns).min(k - first);
                let values = &mut values[first * padded..][..depth * padded];
                each_chunk(values, depth * columns, is_much, |panel, into| {
                    let column = panel * columns;
                    let at = Place {
                        start: at.at(first, column),
                        shape: [depth, columns.min(n - column)],
                        ..at
                    };
                    pack(b, at, into, columns);
                });
            }
            f(&Panels {
                values,
                shape: at.shape,
                columns,
            })
        })
    }

    /// `into = [into +] scale · a · b`, of which this is `b`.
    ///
    /// # Panics
    /// When shapes do not fit together or a matrix leaves its slice: a fault of the caller.
    pub fn product(
        &self,
        (into, at): (&mut [f32], Place),
        add: bool,
        (a, a_at): (&[f32], Place),
        scale: f32,
    ) {
        let [m, n] = at.shape;
        assert_eq!(
            (a_at.shape[0], n),
            (m, self.shape[1]),
            "shapes of a product"
        );
        if at.step[1] == 1 || n <= 1 {
            self.product_into(&mut Results::Matrix(into, at), add, (a, a_at), scale);
            return;
        }
        // Rows of their own first: nothing on the way of a tile writes columns.
        let mut rows = vec![0.0f32; m * n];
        self.product((&mut rows, Place::rows(m, n)), false, (a, a_at), scale);
        for (r, row) in rows.chunks_exact(n).enumerate() {
            for (c, value) in row.iter().enumerate() {
                let into = &mut into[at.at(r, c)];
                *into = if add { *into + value } else { *value };
            }
        }
    }

    /// The same into rows that lie apart.
    ///
    /// # Panics
    /// When shapes do not fit together: a fault of the caller.
    pub fn product_of_rows(&self, into: &mut [&mut [f32]], add: bool, a: (&[f32], Place)) {
        assert_eq!(a.1.shape[0], into.len(), "rows of a product");
        self.product_into(&mut Results::Rows(into), add, a, 1.0);
    }

    fn product_into(&self, into: &mut Results, add: bool, (a, a_at): (&[f32], Place), scale: f32) {
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
        let mut multiply = |a: &[f32], a_at: Place| {
            pulp::Arch::new().dispatch(Multiply {
                into: &mut *into,
                add,
                a,
                a_at,
                b: self,
                scale,
            });
        };
        if a_at.step[1] == 1 || k <= 1 {
            multiply(a, a_at);
        } else {
            with_buffer(m * k, |rows| {
                // A few rows at a time: in most cases it is the columns that lie in one piece.
                for (block, rows) in rows.chunks_mut(LINE * k).enumerate() {
                    for c in 0..k {
                        for (r, row) in rows.chunks_exact_mut(k).enumerate() {
                            row[c] = a[a_at.at(block * LINE + r, c)];
                        }
                    }
                }
                multiply(rows, Place::rows(m, k));
            });
        }
    }
}

/// Where a product's results go.
enum Results<'a, 'r> {
    /// A matrix whose rows lie in one piece each.
    Matrix(&'a mut [f32], Place),
    /// Rows that lie apart: some of the columns of a larger matrix.
    Rows(&'a mut [&'r mut [f32]]),
}

impl Results<'_, '_> {
    /// So many results of a row.
    #[inline(always)]
    fn part(&mut self, row: usize, column: usize, count: usize) -> &mut [f32] {
        match self {
            Self::Matrix(values, at) => &mut values[at.at(row, column)..][..count],
            Self::Rows(rows) => &mut rows[row][column..][..count],
        }
    }
}

/// `into = [into +] scale · a · b`.
///
/// # Panics
/// When shapes do not fit together or a matrix leaves its slice: a fault of the caller.
pub(crate) fn product(
    into: (&mut [f32], Place),
    add: bool,
    a: (&[f32], Place),
    b: (&[f32], Place),
    scale: f32,
) {
    if into.1.step[1] != 1 && into.1.step[0] == 1 {
        let (a_turned, b_turned) = (a.1.transposed(), b.1.transposed());
        let into = (into.0, into.1.transposed());
        return product(into, add, (b.0, b_turned), (a.0, a_turned), scale);
    }
    Panels::with(b.0, b.1, false, |b| b.product(into, add, a, scale));
}

/// `a · b` and a bias for each row, whose rows are the parts.
pub(crate) fn product_of_planes(
    into: &mut [&mut [f32]],
    bias: Option<&[f32]>,
    a: (&[f32], Place),
    b: (&[f32], Place),
) {
    let (m, n) = (a.1.shape[0], b.1.shape[1]);
    with_buffer(m * n, |rows| {
        product((rows, Place::rows(m, n)), false, a, b, 1.0);
        for (i, (into, row)) in into.iter_mut().zip(rows.chunks_exact(n.max(1))).enumerate() {
            let bias = bias.map_or(0.0, |bias| bias[i]);
            for (into, value) in into.iter_mut().zip(row) {
                *into = value + bias;
            }
        }
    });
}

/// A panel `[depth, columns]` of the matrix at a place, zeros where it ends earlier.
fn pack(b: &[f32], at: Place, into: &mut [f32], columns: usize) {
    let [_, count] = at.shape;
    let rows = into.chunks_exact_mut(columns).enumerate();
    if at.step[1] == 1 {
        for (row, into) in rows {
            into[..count].copy_from_slice(&b[at.at(row, 0)..][..count]);
            into[count..].fill(0.0);
        }
        return;
    }
    if at.step[0] == 1 && count == columns {
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
                b[at.at(row, column)]
            } else {
                0.0
            };
        }
    }
}

/// `C` columns, each of which lies in one piece, to rows.
fn interleave<const C: usize>(b: &[f32], at: Place, into: &mut [f32]) {
    let depth = at.shape[0];
    let columns: [&[f32]; C] = std::array::from_fn(|column| &b[at.at(0, column)..][..depth]);
    let (rows, _) = into.as_chunks_mut::<C>();
    for (row, into) in rows[..depth].iter_mut().enumerate() {
        for column in 0..C {
            into[column] = columns[column][row];
        }
    }
}

/// See [`Panels::product`]; the rows of `a` and `into` each lie in one piece.
struct Multiply<'a, 'o, 'r> {
    into: &'a mut Results<'o, 'r>,
    add: bool,
    a: &'a [f32],
    a_at: Place,
    b: &'a Panels<'a>,
    scale: f32,
}

impl WithSimd for Multiply<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if 2 * S::F32_LANES == PAIR_MAX {
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
        let together = panels_of(columns);
        debug_assert_eq!(columns, b.columns);
        let padded = n.next_multiple_of(columns);
        for first in (0..k).step_by(depth_of(columns)) {
            let depth = depth_of(columns).min(k - first);
            let panels = &b.values[first * padded..][..depth * padded];
            let write = Write {
                add: add || first > 0,
                scale,
            };
            for (i, panels) in panels.chunks(together * depth * columns).enumerate() {
                for row in (0..m).step_by(ROWS) {
                    // Beyond the last row it is computed again, and not written.
                    let mut rows = [&a[..0]; ROWS];
                    for i in 0..ROWS {
                        rows[i] = &a[a_at.at((row + i).min(m - 1), first)..][..depth];
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

/// How sums become results.
#[derive(Clone, Copy)]
struct Write {
    add: bool,
    scale: f32,
}

impl Write {
    /// Writes `[rows, columns]` of a tile's sums, from a row and a column on.
    #[inline(always)]
    #[expect(
        clippy::needless_range_loop,
        reason = "a loop to a constant is unrolled, so that all sums stay in registers"
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
            // To constants: the sums go from their registers to the results.
            for i in 0..ROWS {
                self.row(simd, sums[i], into.part(row + i, column, whole));
            }
            return;
        }
        for i in 0..rows {
            self.row(simd, sums[i], into.part(row + i, column, columns));
        }
    }

    /// Writes one row of them.
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
            let mut values = [0.0f32; PAIR_MAX];
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

/// The products of a few rows with a panel.
trait Tile<const ROWS: usize> {
    /// The sums of `R` registers each; `R4` are those of four of the panel's rows.
    fn sums<S: Simd, const R: usize, const R4: usize>(
        simd: S,
        rows: [&[f32]; ROWS],
        panel: &[f32],
    ) -> [[S::f32s; R]; ROWS];
}

/// A tile of so many named rows, written as it is so that the loop has nothing but loads and products: one index, no
/// bounds.
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

/// The products of a tile's rows with the first half of a panel's columns.
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

/// One term of all sums.
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

    use super::{Place, depth_of, product};
    use crate::cpu::pair;

    /// A matrix of the given shape somewhere in a slice: its rows or its columns lie in one piece, or neither.
    fn place([rows, columns]: [usize; 2], order: usize, start: usize) -> (Place, usize) {
        let step = match order {
            0 => [columns + 1, 1],
            1 => [1, rows + 2],
            _ => [2 * columns + 1, 2],
        };
        let last = start + rows.saturating_sub(1) * step[0] + columns.saturating_sub(1) * step[1];
        let place = Place {
            start,
            shape: [rows, columns],
            step,
        };
        (place, last + 1)
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
            k in prop_oneof![0usize..40, depth_of(pair()) - 2..depth_of(pair()) + 7],
            orders in [0usize..3, 0..3, 0..3],
            (start, add) in (0usize..5, any::<bool>()),
        ) {
            let scale = 0.5;
            let (at, len) = place([m, n], orders[0], start);
            let (a_at, a_len) = place([m, k], orders[1], start + 1);
            let (b_at, b_len) = place([k, n], orders[2], start + 2);
            let (a, b) = (values(a_len, 1), values(b_len, 2));
            let before = values(len, 3);
            let mut into = before.clone();
            product((&mut into, at), add, (&a, a_at), (&b, b_at), scale);
            let mut wanted = before.clone();
            // What single precision can lose: a part of the terms' sizes.
            let mut slack = vec![0.0f64; len];
            for r in 0..m {
                for c in 0..n {
                    let terms = (0..k)
                        .map(|i| f64::from(a[a_at.at(r, i)]) * f64::from(b[b_at.at(i, c)]));
                    let sum: f64 = terms.clone().sum();
                    slack[at.at(r, c)] = 1e-6 + 2e-6 * terms.map(f64::abs).sum::<f64>();
                    let onto = if add { f64::from(before[at.at(r, c)]) } else { 0.0 };
                    wanted[at.at(r, c)] = (onto + f64::from(scale) * sum) as f32;
                }
            }
            // Everything else keeps its bits.
            for (i, ((got, wanted), slack)) in into.iter().zip(&wanted).zip(&slack).enumerate() {
                let apart = f64::from((got - wanted).abs());
                prop_assert!(apart <= *slack, "{i}: {got} instead of {wanted}");
            }
            for (i, (got, before)) in into.iter().zip(&before).enumerate() {
                let inside = (0..m).any(|r| (0..n).any(|c| at.at(r, c) == i));
                prop_assert!(inside || got == before, "{i} is outside");
            }
        }
    }
}
