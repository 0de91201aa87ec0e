//! Convolutions with a kernel of three by half as many products: four rows of the output come from six sums of a row
//! of weights instead of twelve (Winograd's F(4, 3); Lavin and Gray, "Fast algorithms for convolutional neural
//! networks", 2016). Along columns only: whole rows are added to one another, and neighbouring pixels stay
//! neighbours in the registers.

use pulp::{Simd, WithSimd};

use super::conv::Sizes;
use super::direct::{add_up, channels, groups};
use super::{PAIR_MAX, PARALLEL_ELEMENTS, each_of, pair, with_buffer, zeros};

/// The kernel's side.
pub(super) const KERNEL: usize = 3;
/// Rows of the output that come from the same sums.
pub(super) const ROWS: usize = 4;
/// Rows that they see, and sums that they come from.
const SEEN: usize = 6;

/// Weights `[O, C, 3, 3]` for each of the six sums.
pub(super) struct Weights {
    /// Number of channels of each group.
    groups: Vec<usize>,
    /// `[group, tap, channel of the group]`, a tap for each channel and column.
    sums: [Vec<f32>; SEEN],
}

impl Weights {
    pub fn new(weight: &[f32], output: usize) -> Self {
        let (kernels, _) = weight.as_chunks::<9>();
        let input = kernels.len() / output.max(1);
        let groups = groups(output);
        let mut sums = [(); SEEN].map(|()| zeros(3 * kernels.len()));
        let mut rest = sums.each_mut().map(|sums| &mut sums[..]);
        let mut kernels_left = kernels;
        let mut jobs = Vec::with_capacity(groups.len());
        for &group in &groups {
            let these = kernels_left.split_off(..group * input).unwrap_or_default();
            let into = rest
                .each_mut()
                .map(|rest| rest.split_off_mut(..3 * group * input).unwrap_or_default());
            jobs.push((group, these, into));
        }
        each_of(
            jobs,
            weight.len() >= PARALLEL_ELEMENTS,
            |(group, kernels, into)| {
                for (member, kernels) in kernels.chunks_exact(input.max(1)).enumerate() {
                    for (channel, kernel) in kernels.iter().enumerate() {
                        for x in 0..3 {
                            let at = (3 * channel + x) * group + member;
                            let all = Self::of([kernel[x], kernel[3 + x], kernel[6 + x]]);
                            for sum in 0..SEEN {
                                into[sum][at] = all[sum];
                            }
                        }
                    }
                }
            },
        );
        Self { groups, sums }
    }

    /// The weights of the six sums, of a column of a kernel.
    fn of([a, b, c]: [f32; 3]) -> [f32; SEEN] {
        let (outer, inner) = ((a + c) / -6.0, b / 6.0);
        let (near, far) = (a / 24.0 + c / 6.0, b / 12.0);
        [
            a / 4.0,
            outer - inner,
            outer + inner,
            near + far,
            near - far,
            c,
        ]
    }
}

/// Where a band's values lie.
#[derive(Clone, Copy)]
struct Band {
    /// Groups of rows.
    groups: usize,
    /// Pixels of a padded row.
    stride: usize,
    /// Values of one of the six, all channels.
    seen: usize,
    /// Values of one of the six sums, one channel.
    len: usize,
}

impl Band {
    fn new(sizes: Sizes, rows: usize) -> Self {
        let (groups, stride) = (rows.div_ceil(ROWS), sizes.width + 2);
        Self {
            groups,
            stride,
            seen: sizes.input * groups * stride + PAIR_MAX + 2,
            len: (groups * stride).next_multiple_of(pair()),
        }
    }
}

/// Values that a band of rows takes beside its output, see [`convolve`].
pub(super) fn room(sizes: Sizes, rows: usize) -> usize {
    let band = Band::new(sizes, rows);
    SEEN * (band.seen + channels() * band.len) + ROWS * sizes.width
}

