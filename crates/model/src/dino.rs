//! The DINO towers: v1 with a learned position table (docs/network.md §6), v3 with rotary positions
//! (docs/network.md §7).

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use mmovseg_kernels::{self as kernels, Activation, Epilogue};

use crate::attention::{Mask, attend, merge_heads, split_heads};
use crate::config::{Architecture, EncoderConfig};
use crate::layers::{Conv, LayerNorm, Linear, constant, full, kept, normal};
use crate::observe::{Observer, see};
use crate::resample::{Kernel, resample};

/// Tokens between CLS and the patches of a v3 tower.
const STORAGE_TOKENS: usize = 4;

#[derive(Module, Debug)]
struct PatchEmbed {
    proj: Conv,
}

/// The fused projection, output order `[q | k | v]`.
#[derive(Module, Debug)]
struct Qkv {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    /// v3 only: multiplies the bias (docs/network.md §7).
    bias_mask: Option<Param<Tensor<1>>>,
}

#[derive(Module, Debug)]
struct DinoAttention {
    qkv: Qkv,
    proj: Linear,
    heads: usize,
}

impl DinoAttention {
    /// `[N, L, 3 · heads · d]` to `[N, heads, L, d]`.
    fn mix(&self, qkv: &Tensor<3>, rotary: Option<&Rotary>) -> Tensor<4> {
        if rotary.is_none()
            && let Some(mixed) = kernels::attention_packed(qkv, self.heads)
        {
            return mixed;
        }
        // On the CPU queries, keys and values are views: heads are cut before the thirds, each of
        // which lies in no one piece. WebGPU refuses one buffer bound more than once where it may
        // be written.
        let width = qkv.dims()[2] / 3;
        let heads = kernels::is_cpu_without_gradients(&qkv.device())
            .then(|| split_heads(qkv.clone(), 3 * self.heads));
        let third = |i: usize| match &heads {
            Some(heads) => heads.clone().narrow(1, i * self.heads, self.heads),
            None => split_heads(qkv.clone().narrow(2, i * width, width), self.heads),
        };
        let (q, k) = match rotary {
            Some(rotary) => (rotary.apply(third(0)), rotary.apply(third(1))),
            None => (third(0), third(1)),
        };
        attend(q, k, third(2), &Mask::None)
    }
}

#[derive(Module, Debug)]
pub(crate) struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

impl Mlp {
    pub fn new(width: usize, device: &Device) -> Self {
        Self {
            fc1: Linear::new(width, 4 * width, device),
            fc2: Linear::new(4 * width, width, device),
        }
    }

    /// `fc2(GELU(fc1 x))` with the exact, erf-based GELU.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.fc2.forward(self.fc1.activated(x, Activation::Gelu))
    }

    /// `onto` plus the same.
    pub fn onto(&self, x: Tensor<3>, onto: Tensor<3>) -> Tensor<3> {
        self.fc1.then_onto(x, Activation::Gelu, &self.fc2, onto)
    }
}

#[derive(Module, Debug)]
struct LayerScale {
    gamma: Param<Tensor<1>>,
}

impl LayerScale {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        full(x) * self.gamma.val().unsqueeze::<3>()
    }
}

#[derive(Module, Debug)]
struct DinoBlock {
    norm1: LayerNorm,
    attn: DinoAttention,
    ls1: Option<LayerScale>,
    norm2: LayerNorm,
    mlp: Mlp,
    ls2: Option<LayerScale>,
}

impl DinoBlock {
    fn new(config: &EncoderConfig, device: &Device) -> Self {
        let width = config.width;
        let v3 = config.architecture == Architecture::DinoV3;
        let scale = || {
            v3.then(|| LayerScale {
                gamma: constant([width], 1.0, device),
            })
        };
        Self {
            norm1: LayerNorm::new(width, eps(config), device),
            attn: DinoAttention {
                qkv: Qkv {
                    weight: normal([3 * width, width], (1.0 / width as f64).sqrt(), device),
                    bias: constant([3 * width], 0.0, device),
                    bias_mask: v3
                        .then(|| constant([3 * width], 1.0, device).set_require_grad(false)),
                },
                proj: Linear::new(width, width, device),
                heads: config.heads,
            },
            ls1: scale(),
            norm2: LayerNorm::new(width, eps(config), device),
            mlp: Mlp::new(width, device),
            ls2: scale(),
        }
    }

