//! Convolutions whose stride is their kernel, and their transposes: each cell of a grid is one
//! product with its own `k × k` tile of pixels.

use burn::backend::flex::FlexTensor;
use burn::tensor::Shape;

use super::bands::write_bands;
use super::gemm::{MatrixLayout, PackedPanels, gemm, gemm_planes};
use super::linear::{Rows, linear};
use super::memory::{
    IM2COL_VALUES, add_to, new_tensor, to_contiguous, values, with_scratch, zeros,
};
use super::parallel::{PARALLEL_PRODUCTS, for_each_part, map_indices, map_jobs, threads};
use crate::layout::CellLayout;

/// A grid of `height × width` cells, each with a tile of `kernel × kernel` pixels in `planes`
/// planes.
#[derive(Clone, Copy)]
struct Grid {
    images: usize,
    planes: usize,
    height: usize,
    width: usize,
    kernel: usize,
    /// Channels of a cell.
    channels: usize,
}

impl Grid {
    /// Cells.
    fn cells(&self) -> usize {
        self.height * self.width
    }

    /// Values of a tile in all planes.
    fn taps(&self) -> usize {
        self.planes * self.kernel * self.kernel
    }

    /// Values of an image.
    fn pixels(&self) -> usize {
        self.cells() * self.taps()
    }

    fn is_parallel(&self) -> bool {
        self.images * self.pixels() * self.channels >= PARALLEL_PRODUCTS
    }

    /// Rows of cells of a band: their tiles fit the cache, and every thread gets a band.
    fn band(&self) -> usize {
        let cached = IM2COL_VALUES / (self.taps() * self.width).max(1);
        let shared = if self.is_parallel() {
            self.height
                .div_ceil(threads().div_ceil(self.images.max(1)).max(1))
        } else {
            self.height
        };
        cached.min(shared).clamp(1, self.height.max(1))
    }

    fn bands(&self) -> usize {
        self.height.div_ceil(self.band())
    }

    /// First row and number of rows of a band.
    fn rows_of(&self, band: usize) -> (usize, usize) {
        let first = band * self.band();
        (first, self.band().min(self.height - first))
    }

    /// Gathers the tiles of the rows `first .. first + rows` of an image
    /// `[planes, k · height, k · width]` to `[taps, rows · width]`.
    fn gather(&self, image: &[f32], first: usize, rows: usize, into: &mut [f32]) {
        let (k, width) = (self.kernel, self.width);
        let mut lines = into.chunks_exact_mut(width);
        for plane in image.chunks_exact(self.cells() * k * k) {
            for (dy, dx) in (0..k * k).map(|tap| (tap / k, tap % k)) {
                for (row, line) in (first..first + rows).zip(&mut lines) {
                    let from = plane[(row * k + dy) * k * width + dx..].iter().step_by(k);
                    line.iter_mut()
                        .zip(from)
                        .for_each(|(to, value)| *to = *value);
                }
            }
        }
    }

    /// Scatters tiles `[taps, rows · width]` to those rows of each plane of a map.
    fn scatter(&self, tiles: &[f32], into: &mut [&mut [f32]]) {
        let (k, width) = (self.kernel, self.width);
        let tap_len = tiles.len() / (self.planes * k * k).max(1);
        let tiles = tiles.chunks_exact((k * k * tap_len).max(1));
        for (lines, taps) in into.iter_mut().zip(tiles) {
            for (i, line) in lines.chunks_exact_mut(k * width).enumerate() {
                let (row, dy) = (i / k, i % k);
                for dx in 0..k {
                    let tap = &taps[(dy * k + dx) * tap_len + row * width..][..width];
                    for (to, value) in line[dx..].iter_mut().step_by(k).zip(tap) {
                        *to = *value;
                    }
                }
            }
        }
    }

    /// Writes tiles `[rows · width, taps]` plus a start value per plane to those rows of each plane
    /// of a map, line by line.
    fn write_tiles(&self, tiles: &[f32], start: &[f32], into: &mut [&mut [f32]]) {
        let (k, taps) = (self.kernel, self.taps());
        for (plane, (lines, start)) in into.iter_mut().zip(start).enumerate() {
            for (i, line) in lines.chunks_exact_mut(k * self.width).enumerate() {
                let first = i / k * self.width * taps + (plane * k + i % k) * k;
                let tiles = tiles[first..].chunks(taps);
                match k {
                    2 => write_tile_line::<2>(line, tiles, *start),
                    4 => write_tile_line::<4>(line, tiles, *start),
                    _ => {
                        for (pixels, tile) in line.chunks_exact_mut(k).zip(tiles) {
                            for (to, value) in pixels.iter_mut().zip(tile) {
                                *to = value + start;
                            }
                        }
                    }
                }
            }
        }
    }

