//! Multi-head attention that never allocates a buffer above the smallest common limit.

use std::sync::Arc;

use burn::tensor::Tensor;
use mmovseg_kernels::{self as kernels, WindowBias};

/// Largest score buffer of one call, in bytes: half of WebGPU's default binding limit of 128 MiB,
/// since softmax may hold a second one (docs/network.md §2.1).
const SCORE_BYTES_MAX: usize = 64 << 20;

/// What keeps a query from a key.
pub(crate) enum Mask {
    /// Nothing.
    None,
    /// Keys after the query.
    Causal,
    /// A bias added to the scores, by window.
    Bias(Arc<WindowBias>),
}

/// `softmax(q kᵀ · d^-½ + mask) v` for `[N, heads, L, d]`.
///
/// The kernels never hold all scores. Where there is none (training on a graphics card) the work is
/// split so that no score buffer exceeds [`SCORE_BYTES_MAX`]: first over sequences, then over
/// queries. Rows of the softmax do not see one another, so the split is exact.
pub(crate) fn attend(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, mask: &Mask) -> Tensor<4> {
    let [n, heads, length, _] = q.dims();
    let causal;
    let (bias, period) = match mask {
        Mask::Bias(bias) => (Some(bias), bias.period()),
        Mask::None => (None, 1),
        Mask::Causal => {
            causal = Arc::new(WindowBias::causal(length));
            (Some(&causal), 1)
        }
    };
    if let Some(mixed) = kernels::attention(&q, &k, &v, bias) {
        return mixed;
    }
    let sequence_bytes = heads * length * length * 4;
    let group = (SCORE_BYTES_MAX / sequence_bytes.max(1)) / period * period;
    if group >= n {
        return attend_group(q, k, v, mask);
    }
    if group >= period && group > 0 {
        let parts = (0..n)
            .step_by(group)
            .map(|start| {
                let len = group.min(n - start);
                let cut = |t: &Tensor<4>| t.clone().narrow(0, start, len);
                attend_group(cut(&q), cut(&k), cut(&v), mask)
            })
            .collect();
        return Tensor::cat(parts, 0);
    }
    // One sequence alone is too large: cut its queries. Masked sequences are short windows or
    // prompts and never get here.
    let rows = (SCORE_BYTES_MAX / (heads * length * 4)).max(1);
    let sequences = (0..n)
        .map(|i| {
            let cut = |t: &Tensor<4>| t.clone().narrow(0, i, 1);
            let (k, v) = (cut(&k), cut(&v));
            let q = cut(&q);
            let parts = (0..length)
                .step_by(rows)
                .map(|start| {
                    let q = q.clone().narrow(2, start, rows.min(length - start));
                    kernels::reference::attention(q, k.clone(), v.clone(), None, false)
                })
                .collect();
            Tensor::cat(parts, 2)
        })
        .collect();
    Tensor::cat(sequences, 0)
}

fn attend_group(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, mask: &Mask) -> Tensor<4> {
    match mask {
        Mask::None => kernels::reference::attention(q, k, v, None, false),
        Mask::Causal => kernels::reference::attention(q, k, v, None, true),
        Mask::Bias(bias) => kernels::reference::attention(q, k, v, Some(bias), false),
    }
}

/// `[N, L, heads·d]` to `[N, heads, L, d]`: heads are contiguous slices of the channels.
pub(crate) fn split_heads(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [n, length, width] = x.dims();
    x.reshape([n, length, heads, width / heads]).swap_dims(1, 2)
}

/// The inverse of [`split_heads`].
pub(crate) fn merge_heads(x: Tensor<4>) -> Tensor<3> {
    let [n, heads, length, width] = x.dims();
    x.swap_dims(1, 2).reshape([n, length, heads * width])
}
