//! Direct convolution: the sums of a few output channels at neighbouring pixels stay in registers
//! while all taps are added, which are read from the padded image.

use pulp::{Simd, WithSimd};

use super::conv_shape::ConvShape;
use super::memory::with_scratch;
use super::parallel::{PARALLEL_ELEMENTS, map_jobs};
use super::simd::{REGISTER_PAIR_MAX, register_pair};

/// The largest [`group_size_max`].
const CHANNELS_MAX: usize = 12;

/// Output channels whose sums are in registers together: with two registers of pixels each, twelve
/// of the sixteen registers of AVX2 and wasm, or 24 of the 32 of AVX-512.
pub(super) fn group_size_max() -> usize {
    if register_pair() == REGISTER_PAIR_MAX {
        CHANNELS_MAX
    } else {
        6
    }
}

/// Taps added in one pass: their weights and offsets are read again for each pair of registers of
/// pixels, and stay in the L1 cache.
const TAPS: usize = 1024;

/// Weights `[O, C · k · k]` packed by groups of channels, in the order of use.
pub(super) struct PackedWeights {
    /// Channels of each group.
    pub groups: Vec<usize>,
    /// `[group, tap, channel of the group]`.
    values: Vec<f32>,
}

/// The fewest groups of channels, of about equal size.
pub(super) fn channel_groups(output: usize) -> Vec<usize> {
    let count = output.div_ceil(group_size_max()).max(1);
    (0..count)
        .map(|i| output / count + usize::from(i < output % count))
        .collect()
}

impl PackedWeights {
    pub fn new(weight: &[f32], output: usize, taps: usize) -> Self {
        let groups = channel_groups(output);
        let mut values = vec![0.0f32; weight.len()];
        let (mut rest, mut from) = (&mut values[..], weight);
        let mut jobs = Vec::with_capacity(groups.len());
        for &group in &groups {
            let (into, others) = rest.split_at_mut(group * taps);
            let (these, more) = from.split_at(group * taps);
            jobs.push((group, these, into));
            (rest, from) = (others, more);
        }
        let is_parallel = weight.len() >= PARALLEL_ELEMENTS;
        map_jobs(jobs, is_parallel, |(group, these, into)| {
            for (tap, into) in into.chunks_exact_mut(group).enumerate() {
                for (to, channel) in into.iter_mut().zip(these.chunks_exact(taps)) {
                    *to = channel[tap];
                }
            }
        });
        Self { groups, values }
    }

    /// The weights of a group with so many taps.
    pub fn of_group(&self, group: usize, taps: usize) -> &[f32] {
        let before: usize = self.groups[..group].iter().sum();
        &self.values[before * taps..][..self.groups[group] * taps]
    }
}

/// Scratch values of a band of rows; see [`convolve`].
pub(super) fn scratch_len(sizes: ConvShape, rows: usize) -> usize {
    let pad = sizes.kernel / 2;
    let stride = sizes.width + 2 * pad;
    let sums = (rows * stride).next_multiple_of(register_pair());
    sizes.input * (rows + 2 * pad) * stride + 2 * pad + REGISTER_PAIR_MAX + group_size_max() * sums
}

/// Computes the rows `first .. first + rows` of each output plane.
pub(super) fn convolve(
    image: &[f32],
    (weight, bias): (&PackedWeights, Option<&[f32]>),
    sizes: ConvShape,
    (first, rows): (usize, usize),
    out: &mut [&mut [f32]],
) {
    let ConvShape { width, kernel, .. } = sizes;
    let taps = sizes.taps();
    let stride = width + 2 * (kernel / 2);
    // Registers run through the padded rows without regard to their ends; the results at padding
    // positions are not copied.
    let len = (rows * stride).next_multiple_of(register_pair());
    with_scratch(scratch_len(sizes, rows), |buffer| {
        let at_sums = buffer.len() - group_size_max() * len;
        let (padded, sums) = buffer.split_at_mut(at_sums);
        fill(image, sizes, first, rows, padded);
        let plane = (rows + kernel / 2 * 2) * stride;
        let offsets: Vec<usize> = (0..taps)
            .map(|tap| {
                let (channel, tap) = (tap / (kernel * kernel), tap % (kernel * kernel));
                channel * plane + tap / kernel * stride + tap % kernel
            })
            .collect();
        let mut channel = 0;
        for (index, &group) in weight.groups.iter().enumerate() {
            let these = weight.of_group(index, taps);
            let bias = bias.map(|bias| &bias[channel..channel + group]);
            let sums = &mut sums[..group * len];
            accumulate_taps(padded, (&offsets, these), bias, sums, group);
            for from in sums.chunks_exact(len) {
                let to = out[channel].chunks_exact_mut(width);
                for (to, from) in to.zip(from.chunks_exact(stride)) {
                    to.copy_from_slice(&from[..width]);
                }
                channel += 1;
            }
        }
    });
}

