//! The cost aggregator: window attention over cells, then linear attention over classes
//! (docs/network.md §9 and §10).

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use mmovseg_kernels::{self as kernels, Activation, WindowBias};

use crate::attention::{Mask, attend, merge_heads, split_heads};
use crate::config::HeadConfig;
use crate::dino::Mlp;
use crate::layers::{LayerNorm, Linear, normal};
use crate::observe::{Observer, see};

#[derive(Module, Debug)]
struct WindowAttention {
    q: Linear,
    k: Linear,
    v: Linear,
    proj: Linear,
    heads: usize,
}

#[derive(Module, Debug)]
struct WindowBlock {
    norm1: LayerNorm,
    attn: WindowAttention,
    norm2: LayerNorm,
    mlp: Mlp,
    grid: usize,
    /// Cells that the map is moved by before it is cut into windows.
    shift: usize,
    /// What keeps cells apart that only the shift has made neighbours.
    #[module(skip)]
    mask: Option<Arc<WindowBias>>,
}

impl WindowBlock {
    fn new(config: &HeadConfig, shift: usize, device: &Device) -> Self {
        let c = config.hidden;
        let guided = c + config.appearance_guidance;
        let grid = 2 * config.window;
        Self {
            norm1: LayerNorm::new(c, 1e-5, device),
            attn: WindowAttention {
                q: Linear::new(guided, c, device),
                k: Linear::new(guided, c, device),
                v: Linear::new(c, c, device),
                proj: Linear::new(c, c, device),
                heads: config.heads,
            },
            norm2: LayerNorm::new(c, 1e-5, device),
            mlp: Mlp::new(c, device),
            grid,
            shift,
            mask: (shift > 0).then(|| Arc::new(shift_mask(grid, config.window, shift))),
        }
    }

    /// `x [N·T, g², C]`, `guidance [N, g², G]`.
    fn forward(&self, x: Tensor<3>, guidance: Tensor<3>) -> Tensor<3> {
        let [nt, cells, c] = x.dims();
        let [n, _, _] = guidance.dims();
        let heads = self.attn.heads;
        // Cut once, before the layers: those treat cells apart.
        let cut = |map| kernels::cut_windows(map, self.grid, self.shift);
        let own = cut(self.norm1.forward(x.clone()));
        let shared = cut(guidance);
        let guided = |linear: &Linear| {
            // What guidance adds is the same for every class, so it is computed once.
            let shared = linear.part_with_bias(shared.clone(), c);
            let own = own.clone().reshape([nt, cells, c]);
            let both = linear.part_over(own, 0, shared.reshape([n, cells, c]));
            split_heads(both.reshape([nt * 4, cells / 4, c]), heads)
        };
        let mask = match &self.mask {
            Some(mask) => Mask::Bias(Arc::clone(mask)),
            None => Mask::None,
        };
        let mixed = attend(
            guided(&self.attn.q),
            guided(&self.attn.k),
            split_heads(self.attn.v.forward(own.clone()), heads),
            &mask,
        );
        let mixed = self.attn.proj.forward(merge_heads(mixed));
        let x = kernels::join_windows(mixed, x, self.grid, self.shift);
        self.mlp.onto(self.norm2.forward(x.clone()), x)
    }
}

/// 0 between cells of one region of the shifted map, −100 between regions: `[4, w², w²]`.
fn shift_mask(grid: usize, window: usize, shift: usize) -> WindowBias {
    let band = |i: usize| {
        if i < grid - window {
            0
        } else if i < grid - shift {
            1
        } else {
            2
        }
    };
    let cells = window * window;
    let mut mask = Vec::with_capacity(4 * cells * cells);
    for win in 0..4 {
        let region = |cell: usize| {
            let row = win / 2 * window + cell / window;
            let col = win % 2 * window + cell % window;
            3 * band(row) + band(col)
        };
        for q in 0..cells {
            mask.extend((0..cells).map(|k| {
                if region(q) == region(k) {
                    0.0f32
                } else {
                    -100.0
                }
            }));
        }
    }
    WindowBias::new(mask, 4, cells)
}

#[derive(Module, Debug)]
struct SwinPair {
    block_1: WindowBlock,
    block_2: WindowBlock,
    guidance_norm: LayerNorm,
}

#[derive(Module, Debug)]
struct LinearAttention {
    q: Linear,
    k: Linear,
    v: Linear,
    heads: usize,
}

#[derive(Module, Debug)]
struct ClassAttention {
    padding_tokens: Param<Tensor<3>>,
    padding_guidance: Param<Tensor<3>>,
    attention: LinearAttention,
    mlp_in: Linear,
    mlp_out: Linear,
    norm1: LayerNorm,
    norm2: LayerNorm,
    class_pad: usize,
}

impl ClassAttention {
    fn new(config: &HeadConfig, device: &Device) -> Self {
        let c = config.hidden;
        let guided = c + config.text_guidance;
        Self {
            padding_tokens: normal([1, 1, c], 0.02, device),
            padding_guidance: normal([1, 1, config.text_guidance], 0.02, device),
            attention: LinearAttention {
                q: Linear::new(guided, c, device),
                k: Linear::new(guided, c, device),
                v: Linear::new(c, c, device),
                heads: config.heads,
            },
            mlp_in: Linear::new(c, 4 * c, device),
            mlp_out: Linear::new(4 * c, c, device),
            norm1: LayerNorm::new(c, 1e-5, device),
            norm2: LayerNorm::new(c, 1e-5, device),
            class_pad: config.class_pad,
        }
    }

