//! A 3 × 3 convolution of an upsampled map without computing the upsampled map. Both are linear:
//! each of the four pixels of a cell's tile is a 2 × 2 convolution of the cells, whose weights are
//! sums of products of the weights of both. Taps that fall into one cell become one: four per
//! channel instead of nine.

use burn::backend::flex::FlexTensor;

use super::conv::{ConvEpilogue, conv};
use super::conv_direct::{PackedWeights, accumulate_taps, group_size_max};
use super::gemm::{MatrixLayout, gemm};
use super::linear::Rows;
use super::memory::{new_tensor, to_contiguous, values, with_scratch};
use super::norm::write_bands_with_norm;
use super::parallel::{PARALLEL_PRODUCTS, map_indices, threads};
use super::patches::upsample;
use super::simd::{REGISTER_PAIR_MAX, register_pair, vectorised};

/// Pixels of a cell's tile along an axis, and cells that each of them depends on.
const TILE: usize = 2;
/// Taps of the convolution along an axis.
const TAPS: usize = 3;
/// Input values of a band: 64 KiB, well inside the L2 cache.
const BAND: usize = 1 << 14;

/// Along one axis, for a pixel of a tile and a tap of the convolution: which of the two cells the
/// tap falls into, and which pixel of that cell.
const fn cell_of_tap(pixel: usize, tap: usize) -> [usize; 2] {
    // Counted from the cell before, whose last pixel is the first tap of the first pixel.
    let at = TILE - 1 + pixel + tap;
    [at / TILE - pixel, at % TILE]
}

/// The sizes of the operation.
#[derive(Clone, Copy)]
struct UpsampledShape {
    images: usize,
    input: usize,
    output: usize,
    height: usize,
    width: usize,
}

impl UpsampledShape {
    fn is_parallel(&self) -> bool {
        let taps = self.input * TILE * TILE;
        self.images * self.height * self.width * taps * self.output >= PARALLEL_PRODUCTS
    }

    /// Whether this takes fewer multiplications than upsampling to so many channels and a
    /// convolution by Winograd's algorithm.
    fn is_cheaper(&self, between: usize) -> bool {
        let apart = self.input * between + TAPS * TAPS * between * self.output / 2;
        TILE * TILE * self.input * self.output <= apart
    }

    /// Cells of a row with one of padding on each side.
    fn stride(&self) -> usize {
        self.width + 2
    }

    /// Rows of cells of a band: they fit the cache, and every thread gets a band.
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