    /// The tiles of all images `[N, C, k · h, k · w]` as rows: `[N, cells, taps]`.
    fn tiles(&self, x: &FlexTensor) -> FlexTensor {
        let shape = [self.images, self.cells(), self.taps()];
        if self.kernel == 1 {
            let planes = x.reshape(Shape::from([self.images, self.planes, self.cells()]));
            return planes.permute(&[0, 2, 1]);
        }
        let x = to_contiguous(x);
        let x = values(&x);
        let (k, line) = (self.kernel, self.kernel * self.width);
        let mut tiles = zeros(x.len());
        for_each_part(&mut tiles, self.width * self.taps(), |first, part| {
            let first = first / (self.width * self.taps());
            for (row, cells) in part.chunks_exact_mut(self.width * self.taps()).enumerate() {
                let (image, row) = ((first + row) / self.height, (first + row) % self.height);
                for (of_plane, dy) in (0..self.planes * k).map(|i| (i / k, i % k)) {
                    let start = ((image * self.planes + of_plane) * self.height + row) * k + dy;
                    let pixels = x[start * line..][..line].chunks_exact(k);
                    let into = cells.chunks_exact_mut(self.taps());
                    for (cell, pixels) in into.zip(pixels) {
                        cell[(of_plane * k + dy) * k..][..k].copy_from_slice(pixels);
                    }
                }
            }
        });
        new_tensor(tiles, shape)
    }

    /// Calls `f` with the tiles of some rows, `[taps, rows · width]`.
    fn with_tiles<T>(
        &self,
        image: &[f32],
        (first, rows): (usize, usize),
        f: impl FnOnce(&[f32], MatrixLayout) -> T,
    ) -> T {
        let (taps, count) = (self.taps(), rows * self.width);
        if self.kernel == 1 {
            // The image itself has this layout.
            let at = MatrixLayout {
                start: first * self.width,
                shape: [taps, count],
                strides: [self.cells(), 1],
            };
            return f(image, at);
        }
        with_scratch(taps * count, |tiles| {
            self.gather(image, first, rows, tiles);
            f(tiles, MatrixLayout::row_major(taps, count))
        })
    }
}

/// Writes the first `K` values of each tile plus a start value to a line, for the kernel sizes of
/// the released models.
fn write_tile_line<'a, const K: usize>(
    line: &mut [f32],
    tiles: impl Iterator<Item = &'a [f32]>,
    start: f32,
) {
    let (cells, _) = line.as_chunks_mut::<K>();
    for (cell, tile) in cells.iter_mut().zip(tiles) {
        let tile = &tile[..K];
        for i in 0..K {
            cell[i] = tile[i] + start;
        }
    }
}

/// The layout `[channels, count]` of cells `first .. first + count` out of `all`.
fn cells_at(
    layout: CellLayout,
    channels: usize,
    all: usize,
    first: usize,
    count: usize,
) -> MatrixLayout {
    match layout {
        CellLayout::Map => MatrixLayout {
            start: first,
            shape: [channels, count],
            strides: [all, 1],
        },
        CellLayout::Tokens => MatrixLayout {
            start: first * channels,
            shape: [channels, count],
            strides: [1, channels],
        },
    }
}

fn grid_of(x: &FlexTensor, weight: &FlexTensor) -> Grid {
    let (x, weight) = (x.layout().shape(), weight.layout().shape());
    let kernel = weight[2];
    Grid {
        images: x[0],
        planes: x[1],
        height: x[2] / kernel,
        width: x[3] / kernel,
        kernel,
        channels: weight[0],
    }
}

/// `x [N, C, k · h, k · w]`, `weight [O, C, k, k]` to `h × w` cells of `O` channels.
pub(crate) fn patches(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
    layout: CellLayout,
) -> FlexTensor {
    let grid = grid_of(x, weight);
    let weight = to_contiguous(weight);
    match layout {
        CellLayout::Tokens => {
            let weight = weight.reshape(Shape::from([grid.channels, grid.taps()]));
            linear(&grid.tiles(x), &weight, bias, None)
        }
        CellLayout::Map => patch_map(grid, x, values(&weight), bias),
    }
}

