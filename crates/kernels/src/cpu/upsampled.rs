//! A 3 × 3 convolution of an upsampled map without the upsampled map: between the two stands nothing but sums, so each of
//! the four pixels of a cell's tile is a convolution of its own of the cells, with a kernel of two by two whose weights are
//! sums of products of the weights of both. Taps that fall into one cell are one tap here: four a channel, where there
//! were nine.

use burn::backend::flex::FlexTensor;

use super::conv::{ConvEpilogue, conv};
use super::direct::{Packed, add_up, channels};
use super::linear::Rows;
use super::norm::in_bands_normed;
use super::patch::upsample;
use super::product::{Place, product};
use super::{
    PAIR_MAX, PARALLEL_PRODUCTS, contiguous, each, pair, tensor, threads, values, vectorised,
    with_buffer,
};

/// Pixels of a cell's tile along an axis, and cells that each of them sees.
const TILE: usize = 2;
/// Taps of the convolution along an axis.
const TAPS: usize = 3;
/// Values of a band of cells that are held at once: a sixteenth of a megabyte, well inside a core's second cache.
const BAND: usize = 1 << 14;

/// Along one axis, for a pixel of a tile: which of the two cells that it sees a tap of the convolution falls into, and
/// which of that cell's pixels it is.
const fn falls(pixel: usize, tap: usize) -> [usize; 2] {
    // Counted from the cell before, whose last pixel the first tap of the first pixel is.
    let at = TILE - 1 + pixel + tap;
    [at / TILE - pixel, at % TILE]
}

/// The sizes of one.
#[derive(Clone, Copy)]
struct Cells {
    images: usize,
    input: usize,
    output: usize,
    height: usize,
    width: usize,
}

impl Cells {
    fn is_much(&self) -> bool {
        let taps = self.input * TILE * TILE;
        self.images * self.height * self.width * taps * self.output >= PARALLEL_PRODUCTS
    }

    /// Whether a pixel takes fewer products than one of the upsampled map of so many channels and half of a convolution's,
    /// see `winograd`.
    fn has_fewer(&self, between: usize) -> bool {
        let apart = self.input * between + TAPS * TAPS * between * self.output / 2;
        TILE * TILE * self.input * self.output <= apart
    }

    /// Cells of a row with one more on each side.
    fn stride(&self) -> usize {
        self.width + 2
    }

    /// Rows of cells that are computed together: what a cache holds, and a share for every core.
    fn band(&self) -> usize {
        let cached = BAND / (self.input * self.stride()).max(1);
        let shares = threads().div_ceil(self.images.max(1)).max(1);
        cached.clamp(TILE, self.height.div_ceil(shares).max(TILE))
    }

    /// First row and number of rows of a band.
    fn rows_of(&self, band: usize) -> [usize; 2] {
        let first = band * self.band();
        [first, self.band().min(self.height - first)]
    }

    /// The cells of a band's rows and those around them, `[C, rows + 2, width + 2]`, zeros around the map; then zeros.
    fn fill(&self, x: &[f32], at: Place, [first, rows]: [usize; 2], padded: &mut [f32]) {
        let mut lines = padded.chunks_exact_mut(self.stride());
        for channel in 0..self.input {
            for (row, line) in (first..first + rows + 2).zip(&mut lines) {
                let (before, line) = line.split_at_mut(1);
                let (line, after) = line.split_at_mut(self.width);
                before.fill(0.0);
                after.fill(0.0);
                if row == 0 || row > self.height {
                    line.fill(0.0);
                    continue;
                }
                let from = &x[at.at((row - 1) * self.width, channel)..];
                match at.step[0] {
                    1 => line.copy_from_slice(&from[..self.width]),
                    step => {
                        for (to, value) in line.iter_mut().zip(from.iter().step_by(step)) {
                            *to = *value;
                        }
                    }
                }
            }
        }
        let filled = self.input * (rows + 2) * self.stride();
        padded[filled..].fill(0.0);
    }

