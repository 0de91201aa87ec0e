//! Convolutions whose stride is their kernel, and their transposes: every cell of a grid is one matrix
//! product with the `k × k` tile of pixels that is its own.

use burn::backend::flex::FlexTensor;
use burn::tensor::Shape;

use super::linear::{Rows, linear};
use super::product::{Panels, Place, product, product_of_planes};
use super::{
    PARALLEL_PRODUCTS, UNFOLDED, add_to, contiguous, each, each_of, in_bands, in_parts, tensor,
    threads, values, with_buffer, zeros,
};
use crate::layout::CellLayout;

/// A grid of `height × width` cells, each with a tile of `kernel × kernel` pixels in `planes` planes.
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

    /// Values of a tile.
    fn taps(&self) -> usize {
        self.planes * self.kernel * self.kernel
    }

    /// Values of an image.
    fn pixels(&self) -> usize {
        self.cells() * self.taps()
    }

    fn is_much(&self) -> bool {
        self.images * self.pixels() * self.channels >= PARALLEL_PRODUCTS
    }

    /// Rows of cells that are computed together: what a cache holds, and a share for every core.
    fn band(&self) -> usize {
        let cached = UNFOLDED / (self.taps() * self.width).max(1);
        let shared = if self.is_much() {
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

    /// Tiles of the rows `first .. first + rows` of an image `[planes, k · height, k · width]`, as
    /// `[taps, rows · width]`.
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

    /// The reverse, into those rows of each plane of a map.
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

    /// Tiles `[rows · width, taps]` and what each plane starts from, into those rows of each plane of a map. A line is
    /// written once, from end to end.
    fn spread(&self, tiles: &[f32], start: &[f32], into: &mut [&mut [f32]]) {
        let (k, taps) = (self.kernel, self.taps());
        for (plane, (lines, start)) in into.iter_mut().zip(start).enumerate() {
            for (i, line) in lines.chunks_exact_mut(k * self.width).enumerate() {
                let first = i / k * self.width * taps + (plane * k + i % k) * k;
                let tiles = tiles[first..].chunks(taps);
                match k {
                    2 => spread_line::<2>(line, tiles, *start),
                    4 => spread_line::<4>(line, tiles, *start),
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

    /// The tiles of all images `[N, C, k·h, k·w]`, a row for each cell: `[N, cells, taps]`.
    fn tiles(&self, x: &FlexTensor) -> FlexTensor {
        let shape = [self.images, self.cells(), self.taps()];
        if self.kernel == 1 {
            let planes = x.reshape(Shape::from([self.images, self.planes, self.cells()]));
            return planes.permute(&[0, 2, 1]);
        }
        let x = contiguous(x);
        let x = values(&x);
        let (k, line) = (self.kernel, self.kernel * self.width);
        let mut tiles = zeros(x.len());
        in_parts(&mut tiles, self.width * self.taps(), |first, part| {
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
        tensor(tiles, shape)
    }

    /// `f` of the tiles of some rows, `[taps, rows · width]`.
    fn with_tiles<T>(
        &self,
        image: &[f32],
        (first, rows): (usize, usize),
        f: impl FnOnce(&[f32], Place) -> T,
    ) -> T {
        let (taps, count) = (self.taps(), rows * self.width);
        if self.kernel == 1 {
            // The image is its own tiles.
            let at = Place {
                start: first * self.width,
                shape: [taps, count],
                step: [self.cells(), 1],
            };
            return f(image, at);
        }
        with_buffer(taps * count, |tiles| {
            self.gather(image, first, rows, tiles);
            f(tiles, Place::rows(taps, count))
        })
    }
}

/// The first `K` values of each tile and what they start from, to a line: the kernels of the released model.
fn spread_line<'a, const K: usize>(
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

/// The matrix `[channels, count]` of some cells out of `all`, from cell `first` on.
fn cells_at(layout: CellLayout, channels: usize, all: usize, first: usize, count: usize) -> Place {
    match layout {
        CellLayout::Map => Place {
            start: first,
            shape: [channels, count],
            step: [all, 1],
        },
        CellLayout::Tokens => Place {
            start: first * channels,
            shape: [channels, count],
            step: [1, channels],
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

/// `x [N, C, k·h, k·w]`, `weight [O, C, k, k]` to cells of `O` channels.
pub(crate) fn patches(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
    layout: CellLayout,
) -> FlexTensor {
    let grid = grid_of(x, weight);
    let weight = contiguous(weight);
    match layout {
        CellLayout::Tokens => {
            let weight = weight.reshape(Shape::from([grid.channels, grid.taps()]));
            linear(&grid.tiles(x), &weight, bias, None)
        }
        CellLayout::Map => patch_map(grid, x, values(&weight), bias),
    }
}

fn patch_map(grid: Grid, x: &FlexTensor, weight: &[f32], bias: Option<&FlexTensor>) -> FlexTensor {
    let x = contiguous(x);
    let bias = bias.map(contiguous);
    let (x, bias) = (values(&x), bias.as_ref().map(values));
    let out = in_bands(
        [grid.images, grid.channels, grid.cells()],
        grid.bands(),
        grid.is_much(),
        |band| grid.rows_of(band).1 * grid.width,
        |image, band, out| {
            let image = &x[image * grid.pixels()..][..grid.pixels()];
            let weight = (weight, Place::rows(grid.channels, grid.taps()));
            grid.with_tiles(image, grid.rows_of(band), |tiles, at| {
                product_of_planes(out, bias, weight, (tiles, at));
            });
        },
    );
    tensor(out, [grid.images, grid.channels, grid.height, grid.width])
}

/// Gradients of x, weight and bias, in that order.
pub(crate) fn patches_backward(
    x: &FlexTensor,
    weight: &FlexTensor,
    grad: &FlexTensor,
    layout: CellLayout,
) -> [FlexTensor; 3] {
    let grid = grid_of(x, weight);
    let shapes = [x, weight].map(|t| t.layout().shape().to_vec());
    let (x, weight, grad) = (contiguous(x), contiguous(weight), contiguous(grad));
    let (x, weight, above) = (values(&x), values(&weight), values(&grad));
    let (taps, channels) = (grid.taps(), grid.channels);
    let mut dx = zeros(grid.images * grid.pixels());
    let images = dx.chunks_exact_mut(grid.pixels().max(1)).enumerate();
    let parts = each_of(images.collect(), grid.is_much(), |(i, dx)| {
        let image = &x[i * grid.pixels()..][..grid.pixels()];
        let above = &above[i * channels * grid.cells()..][..channels * grid.cells()];
        let mut dweight = vec![0.0f32; channels * taps];
        let plane = grid.cells() * grid.kernel * grid.kernel;
        for band in 0..grid.bands() {
            let rows = grid.rows_of(band);
            let count = rows.1 * grid.width;
            let from = cells_at(layout, channels, grid.cells(), rows.0 * grid.width, count);
            grid.with_tiles(image, rows, |tiles, at| {
                product(
                    (&mut dweight, Place::rows(channels, taps)),
                    true,
                    (above, from),
                    (tiles, at.transposed()),
                    1.0,
                );
            });
            with_buffer(taps * count, |tiles| {
                product(
                    (tiles, Place::rows(taps, count)),
                    false,
                    (weight, Place::rows(channels, taps).transposed()),
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
        tensor(dx, x),
        tensor(dweight, weight),
        tensor(dbias, [channels]),
    ]
}

/// Sum of each channel over the cells.
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

/// Tokens `x [N, h·w, C]` of a grid of the given height and `weight [C, O, k, k]` to `[N, O, k·h, k·w]`.
pub(crate) fn upsample(
    x: &FlexTensor,
    height: usize,
    weight: &FlexTensor,
    bias: &FlexTensor,
) -> FlexTensor {
    let grid = grid_above(x, height, weight);
    let x = Rows::new(x);
    let (weight, bias) = (contiguous(weight), contiguous(bias));
    let (weight, bias) = (values(&weight), values(&bias));
    let taps = grid.taps();
    let tile_len = grid.kernel * grid.kernel;
    let at = Place::rows(grid.channels, taps);
    let out = Panels::with(weight, at, grid.is_much(), |weight| {
        in_bands(
            [grid.images, grid.planes, grid.cells() * tile_len],
            grid.bands(),
            grid.is_much(),
            |band| grid.rows_of(band).1 * grid.width * tile_len,
            |image, band, out| {
                let (first, rows) = grid.rows_of(band);
                let count = rows * grid.width;
                let tokens = x.of_image(image, grid.cells());
                let tokens = tokens.cut(first * grid.width, count);
                with_buffer(count * taps, |tiles| {
                    let into = Place::rows(count, taps);
                    weight.product((&mut *tiles, into), false, (x.values(), tokens), 1.0);
                    grid.spread(tiles, bias, out);
                });
            },
        )
    });
    tensor(
        out,
        [
            grid.images,
            grid.planes,
            grid.kernel * grid.height,
            grid.kernel * grid.width,
        ],
    )
}

/// The grid of an [`upsample`].
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

/// Gradients of x, weight and bias, in that order.
pub(crate) fn upsample_backward(
    x: &FlexTensor,
    height: usize,
    weight: &FlexTensor,
    grad: &FlexTensor,
) -> [FlexTensor; 3] {
    let grid = grid_above(x, height, weight);
    let shapes = [x, weight].map(|t| t.layout().shape().to_vec());
    let x = Rows::new(x);
    let (weight, grad) = (contiguous(weight), contiguous(grad));
    let (weight, above) = (values(&weight), values(&grad));
    let (taps, channels) = (grid.taps(), grid.channels);
    let parts = each(grid.images, grid.is_much(), |i| {
        let image = &above[i * grid.pixels()..][..grid.pixels()];
        let tokens = x.of_image(i, grid.cells());
        let mut dweight = vec![0.0f32; channels * taps];
        let mut dx = vec![0.0f32; grid.cells() * channels];
        for band in 0..grid.bands() {
            let rows = grid.rows_of(band);
            let (first, count) = (rows.0 * grid.width, rows.1 * grid.width);
            grid.with_tiles(image, rows, |tiles, at| {
                product(
                    (
                        &mut dx,
                        Place::rows(grid.cells(), channels).cut(first, count),
                    ),
                    false,
                    (tiles, at.transposed()),
                    (weight, Place::rows(channels, taps).transposed()),
                    1.0,
                );
                product(
                    (&mut dweight, Place::rows(channels, taps)),
                    true,
                    (x.values(), tokens.cut(first, count).transposed()),
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
        tensor(dx, x),
        tensor(dweight, weight),
        tensor(dbias, [grid.planes]),
    ]
}