    /// One sequence of classes a location: `s [M, T, C]`, `text [1, T, G]`.
    ///
    /// The reference pads the class axis to 256 with one learned row. All pads are equal, so one
    /// row weighted `256 − T` gives the same sums (docs/network.md §10); the pad row is
    /// also the same at every location, so its key and value are computed once.
    fn forward(
        &self,
        s: Tensor<3>,
        text: Tensor<3>,
        name: &str,
        observer: &mut dyn Observer,
    ) -> Tensor<3> {
        let [_, classes, c] = s.dims();
        let attn = &self.attention;
        let n = self.norm1.forward(s.clone());
        // A linear layer of `[n | text]`, by parts: what text adds is the same at every location.
        let [guide_q, guide_k] =
            [&attn.q, &attn.k].map(|linear| linear.part_with_bias(text.clone(), c));
        let pad = self.norm1.forward(self.padding_tokens.val());
        let guided = Tensor::cat(vec![pad.clone(), self.padding_guidance.val()], 2);
        let out = kernels::class_attention(
            [
                attn.q.part(n.clone(), 0),
                attn.k.part(n.clone(), 0),
                attn.v.forward(n),
            ],
            [guide_q, guide_k],
            [attn.k.forward(guided), attn.v.forward(pad)],
            self.class_pad.saturating_sub(classes),
            attn.heads,
        );
        see(observer, &format!("{name}.class_attn_valid"), &out);
        let s = kernels::add(out, s);
        let n = self.norm2.forward(s.clone());
        self.mlp_in.then_onto(n, Activation::Relu, &self.mlp_out, s)
    }
}

/// One aggregator layer.
#[derive(Module, Debug)]
pub(crate) struct AggregatorLayer {
    swin_block: SwinPair,
    attention: ClassAttention,
    grid: usize,
    /// Cells along each axis that become one place of class attention.
    class_pool: usize,
}

impl AggregatorLayer {
    pub fn new(config: &HeadConfig, device: &Device) -> Self {
        Self {
            swin_block: SwinPair {
                block_1: WindowBlock::new(config, 0, device),
                block_2: WindowBlock::new(config, config.window / 2, device),
                guidance_norm: LayerNorm::new(config.appearance_guidance, 1e-5, device),
            },
            attention: ClassAttention::new(config, device),
            grid: config.grid,
            class_pool: config.class_pool,
        }
    }

    /// Within each class: `x [N·T, g², C]` to the same shape, guided by `appearance [N, g², G]`,
    /// not normalised.
    pub fn within_classes(
        &self,
        x: Tensor<3>,
        appearance: Tensor<3>,
        name: &str,
        observer: &mut dyn Observer,
    ) -> Tensor<3> {
        let n = appearance.dims()[0];
        let appearance = self.swin_block.guidance_norm.forward(appearance);
        see(observer, &format!("{name}.guidance_norm"), &appearance);
        let x = self.swin_block.block_1.forward(x, appearance.clone());
        see(observer, &format!("{name}.swin1"), &x);
        let x = self.swin_block.block_2.forward(x, appearance);
        see(observer, &format!("{name}.swin2"), &x);
        self.see_volume(observer, &format!("{name}.swin"), &x, n);
        x
    }

    /// Between the classes at each place: `x [N·T, g², C]` to the same shape, guided by text
    /// `[1, T, G]`.
    pub fn across_classes(
        &self,
        x: Tensor<3>,
        text: Tensor<3>,
        name: &str,
        observer: &mut dyn Observer,
    ) -> Tensor<3> {
        let n = x.dims()[0] / text.dims()[1];
        let [sequences, cells, width] = x.dims();
        let classes = sequences / n;
        let pooled = if self.class_pool == 1 {
            x.clone()
                .reshape([n, classes, cells, width])
                .swap_dims(1, 2)
                .reshape([n * cells, classes, width])
        } else {
            kernels::pool_classes(x.clone(), n, self.grid)
        };
        let mixed = self.attention.forward(pooled, text, name, observer);
        // What is spread holds its own residual (docs/network.md §10, step 5).
        let x = if self.class_pool == 1 {
            let mixed = mixed
                .reshape([n, cells, classes, width])
                .swap_dims(1, 2)
                .reshape([sequences, cells, width]);
            kernels::add(mixed, x)
        } else {
            kernels::spread_classes(mixed, x, self.grid)
        };
        self.see_volume(observer, &format!("{name}.out"), &x, n);
        x
    }

    /// Shows `[N·T, g², C]` as the authors keep it, `[N, C, T, g, g]`.
    fn see_volume(&self, observer: &mut dyn Observer, name: &str, x: &Tensor<3>, n: usize) {
        if observer.wants_tensors() {
            let [nt, _, c] = x.dims();
            let volume = x
                .clone()
                .reshape([n, nt / n, self.grid, self.grid, c])
                .permute([0, 4, 1, 2, 3]);
            see(observer, name, &volume);
        }
    }
}
