//! Convolution of stride 1 whose output has its input's size: directly (see `direct`), or as matrix products
//! over unfolded rows where a few rows of its input are more than a core's second cache holds, and backwards.

use burn::backend::flex::FlexTensor;

use super::activation::activate_slice;
use super::direct::{self, Packed};
use super::norm::{Norm, in_bands_normed};
use super::product::{Place, product, product_of_planes};
use super::winograd;
use super::{
    PARALLEL_PRODUCTS, UNFOLDED, add_to, contiguous, each, tensor, threads, values, with_buffer,
};
use crate::activation::Activation;

/// The sizes of one convolution.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    images: usize,
    pub input: usize,
    output: usize,
    pub height: usize,
    pub width: usize,
    pub kernel: usize,
}

impl Sizes {
    fn new(x: &FlexTensor, weight: &FlexTensor) -> Self {
        let (x, weight) = (x.layout().shape(), weight.layout().shape());
        Self {
            images: x[0],
            input: x[1],
            output: weight[0],
            height: x[2],
            width: x[3],
            kernel: weight[2],
        }
    }

    /// Pixels of a map.
    fn area(&self) -> usize {
        self.height * self.width
    }

    /// Values that one output pixel is computed from.
    pub fn taps(&self) -> usize {
        self.input * self.kernel * self.kernel
    }

    /// Whether fewer products do where the output is computed directly.
    fn has_fewer(&self) -> bool {
        self.kernel == winograd::KERNEL
    }

    /// What a band of so many rows takes where it is computed directly.
    fn room(&self, rows: usize) -> usize {
        if self.has_fewer() {
            winograd::room(*self, rows)
        } else {
            direct::room(*self, rows)
        }
    }

    /// Whether the output is computed directly: not where a band would be so narrow that each weight is read
    /// for a few pixels only.
    fn is_direct(&self) -> bool {
        self.kernel > 1 && self.room(self.height.min(DIRECT_ROWS_MIN)) <= DIRECT_ROOM
    }

    /// Rows that are unfolded, or convolved directly, together.
    fn band(&self) -> usize {
        let mut most = self.height.max(1);
        let rows = if self.is_direct() {
            if self.images < threads() {
                most = most.div_ceil(threads());
            }
            // What a band takes grows evenly with its rows, or groups of them.
            let unit = if self.has_fewer() { winograd::ROWS } else { 1 };
            most = most.next_multiple_of(unit);
            let (one, two) = (self.room(unit), self.room(2 * unit));
            unit + DIRECT_ROOM.saturating_sub(one) / (two - one).max(1) * unit
        } else {
            UNFOLDED / (self.taps() * self.width).max(1)
        };
        rows.clamp(1, most)
    }

    /// First row and number of rows of a band.
    fn rows_of(&self, band: usize) -> (usize, usize) {
        let first = band * self.band();
        (first, self.band().min(self.height - first))
    }

    fn is_much(&self) -> bool {
        self.images * self.area() * self.taps() * self.output >= PARALLEL_PRODUCTS
    }
}

/// How the output is computed.
enum Way {
    /// As a matrix product over unfolded rows.
    Unfolded,
    /// Directly.
    Direct(Packed),
    /// Directly, with fewer products.
    Fewer(winograd::Weights),
}

/// Values that a band takes where the output is computed directly: a quarter of a megabyte.
const DIRECT_ROOM: usize = 1 << 16;
/// Rows that such a band should have.
const DIRECT_ROWS_MIN: usize = 8;