/// The rows `first .. first + rows` of the output, of each of its planes.
pub(super) fn convolve(
    image: &[f32],
    (weights, bias): (&Weights, Option<&[f32]>),
    sizes: Sizes,
    (first, rows): (usize, usize),
    out: &mut [&mut [f32]],
) {
    let (width, taps) = (sizes.width, 3 * sizes.input);
    let (band, most) = (Band::new(sizes, rows), channels());
    with_buffer(room(sizes, rows), |buffer| {
        let (seen, buffer) = buffer.split_at_mut(SEEN * band.seen);
        let (sums, results) = buffer.split_at_mut(SEEN * most * band.len);
        let mut planes = seen.chunks_exact_mut(band.seen);
        let mut seen = [(); SEEN].map(|()| planes.next().unwrap_or_default());
        let arch = pulp::Arch::new();
        arch.dispatch(Fill {
            image,
            sizes,
            first,
            band,
            seen: seen.each_mut().map(|plane| &mut **plane),
        });
        let offsets: Vec<usize> = (0..taps)
            .map(|tap| tap / 3 * band.groups * band.stride + tap % 3)
            .collect();
        let mut channel = 0;
        for &group in &weights.groups {
            let from = channel * taps;
            for ((seen, weights), sums) in seen
                .iter()
                .zip(&weights.sums)
                .zip(sums.chunks_exact_mut(most * band.len))
            {
                let weights = &weights[from..from + group * taps];
                let sums = &mut sums[..group * band.len];
                add_up(seen, (&offsets, weights), None, sums, group);
            }
            for member in 0..group {
                arch.dispatch(Results {
                    sums: &sums[member * band.len..],
                    step: most * band.len,
                    bias: bias.map_or(0.0, |bias| bias[channel]),
                    stride: band.stride,
                    width,
                    results,
                    into: out[channel],
                });
                channel += 1;
            }
        }
    });
}

/// Writes what each of the six sums reads of a band: `[C, groups, stride]`, zeros around the map, then zeros.
struct Fill<'a> {
    image: &'a [f32],
    sizes: Sizes,
    first: usize,
    band: Band,
    seen: [&'a mut [f32]; SEEN],
}

impl WithSimd for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Sizes { height, width, .. } = self.sizes;
        let Band { groups, stride, .. } = self.band;
        let outside = vec![0.0f32; width];
        let mut at = 0;
        for plane in self.image.chunks_exact((height * width).max(1)) {
            for group in 0..groups {
                // The row above the first one of the group, and those after it.
                let mut rows = [&outside[..]; SEEN];
                for (i, seen) in rows.iter_mut().enumerate() {
                    let row = (self.first + group * ROWS + i).wrapping_sub(1);
                    if row < height {
                        *seen = &plane[row * width..][..width];
                    }
                }
                for seen in &mut self.seen {
                    seen[at] = 0.0;
                    seen[at + stride - 1] = 0.0;
                }
                let inner = at + 1..at + 1 + width;
                let [a, b, c, d, e, f] = &mut self.seen;
                let into = [
                    &mut a[inner.clone()],
                    &mut b[inner.clone()],
                    &mut c[inner.clone()],
                    &mut d[inner.clone()],
                    &mut e[inner.clone()],
                    &mut f[inner],
                ];
                see(simd, rows, into);
                at += stride;
            }
        }
        for seen in &mut self.seen {
            seen[at..].fill(0.0);
        }
    }
}

/// Puts the rows of one channel together.
struct Results<'a> {
    /// `[sum, most, len]`, of which this is one channel's.
    sums: &'a [f32],
    /// Values from one of the six sums to the next.
    step: usize,
    bias: f32,
    stride: usize,
    width: usize,
    /// Room for the rows of a group.
    results: &'a mut [f32],
    /// `[rows, width]`.
    into: &'a mut [f32],
}

impl WithSimd for Results<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { width, .. } = self;
        let whole = ROWS * width;
        for (group, into) in self.into.chunks_mut(whole.max(1)).enumerate() {
            let mut from = [&self.sums[..0]; SEEN];
            for (sum, from) in from.iter_mut().enumerate() {
                *from = &self.sums[sum * self.step + group * self.stride..][..width];
            }
            if into.len() == whole {
                gather(simd, from, into, self.bias);
            } else {
                gather(simd, from, self.results, self.bias);
                let count = into.len();
                into.copy_from_slice(&self.results[..count]);
            }
        }
    }
}

