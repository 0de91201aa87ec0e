//! CLIP's visual tower in the dense mode of docs/network.md §4.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use mmovseg_kernels::{self as kernels, Activation, Epilogue};
use serde::{Deserialize, Serialize};

use crate::attention::{Mask, attend, merge_heads, split_heads};
use crate::config::EncoderConfig;
use crate::layers::{Conv, LayerNorm, Linear, constant, full, kept, normal, to_map};
use crate::observe::{Observer, see};
use crate::resample::{Kernel, resample, resample_by_axis};

/// Queries, keys and values with the checkpoint's split weights and joint bias.
///
/// Query and key weights are absent where only values are read: in the last visual block.
#[derive(Module, Debug)]
pub(crate) struct ClipAttention {
    q_proj_weight: Option<Param<Tensor<2>>>,
    k_proj_weight: Option<Param<Tensor<2>>>,
    v_proj_weight: Param<Tensor<2>>,
    in_proj_bias: Param<Tensor<1>>,
    out_proj: Linear,
    heads: usize,
}

/// Which tokens of the last visual block attend to which, in networks that compare its result with
/// text directly (docs/network.md §16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LastAttention {
    /// CLIP's own: queries to keys.
    Vanilla,
    /// MaskCLIP: each token to itself.
    Values,
    /// ClearCLIP: queries to queries.
    Queries,
    /// SCLIP: the sum of queries to queries and keys to keys.
    QueriesKeys,
    /// SegEarth-OV: the sum of queries, keys and values, each to themselves.
    QueriesKeysValues,
}

/// The last visual block of such a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastBlock {
    /// Its attention.
    pub attention: LastAttention,
    /// Whether the residual and the feed-forward part are kept.
    pub residual: bool,
}

#[derive(Module, Debug)]
struct ClipMlp {
    c_fc: Linear,
    c_proj: Linear,
}

/// A pre-norm CLIP block, visual or text.
#[derive(Module, Debug)]
pub(crate) struct ClipBlock {
    ln_1: LayerNorm,
    attn: ClipAttention,
    ln_2: LayerNorm,
    mlp: ClipMlp,
    #[module(skip)]
    activation: Activation,
}

impl ClipBlock {
    pub fn new(width: usize, heads: usize, values_only: bool, device: &Device) -> Self {
        let std = (1.0 / width as f64).sqrt();
        Self {
            ln_1: LayerNorm::new(width, 1e-5, device),
            attn: ClipAttention {
                q_proj_weight: (!values_only).then(|| normal([width, width], std, device)),
                k_proj_weight: (!values_only).then(|| normal([width, width], std, device)),
                v_proj_weight: normal([width, width], std, device),
                in_proj_bias: constant([3 * width], 0.0, device),
                out_proj: Linear::new(width, width, device),
                heads,
            },
            ln_2: LayerNorm::new(width, 1e-5, device),
            mlp: ClipMlp {
                c_fc: Linear::new(width, 4 * width, device),
                c_proj: Linear::new(4 * width, width, device),
            },
            activation: Activation::QuickGelu,
        }
    }

    /// This block with another activation than that of `OpenAI`'s weights.
    pub fn with_activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Queries (`third` 0), keys (1) or values (2) of normalised tokens `[N, L, W]`, by heads.
    fn project(&self, n: &Tensor<3>, weight: &Param<Tensor<2>>, third: usize) -> Tensor<4> {
        let width = n.dims()[2];
        let bias = self.attn.in_proj_bias.val().narrow(0, third * width, width);
        split_heads(
            kernels::linear(n.clone(), weight.val(), Some(bias), Epilogue::None),
            self.attn.heads,
        )
    }