    fn forward(&self, x: Tensor<3>, rotary: Option<&Rotary>) -> Tensor<3> {
        let n = self.norm1.forward(x.clone());
        let attn = &self.attn;
        let bias = match &attn.qkv.bias_mask {
            Some(mask) => attn.qkv.bias.val() * mask.val(),
            None => attn.qkv.bias.val(),
        };
        let qkv = kernels::linear(n, attn.qkv.weight.val(), Some(bias), Epilogue::None);
        let mixed = merge_heads(attn.mix(&qkv, rotary));
        let x = match &self.ls1 {
            Some(scale) => x + scale.forward(attn.proj.forward(mixed)),
            None => attn.proj.onto(mixed, x),
        };
        let n = self.norm2.forward(x.clone());
        match &self.ls2 {
            Some(scale) => x + scale.forward(self.mlp.forward(n)),
            None => self.mlp.onto(n, x),
        }
    }
}

#[derive(Module, Debug)]
struct RopeEmbed {
    periods: Param<Tensor<1>>,
}

/// Cosines and sines of the patch positions, `[1, 1, prefix + g², d]`; the prefix is not turned.
struct Rotary {
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl Rotary {
    /// Angles `2π · [h/p…, w/p…]` twice over, for patch centres in (−1, 1) (docs/network.md §7).
    fn new(periods: Tensor<1>, grid: usize, prefix: usize) -> Self {
        let device = periods.device();
        let quarter = periods.dims()[0];
        // In f32 and in the reference's order of operations: short periods turn one unit in the
        // last place into a visible angle.
        let centre = |i: usize| 2.0 * ((i as f32 + 0.5) / grid as f32) - 1.0;
        let axis = |pick: fn(usize, usize) -> usize| {
            let values: Vec<f32> = (0..grid * grid)
                .map(|p| centre(pick(p / grid, p % grid)) * std::f32::consts::TAU)
                .collect();
            Tensor::<2>::from_data(TensorData::new(values, [grid * grid, 1]), &device)
        };
        let periods = periods.reshape([1, quarter]);
        let rows = axis(|row, _| row) / periods.clone();
        let cols = axis(|_, col| col) / periods;
        let half = Tensor::cat(vec![rows, cols], 1);
        let angles = Tensor::cat(vec![half.clone(), half], 1);
        // A turn by zero leaves the prefix tokens as they are, so one expression serves all rows.
        let still = Tensor::zeros([prefix, 4 * quarter], &device);
        let angles = Tensor::cat(vec![still, angles], 0).unsqueeze::<4>();
        let (cos, sin) = cos_sin(angles);
        Self { cos, sin }
    }

    /// In the numbers of `weight`.
    fn like(self, weight: &Tensor<2>) -> Self {
        let dtype = weight.dtype();
        Self {
            cos: self.cos.cast(dtype),
            sin: self.sin.cast(dtype),
        }
    }

    fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        let half = x.dims()[3] / 2;
        let turned = Tensor::cat(
            vec![
                -x.clone().narrow(3, half, half),
                x.clone().narrow(3, 0, half),
            ],
            3,
        );
        x * self.cos.clone() + turned * self.sin.clone()
    }
}

