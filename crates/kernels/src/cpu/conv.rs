//! Convolutions of stride 1 with zero padding, forward and backward. Forward: directly
//! (`conv_direct`, or `conv_winograd` for kernels of three), or as a GEMM over im2col rows where a
//! few input rows exceed the L2 cache.

use burn::backend::flex::FlexTensor;

use super::activation::activate_slice;
use super::conv_direct::{self, PackedWeights};
use super::conv_shape::ConvShape;
use super::conv_winograd;
use super::gemm::{MatrixLayout, gemm, gemm_planes};
use super::memory::{IM2COL_VALUES, add_to, new_tensor, to_contiguous, values, with_scratch};
use super::norm::{Norm, write_bands_with_norm};
use super::parallel::{PARALLEL_PRODUCTS, map_indices, threads};
use crate::activation::Activation;

impl ConvShape {
    /// Whether Winograd's algorithm applies.
    fn uses_winograd(&self) -> bool {
        self.kernel == conv_winograd::KERNEL
    }

    /// Scratch values of a band of so many rows without im2col.
    fn scratch_len(&self, rows: usize) -> usize {
        if self.uses_winograd() {
            conv_winograd::scratch_len(*self, rows)
        } else {
            conv_direct::scratch_len(*self, rows)
        }
    }

    /// Whether im2col is not used: the bands are high enough that each weight is used for many
    /// pixels.
    fn is_direct(&self) -> bool {
        self.kernel > 1 && self.scratch_len(self.height.min(DIRECT_ROWS_MIN)) <= SCRATCH_MAX
    }

    /// Rows of a band.
    fn band(&self) -> usize {
        let mut max = self.height.max(1);
        let rows = if self.is_direct() {
            if self.images < threads() {
                max = max.div_ceil(threads());
            }
            // The scratch of a band is linear in its rows, or groups of rows.
            let unit = if self.uses_winograd() {
                conv_winograd::ROWS
            } else {
                1
            };
            max = max.next_multiple_of(unit);
            let (one, two) = (self.scratch_len(unit), self.scratch_len(2 * unit));
            unit + SCRATCH_MAX.saturating_sub(one) / (two - one).max(1) * unit
        } else {
            IM2COL_VALUES / (self.taps() * self.width).max(1)
        };
        rows.clamp(1, max)
    }

    /// First row and number of rows of a band.
    fn rows_of(&self, band: usize) -> (usize, usize) {
        let first = band * self.band();
        (first, self.band().min(self.height - first))
    }

    fn is_parallel(&self) -> bool {
        self.images * self.area() * self.taps() * self.output >= PARALLEL_PRODUCTS
    }
}

/// The algorithm.
enum Algorithm {
    /// A GEMM over im2col rows.
    Im2col,
    /// Directly.
    Direct(PackedWeights),
    /// Winograd's.
    Winograd(conv_winograd::Weights),
}

/// Most scratch values of a band without im2col: 256 KiB.
const SCRATCH_MAX: usize = 1 << 16;
/// Rows that such a band should have at least.
const DIRECT_ROWS_MIN: usize = 8;

/// Writes the im2col matrix of the output rows `first .. first + rows`:
/// `[C · k · k, rows · width]`, zeros outside of the map.
fn im2col(image: &[f32], sizes: ConvShape, first: usize, rows: usize, into: &mut [f32]) {
    let ConvShape {
        height,
        width,
        kernel,
        ..
    } = sizes;
    let pad = kernel / 2;
    let mut lines = into.chunks_exact_mut(rows * width);
    for plane in image.chunks_exact(height * width) {
        for dy in 0..kernel {
            // Output rows whose tap is inside the map.
            let top = pad.saturating_sub(first + dy).min(rows);
            let bottom = (height + pad).saturating_sub(first + dy).clamp(top, rows);
            for dx in 0..kernel {
                let Some(line) = lines.next() else { return };
                line[..top * width].fill(0.0);
                line[bottom * width..].fill(0.0);
                if top == bottom {
                    continue;
                }
                // All rows in one copy. At the end of a row the shift brings in pixels of the next
                // one, which are overwritten with zeros below.
                let into = &mut line[top * width..bottom * width];
                let from = (first + top + dy - pad) * width + dx;
                let skipped = pad.saturating_sub(from).min(into.len());
                let from = (from + skipped - pad).min(plane.len());
                let count = (into.len() - skipped).min(plane.len() - from);
                into[skipped..skipped + count].copy_from_slice(&plane[from..from + count]);
                // Output columns whose tap is inside the map.
                let left = pad.saturating_sub(dx).min(width);
                let right = (width + pad).saturating_sub(dx).clamp(left, width);
                if (left, right) != (0, width) {
                    for row in into.chunks_exact_mut(width) {
                        row[..left].fill(0.0);
                        row[right..].fill(0.0);
                    }
                }
            }
        }
    }
}