/// Fills the padded input of those rows, `[C, rows + k − 1, width + k − 1]` with zeros around the
/// map, then zeros.
fn fill(image: &[f32], sizes: ConvShape, first: usize, rows: usize, padded: &mut [f32]) {
    let ConvShape {
        height,
        width,
        kernel,
        ..
    } = sizes;
    let pad = kernel / 2;
    let stride = width + 2 * pad;
    let mut lines = padded.chunks_exact_mut(stride);
    for plane in image.chunks_exact(height * width) {
        for (row, line) in (first..first + rows + 2 * pad).zip(&mut lines) {
            if row < pad || row >= height + pad {
                line.fill(0.0);
                continue;
            }
            line[..pad].fill(0.0);
            line[pad..pad + width].copy_from_slice(&plane[(row - pad) * width..][..width]);
            line[pad + width..].fill(0.0);
        }
    }
    let filled = sizes.input * (rows + 2 * pad) * stride;
    padded[filled..].fill(0.0);
}

/// The sums `[group, len]` of a group of channels over all taps. `offsets` are the positions of the
/// taps relative to a pixel, `weights` are `[tap, channel]`. `len` is a multiple of
/// [`register_pair`]; the sums start at the bias.
pub(super) fn accumulate_taps(
    padded: &[f32],
    (offsets, weights): (&[usize], &[f32]),
    bias: Option<&[f32]>,
    sums: &mut [f32],
    group: usize,
) {
    let len = sums.len() / group.max(1);
    for (i, (offsets, weights)) in parts(offsets, weights, group).enumerate() {
        Job {
            padded,
            offsets,
            weights,
            bias,
            continues: i > 0,
            sums: &mut *sums,
            len,
        }
        .run(group);
    }
}

/// Splits the taps of a group and their weights into passes of about equal size. The sums are in
/// memory between passes.
fn parts<'a>(
    offsets: &'a [usize],
    weights: &'a [f32],
    group: usize,
) -> impl Iterator<Item = (&'a [usize], &'a [f32])> {
    let taps = offsets.len();
    let part = taps.div_ceil(taps.div_ceil(TAPS).max(1)).max(1);
    offsets.chunks(part).zip(weights.chunks(part * group))
}

/// One pass of a group of channels over all positions of a band.
struct Job<'a> {
    padded: &'a [f32],
    /// Position of each tap relative to a pixel.
    offsets: &'a [usize],
    /// `[tap, channel]`.
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
    /// Whether the sums continue an earlier pass; otherwise they start at the bias.
    continues: bool,
    /// `[channel, len]`.
    sums: &'a mut [f32],
    /// A multiple of [`register_pair`].
    len: usize,
}

impl Job<'_> {
    /// For a group of so many channels, [`group_size_max`] at most.
    fn run(self, group: usize) {
        match group {
            1 => self.of::<1>(),
            2 => self.of::<2>(),
            3 => self.of::<3>(),
            4 => self.of::<4>(),
            5 => self.of::<5>(),
            6 => self.of::<6>(),
            7 => self.of::<7>(),
            8 => self.of::<8>(),
            9 => self.of::<9>(),
            10 => self.of::<10>(),
            11 => self.of::<11>(),
            _ => self.of::<CHANNELS_MAX>(),
        }
    }

    fn of<const N: usize>(self) {
        pulp::Arch::new().dispatch(Group::<N>(self));
    }
}

/// A pass for `N` channels.
struct Group<'a, const N: usize>(Job<'a>);

impl<const N: usize> WithSimd for Group<'_, N> {
    type Output = ();

    #[inline(always)]
    #[expect(
        clippy::needless_range_loop,
        reason = "a loop with a constant bound is unrolled, so that all sums stay in registers"
    )]
    fn with_simd<S: Simd>(self, simd: S) {
        let job = self.0;
        let step = 2 * S::F32_LANES;
        let first: [S::f32s; N] =
            std::array::from_fn(|i| simd.splat_f32s(job.bias.map_or(0.0, |bias| bias[i])));
        for start in (0..job.len).step_by(step) {
            let mut sums = [first, first];
            if job.continues {
                for i in 0..N {
                    let (before, _) = S::as_simd_f32s(&job.sums[i * job.len + start..][..step]);
                    sums[0][i] = before[0];
                    sums[1][i] = before[1];
                }
            }
            for (offset, weights) in job.offsets.iter().zip(job.weights.chunks_exact(N)) {
                let (seen, _) = S::as_simd_f32s(&job.padded[start + offset..][..step]);
                for i in 0..N {
                    let weight = simd.splat_f32s(weights[i]);
                    sums[0][i] = simd.mul_add_e_f32s(weight, seen[0], sums[0][i]);
                    sums[1][i] = simd.mul_add_e_f32s(weight, seen[1], sums[1][i]);
                }
            }
            for i in 0..N {
                let into = &mut job.sums[i * job.len + start..][..step];
                let (into, _) = S::as_mut_simd_f32s(into);
                into[0] = sums[0][i];
                into[1] = sums[1][i];
            }
        }
    }
}