/// Writes what the rows `first .. first + rows` of the output see: `[C·k·k, rows · width]`, zeros
/// outside the map.
fn unfold(image: &[f32], sizes: Sizes, first: usize, rows: usize, into: &mut [f32]) {
    let Sizes {
        height,
        width,
        kernel,
        ..
    } = sizes;
    let pad = kernel / 2;
    let mut lines = into.chunks_exact_mut(rows * width);
    for plane in image.chunks_exact(height * width) {
        for dy in 0..kernel {
            // Rows of the output whose tap lies inside the map.
            let top = pad.saturating_sub(first + dy).min(rows);
            let bottom = (height + pad).saturating_sub(first + dy).clamp(top, rows);
            for dx in 0..kernel {
                let Some(line) = lines.next() else { return };
                line[..top * width].fill(0.0);
                line[bottom * width..].fill(0.0);
                if top == bottom {
                    continue;
                }
                // All rows in one go: where a row ends, the shift brings in a neighbour's pixels, which the
                // zeros around the map then cover.
                let into = &mut line[top * width..bottom * width];
                let from = (first + top + dy - pad) * width + dx;
                let skipped = pad.saturating_sub(from).min(into.len());
                let from = (from + skipped - pad).min(plane.len());
                let count = (into.len() - skipped).min(plane.len() - from);
                into[skipped..skipped + count].copy_from_slice(&plane[from..from + count]);
                // Columns of the output whose tap lies inside the map.
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

/// `f` of what the rows `first .. first + rows` see, see [`unfold`].
fn with_unfolded<T>(
    image: &[f32],
    sizes: Sizes,
    first: usize,
    rows: usize,
    f: impl FnOnce(&[f32]) -> T,
) -> T {
    let len = sizes.taps() * rows * sizes.width;
    with_buffer(len, |buffer| {
        unfold(image, sizes, first, rows, buffer);
        f(buffer)
    })
}

/// The epilogue of a convolution, in this order: `activation(norm(residual + y))`.
#[derive(Clone, Copy, Default)]
pub(crate) struct ConvEpilogue<'a> {
    /// `[M, O, H, W]`, each entry for `N / M` consecutive images.
    pub residual: Option<&'a FlexTensor>,
    /// Computed by the core that finishes an image.
    pub norm: Option<&'a Norm>,
    pub activation: Option<Activation>,
}

/// `x [N, C, H, W]`, `weight [O, C, k, k]` with odd `k`, to `[N, O, H, W]`, with zero padding.
pub(crate) fn conv(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
    epilogue: ConvEpilogue,
) -> FlexTensor {
    let sizes = Sizes::new(x, weight);
    let (x, weight) = (contiguous(x), contiguous(weight));
    let bias = bias.map(contiguous);
    let bias = bias
        .as_ref()
        .map(|bias| &bias.storage::<f32>()[..sizes.output]);
    let residual = epilogue.residual.map(contiguous);
    let finish = Finish {
        residual: residual.as_ref().map(values),
        norm: epilogue.norm,
        activation: epilogue.activation,
    };
    let out = run(
        &x.storage::<f32>()[..sizes.images * sizes.input * sizes.area()],
        &weight.storage::<f32>()[..sizes.output * sizes.taps()],
        bias,
        finish,
        sizes,
    );
    let Sizes {
        images,
        output,
        height,
        width,
        ..
    } = sizes;
    tensor(out, [images, output, height, width])
}

/// [`ConvEpilogue`] over values.
#[derive(Clone, Copy, Default)]
struct Finish<'a> {
    residual: Option<&'a [f32]>,
    norm: Option<&'a Norm>,
    activation: Option<Activation>,
}

fn run(x: &[f32], weight: &[f32], bias: Option<&[f32]>, finish: Finish, sizes: Sizes) -> Vec<f32> {
    let (area, taps) = (sizes.area(), sizes.taps());
    let bands = sizes.height.div_ceil(sizes.band());
    let way = match (sizes.is_direct(), sizes.has_fewer()) {
        (false, _) => Way::Unfolded,
        (true, true) => Way::Fewer(winograd::Weights::new(weight, sizes.output)),
        (true, false) => Way::Direct(Packed::new(weight, sizes.output, taps)),
    };
    let multiply = |image: &[f32], band: usize, out: &mut [&mut [f32]]| {
        let (first, rows) = sizes.rows_of(band);
        match &way {
            Way::Fewer(weights) => {
                winograd::convolve(image, (weights, bias), sizes, (first, rows), out);
            }
            Way::Direct(packed) => {
                direct::convolve(image, (packed, bias), sizes, (first, rows), out);
            }
            Way::Unfolded => {
                let pixels = rows * sizes.width;
                with_unfolded(image, sizes, first, rows, |unfolded| {
                    product_of_planes(
                        out,
                        bias,
                        (weight, Place::rows(sizes.output, taps)),
                        (unfolded, Place::rows(taps, pixels)),
                    );
                });
            }
        }
    };
    let pixels_of = |band| {
        let (first, rows) = sizes.rows_of(band);
        (first * sizes.width, rows * sizes.width)
    };
    in_bands_normed(
        [sizes.images, sizes.output, area],
        bands,
        sizes.is_much(),
        |band| pixels_of(band).1,
        finish.norm,
        |image_index, band, out| {
            let image = &x[image_index * sizes.input * area..][..sizes.input * area];
            multiply(image, band, out);
            let (first, count) = pixels_of(band);
            for (plane, results) in out.iter_mut().enumerate() {
                // While the band is in a near cache.
                if let Some(residual) = finish.residual {
                    let repeat = sizes.images * sizes.output * area / residual.len().max(1);
                    let map = image_index / repeat.max(1) * sizes.output + plane;
                    add_to(results, &residual[map * area + first..][..count]);
                }
                if let Some(activation) = finish.activation {
                    activate_slice(results, activation);
                }
            }
        },
    )
}

/// Gradients of x, weight and bias, in that order.
pub(crate) fn conv_backward(
    x: &FlexTensor,
    weight: &FlexTensor,
    grad: &FlexTensor,
) -> [FlexTensor; 3] {
    let sizes = Sizes::new(x, weight);
    let (x, weight, grad) = (contiguous(x), contiguous(weight), contiguous(grad));
    let (area, taps) = (sizes.area(), sizes.taps());
    let values = &x.storage::<f32>()[..sizes.images * sizes.input * area];
    let above = &grad.storage::<f32>()[..sizes.images * sizes.output * area];
    let weights = &weight.storage::<f32>()[..sizes.output * taps];

    // The input's gradient is the convolution of the output's with the turned kernel.
    let k2 = sizes.kernel * sizes.kernel;
    let mut turned = vec![0.0f32; weights.len()];
    for o in 0..sizes.output {
        for c in 0..sizes.input {
            for t in 0..k2 {
                turned[(c * sizes.output + o) * k2 + k2 - 1 - t] =
                    weights[(o * sizes.input + c) * k2 + t];
            }
        }
    }
    let back = Sizes {
        input: sizes.output,
        output: sizes.input,
        ..sizes
    };
    let dx = run(above, &turned, None, Finish::default(), back);

    let parts = each(sizes.images, sizes.is_much(), |i| {
        let image = &values[i * sizes.input * area..][..sizes.input * area];
        let above = &above[i * sizes.output * area..][..sizes.output * area];
        let mut dweight = vec![0.0f32; sizes.output * taps];
        for band in 0..sizes.height.div_ceil(sizes.band()) {
            let (first, rows) = sizes.rows_of(band);
            let pixels = rows * sizes.width;
            let from = Place {
                start: first * sizes.width,
                shape: [sizes.output, pixels],
                step: [area, 1],
            };
            with_unfolded(image, sizes, first, rows, |unfolded| {
                product(
                    (&mut dweight, Place::rows(sizes.output, taps)),
                    true,
                    (above, from),
                    (unfolded, Place::rows(taps, pixels).transposed()),
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
        tensor(dx, x.layout().shape().to_vec()),
        tensor(dweight, weight.layout().shape().to_vec()),
        tensor(dbias, [sizes.output]),
    ]
}