/// Cosine and sine to f32 accuracy, by Cody–Waite reduction to (−π, π) and Taylor series.
///
/// The shader languages' own functions may be off by 2⁻¹¹ even there (WGSL §15.7.4.1), which moved
/// features of L by 3e-4 in Chromium.
fn cos_sin<const D: usize>(angles: Tensor<D>) -> (Tensor<D>, Tensor<D>) {
    // 2π in two parts: the first has so few bits that its product with a turn count is exact.
    const TAU_HIGH: f64 = 6.281_25;
    const TAU_LOW: f64 = std::f64::consts::TAU - TAU_HIGH;
    let turns = (angles.clone() / std::f64::consts::TAU).round();
    let x = angles - turns.clone() * TAU_HIGH - turns * TAU_LOW;
    let square = x.clone().square();
    // 1 − x²/(n(n−1)) · (1 − x²/((n−2)(n−3)) · …), from the innermost term out: what is left out
    // is below π²⁰/20!, 4e-9.
    let series = |order: i32| {
        let mut sum = square.ones_like();
        for n in (order..=order + 16).rev().step_by(2) {
            sum = sum * square.clone() / -f64::from(n * (n - 1)) + 1.0;
        }
        sum
    };
    (series(2), x * series(3))
}

/// Epsilon of the layer norms.
fn eps(config: &EncoderConfig) -> f64 {
    match config.architecture {
        Architecture::DinoV3 => 1e-5,
        Architecture::DinoV1 | Architecture::ClipVit => 1e-6,
    }
}

/// A DINO tower.
#[derive(Module, Debug)]
pub struct Dino {
    cls_token: Param<Tensor<3>>,
    storage_tokens: Option<Param<Tensor<3>>>,
    pos_embed: Option<Param<Tensor<3>>>,
    rope_embed: Option<RopeEmbed>,
    patch_embed: PatchEmbed,
    blocks: Vec<DinoBlock>,
    norm: LayerNorm,
    #[module(skip)]
    config: EncoderConfig,
}

/// The three tapped outputs after the shared final norm, patches only, `[N, g², W]` each.
pub type DinoTaps = [Tensor<3>; 3];

impl Dino {
    pub(crate) fn new(config: &EncoderConfig, device: &Device) -> Self {
        let width = config.width;
        let tokens = config.table_grid * config.table_grid + 1;
        let v3 = config.architecture == Architecture::DinoV3;
        Self {
            cls_token: normal([1, 1, width], 0.02, device),
            storage_tokens: v3.then(|| normal([1, STORAGE_TOKENS, width], 0.02, device)),
            pos_embed: (!v3).then(|| normal([1, tokens, width], 0.02, device)),
            rope_embed: v3.then(|| RopeEmbed {
                // Loaded, never recomputed: the released values are rounded (docs/network.md §7).
                periods: constant([width / config.heads / 4], 1.0, device).set_require_grad(false),
            }),
            patch_embed: PatchEmbed {
                proj: Conv::new(3, width, config.patch_px, true, device),
            },
            blocks: (0..config.layers)
                .map(|_| DinoBlock::new(config, device))
                .collect(),
            norm: LayerNorm::new(width, eps(config), device),
            config: config.clone(),
        }
    }

