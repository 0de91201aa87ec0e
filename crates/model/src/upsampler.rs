//! `SimFeatUp`: enlarges a map of features sixteen times, guided by the pixels (docs/network.md
//! §16). Each step doubles the map and takes, at each place, a weighted sum of its neighbourhood;
//! the weights follow from the pixels alone and are the same for all channels.
//!
//! Sums over neighbourhoods are products of small matrices: a block of `b × b` places reads a
//! square of `b + 2r` places, so its weights are a matrix `[b², (b + 2r)²]` that is zero outside of
//! each place's own neighbourhood. That multiplies by up to 2.7 times as many values as there are
//! weights, and needs no operation of its own on any device.

use burn::module::Param;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use mmovseg_kernels::{self as kernels, Activation, Epilogue};
use serde::{Deserialize, Serialize};

use crate::layers::{Conv, constant};
use crate::named::{Flat, Named, flat_module};
use crate::observe::{Observer, see};
use crate::resample::{Kernel, resample_by_axis};

/// Steps of two from patches of 16 pixels to pixels.
const STEPS: usize = 4;
/// Share of the corrections that the network learned.
const CORRECTION: f64 = 0.1;
/// Channels in which pixels are compared.
const RANGE: usize = 32;
/// Largest buffer of one product, in bytes; half of what WebGPU promises to bind.
const BUFFER_BYTES: usize = 64 << 20;

/// Sizes of an upsampler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpsamplerConfig {
    /// Places that a neighbourhood reaches to each side: 5 in `jbu_one`, 3 in `jbu_stack`.
    pub radius: usize,
    /// Whether all steps have the same weights, as in `jbu_one`.
    pub shared: bool,
}

impl UpsamplerConfig {
    /// Side of a neighbourhood.
    fn side(self) -> usize {
        2 * self.radius + 1
    }
}

/// The weights of one step, under the released names.
#[derive(Clone, Debug)]
struct Step {
    temperature: Named<Param<Tensor<1>>>,
    sigma: Named<Param<Tensor<1>>>,
    range_in: Named<Conv>,
    range_out: Named<Conv>,
    fix_in: Named<Conv>,
    fix_out: Named<Conv>,
}

flat_module!(Step { temperature, sigma, range_in, range_out, fix_in, fix_out } {});

impl Step {
    fn new(config: UpsamplerConfig, device: &Device) -> Self {
        let places = config.side() * config.side();
        let conv = |path: &str, input: usize, output: usize| {
            Named::new(path, Conv::new(input, output, 1, true, device))
        };
        Self {
            temperature: Named::new("range_temp", constant([1], 0.0, device)),
            sigma: Named::new("sigma_spatial", constant([1], 1.0, device)),
            range_in: conv("range_proj.0", 3, RANGE),
            range_out: conv("range_proj.3", RANGE, RANGE),
            fix_in: conv("fixup_proj.0", places + 3, places),
            fix_out: conv("fixup_proj.3", places, places),
        }
    }

    /// Weights `[N, h, w, (2r + 1)²]` of each place's neighbourhood, row by row, for pixels
    /// `[N, h, w, 3]`.
    fn weights(
        &self,
        guide: Tensor<4>,
        radius: usize,
        number: usize,
        observer: &mut dyn Observer,
    ) -> Tensor<4> {
        let projected = gelu_then(guide.clone(), &self.range_in, &self.range_out);
        let similar = similarities(&projected, radius);
        let temperature = self.temperature.val().exp().clamp(1e-4, 1e4);
        let range = softmax(similar * temperature.reshape([1, 1, 1, 1]), 3);
        see_map(observer, &format!("jbu.range{number}"), &range);
        let spatial = self.spatial(radius);
        if number == 0 {
            let places = spatial.dims()[0];
            let shown = spatial.clone().reshape([1, places, 1, 1]);
            see(observer, "jbu.spatial", &shown);
        }
        let weights = range * spatial.unsqueeze::<4>();
        let sums = weights.clone().sum_dim(3).clamp_min(1e-7);
        let weights = weights / sums;
        let both = Tensor::cat(vec![weights.clone(), guide], 3);
        weights + gelu_then(both, &self.fix_in, &self.fix_out) * CORRECTION
    }