    /// Where the taps of a pixel of the tile are in a filled band, from the cell before the pixel's own in both directions.
    fn offsets(&self, rows: usize, [y, x]: [usize; 2]) -> Vec<usize> {
        let of_cell = |cell: usize| {
            let start = (y + cell / TILE) * self.stride() + x + cell % TILE;
            (0..self.input).map(move |channel| channel * (rows + 2) * self.stride() + start)
        };
        (0..TILE * TILE).flat_map(of_cell).collect()
    }
}

/// The weights of both as one.
struct Kernels {
    /// For each pixel of a tile, by rows; taps by cell, then channel.
    pixels: Vec<Packed>,
    /// What the bias of the upsampling adds, `[O, first row, others and last, first column, others and last]`.
    starts: Vec<[[f32; TAPS]; TAPS]>,
}

impl Kernels {
    fn new(up: &[f32], bias: &[f32], weight: &[f32], sizes: Cells) -> Self {
        let Cells { input, output, .. } = sizes;
        let between = bias.len();
        let of_pixel = |pixel: usize| {
            let mut sums = vec![0.0f32; output * TILE * TILE * input];
            for tap in 0..TAPS * TAPS {
                let [row, dy] = falls(pixel / TILE, tap / TAPS);
                let [column, dx] = falls(pixel % TILE, tap % TAPS);
                let into = Place {
                    start: (row * TILE + column) * input,
                    shape: [output, input],
                    step: [TILE * TILE * input, 1],
                };
                let taps = Place {
                    start: tap,
                    shape: [output, between],
                    step: [between * TAPS * TAPS, TAPS * TAPS],
                };
                let tile = Place {
                    start: dy * TILE + dx,
                    shape: [between, input],
                    step: [TILE * TILE, between * TILE * TILE],
                };
                product((&mut sums, into), true, (weight, taps), (up, tile), 1.0);
            }
            Packed::new(&sums, output, TILE * TILE * input)
        };
        let is_much = up.len() * TAPS * TAPS * output >= PARALLEL_PRODUCTS;
        let pixels = each(TILE * TILE, is_much, of_pixel);
        let (of_output, _) = weight.as_chunks::<{ TAPS * TAPS }>();
        let starts = of_output
            .chunks_exact(between.max(1))
            .map(|taps| {
                let mut starts = [[0.0f32; TAPS]; TAPS];
                for (y, x) in (0..TAPS * TAPS).map(|i| (i / TAPS, i % TAPS)) {
                    // A tap outside the map sees zero and not the bias.
                    for (ty, tx) in (0..TAPS * TAPS).map(|tap| (tap / TAPS, tap % TAPS)) {
                        if is_inside(y, ty) && is_inside(x, tx) {
                            let of_tap = taps.iter().zip(bias);
                            starts[y][x] += of_tap.map(|(w, b)| w[ty * TAPS + tx] * b).sum::<f32>();
                        }
                    }
                }
                starts
            })
            .collect();
        Self { pixels, starts }
    }
}

/// Whether a tap is inside the map for a pixel that is its first, its last or another one.
fn is_inside(pixel: usize, tap: usize) -> bool {
    let last = TAPS - 1;
    [pixel, tap] != [0, 0] && [pixel, tap] != [last, last]
}