    /// Fills the padded cells of a band, `[C, rows + 2, width + 2]` with zeros around the map, then
    /// zeros.
    fn fill(&self, x: &[f32], at: MatrixLayout, [first, rows]: [usize; 2], padded: &mut [f32]) {
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
                let from = &x[at.index((row - 1) * self.width, channel)..];
                match at.strides[0] {
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

    /// Positions of the taps of a tile's pixel in a filled band, relative to the cell before in
    /// both directions.
    fn offsets(&self, rows: usize, [y, x]: [usize; 2]) -> Vec<usize> {
        let of_cell = |cell: usize| {
            let start = (y + cell / TILE) * self.stride() + x + cell % TILE;
            (0..self.input).map(move |channel| channel * (rows + 2) * self.stride() + start)
        };
        (0..TILE * TILE).flat_map(of_cell).collect()
    }
}

/// The weights of both operations combined.
struct Kernels {
    /// For each pixel of a tile, by rows; taps by cell, then channel.
    pixels: Vec<PackedWeights>,
    /// The part of the upsampling's bias, `[O, row, column]`: first, inner and last ones.
    bias_sums: Vec<[[f32; TAPS]; TAPS]>,
}

impl Kernels {
    fn new(up: &[f32], bias: &[f32], weight: &[f32], sizes: UpsampledShape) -> Self {
        let UpsampledShape { input, output, .. } = sizes;
        let between = bias.len();
        let of_pixel = |pixel: usize| {
            let mut sums = vec![0.0f32; output * TILE * TILE * input];
            for tap in 0..TAPS * TAPS {
                let [row, dy] = cell_of_tap(pixel / TILE, tap / TAPS);
                let [column, dx] = cell_of_tap(pixel % TILE, tap % TAPS);
                let into = MatrixLayout {
                    start: (row * TILE + column) * input,
                    shape: [output, input],
                    strides: [TILE * TILE * input, 1],
                };
                let taps = MatrixLayout {
                    start: tap,
                    shape: [output, between],
                    strides: [between * TAPS * TAPS, TAPS * TAPS],
                };
                let tile = MatrixLayout {
                    start: dy * TILE + dx,
                    shape: [between, input],
                    strides: [TILE * TILE, between * TILE * TILE],
                };
                gemm((&mut sums, into), true, (weight, taps), (up, tile), 1.0);
            }
            PackedWeights::new(&sums, output, TILE * TILE * input)
        };
        let is_parallel = up.len() * TAPS * TAPS * output >= PARALLEL_PRODUCTS;
        let pixels = map_indices(TILE * TILE, is_parallel, of_pixel);
        let (of_output, _) = weight.as_chunks::<{ TAPS * TAPS }>();
        let bias_sums = of_output
            .chunks_exact(between.max(1))
            .map(|taps| {
                let mut bias_sums = [[0.0f32; TAPS]; TAPS];
                for (y, x) in (0..TAPS * TAPS).map(|i| (i / TAPS, i % TAPS)) {
                    // A tap outside of the map has no bias.
                    for (ty, tx) in (0..TAPS * TAPS).map(|tap| (tap / TAPS, tap % TAPS)) {
                        if is_inside(y, ty) && is_inside(x, tx) {
                            let of_tap = taps.iter().zip(bias);
                            bias_sums[y][x] +=
                                of_tap.map(|(w, b)| w[ty * TAPS + tx] * b).sum::<f32>();
                        }
                    }
                }
                bias_sums
            })
            .collect();
        Self { pixels, bias_sums }
    }
}

/// Whether a tap is inside the map for a pixel that is the first (0), inner (1) or last (2) one of
/// its line.
fn is_inside(pixel: usize, tap: usize) -> bool {
    let last = TAPS - 1;
    [pixel, tap] != [0, 0] && [pixel, tap] != [last, last]
}

/// `norm(residual + conv(upsample(x)))` for tokens `x [N, h · w, C]`, upsampling `up [C, U, 2, 2]`
/// and `bias [U]`, convolution `weight [O, U, 3, 3]`, to `[N, O, 2h, 2w]`.
pub(crate) fn conv_upsampled(
    x: &FlexTensor,
    height: usize,
    [up, bias]: [&FlexTensor; 2],
    weight: &FlexTensor,
    epilogue: ConvEpilogue,
) -> FlexTensor {
    let [up, bias, weight] = [up, bias, weight].map(to_contiguous);
    let [images, cells, input] = [0, 1, 2].map(|axis| x.layout().shape()[axis]);
    let sizes = UpsampledShape {
        images,
        input,
        output: weight.layout().shape()[0],
        height,
        width: cells / height.max(1),
    };
    // The kernel always adds a residual and has no activation outside of a norm.
    let residual = epilogue.residual.filter(|_| {
        epilogue.activation.is_none() && sizes.is_cheaper(bias.layout().num_elements())
    });
    let Some(residual) = residual else {
        let map = upsample(x, height, &up, &bias);
        return conv(&map, &weight, None, epilogue);
    };
    let residual = to_contiguous(residual);
    let x = Rows::new(x);
    let kernels = Kernels::new(values(&up), values(&bias), values(&weight), sizes);
    let residual = values(&residual);
    let UpsampledShape { output, width, .. } = sizes;
    let (bottom, line) = ((TILE * height).saturating_sub(1), TILE * width);
    let area = TILE * height * line;
    let repeat = (images * output * area / residual.len().max(1)).max(1);
    let out = write_bands_with_norm(
        [images, output, area],
        height.div_ceil(sizes.band()),
        sizes.is_parallel(),
        |band| sizes.rows_of(band)[1] * TILE * line,
        epilogue.norm,
        |image, band, out| {
            let rows = sizes.rows_of(band);
            let residual = &residual[image / repeat * output * area..][..output * area];
            let stride = sizes.stride();
            let len = (rows[1] * stride).next_multiple_of(register_pair());
            let padded_len = input * (rows[1] + 2) * stride + TILE * stride + REGISTER_PAIR_MAX;
            with_scratch(padded_len + TILE * group_size_max() * len, |buffer| {
                let (padded, sums) = buffer.split_at_mut(padded_len);
                sizes.fill(x.values(), x.of_image(image, cells), rows, padded);
                let (left, right) = sums.split_at_mut(group_size_max() * len);
                for (dy, pixels) in kernels.pixels.chunks_exact(TILE).enumerate() {
                    let offsets = [0, 1].map(|dx| sizes.offsets(rows[1], [dy, dx]));
                    let mut channel = 0;
                    for (group, &members) in pixels[0].groups.iter().enumerate() {
                        let halves = [&mut *left, &mut *right].into_iter();
                        for ((sums, packed), offsets) in halves.zip(pixels).zip(&offsets) {
                            let weights = packed.of_group(group, offsets.len());
                            let sums = &mut sums[..members * len];
                            accumulate_taps(padded, (offsets, weights), None, sums, members);
                        }
                        for member in 0..members {
                            let bias_sums = &kernels.bias_sums[channel];
                            for i in 0..rows[1] {
                                let y = TILE * (rows[0] + i) + dy;
                                let bias_sums =
                                    &bias_sums[usize::from(y > 0) + usize::from(y == bottom)];
                                let from = member * len + i * stride;
                                write_line(
                                    [&left[from..][..width], &right[from..][..width]],
                                    &residual[channel * area + y * line..][..line],
                                    *bias_sums,
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
    new_tensor(out, [images, output, TILE * height, line])
}

/// Writes a line of pixels from the left and the right pixels of its tiles.
fn write_line(
    pixels: [&[f32]; TILE],
    residual: &[f32],
    [first, inner, last]: [f32; TAPS],
    line: &mut [f32],
) {
    // Moved into the closure: a borrowed value would be read again for each pixel.
    vectorised({
        let line = &mut *line;
        #[inline(always)]
        move |_| interleave(pixels, residual, inner, line)
    });
    line[0] += first - inner;
    line[line.len() - 1] += last - inner;
}

#[inline(always)]
fn interleave([left, right]: [&[f32]; TILE], residual: &[f32], start: f32, line: &mut [f32]) {
    let (tiles, _) = line.as_chunks_mut::<TILE>();
    let (residual, _) = residual.as_chunks::<TILE>();
    for (((tile, residual), left), right) in tiles.iter_mut().zip(residual).zip(left).zip(right) {
        *tile = [residual[0] + (left + start), residual[1] + (right + start)];
    }
}
