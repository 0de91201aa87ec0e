//! Grid resampling as two small matrix products, with PyTorch's coordinate rules in f64.

use burn::tensor::{Device, Tensor, TensorData};

/// Weights of a one-dimensional resampling, `[output, input]`, row-major.
pub(crate) struct Kernel {
    weights: Vec<f32>,
    input: usize,
    output: usize,
}

impl Kernel {
    /// PyTorch bicubic (A = −0.75), source `(o + ½) / scale − ½`, indices clamped to the edge
    /// (docs/network.md §4, §6).
    pub fn bicubic(input: usize, output: usize, scale: f64) -> Self {
        const A: f64 = -0.75;
        let near = |t: f64| ((A + 2.0) * t - (A + 3.0)) * t * t + 1.0;
        let far = |t: f64| ((A * t - 5.0 * A) * t + 8.0 * A) * t - 4.0 * A;
        Self::from_taps(input, output, |o| {
            let source = (o as f64 + 0.5) / scale - 0.5;
            let base = source.floor();
            let t = source - base;
            let taps = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
            let base = base as i64;
            (0..4).map(|i| (base - 1 + i as i64, taps[i])).collect()
        })
    }

    /// PyTorch half-pixel bilinear (docs/network.md §3.2). Its coordinates are f32 there, and near
    /// column 300 the last place of a coordinate is 3e-5 of a pixel: doing better would be doing
    /// otherwise.
    pub fn bilinear(input: usize, output: usize) -> Self {
        let ratio = input as f32 / output as f32;
        Self::from_taps(input, output, |o| {
            let source = (ratio * (o as f32 + 0.5) - 0.5).max(0.0);
            let upper = source - source.floor();
            let base = source.floor() as i64;
            vec![(base, f64::from(1.0 - upper)), (base + 1, f64::from(upper))]
        })
    }

    fn from_taps(input: usize, output: usize, taps: impl Fn(usize) -> Vec<(i64, f64)>) -> Self {
        let mut weights = vec![0.0f64; input * output];
        for o in 0..output {
            for (index, weight) in taps(o) {
                let index = index.clamp(0, input as i64 - 1) as usize;
                weights[o * input + index] += weight;
            }
        }
        Self {
            weights: weights.into_iter().map(|w| w as f32).collect(),
            input,
            output,
        }
    }

    fn tensor(&self, device: &Device) -> Tensor<3> {
        Tensor::from_data(
            TensorData::new(self.weights.clone(), [1, self.output, self.input]),
            device,
        )
    }
}

/// Logits `[N, T, h, h]` brought bilinearly to `[N, T, side_px, side_px]`, as the paper's loss
/// wants them (docs/network.md §14).
#[must_use]
pub fn enlarge(logits: Tensor<4>, side_px: usize) -> Tensor<4> {
    let [n, t, h, w] = logits.dims();
    resample(
        logits.reshape([n * t, h, w, 1]),
        &Kernel::bilinear(h, side_px),
    )
    .reshape([n, t, side_px, side_px])
}

/// Applies `kernel` along both axes of `[N, h, w, C]`.
pub(crate) fn resample(x: Tensor<4>, kernel: &Kernel) -> Tensor<4> {
    resample_by_axis(x, kernel, kernel)
}

/// Applies one kernel along the rows' axis of `[N, h, w, C]` and one along the columns'.
pub(crate) fn resample_by_axis(x: Tensor<4>, down: &Kernel, across: &Kernel) -> Tensor<4> {
    let [n, h, w, c] = x.dims();
    let device = x.device();
    let (high, wide) = (down.output, across.output);
    let rows = down
        .tensor(&device)
        .expand([n, high, h])
        .matmul(x.reshape([n, h, w * c]));
    let cols = across
        .tensor(&device)
        .expand([n * high, wide, w])
        .matmul(rows.reshape([n * high, w, c]));
    cols.reshape([n, high, wide, c])
}