    /// How much places count by their distance, `[(2r + 1)²]`.
    fn spatial(&self, radius: usize) -> Tensor<1> {
        let side = 2 * radius + 1;
        let at = |i: usize| i as f32 / radius as f32 - 1.0;
        let squares = (0..side * side)
            .map(|o| at(o / side).powi(2) + at(o % side).powi(2))
            .collect::<Vec<_>>();
        let sigma = self.sigma.val();
        let squares =
            Tensor::<1>::from_data(TensorData::new(squares, [side * side]), &sigma.device());
        (squares / (sigma.square() * 2.0)).neg().exp()
    }
}

/// `last(gelu(first(x)))` for 1 × 1 convolutions over `[N, h, w, C]`.
fn gelu_then(x: Tensor<4>, first: &Conv, last: &Conv) -> Tensor<4> {
    let x = pointwise(x, first, Epilogue::Activation(Activation::Gelu));
    pointwise(x, last, Epilogue::None)
}

/// A 1 × 1 convolution over `[N, h, w, C]`.
fn pointwise(x: Tensor<4>, conv: &Conv, epilogue: Epilogue) -> Tensor<4> {
    let bias = conv.bias.as_ref().map(Param::val);
    kernels::linear(x, matrix(conv), bias, epilogue)
}

/// The weight of a 1 × 1 convolution as that of a linear layer.
fn matrix(conv: &Conv) -> Tensor<2> {
    let weight = conv.weight.val();
    let [output, input, _, _] = weight.dims();
    weight.reshape([output, input])
}

/// The upsampler.
#[derive(Clone, Debug)]
pub(crate) struct Upsampler {
    steps: Flat<Named<Step>>,
    mix: Named<Conv>,
    config: UpsamplerConfig,
}

flat_module!(Upsampler { steps, mix } { config });

/// What the pixels of a window decide: the weights of each step, `[N, h, w, (2r + 1)²]`.
#[derive(Clone)]
pub(crate) struct StepWeights(Vec<Tensor<4>>);

impl StepWeights {
    /// How many numbers they are.
    pub fn values(&self) -> usize {
        let count = |x: &Tensor<4>| x.dims().iter().product::<usize>();
        self.0.iter().map(count).sum()
    }
}

impl Upsampler {
    pub fn new(config: UpsamplerConfig, embed: usize, device: &Device) -> Self {
        let named = |path: String| Named::new(path, Step::new(config, device));
        let steps = if config.shared {
            vec![named("up".into())]
        } else {
            (1..=STEPS).map(|i| named(format!("up{i}"))).collect()
        };
        let mix = Conv::new(embed, embed, 1, true, device);
        Self {
            steps: Flat(steps),
            mix: Named::new("fixup_proj.1", mix),
            config,
        }
    }

    /// The weights of all steps for pixels `[N, 3, 16 h, 16 w]`.
    pub fn weights(&self, pixels: &Tensor<4>, observer: &mut dyn Observer) -> StepWeights {
        let [n, _, height, width] = pixels.dims();
        let weights = (0..STEPS).map(|s| {
            let step = self.steps.0.get(s).or(self.steps.0.first());
            let factor = 1 << (STEPS - 1 - s);
            let [h, w] = [height / factor, width / factor];
            let guide = pixels
                .clone()
                .reshape([n * 3 * h, factor, w, factor])
                .mean_dim(3)
                .mean_dim(1)
                .reshape([n, 3, h, w])
                .permute([0, 2, 3, 1]);
            step.map(|step| step.weights(guide, self.config.radius, s, observer))
        });
        StepWeights(weights.flatten().collect())
    }

    /// The last layer without its bias, taken before the enlargement: both are linear, and the
    /// enlargement treats all channels alike.
    pub fn fold(&self, map: Tensor<4>) -> Tensor<4> {
        let mixed = kernels::linear(map.clone(), matrix(&self.mix), None, Epilogue::None);
        map + mixed * CORRECTION
    }

    /// What the last layer adds to every place, `[E]`.
    pub fn offset(&self) -> Tensor<1> {
        let bias = self.mix.bias.as_ref().map(Param::val);
        let zero = || Tensor::zeros([self.mix.weight.val().dims()[0]], &self.device());
        bias.unwrap_or_else(zero) * CORRECTION
    }

    fn device(&self) -> Device {
        self.mix.weight.val().device()
    }