/// What the six sums read, from the rows that a group sees. Iterators side by side, without closures: those are compiled for
/// narrow registers, and arrays reach them through memory.
#[inline(always)]
fn see<S: Simd>(simd: S, rows: [&[f32]; SEEN], into: [&mut [f32]; SEEN]) {
    let [a, b, c, d, e, f] = rows;
    let ((a, a_end), (b, b_end)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let ((c, c_end), (d, d_end)) = (S::as_simd_f32s(c), S::as_simd_f32s(d));
    let ((e, e_end), (f, f_end)) = (S::as_simd_f32s(e), S::as_simd_f32s(f));
    let [u, v, w, x, y, z] = into;
    let ((u, u_end), (v, v_end)) = (S::as_mut_simd_f32s(u), S::as_mut_simd_f32s(v));
    let ((w, w_end), (x, x_end)) = (S::as_mut_simd_f32s(w), S::as_mut_simd_f32s(x));
    let ((y, y_end), (z, z_end)) = (S::as_mut_simd_f32s(y), S::as_mut_simd_f32s(z));
    let from = a.iter().zip(b).zip(c).zip(d).zip(e).zip(f);
    let to = u.iter_mut().zip(v).zip(w).zip(x).zip(y).zip(z);
    for ((((((a, b), c), d), e), f), (((((u, v), w), x), y), z)) in from.zip(to) {
        [*u, *v, *w, *x, *y, *z] = seen_of(simd, [*a, *b, *c, *d, *e, *f]);
    }
    if !a_end.is_empty() {
        let column = [a_end, b_end, c_end, d_end, e_end, f_end];
        let mut last = [simd.splat_f32s(0.0); SEEN];
        for row in 0..SEEN {
            last[row] = simd.partial_load_f32s(column[row]);
        }
        let last = seen_of(simd, last);
        let into = [u_end, v_end, w_end, x_end, y_end, z_end];
        for (into, last) in into.into_iter().zip(last) {
            simd.partial_store_f32s(into, last);
        }
    }
}

/// What the six sums read, of a column of pixels.
#[inline(always)]
fn seen_of<S: Simd>(simd: S, [a, b, c, d, e, f]: [S::f32s; SEEN]) -> [S::f32s; SEEN] {
    let two = simd.splat_f32s(2.0);
    let (four, five) = (simd.splat_f32s(-4.0), simd.splat_f32s(-5.0));
    let (even, odd) = (
        simd.mul_add_e_f32s(four, c, e),
        simd.mul_add_e_f32s(four, b, d),
    );
    let (near, far) = (simd.sub_f32s(e, c), simd.sub_f32s(d, b));
    let far = simd.mul_f32s(two, far);
    let (first, last) = (
        simd.mul_add_e_f32s(five, c, e),
        simd.mul_add_e_f32s(five, d, f),
    );
    [
        simd.sub_f32s(first, simd.mul_f32s(four, a)),
        simd.add_f32s(even, odd),
        simd.sub_f32s(even, odd),
        simd.add_f32s(near, far),
        simd.sub_f32s(near, far),
        simd.sub_f32s(last, simd.mul_f32s(four, b)),
    ]
}

/// A group's rows from its six sums, see [`see`].
#[inline(always)]
fn gather<S: Simd>(simd: S, sums: [&[f32]; SEEN], into: &mut [f32], bias: f32) {
    let bias = simd.splat_f32s(bias);
    let [a, b, c, d, e, f] = sums;
    let width = a.len();
    let ((a, a_end), (b, b_end)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let ((c, c_end), (d, d_end)) = (S::as_simd_f32s(c), S::as_simd_f32s(d));
    let ((e, e_end), (f, f_end)) = (S::as_simd_f32s(e), S::as_simd_f32s(f));
    let (w, rest) = into.split_at_mut(width);
    let (x, rest) = rest.split_at_mut(width);
    let (y, rest) = rest.split_at_mut(width);
    let ((w, w_end), (x, x_end)) = (S::as_mut_simd_f32s(w), S::as_mut_simd_f32s(x));
    let ((y, y_end), (z, z_end)) = (
        S::as_mut_simd_f32s(y),
        S::as_mut_simd_f32s(&mut rest[..width]),
    );
    let from = a.iter().zip(b).zip(c).zip(d).zip(e).zip(f);
    let to = w.iter_mut().zip(x).zip(y).zip(z);
    for ((((((a, b), c), d), e), f), (((w, x), y), z)) in from.zip(to) {
        [*w, *x, *y, *z] = rows_of(simd, [*a, *b, *c, *d, *e, *f], bias);
    }
    if !a_end.is_empty() {
        let column = [a_end, b_end, c_end, d_end, e_end, f_end];
        let mut last = [simd.splat_f32s(0.0); SEEN];
        for sum in 0..SEEN {
            last[sum] = simd.partial_load_f32s(column[sum]);
        }
        let last = rows_of(simd, last, bias);
        for (into, last) in [w_end, x_end, y_end, z_end].into_iter().zip(last) {
            simd.partial_store_f32s(into, last);
        }
    }
}

/// Four rows from the six sums, of a column of pixels.
#[inline(always)]
fn rows_of<S: Simd>(
    simd: S,
    [a, b, c, d, e, f]: [S::f32s; SEEN],
    bias: S::f32s,
) -> [S::f32s; ROWS] {
    let two = simd.splat_f32s(2.0);
    let (four, eight) = (simd.splat_f32s(4.0), simd.splat_f32s(8.0));
    let (near, far) = (simd.add_f32s(b, c), simd.add_f32s(d, e));
    let (turned, beyond) = (simd.sub_f32s(b, c), simd.sub_f32s(d, e));
    [
        simd.add_f32s(simd.add_f32s(a, bias), simd.add_f32s(near, far)),
        simd.mul_add_e_f32s(two, beyond, simd.add_f32s(turned, bias)),
        simd.mul_add_e_f32s(four, far, simd.add_f32s(near, bias)),
        simd.mul_add_e_f32s(eight, beyond, simd.add_f32s(turned, simd.add_f32s(f, bias))),
    ]
}