    /// The last block as `last` describes it; also what its attention gives, after the output
    /// projection.
    fn forward_last(&self, x: Tensor<3>, last: LastBlock) -> (Tensor<3>, Tensor<3>) {
        let n = self.ln_1.forward(x.clone());
        let project = |weight: &Param<Tensor<2>>, third| self.project(&n, weight, third);
        let value = project(&self.attn.v_proj_weight, 2);
        let query = self.attn.q_proj_weight.as_ref().map(|w| project(w, 0));
        let key = self.attn.k_proj_weight.as_ref().map(|w| project(w, 1));
        // Pairs whose attentions are added up. A block that was made without queries has none.
        let pairs = match (last.attention, query, key) {
            (LastAttention::Vanilla, Some(q), Some(k)) => vec![(q, k)],
            (LastAttention::Queries, Some(q), _) => vec![(q.clone(), q)],
            (LastAttention::QueriesKeys, Some(q), Some(k)) => vec![(q.clone(), q), (k.clone(), k)],
            (LastAttention::QueriesKeysValues, Some(q), Some(k)) => vec![
                (q.clone(), q),
                (k.clone(), k),
                (value.clone(), value.clone()),
            ],
            _ => Vec::new(),
        };
        let mixed = pairs
            .into_iter()
            .map(|(q, k)| attend(q, k, value.clone(), &Mask::None))
            .reduce(kernels::add)
            .unwrap_or(value);
        let attended = self.attn.out_proj.forward(merge_heads(mixed));
        let result = if last.residual {
            self.feed_forward(x + attended.clone())
        } else {
            attended.clone()
        };
        (result, attended)
    }

    /// `[N, L, W]` to `[N, L, W]`.
    pub fn forward(&self, x: Tensor<3>, mask: &Mask) -> Tensor<3> {
        let n = self.ln_1.forward(x.clone());
        let project = |weight: &Param<Tensor<2>>, third| self.project(&n, weight, third);
        let x = match (&self.attn.q_proj_weight, &self.attn.k_proj_weight) {
            (Some(q), Some(k)) => {
                let mixed = attend(
                    project(q, 0),
                    project(k, 1),
                    project(&self.attn.v_proj_weight, 2),
                    mask,
                );
                self.attn.out_proj.onto(merge_heads(mixed), x)
            }
            // A block without queries can only be used densely.
            _ => return self.forward_dense(x),
        };
        self.feed_forward(x)
    }

    /// The dense form of the last block: no attention, and the residual that is added is the
    /// block's *input CLS token*, for every token (docs/network.md §4).
    pub fn forward_dense(&self, x: Tensor<3>) -> Tensor<3> {
        let [_, _, width] = x.dims();
        let cls = x.clone().narrow(1, 0, 1);
        let bias = self.attn.in_proj_bias.val().narrow(0, 2 * width, width);
        let v = kernels::linear(
            self.ln_1.forward(x),
            self.attn.v_proj_weight.val(),
            Some(bias),
            Epilogue::None,
        );
        self.feed_forward(full(self.attn.out_proj.forward(v)) + cls)
    }

    fn feed_forward(&self, x: Tensor<3>) -> Tensor<3> {
        let n = self.ln_2.forward(x.clone());
        let first = &self.mlp.c_fc;
        first.then_onto(n, self.activation, &self.mlp.c_proj, x)
    }
}

/// CLIP's visual tower.
#[derive(Module, Debug)]
pub struct ClipVisual {
    class_embedding: Param<Tensor<1>>,
    positional_embedding: Param<Tensor<2>>,
    conv1: Conv,
    ln_pre: LayerNorm,
    resblocks: Vec<ClipBlock>,
    ln_post: LayerNorm,
    proj: Param<Tensor<2>>,
    #[module(skip)]
    config: EncoderConfig,
}

/// What the visual tower gives where its last block attends within itself.
pub(crate) struct ClipTokens {
    /// The CLS token in the space of the text, not normalised, `[N, E]`.
    pub cls: Tensor<2>,
    /// The patches, `[N, h·w, E]`.
    pub patches: Tensor<3>,
}