    /// A map `[N, h, w, C]` enlarged to `[N, 16 h, 16 w, C]`, without the last layer; `see_steps`
    /// is told each step.
    pub fn enlarge(
        &self,
        map: Tensor<4>,
        weights: &StepWeights,
        mut see_steps: impl FnMut(usize, &Tensor<4>),
    ) -> Tensor<4> {
        let mut map = map;
        for (s, weights) in weights.0.iter().enumerate() {
            let [_, h, w, _] = map.dims();
            let [down, across] = [h, w].map(|cells| Kernel::bicubic(cells, 2 * cells, 2.0));
            let doubled = resample_by_axis(map, &down, &across);
            map = weighted(&doubled, weights, self.config.radius);
            see_steps(s, &map);
        }
        map
    }
}

/// Shows `[N, h, w, C]` as `[N, C, h, w]`.
pub(crate) fn see_map(observer: &mut dyn Observer, name: &str, map: &Tensor<4>) {
    if observer.wants_tensors() {
        see(observer, name, &map.clone().permute([0, 3, 1, 2]));
    }
}

/// How a map is cut into blocks.
#[derive(Clone, Copy)]
struct Blocks {
    /// Side of a block.
    side: usize,
    /// Places to each side of a block that its neighbourhoods reach.
    radius: usize,
    /// Height and width of the map.
    size: [usize; 2],
}

impl Blocks {
    fn new(size: [usize; 2], radius: usize) -> Self {
        let fits = |side: &usize| size.iter().all(|length| length.is_multiple_of(*side));
        // Larger blocks waste less.
        let side = [8, 4, 2].into_iter().find(fits).unwrap_or(1);
        Self { side, radius, size }
    }

    /// Side of what a block reads.
    fn wide(self) -> usize {
        self.side + 2 * self.radius
    }

    /// Rows of blocks that are computed at once, for so many channels.
    fn rows_at_once(self, images: usize, channels: usize) -> usize {
        let blocks = images * self.size[1] / self.side;
        let read = blocks * self.wide() * self.wide() * channels.max(self.side * self.side);
        (BUFFER_BYTES / (4 * read)).max(1)
    }

    /// Bands of rows of blocks: the first row and how many.
    fn bands(self, images: usize, channels: usize) -> impl Iterator<Item = (usize, usize)> {
        let rows = self.size[0] / self.side;
        let step = self.rows_at_once(images, channels);
        (0..rows)
            .step_by(step)
            .map(move |first| (first, step.min(rows - first)))
    }

    /// The blocks of a band, `[N·blocks, b², C]`.
    fn cut(self, map: &Tensor<4>, first: usize, rows: usize) -> Tensor<3> {
        let [n, _, w, c] = map.dims();
        let b = self.side;
        map.clone()
            .narrow(1, first * b, rows * b)
            .reshape([n, rows, b, w / b, b, c])
            .permute([0, 1, 3, 2, 4, 5])
            .reshape([n * rows * (w / b), b * b, c])
    }

    /// The inverse of [`Blocks::cut`]: `[N, rows·b, w, C]`.
    fn join(self, blocks: Tensor<3>, images: usize, rows: usize) -> Tensor<4> {
        let (b, w) = (self.side, self.size[1]);
        let c = blocks.dims()[2];
        blocks
            .reshape([images, rows, w / b, b, b, c])
            .permute([0, 1, 3, 2, 4, 5])
            .reshape([images, rows * b, w, c])
    }

    /// What the blocks of a band read, `[N·blocks, (b + 2r)², C]`; the map is mirrored at its edge,
    /// whose places are not repeated.
    fn neighbourhoods(self, map: &Tensor<4>, first: usize, rows: usize) -> Tensor<3> {
        let [n, _, w, c] = map.dims();
        let (wide, columns) = (self.wide(), w / self.side);
        let device = map.device();
        let indices = |first: usize, count: usize, length: usize| -> Tensor<1, Int> {
            let radius = self.radius as i64;
            let places = (first..first + count)
                .flat_map(|block| {
                    let start = (block * self.side) as i64 - radius;
                    (0..wide as i64).map(move |t| mirrored(start + t, length) as i32)
                })
                .collect::<Vec<_>>();
            let count = places.len();
            Tensor::from_data(TensorData::new(places, [count]), &device)
        };
        map.clone()
            .select(1, indices(first, rows, self.size[0]))
            .select(2, indices(0, columns, w))
            .reshape([n, rows, wide, columns, wide, c])
            .permute([0, 1, 3, 2, 4, 5])
            .reshape([n * rows * columns, wide * wide, c])
    }