/// Calls `f` with the im2col matrix of some rows; see [`im2col`].
fn with_im2col<T>(
    image: &[f32],
    sizes: ConvShape,
    first: usize,
    rows: usize,
    f: impl FnOnce(&[f32]) -> T,
) -> T {
    let len = sizes.taps() * rows * sizes.width;
    with_scratch(len, |buffer| {
        im2col(image, sizes, first, rows, buffer);
        f(buffer)
    })
}

/// The epilogue of a convolution, in this order: `activation(norm(residual + y))`.
#[derive(Clone, Copy, Default)]
pub(crate) struct ConvEpilogue<'a> {
    /// `[M, O, H, W]`, each entry for `N / M` consecutive images.
    pub residual: Option<&'a FlexTensor>,
    /// Applied by the thread that finishes the last band of an image.
    pub norm: Option<&'a Norm>,
    pub activation: Option<Activation>,
}

/// `x [N, C, H, W]`, `weight [O, C, k, k]` with odd `k`, to `[N, O, H, W]`.
pub(crate) fn conv(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
    epilogue: ConvEpilogue,
) -> FlexTensor {
    let sizes = ConvShape::new(x, weight);
    let (x, weight) = (to_contiguous(x), to_contiguous(weight));
    let bias = bias.map(to_contiguous);
    let bias = bias
        .as_ref()
        .map(|bias| &bias.storage::<f32>()[..sizes.output]);
    let residual = epilogue.residual.map(to_contiguous);
    let epilogue = EpilogueValues {
        residual: residual.as_ref().map(values),
        norm: epilogue.norm,
        activation: epilogue.activation,
    };
    let out = run(
        &x.storage::<f32>()[..sizes.images * sizes.input * sizes.area()],
        &weight.storage::<f32>()[..sizes.output * sizes.taps()],
        bias,
        epilogue,
        sizes,
    );
    let ConvShape {
        images,
        output,
        height,
        width,
        ..
    } = sizes;
    new_tensor(out, [images, output, height, width])
}

/// [`ConvEpilogue`] with the values of the residual.
#[derive(Clone, Copy, Default)]
struct EpilogueValues<'a> {
    residual: Option<&'a [f32]>,
    norm: Option<&'a Norm>,
    activation: Option<Activation>,
}