/// What the visual tower gives.
#[derive(Clone)]
pub struct ClipFeatures {
    /// Dense features, not normalised, `[N, g·g, E]`.
    pub dense: Tensor<3>,
    /// Residual stream after the two tapped blocks without CLS, `[N, g·g, W]` each.
    pub taps: [Tensor<3>; 2],
}

impl ClipVisual {
    pub(crate) fn new(config: &EncoderConfig, embed: usize, device: &Device) -> Self {
        let width = config.width;
        let std = (width as f64).powf(-0.5);
        let tokens = config.table_grid * config.table_grid + 1;
        Self {
            class_embedding: normal([width], std, device),
            positional_embedding: normal([tokens, width], std, device),
            conv1: Conv::new(3, width, config.patch_px, false, device),
            ln_pre: LayerNorm::new(width, 1e-5, device),
            resblocks: (0..config.layers)
                .map(|i| ClipBlock::new(width, config.heads, i + 1 == config.layers, device))
                .collect(),
            ln_post: LayerNorm::new(width, 1e-5, device),
            proj: normal([width, embed], std, device),
            config: config.clone(),
        }
    }

    /// Normalised pixels `[N, 3, S, S]` to features; with `keep`, to those of these patches alone.
    pub fn forward(
        &self,
        pixels: Tensor<4>,
        keep: Option<Tensor<1, Int>>,
        observer: &mut dyn Observer,
    ) -> ClipFeatures {
        let config = &self.config;
        let [n, _, side, _] = pixels.dims();
        let pixels = if side == config.input_px {
            pixels
        } else {
            let kernel = Kernel::bilinear(side, config.input_px);
            let planes = resample(pixels.reshape([n * 3, side, side, 1]), &kernel);
            planes.reshape([n, 3, config.input_px, config.input_px])
        };
        let grid = config.input_px / config.patch_px;
        let width = config.width;

        let patches = self.conv1.patches(pixels);
        if observer.wants_tensors() {
            let map = patches
                .clone()
                .swap_dims(1, 2)
                .reshape([n, width, grid, grid]);
            see(observer, "clip.patch_conv", &map);
        }
        let cls = self
            .class_embedding
            .val()
            .reshape([1, 1, width])
            .expand([n, 1, width]);
        let table = self.positions(grid);
        see(observer, "clip.pos_embed_used", &table);
        let x = Tensor::cat(vec![cls, patches], 1) + table.unsqueeze::<3>();
        let (x, count) = kept(x, 1, keep);
        let mut x = self.ln_pre.forward(x);
        see(observer, "clip.ln_pre", &x);

        let mut taps = Vec::with_capacity(2);
        let last = config.layers - 1;
        for (i, block) in self.resblocks.iter().enumerate() {
            x = if i == last {
                block.forward_dense(x)
            } else {
                block.forward(x, &Mask::None)
            };
            let suffix = if i == last { "_dense" } else { "" };
            see(observer, &format!("clip.block{i:02}{suffix}"), &x);
            if config.taps.contains(&i) {
                taps.push(x.clone().narrow(1, 1, count));
            }
            observer.block(i + 1, config.layers);
        }
        let x = self.ln_post.forward(x);
        see(observer, "clip.ln_post", &x);
        let dense = kernels::linear(x, self.proj.val().transpose(), None, Epilogue::None);
        see(observer, "clip.dense_features", &dense);
        let fine = taps.pop().unwrap_or_else(|| dense.clone());
        let coarse = taps.pop().unwrap_or_else(|| fine.clone());
        ClipFeatures {
            dense: dense.narrow(1, 1, count),
            taps: [coarse, fine],
        }
    }

    /// A tower whose last block has queries and keys, and with this activation.
    pub(crate) fn with_last_attention(
        config: &EncoderConfig,
        embed: usize,
        activation: Activation,
        device: &Device,
    ) -> Self {
        let mut tower = Self::new(config, embed, device);
        tower.resblocks = (0..config.layers)
            .map(|_| {
                ClipBlock::new(config.width, config.heads, false, device)
                    .with_activation(activation)
            })
            .collect();
        tower
    }