    /// Products of each place with all that its block reads, `[M, b², (b + 2r)²]`, to those with
    /// its own neighbourhood, `[M, b², (2r + 1)²]`.
    fn own(self, products: Tensor<3>) -> Tensor<3> {
        let m = products.dims()[0];
        let (b, wide, d) = (self.side, self.wide(), self.wide() - self.side + 1);
        // A row that is one longer moves each place's first neighbour to the row's beginning.
        let shift = |x: Tensor<5>| -> Tensor<5> {
            let [m, p, q, _, _] = x.dims();
            let end = Tensor::zeros([m, p, q, b], &x.device());
            Tensor::cat(vec![x.reshape([m, p, q, b * wide]), end], 3)
                .reshape([m, p, q, b, wide + 1])
                .narrow(4, 0, d)
        };
        // [M, by, bx, ty, tx], with the axis that is cut beside the place's.
        let x = products.reshape([m, b, b, wide, wide]);
        let x = shift(x.permute([0, 1, 3, 2, 4]));
        let x = shift(x.permute([0, 3, 4, 1, 2]));
        x.permute([0, 3, 1, 4, 2]).reshape([m, b * b, d * d])
    }

    /// The inverse of [`Blocks::own`]: weights of neighbourhoods as rows of a matrix over all that
    /// the block reads.
    fn spread(self, weights: Tensor<3>) -> Tensor<3> {
        let m = weights.dims()[0];
        let (b, wide, d) = (self.side, self.wide(), self.wide() - self.side + 1);
        let shift = |x: Tensor<5>| -> Tensor<5> {
            let [m, p, q, _, _] = x.dims();
            let end = Tensor::zeros([m, p, q, b, b], &x.device());
            Tensor::cat(vec![x, end], 4)
                .reshape([m, p, q, b * (wide + 1)])
                .narrow(3, 0, b * wide)
                .reshape([m, p, q, b, wide])
        };
        // [M, by, bx, i, j] to [M, bx, j, by, ty], to [M, by, ty, bx, tx].
        let x = weights.reshape([m, b, b, d, d]);
        let x = shift(x.permute([0, 2, 4, 1, 3]));
        let x = shift(x.permute([0, 3, 4, 1, 2]));
        x.permute([0, 1, 3, 2, 4]).reshape([m, b * b, wide * wide])
    }
}

/// Index `at` of an axis of this length, mirrored at the ends.
fn mirrored(at: i64, length: usize) -> i64 {
    let last = length as i64 - 1;
    let at = at.abs();
    // What lies beyond both mirrors belongs to no block of a map that is large enough.
    if at > last {
        (2 * last - at).max(0)
    } else {
        at
    }
}

/// Inner products of each place of `[N, h, w, C]` with its neighbourhood, `[N, h, w, (2r + 1)²]`.
fn similarities(map: &Tensor<4>, radius: usize) -> Tensor<4> {
    let [n, h, w, c] = map.dims();
    let blocks = Blocks::new([h, w], radius);
    let bands = blocks.bands(n, c).map(|(first, rows)| {
        let near = blocks.neighbourhoods(map, first, rows);
        let products = blocks.cut(map, first, rows).matmul(near.swap_dims(1, 2));
        blocks.join(blocks.own(products), n, rows)
    });
    Tensor::cat(bands.collect(), 1)
}

/// Weighted sums of each place's neighbourhood in `[N, h, w, C]`.
fn weighted(map: &Tensor<4>, weights: &Tensor<4>, radius: usize) -> Tensor<4> {
    let [n, h, w, c] = map.dims();
    let blocks = Blocks::new([h, w], radius);
    let bands = blocks.bands(n, c).map(|(first, rows)| {
        let near = blocks.neighbourhoods(map, first, rows);
        let weights = blocks.spread(blocks.cut(weights, first, rows));
        blocks.join(weights.matmul(near), n, rows)
    });
    Tensor::cat(bands.collect(), 1)
}