/// `onto [M, O, 2h, 2w]` plus the convolution with `weight [O, U, 3, 3]` of what `up [C, U, 2, 2]` and `bias [U]` make of
/// tokens `x [N, h·w, C]`: each of the `M` for as many of the `N` images one after the other. Then the norm of it.
pub(crate) fn conv_upsampled(
    x: &FlexTensor,
    height: usize,
    [up, bias]: [&FlexTensor; 2],
    weight: &FlexTensor,
    epilogue: ConvEpilogue,
) -> FlexTensor {
    let [up, bias, weight] = [up, bias, weight].map(contiguous);
    let [images, cells, input] = [0, 1, 2].map(|axis| x.layout().shape()[axis]);
    let sizes = Cells {
        images,
        input,
        output: weight.layout().shape()[0],
        height,
        width: cells / height.max(1),
    };
    // The kernel always adds a residual and has no activation outside of a norm.
    let residual = epilogue
        .residual
        .filter(|_| epilogue.activation.is_none() && sizes.has_fewer(bias.layout().num_elements()));
    let Some(residual) = residual else {
        let map = upsample(x, height, &up, &bias);
        return conv(&map, &weight, None, epilogue);
    };
    let onto = contiguous(residual);
    let x = Rows::new(x);
    let kernels = Kernels::new(values(&up), values(&bias), values(&weight), sizes);
    let onto = values(&onto);
    let Cells { output, width, .. } = sizes;
    let (bottom, line) = ((TILE * height).saturating_sub(1), TILE * width);
    let area = TILE * height * line;
    let repeat = (images * output * area / onto.len().max(1)).max(1);
    let out = in_bands_normed(
        [images, output, area],
        height.div_ceil(sizes.band()),
        sizes.is_much(),
        |band| sizes.rows_of(band)[1] * TILE * line,
        epilogue.norm,
        |image, band, out| {
            let rows = sizes.rows_of(band);
            let onto = &onto[image / repeat * output * area..][..output * area];
            let stride = sizes.stride();
            let len = (rows[1] * stride).next_multiple_of(pair());
            let seen = input * (rows[1] + 2) * stride + TILE * stride + PAIR_MAX;
            with_buffer(seen + TILE * channels() * len, |buffer| {
                let (padded, sums) = buffer.split_at_mut(seen);
                sizes.fill(x.values(), x.of_image(image, cells), rows, padded);
                let (left, right) = sums.split_at_mut(channels() * len);
                for (dy, pixels) in kernels.pixels.chunks_exact(TILE).enumerate() {
                    let offsets = [0, 1].map(|dx| sizes.offsets(rows[1], [dy, dx]));
                    let mut channel = 0;
                    for (group, &members) in pixels[0].groups.iter().enumerate() {
                        let halves = [&mut *left, &mut *right].into_iter();
                        for ((sums, packed), offsets) in halves.zip(pixels).zip(&offsets) {
                            let weights = packed.of_group(group, offsets.len());
                            let sums = &mut sums[..members * len];
                            add_up(padded, (offsets, weights), None, sums, members);
                        }
                        for member in 0..members {
                            let starts = &kernels.starts[channel];
                            for i in 0..rows[1] {
                                let y = TILE * (rows[0] + i) + dy;
                                let starts = &starts[usize::from(y > 0) + usize::from(y == bottom)];
                                let from = member * len + i * stride;
                                weave(
                                    [&left[from..][..width], &right[from..][..width]],
                                    &onto[channel * area + y * line..][..line],
                                    *starts,
                                    &mut out[channel][(TILE * i + dy) * line..][..line],
                                );
                            }
                            channel += 1;
                        }
                    }
                }
            });
        },
    );
    tensor(out, [images, output, TILE * height, line])
}

/// A line of pixels from those that are left and those that are right in a tile.
fn weave(
    pixels: [&[f32]; TILE],
    onto: &[f32],
    [first, inner, last]: [f32; TAPS],
    line: &mut [f32],
) {
    // Moved in: what a closure borrows is read again for each pixel.
    vectorised({
        let line = &mut *line;
        #[inline(always)]
        move |_| interleave(pixels, onto, inner, line)
    });
    line[0] += first - inner;
    line[line.len() - 1] += last - inner;
}

#[inline(always)]
fn interleave([left, right]: [&[f32]; TILE], onto: &[f32], start: f32, line: &mut [f32]) {
    let (tiles, _) = line.as_chunks_mut::<TILE>();
    let (onto, _) = onto.as_chunks::<TILE>();
    for (((tile, onto), left), right) in tiles.iter_mut().zip(onto).zip(left).zip(right) {
        *tile = [onto[0] + (left + start), onto[1] + (right + start)];
    }
}