fn patch_map(grid: Grid, x: &FlexTensor, weight: &[f32], bias: Option<&FlexTensor>) -> FlexTensor {
    let x = to_contiguous(x);
    let bias = bias.map(to_contiguous);
    let (x, bias) = (values(&x), bias.as_ref().map(values));
    let out = write_bands(
        [grid.images, grid.channels, grid.cells()],
        grid.bands(),
        grid.is_parallel(),
        |band| grid.rows_of(band).1 * grid.width,
        |image, band, out| {
            let image = &x[image * grid.pixels()..][..grid.pixels()];
            let weight = (weight, MatrixLayout::row_major(grid.channels, grid.taps()));
            grid.with_tiles(image, grid.rows_of(band), |tiles, at| {
                gemm_planes(out, bias, weight, (tiles, at));
            });
        },
    );
    new_tensor(out, [grid.images, grid.channels, grid.height, grid.width])
}

/// Gradients of `x`, weight and bias.
pub(crate) fn patches_backward(
    x: &FlexTensor,
    weight: &FlexTensor,
    grad: &FlexTensor,
    layout: CellLayout,
) -> [FlexTensor; 3] {
    let grid = grid_of(x, weight);
    let shapes = [x, weight].map(|t| t.layout().shape().to_vec());
    let (x, weight, grad) = (to_contiguous(x), to_contiguous(weight), to_contiguous(grad));
    let (x, weight, above) = (values(&x), values(&weight), values(&grad));
    let (taps, channels) = (grid.taps(), grid.channels);
    let mut dx = zeros(grid.images * grid.pixels());
    let images = dx.chunks_exact_mut(grid.pixels().max(1)).enumerate();
    let parts = map_jobs(images.collect(), grid.is_parallel(), |(i, dx)| {
        let image = &x[i * grid.pixels()..][..grid.pixels()];
        let above = &above[i * channels * grid.cells()..][..channels * grid.cells()];
        let mut dweight = vec![0.0f32; channels * taps];
        let plane = grid.cells() * grid.kernel * grid.kernel;
        for band in 0..grid.bands() {
            let rows = grid.rows_of(band);
            let count = rows.1 * grid.width;
            let from = cells_at(layout, channels, grid.cells(), rows.0 * grid.width, count);
            grid.with_tiles(image, rows, |tiles, at| {
                gemm(
                    (&mut dweight, MatrixLayout::row_major(channels, taps)),
                    true,
                    (above, from),
                    (tiles, at.transposed()),
                    1.0,
                );
            });
            with_scratch(taps * count, |tiles| {
                gemm(
                    (tiles, MatrixLayout::row_major(taps, count)),
                    false,
                    (weight, MatrixLayout::row_major(channels, taps).transposed()),
                    (above, from),
                    1.0,
                );
                let pixels = grid.kernel * grid.kernel;
                let mut parts: Vec<&mut [f32]> = dx
                    .chunks_exact_mut(plane)
                    .map(|plane| &mut plane[rows.0 * grid.width * pixels..][..count * pixels])
                    .collect();
                grid.scatter(tiles, &mut parts);
            });
        }
        (dweight, sums(above, channels, layout))
    });
    let mut dweight = vec![0.0f32; channels * taps];
    let mut dbias = vec![0.0f32; channels];
    for (weights, biases) in parts {
        add_to(&mut dweight, &weights);
        add_to(&mut dbias, &biases);
    }
    let [x, weight] = shapes;
    [
        new_tensor(dx, x),
        new_tensor(dweight, weight),
        new_tensor(dbias, [channels]),
    ]
}

/// The sum of each channel over the cells.
fn sums(values: &[f32], channels: usize, layout: CellLayout) -> Vec<f32> {
    match layout {
        CellLayout::Map => values
            .chunks_exact((values.len() / channels.max(1)).max(1))
            .map(|plane| plane.iter().sum())
            .collect(),
        CellLayout::Tokens => {
            let mut sums = vec![0.0f32; channels];
            for token in values.chunks_exact(channels.max(1)) {
                add_to(&mut sums, token);
            }
            sums
        }
    }
}

