//! 3 × 3 convolutions with half the multiplications: four output rows from six products per kernel
//! column instead of twelve, by Winograd's F(4, 3) (Lavin and Gray, "Fast algorithms for
//! convolutional neural networks", 2016). Along columns only, so that whole rows are transformed
//! and neighbouring pixels stay neighbours in registers.

use pulp::{Simd, WithSimd};

use super::conv_direct::{accumulate_taps, channel_groups, group_size_max};
use super::conv_shape::ConvShape;
use super::memory::{with_scratch, zeros};
use super::parallel::{PARALLEL_ELEMENTS, map_jobs};
use super::simd::{REGISTER_PAIR_MAX, register_pair};

/// Side of the kernel.
pub(super) const KERNEL: usize = 3;
/// Output rows of a group.
pub(super) const ROWS: usize = 4;
/// Input rows of a group, and products of the transformed domain.
const TERMS: usize = 6;

/// Weights `[O, C, 3, 3]` in the transformed domain.
pub(super) struct Weights {
    /// Channels of each group.
    groups: Vec<usize>,
    /// `[group, tap, channel of the group]` for each of the six products; a tap is an input channel
    /// and a kernel column.
    sums: [Vec<f32>; TERMS],
}

impl Weights {
    pub fn new(weight: &[f32], output: usize) -> Self {
        let (kernels, _) = weight.as_chunks::<9>();
        let input = kernels.len() / output.max(1);
        let groups = channel_groups(output);
        let mut sums = [(); TERMS].map(|()| zeros(3 * kernels.len()));
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
        map_jobs(
            jobs,
            weight.len() >= PARALLEL_ELEMENTS,
            |(group, kernels, into)| {
                for (member, kernels) in kernels.chunks_exact(input.max(1)).enumerate() {
                    for (channel, kernel) in kernels.iter().enumerate() {
                        for x in 0..3 {
                            let at = (3 * channel + x) * group + member;
                            let all =
                                Self::transform_kernel([kernel[x], kernel[3 + x], kernel[6 + x]]);
                            for sum in 0..TERMS {
                                into[sum][at] = all[sum];
                            }
                        }
                    }
                }
            },
        );
        Self { groups, sums }
    }

