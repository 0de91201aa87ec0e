//! CLIP's text tower (docs/network.md §5).

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::attention::Mask;
use crate::clip_visual::ClipBlock;
use crate::config::TextConfig;
use mmovseg_kernels::{self as kernels, Activation, Epilogue, SpinGuard};

use crate::layers::{LayerNorm, normal};
use crate::observe::{Observer, see};

#[derive(Module, Debug)]
struct TokenTable {
    weight: Param<Tensor<2>>,
}

/// CLIP's text tower: token ids in, one unit vector a prompt out.
#[derive(Module, Debug)]
pub struct TextTower {
    token_embedding: TokenTable,
    positional_embedding: Param<Tensor<2>>,
    resblocks: Vec<ClipBlock>,
    ln_final: LayerNorm,
    text_projection: Param<Tensor<2>>,
    #[module(skip)]
    config: TextConfig,
}

impl TextTower {
    /// A tower with random weights.
    #[must_use]
    pub fn new(config: &TextConfig, device: &Device) -> Self {
        let width = config.width;
        let table_bytes = config.vocab * width * size_of::<f32>();
        let table_device = kernels::table_device(device, table_bytes);
        Self {
            token_embedding: TokenTable {
                weight: normal([config.vocab, width], 0.02, &table_device),
            },
            positional_embedding: normal([config.context, width], 0.01, device),
            resblocks: (0..config.layers)
                .map(|_| ClipBlock::new(width, config.heads, false, device))
                .collect(),
            ln_final: LayerNorm::new(width, 1e-5, device),
            text_projection: normal([width, config.embed], (width as f64).powf(-0.5), device),
            config: config.clone(),
        }
    }

    /// This tower with another activation than that of `OpenAI`'s weights.
    #[must_use]
    pub(crate) fn with_activation(mut self, activation: Activation) -> Self {
        self.resblocks = self
            .resblocks
            .into_iter()
            .map(|block| block.with_activation(activation))
            .collect();
        self
    }

    /// This tower with another token table, `[vocab, W]` flat.
    ///
    /// # Panics
    /// When there are not that many values: a fault of the caller.
    #[must_use]
    pub fn with_table(mut self, values: Vec<f32>) -> Self {
        let shape = [self.config.vocab, self.config.width];
        let device = self.positional_embedding.val().device();
        self.token_embedding.weight = Param::from_data(TensorData::new(values, shape), &device);
        self
    }

    /// Longest sequence that the position table holds.
    #[must_use]
    pub fn context(&self) -> usize {
        self.config.context
    }

    /// Embeds prompts: each is `SOT + ids + EOT`, at most [`TextTower::context`] long.
    /// Gives unit vectors `[T, E]`.
    ///
    /// Sequences are padded with 0 to the longest of the call only: the mask is causal, so what
    /// stands after the end mark cannot reach it (docs/network.md §5, checked to 3e-6). The end
    /// mark is the row of the largest id.
    pub fn forward(&self, prompts: &[Vec<u32>], observer: &mut dyn Observer) -> Tensor<2> {
        let device = self.positional_embedding.val().device();
        let _spinning = SpinGuard::new(&device);
        let length = prompts
            .iter()
            .map(Vec::len)
            .max()
            .unwrap_or(1)
            .clamp(1, self.config.context);
        let count = prompts.len();
        let mut ids = vec![0i32; count * length];
        let mut pick = vec![0.0f32; count * length];
        for (t, prompt) in prompts.iter().enumerate() {
            let prompt = &prompt[..prompt.len().min(length)];
            for (i, &id) in prompt.iter().enumerate() {
                ids[t * length + i] = id as i32;
            }
            let end =
                prompt.iter().enumerate().fold(
                    (0, 0),
                    |best, (i, &id)| {
                        if id > best.1 { (i, id) } else { best }
                    },
                );
            pick[t * length + end.0] = 1.0;
        }
        // The table may have stayed with the CPU (`kernels::table_device`); its rows go where the
        // tower is.
        let table = self.token_embedding.weight.val();
        let ids: Tensor<1, Int> =
            Tensor::from_data(TensorData::new(ids, [count * length]), &table.device());
        let pick: Tensor<3> = Tensor::from_data(TensorData::new(pick, [count, 1, length]), &device);

        let width = self.config.width;
        let rows = table.select(0, ids);
        let rows = if rows.device() == device {
            rows
        } else {
            rows.to_device(&device)
        };
        let tokens = rows.reshape([count, length, width]);
        let positions = self
            .positional_embedding
            .val()
            .narrow(0, 0, length)
            .unsqueeze::<3>();
        let mut x = tokens + positions;
        for (i, block) in self.resblocks.iter().enumerate() {
            x = block.forward(x, &Mask::Causal);
            see(observer, &format!("text.block{i:02}"), &x);
            observer.block(i + 1, self.config.layers);
        }
        let x = self.ln_final.forward(x);
        see(observer, "text.ln_final", &x);
        let ends = pick.matmul(x).reshape([count, width]);
        let projected = kernels::linear(
            ends,
            self.text_projection.val().transpose(),
            None,
            Epilogue::None,
        );
        see(observer, "text.eot_projected", &projected);
        let norm = projected.clone().square().sum_dim(1).sqrt();
        let text = projected / norm;
        see(
            observer,
            "text.embeddings",
            &text.clone().reshape([count, 1, self.config.embed]),
        );
        text
    }
}