    /// Normalised pixels `[N, 3, H, W]`, both sides multiples of the patch, to tokens in the space
    /// of the text; the last block as `last` describes it.
    pub(crate) fn tokens(
        &self,
        pixels: Tensor<4>,
        last: LastBlock,
        observer: &mut dyn Observer,
    ) -> ClipTokens {
        let config = &self.config;
        let [n, _, height, width_px] = pixels.dims();
        let grid = [height / config.patch_px, width_px / config.patch_px];
        let width = config.width;
        let count = grid[0] * grid[1];

        let patches = self.conv1.patches(pixels);
        if observer.wants_tensors() {
            let map = to_map(patches.clone(), grid[0], grid[1]);
            see(observer, "clip.patch_conv", &map);
        }
        let cls = self.class_embedding.val().reshape([1, 1, width]);
        let table = self.positions_by_scale(grid);
        let x = Tensor::cat(vec![cls.expand([n, 1, width]), patches], 1) + table.unsqueeze::<3>();
        let mut x = self.ln_pre.forward(x);
        see(observer, "clip.ln_pre", &x);
        for (i, block) in self.resblocks.iter().enumerate() {
            if i + 1 == config.layers {
                let (result, attended) = block.forward_last(x, last);
                see(observer, "clip.self_attention", &attended);
                x = result;
            } else {
                x = block.forward(x, &Mask::None);
                see(observer, &format!("clip.block{i:02}"), &x);
            }
            observer.block(i + 1, config.layers);
        }
        let x = self.ln_post.forward(x);
        see(observer, "clip.ln_post", &x);
        let x = kernels::linear(x, self.proj.val().transpose(), None, Epilogue::None);
        let embed = x.dims()[2];
        let cls = x.clone().narrow(1, 0, 1).reshape([n, embed]);
        see(observer, "clip.cls", &cls);
        let patches = x.narrow(1, 1, count);
        see(observer, "clip.patches", &patches);
        ClipTokens { cls, patches }
    }

    /// The position table for a grid `[h, w]`, `[1 + h·w, W]`. Where the number of tokens is
    /// another than the stored one, cells are a tenth of a cell further apart, by the scale factor
    /// that the authors give to PyTorch (docs/network.md §16).
    fn positions_by_scale(&self, grid: [usize; 2]) -> Tensor<2> {
        let stored = self.config.table_grid;
        let table = self.positional_embedding.val();
        if grid[0] * grid[1] == stored * stored {
            return table;
        }
        let width = self.config.width;
        let cls = table.clone().narrow(0, 0, 1);
        let patches = table
            .narrow(0, 1, stored * stored)
            .reshape([1, stored, stored, width]);
        let [down, across] =
            grid.map(|cells| Kernel::bicubic(stored, cells, (cells as f64 + 0.1) / stored as f64));
        let patches = resample_by_axis(patches, &down, &across);
        Tensor::cat(vec![cls, patches.reshape([grid[0] * grid[1], width])], 0)
    }

    /// The position table for a `grid × grid` input, `[1 + grid², W]` (docs/network.md §4: by
    /// target size).
    fn positions(&self, grid: usize) -> Tensor<2> {
        let stored = self.config.table_grid;
        let table = self.positional_embedding.val();
        if stored == grid {
            return table;
        }
        let width = self.config.width;
        let cls = table.clone().narrow(0, 0, 1);
        let patches = table
            .narrow(0, 1, stored * stored)
            .reshape([1, stored, stored, width]);
        let kernel = Kernel::bicubic(stored, grid, grid as f64 / stored as f64);
        Tensor::cat(
            vec![
                cls,
                resample(patches, &kernel).reshape([grid * grid, width]),
            ],
            0,
        )
    }
}