    /// The kernel transform of a kernel column.
    fn transform_kernel([a, b, c]: [f32; 3]) -> [f32; TERMS] {
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

/// Sizes of a band's scratch.
#[derive(Clone, Copy)]
struct Band {
    /// Groups of rows.
    groups: usize,
    /// Pixels of a padded row.
    stride: usize,
    /// Values of one of the six transformed inputs, all channels.
    inputs: usize,
    /// Values of one of the six products, one output channel.
    len: usize,
}

impl Band {
    fn new(sizes: ConvShape, rows: usize) -> Self {
        let (groups, stride) = (rows.div_ceil(ROWS), sizes.width + 2);
        Self {
            groups,
            stride,
            inputs: sizes.input * groups * stride + REGISTER_PAIR_MAX + 2,
            len: (groups * stride).next_multiple_of(register_pair()),
        }
    }
}

/// Scratch values of a band of rows; see [`convolve`].
pub(super) fn scratch_len(sizes: ConvShape, rows: usize) -> usize {
    let band = Band::new(sizes, rows);
    TERMS * (band.inputs + group_size_max() * band.len) + ROWS * sizes.width
}

/// Computes the rows `first .. first + rows` of each output plane.
pub(super) fn convolve(
    image: &[f32],
    (weights, bias): (&Weights, Option<&[f32]>),
    sizes: ConvShape,
    (first, rows): (usize, usize),
    out: &mut [&mut [f32]],
) {
    let (width, taps) = (sizes.width, 3 * sizes.input);
    let (band, max) = (Band::new(sizes, rows), group_size_max());
    with_scratch(scratch_len(sizes, rows), |buffer| {
        let (inputs, buffer) = buffer.split_at_mut(TERMS * band.inputs);
        let (sums, results) = buffer.split_at_mut(TERMS * max * band.len);
        let mut planes = inputs.chunks_exact_mut(band.inputs);
        let mut inputs = [(); TERMS].map(|()| planes.next().unwrap_or_default());
        let arch = pulp::Arch::new();
        arch.dispatch(Fill {
            image,
            sizes,
            first,
            band,
            inputs: inputs.each_mut().map(|plane| &mut **plane),
        });
        let offsets: Vec<usize> = (0..taps)
            .map(|tap| tap / 3 * band.groups * band.stride + tap % 3)
            .collect();
        let mut channel = 0;
        for &group in &weights.groups {
            let from = channel * taps;
            for ((inputs, weights), sums) in inputs
                .iter()
                .zip(&weights.sums)
                .zip(sums.chunks_exact_mut(max * band.len))
            {
                let weights = &weights[from..from + group * taps];
                let sums = &mut sums[..group * band.len];
                accumulate_taps(inputs, (&offsets, weights), None, sums, group);
            }
            for member in 0..group {
                arch.dispatch(Outputs {
                    sums: &sums[member * band.len..],
                    step: max * band.len,
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

/// Writes the six transformed inputs of a band, `[C, groups, stride]` with zeros around the map,
/// then zeros.
struct Fill<'a> {
    image: &'a [f32],
    sizes: ConvShape,
    first: usize,
    band: Band,
    inputs: [&'a mut [f32]; TERMS],
}

impl WithSimd for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let ConvShape { height, width, .. } = self.sizes;
        let Band { groups, stride, .. } = self.band;
        let outside = vec![0.0f32; width];
        let mut at = 0;
        for plane in self.image.chunks_exact((height * width).max(1)) {
            for group in 0..groups {
                // The input rows of the group begin one row above its first output row.
                let mut rows = [&outside[..]; TERMS];
                for (i, inputs) in rows.iter_mut().enumerate() {
                    let row = (self.first + group * ROWS + i).wrapping_sub(1);
                    if row < height {
                        *inputs = &plane[row * width..][..width];
                    }
                }
                for inputs in &mut self.inputs {
                    inputs[at] = 0.0;
                    inputs[at + stride - 1] = 0.0;
                }
                let inner = at + 1..at + 1 + width;
                let [a, b, c, d, e, f] = &mut self.inputs;
                let into = [
                    &mut a[inner.clone()],
                    &mut b[inner.clone()],
                    &mut c[inner.clone()],
                    &mut d[inner.clone()],
                    &mut e[inner.clone()],
                    &mut f[inner],
                ];
                transform_input(simd, rows, into);
                at += stride;
            }
        }
        for inputs in &mut self.inputs {
            inputs[at..].fill(0.0);
        }
    }
}

/// Transforms the products of one output channel to its rows.
struct Outputs<'a> {
    /// `[product, channel, len]`, from this channel on.
    sums: &'a [f32],
    /// Values from one product to the next.
    step: usize,
    bias: f32,
    stride: usize,
    width: usize,
    /// Scratch for the rows of a group.
    results: &'a mut [f32],
    /// `[rows, width]`.
    into: &'a mut [f32],
}

impl WithSimd for Outputs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { width, .. } = self;
        let whole = ROWS * width;
        for (group, into) in self.into.chunks_mut(whole.max(1)).enumerate() {
            let mut from = [&self.sums[..0]; TERMS];
            for (sum, from) in from.iter_mut().enumerate() {
                *from = &self.sums[sum * self.step + group * self.stride..][..width];
            }
            if into.len() == whole {
                transform_output(simd, from, into, self.bias);
            } else {
                transform_output(simd, from, self.results, self.bias);
                let count = into.len();
                into.copy_from_slice(&self.results[..count]);
            }
        }
    }
}

/// The six transformed rows of a group's input rows. Zipped iterators without closures: a closure
/// is compiled for narrow registers, and arrays would be passed to it through memory.
#[inline(always)]
fn transform_input<S: Simd>(simd: S, rows: [&[f32]; TERMS], into: [&mut [f32]; TERMS]) {
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
        [*u, *v, *w, *x, *y, *z] = input_transform(simd, [*a, *b, *c, *d, *e, *f]);
    }
    if !a_end.is_empty() {
        let column = [a_end, b_end, c_end, d_end, e_end, f_end];
        let mut last = [simd.splat_f32s(0.0); TERMS];
        for row in 0..TERMS {
            last[row] = simd.partial_load_f32s(column[row]);
        }
        let last = input_transform(simd, last);
        let into = [u_end, v_end, w_end, x_end, y_end, z_end];
        for (into, last) in into.into_iter().zip(last) {
            simd.partial_store_f32s(into, last);
        }
    }
}

/// The input transform of a column of pixels.
#[inline(always)]
fn input_transform<S: Simd>(simd: S, [a, b, c, d, e, f]: [S::f32s; TERMS]) -> [S::f32s; TERMS] {
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

/// The output rows of a group from its six products.
#[inline(always)]
fn transform_output<S: Simd>(simd: S, sums: [&[f32]; TERMS], into: &mut [f32], bias: f32) {
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
        [*w, *x, *y, *z] = output_transform(simd, [*a, *b, *c, *d, *e, *f], bias);
    }
    if !a_end.is_empty() {
        let column = [a_end, b_end, c_end, d_end, e_end, f_end];
        let mut last = [simd.splat_f32s(0.0); TERMS];
        for sum in 0..TERMS {
            last[sum] = simd.partial_load_f32s(column[sum]);
        }
        let last = output_transform(simd, last, bias);
        for (into, last) in [w_end, x_end, y_end, z_end].into_iter().zip(last) {
            simd.partial_store_f32s(into, last);
        }
    }
}

/// The output transform of a column of products.
#[inline(always)]
fn output_transform<S: Simd>(
    simd: S,
    [a, b, c, d, e, f]: [S::f32s; TERMS],
    bias: S::f32s,
) -> [S::f32s; ROWS] {
    let two = simd.splat_f32s(2.0);
    let (four, eight) = (simd.splat_f32s(4.0), simd.splat_f32s(8.0));
    let (near, far) = (simd.add_f32s(b, c), simd.add_f32s(d, e));
    let (rotated, beyond) = (simd.sub_f32s(b, c), simd.sub_f32s(d, e));
    [
        simd.add_f32s(simd.add_f32s(a, bias), simd.add_f32s(near, far)),
        simd.mul_add_e_f32s(two, beyond, simd.add_f32s(rotated, bias)),
        simd.mul_add_e_f32s(four, far, simd.add_f32s(near, bias)),
        simd.mul_add_e_f32s(
            eight,
            beyond,
            simd.add_f32s(rotated, simd.add_f32s(f, bias)),
        ),
    ]
}
