//! Convolution without unfolding: the sums of a few output channels at neighbouring pixels stay in registers
//! while all taps go by, which are read where the padded image has them.

use pulp::{Simd, WithSimd};

use super::conv::Sizes;
use super::{PAIR_MAX, PARALLEL_ELEMENTS, each_of, pair, with_buffer};

/// The most of [`channels`].
const CHANNELS_MAX: usize = 12;

/// Output channels whose sums are kept side by side: with two registers of pixels each, twelve of the sixteen
/// registers that AVX2 and wasm have, or 24 of AVX-512's 32.
pub(super) fn channels() -> usize {
    if pair() == PAIR_MAX { CHANNELS_MAX } else { 6 }
}

/// Taps that go by together: their weights and the addresses of their values are read again for each pair of
/// registers of pixels, and stay in a core's first cache.
const TAPS: usize = 1024;

/// Weights `[O, C·k·k]` by groups of channels, in the order in which they are used.
pub(super) struct Packed {
    /// Number of channels of each group.
    pub groups: Vec<usize>,
    /// `[group, tap, channel of the group]`.
    values: Vec<f32>,
}

/// As few groups of channels as there can be, of about one size.
pub(super) fn groups(output: usize) -> Vec<usize> {
    let count = output.div_ceil(channels()).max(1);
    (0..count)
        .map(|i| output / count + usize::from(i < output % count))
        .collect()
}

impl Packed {
    pub fn new(weight: &[f32], output: usize, taps: usize) -> Self {
        let groups = groups(output);
        let mut values = vec![0.0f32; weight.len()];
        let (mut rest, mut from) = (&mut values[..], weight);
        let mut jobs = Vec::with_capacity(groups.len());
        for &group in &groups {
            let (into, others) = rest.split_at_mut(group * taps);
            let (these, more) = from.split_at(group * taps);
            jobs.push((group, these, into));
            (rest, from) = (others, more);
        }
        let is_much = weight.len() >= PARALLEL_ELEMENTS;
        each_of(jobs, is_much, |(group, these, into)| {
            for (tap, into) in into.chunks_exact_mut(group).enumerate() {
                for (to, channel) in into.iter_mut().zip(these.chunks_exact(taps)) {
                    *to = channel[tap];
                }
            }
        });
        Self { groups, values }
    }

    /// The weights of a group, for so many taps.
    pub fn of_group(&self, group: usize, taps: usize) -> &[f32] {
        let before: usize = self.groups[..group].iter().sum();
        &self.values[before * taps..][..self.groups[group] * taps]
    }
}

/// Values that a band of rows takes beside its output, see [`convolve`].
pub(super) fn room(sizes: Sizes, rows: usize) -> usize {
    let pad = sizes.kernel / 2;
    let stride = sizes.width + 2 * pad;
    let sums = (rows * stride).next_multiple_of(pair());
    sizes.input * (rows + 2 * pad) * stride + 2 * pad + PAIR_MAX + channels() * sums
}

/// The rows `first .. first + rows` of the output, of each of its planes.
pub(super) fn convolve(
    image: &[f32],
    (weight, bias): (&Packed, Option<&[f32]>),
    sizes: Sizes,
    (first, rows): (usize, usize),
    out: &mut [&mut [f32]],
) {
    let Sizes { width, kernel, .. } = sizes;
    let taps = sizes.taps();
    let stride = width + 2 * (kernel / 2);
    // Positions run through padded rows from end to end, so that no row ends within a register. What they
    // say of the padding is left behind.
    let len = (rows * stride).next_multiple_of(pair());
    with_buffer(room(sizes, rows), |buffer| {
        let at_sums = buffer.len() - channels() * len;
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
            add_up(padded, (&offsets, these), bias, sums, group);
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

/// The rows that the output's see, `[C, rows + k − 1, width + k − 1]`, zeros around the map; then zeros.
fn fill(image: &[f32], sizes: Sizes, first: usize, rows: usize, padded: &mut [f32]) {
    let Sizes {
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

/// The sums `[group, len]` of a group of channels over all taps: where each lies from a position on, and `[tap, channel]`
/// weights for them. `len` is a multiple of [`pair`], and sums begin at the bias.
pub(super) fn add_up(
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
            goes_on: i > 0,
            sums: &mut *sums,
            len,
        }
        .run(group);
    }
}

/// Taps and the weights of a group for them, in parts of about one size that go by together; the sums wait in memory
/// between them.
fn parts<'a>(
    offsets: &'a [usize],
    weights: &'a [f32],
    group: usize,
) -> impl Iterator<Item = (&'a [usize], &'a [f32])> {
    let taps = offsets.len();
    let part = taps.div_ceil(taps.div_ceil(TAPS).max(1)).max(1);
    offsets.chunks(part).zip(weights.chunks(part * group))
}

/// One group of channels over all positions of a band.
struct Job<'a> {
    padded: &'a [f32],
    /// Where each tap's value lies, from the position's own.
    offsets: &'a [usize],
    /// `[tap, channel]`.
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
    /// Whether the sums hold those of earlier taps; else they begin at the bias.
    goes_on: bool,
    /// `[channel, len]`.
    sums: &'a mut [f32],
    /// A multiple of [`pair`].
    len: usize,
}

impl Job<'_> {
    /// For a group of this many channels, [`channels`] at most.
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

/// A job for `N` channels.
struct Group<'a, const N: usize>(Job<'a>);

impl<const N: usize> WithSimd for Group<'_, N> {
    type Output = ();

    #[inline(always)]
    #[expect(
        clippy::needless_range_loop,
        reason = "a loop to a constant is unrolled, so that all sums stay in registers"
    )]
    fn with_simd<S: Simd>(self, simd: S) {
        let job = self.0;
        let step = 2 * S::F32_LANES;
        let first: [S::f32s; N] =
            std::array::from_fn(|i| simd.splat_f32s(job.bias.map_or(0.0, |bias| bias[i])));
        for start in (0..job.len).step_by(step) {
            let mut sums = [first, first];
            if job.goes_on {
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
