//! Reference of attention.

use burn::tensor::Tensor;
use burn::tensor::module::attention as burn_attention;
use burn::tensor::ops::AttentionModuleOptions;

use crate::bias::WindowBias;

/// `softmax(d^-½ · q kᵀ + bias) v` for `[N, heads, L, d]`; with `is_causal`, keys after a query are
/// masked. Burn holds all scores `[N, heads, L, L]` in a buffer: the caller bounds its size.
#[must_use]
pub fn attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    bias: Option<&WindowBias>,
    is_causal: bool,
) -> Tensor<4> {
    let [n, heads, length, width] = q.dims();
    let bias = bias.map(|bias| {
        let period = bias.period();
        bias.tensor(&q.device())
            .reshape([1, period, 1, length * length])
            .expand([n / period, period, heads, length * length])
            .reshape([n, heads, length, length])
    });
    let options = AttentionModuleOptions {
        scale: Some((width as f64).powf(-0.5)),
        softcap: None,
        is_causal,
    };
    burn_attention(q, k, v, None, bias, options)
}