/// Tokens `x [N, h · w, C]` of a grid of the given height, `weight [C, O, k, k]`, to
/// `[N, O, k · h, k · w]`.
pub(crate) fn upsample(
    x: &FlexTensor,
    height: usize,
    weight: &FlexTensor,
    bias: &FlexTensor,
) -> FlexTensor {
    let grid = grid_above(x, height, weight);
    let x = Rows::new(x);
    let (weight, bias) = (to_contiguous(weight), to_contiguous(bias));
    let (weight, bias) = (values(&weight), values(&bias));
    let taps = grid.taps();
    let tile_len = grid.kernel * grid.kernel;
    let at = MatrixLayout::row_major(grid.channels, taps);
    let out = PackedPanels::with(weight, at, grid.is_parallel(), |weight| {
        write_bands(
            [grid.images, grid.planes, grid.cells() * tile_len],
            grid.bands(),
            grid.is_parallel(),
            |band| grid.rows_of(band).1 * grid.width * tile_len,
            |image, band, out| {
                let (first, rows) = grid.rows_of(band);
                let count = rows * grid.width;
                let tokens = x.of_image(image, grid.cells());
                let tokens = tokens.row_range(first * grid.width, count);
                with_scratch(count * taps, |tiles| {
                    let into = MatrixLayout::row_major(count, taps);
                    weight.gemm((&mut *tiles, into), false, (x.values(), tokens), 1.0);
                    grid.write_tiles(tiles, bias, out);
                });
            },
        )
    });
    new_tensor(
        out,
        [
            grid.images,
            grid.planes,
            grid.kernel * grid.height,
            grid.kernel * grid.width,
        ],
    )
}

/// The grid of [`upsample`].
fn grid_above(x: &FlexTensor, height: usize, weight: &FlexTensor) -> Grid {
    let (x, weight) = (x.layout().shape(), weight.layout().shape());
    Grid {
        images: x[0],
        planes: weight[1],
        height,
        width: x[1] / height.max(1),
        kernel: weight[2],
        channels: x[2],
    }
}

/// Gradients of `x`, weight and bias.
pub(crate) fn upsample_backward(
    x: &FlexTensor,
    height: usize,
    weight: &FlexTensor,
    grad: &FlexTensor,
) -> [FlexTensor; 3] {
    let grid = grid_above(x, height, weight);
    let shapes = [x, weight].map(|t| t.layout().shape().to_vec());
    let x = Rows::new(x);
    let (weight, grad) = (to_contiguous(weight), to_contiguous(grad));
    let (weight, above) = (values(&weight), values(&grad));
    let (taps, channels) = (grid.taps(), grid.channels);
    let parts = map_indices(grid.images, grid.is_parallel(), |i| {
        let image = &above[i * grid.pixels()..][..grid.pixels()];
        let tokens = x.of_image(i, grid.cells());
        let mut dweight = vec![0.0f32; channels * taps];
        let mut dx = vec![0.0f32; grid.cells() * channels];
        for band in 0..grid.bands() {
            let rows = grid.rows_of(band);
            let (first, count) = (rows.0 * grid.width, rows.1 * grid.width);
            grid.with_tiles(image, rows, |tiles, at| {
                gemm(
                    (
                        &mut dx,
                        MatrixLayout::row_major(grid.cells(), channels).row_range(first, count),
                    ),
                    false,
                    (tiles, at.transposed()),
                    (weight, MatrixLayout::row_major(channels, taps).transposed()),
                    1.0,
                );
                gemm(
                    (&mut dweight, MatrixLayout::row_major(channels, taps)),
                    true,
                    (x.values(), tokens.row_range(first, count).transposed()),
                    (tiles, at.transposed()),
                    1.0,
                );
            });
        }
        (dx, dweight, sums(image, grid.planes, CellLayout::Map))
    });
    let mut dx = Vec::with_capacity(grid.images * grid.cells() * channels);
    let mut dweight = vec![0.0f32; channels * taps];
    let mut dbias = vec![0.0f32; grid.planes];
    for (x, weights, biases) in parts {
        dx.extend_from_slice(&x);
        add_to(&mut dweight, &weights);
        add_to(&mut dbias, &biases);
    }
    let [x, weight] = shapes;
    [
        new_tensor(dx, x),
        new_tensor(dweight, weight),
        new_tensor(dbias, [grid.planes]),
    ]
}