fn run(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    epilogue: EpilogueValues,
    sizes: ConvShape,
) -> Vec<f32> {
    let (area, taps) = (sizes.area(), sizes.taps());
    let bands = sizes.height.div_ceil(sizes.band());
    let algorithm = match (sizes.is_direct(), sizes.uses_winograd()) {
        (false, _) => Algorithm::Im2col,
        (true, true) => Algorithm::Winograd(conv_winograd::Weights::new(weight, sizes.output)),
        (true, false) => Algorithm::Direct(PackedWeights::new(weight, sizes.output, taps)),
    };
    let multiply = |image: &[f32], band: usize, out: &mut [&mut [f32]]| {
        let (first, rows) = sizes.rows_of(band);
        match &algorithm {
            Algorithm::Winograd(weights) => {
                conv_winograd::convolve(image, (weights, bias), sizes, (first, rows), out);
            }
            Algorithm::Direct(packed) => {
                conv_direct::convolve(image, (packed, bias), sizes, (first, rows), out);
            }
            Algorithm::Im2col => {
                let pixels = rows * sizes.width;
                with_im2col(image, sizes, first, rows, |columns| {
                    gemm_planes(
                        out,
                        bias,
                        (weight, MatrixLayout::row_major(sizes.output, taps)),
                        (columns, MatrixLayout::row_major(taps, pixels)),
                    );
                });
            }
        }
    };
    let pixels_of = |band| {
        let (first, rows) = sizes.rows_of(band);
        (first * sizes.width, rows * sizes.width)
    };
    write_bands_with_norm(
        [sizes.images, sizes.output, area],
        bands,
        sizes.is_parallel(),
        |band| pixels_of(band).1,
        epilogue.norm,
        |image_index, band, out| {
            let image = &x[image_index * sizes.input * area..][..sizes.input * area];
            multiply(image, band, out);
            let (first, count) = pixels_of(band);
            for (plane, results) in out.iter_mut().enumerate() {
                // While the band is in cache.
                if let Some(residual) = epilogue.residual {
                    let repeat = sizes.images * sizes.output * area / residual.len().max(1);
                    let map = image_index / repeat.max(1) * sizes.output + plane;
                    add_to(results, &residual[map * area + first..][..count]);
                }
                if let Some(activation) = epilogue.activation {
                    activate_slice(results, activation);
                }
            }
        },
    )
}

/// Gradients of `x`, weight and bias.
pub(crate) fn conv_backward(
    x: &FlexTensor,
    weight: &FlexTensor,
    grad: &FlexTensor,
) -> [FlexTensor; 3] {
    let sizes = ConvShape::new(x, weight);
    let (x, weight, grad) = (to_contiguous(x), to_contiguous(weight), to_contiguous(grad));
    let (area, taps) = (sizes.area(), sizes.taps());
    let values = &x.storage::<f32>()[..sizes.images * sizes.input * area];
    let above = &grad.storage::<f32>()[..sizes.images * sizes.output * area];
    let weights = &weight.storage::<f32>()[..sizes.output * taps];

    // The gradient of the input is a convolution with the kernel rotated by 180° and channels
    // exchanged.
    let k2 = sizes.kernel * sizes.kernel;
    let mut rotated = vec![0.0f32; weights.len()];
    for o in 0..sizes.output {
        for c in 0..sizes.input {
            for t in 0..k2 {
                rotated[(c * sizes.output + o) * k2 + k2 - 1 - t] =
                    weights[(o * sizes.input + c) * k2 + t];
            }
        }
    }
    let back = ConvShape {
        input: sizes.output,
        output: sizes.input,
        ..sizes
    };
    let dx = run(above, &rotated, None, EpilogueValues::default(), back);

    let parts = map_indices(sizes.images, sizes.is_parallel(), |i| {
        let image = &values[i * sizes.input * area..][..sizes.input * area];
        let above = &above[i * sizes.output * area..][..sizes.output * area];
        let mut dweight = vec![0.0f32; sizes.output * taps];
        for band in 0..sizes.height.div_ceil(sizes.band()) {
            let (first, rows) = sizes.rows_of(band);
            let pixels = rows * sizes.width;
            let from = MatrixLayout {
                start: first * sizes.width,
                shape: [sizes.output, pixels],
                strides: [area, 1],
            };
            with_im2col(image, sizes, first, rows, |columns| {
                gemm(
                    (&mut dweight, MatrixLayout::row_major(sizes.output, taps)),
                    true,
                    (above, from),
                    (columns, MatrixLayout::row_major(taps, pixels).transposed()),
                    1.0,
                );
            });
        }
        let dbias: Vec<f32> = above
            .chunks_exact(area)
            .map(|plane| plane.iter().sum())
            .collect();
        (dweight, dbias)
    });
    let mut dweight = vec![0.0f32; sizes.output * taps];
    let mut dbias = vec![0.0f32; sizes.output];
    for (weights, biases) in parts {
        add_to(&mut dweight, &weights);
        add_to(&mut dbias, &biases);
    }
    [
        new_tensor(dx, x.layout().shape().to_vec()),
        new_tensor(dweight, weight.layout().shape().to_vec()),
        new_tensor(dbias, [sizes.output]),
    ]
}