    /// Normalised pixels `[N, 3, S, S]` to the tapped patch features. `name` prefixes the stages
    /// that the observer sees: `dino_rgb` or `dino_sar`. With `keep`, which a tower with rotary
    /// positions does not take, these patches alone.
    pub fn forward(
        &self,
        pixels: Tensor<4>,
        keep: Option<Tensor<1, Int>>,
        name: &str,
        observer: &mut dyn Observer,
    ) -> DinoTaps {
        let config = &self.config;
        let [n, _, side, _] = pixels.dims();
        let grid = side / config.patch_px;
        let width = config.width;
        let patches = self.patch_embed.proj.patches(pixels);
        let cls = self.cls_token.val().expand([n, 1, width]);
        let mut tokens = vec![cls];
        if let Some(storage) = &self.storage_tokens {
            tokens.push(storage.val().expand([n, STORAGE_TOKENS, width]));
        }
        let prefix = if self.storage_tokens.is_some() {
            1 + STORAGE_TOKENS
        } else {
            1
        };
        tokens.push(patches);
        let mut x = Tensor::cat(tokens, 1);
        if let Some(table) = &self.pos_embed {
            let table = positions(table.val(), config.table_grid, grid);
            see(observer, &format!("{name}.pos_embed_used"), &table);
            x = x + table;
        }
        let (mut x, count) = kept(x, prefix, keep);
        see(observer, &format!("{name}.tokens"), &x);
        let rotary = self
            .rope_embed
            .as_ref()
            .map(|rope| Rotary::new(rope.periods.val(), grid, prefix));
        if let Some(rotary) = rotary.as_ref().filter(|_| name == "dino_rgb") {
            see(
                observer,
                "dino.rope_cos",
                &rotary.cos.clone().narrow(2, prefix, grid * grid),
            );
            see(
                observer,
                "dino.rope_sin",
                &rotary.sin.clone().narrow(2, prefix, grid * grid),
            );
        }

        let rotary = rotary
            .zip(self.blocks.first())
            .map(|(rotary, block)| rotary.like(&block.attn.qkv.weight.val()));
        let mut taps: Vec<Tensor<3>> = Vec::with_capacity(3);
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, rotary.as_ref());
            see(observer, &format!("{name}.block{i:02}"), &x);
            observer.block(i + 1, config.layers);
            if config.taps.contains(&i) {
                // Golden tensors of v1 keep the CLS row, those of v3 hold patches only.
                let normed = self.norm.forward(x.clone());
                let patches = normed.clone().narrow(1, prefix, count);
                let stage = if i + 1 == config.layers {
                    "last".to_owned()
                } else {
                    format!("L{}", i + 1)
                };
                let shown = if config.architecture == Architecture::DinoV1 {
                    &normed
                } else {
                    &patches
                };
                see(observer, &format!("{name}.{stage}_normed"), shown);
                taps.push(patches);
            }
        }
        // `ModelConfig::validate` makes sure that there are three distinct taps; a configuration
        // that repeats one reuses the deepest.
        let mut taps = taps.into_iter();
        let first = taps.next().unwrap_or(x);
        let second = taps.next().unwrap_or_else(|| first.clone());
        let third = taps.next().unwrap_or_else(|| second.clone());
        [first, second, third]
    }
}

/// The position table for a `grid × grid` input, `[1, 1 + grid², W]`.
///
/// DINO v1 resizes by a *scale factor* of `(grid + 0.1) / stored`, and PyTorch uses that factor,
/// not the ratio of the sizes, for its coordinates (docs/network.md §6).
fn positions(table: Tensor<3>, stored: usize, grid: usize) -> Tensor<3> {
    if stored == grid {
        return table;
    }
    let width = table.dims()[2];
    let cls = table.clone().narrow(1, 0, 1);
    let patches = table
        .narrow(1, 1, stored * stored)
        .reshape([1, stored, stored, width]);
    let kernel = Kernel::bicubic(stored, grid, (grid as f64 + 0.1) / stored as f64);
    Tensor::cat(
        vec![
            cls,
            resample(patches, &kernel).reshape([1, grid * grid, width]),
        ],
        1,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn cos_and_sin_are_exact_over_many_turns() {
        let device = Device::flex();
        let angles: Vec<f32> = (-2000..=2000).map(|i| i as f32 * 0.21).collect();
        let tensor = Tensor::<1>::from_data(TensorData::new(angles.clone(), [4001]), &device);
        let (cos, sin) = cos_sin(tensor);
        let cos: Vec<f32> = cos.into_data().try_into_vec().unwrap();
        let sin: Vec<f32> = sin.into_data().try_into_vec().unwrap();
        for ((angle, cos), sin) in angles.iter().zip(cos).zip(sin) {
            let (want_sin, want_cos) = f64::from(*angle).sin_cos();
            assert!(
                (f64::from(cos) - want_cos).abs() < 2e-6,
                "cos {angle}: {cos}"
            );
            assert!(
                (f64::from(sin) - want_sin).abs() < 2e-6,
                "sin {angle}: {sin}"
            );
        }
    }
}
