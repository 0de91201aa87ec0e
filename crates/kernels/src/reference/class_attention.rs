//! Reference of linear attention among classes.

use burn::tensor::{Tensor, activation};

/// See [`crate::class_attention`].
#[must_use]
pub fn class_attention(
    [q, k, v]: [Tensor<3>; 3],
    [guidance_q, guidance_k]: [Tensor<3>; 2],
    [pad_k, pad_v]: [Tensor<3>; 2],
    pad_count: usize,
    heads: usize,
) -> Tensor<3> {
    let [places, classes, width] = q.dims();
    // elu(z) + 1: z + 1 above zero, eᶻ below.
    let feature = |z: Tensor<3>| activation::relu(z.clone()) + z.clamp_max(0.0).exp();
    let split = |x: Tensor<3>| {
        let [n, length, _] = x.dims();
        x.reshape([n, length, heads, width / heads]).swap_dims(1, 2)
    };
    let q = split(feature(q + guidance_q));
    let k = split(feature(k + guidance_k));
    let pad_k = split(feature(pad_k)) * pad_count as f64;
    // Σₛ φ(kₛ) vₛᵀ [M, heads, d, d] and Σₛ φ(kₛ) [M, heads, 1, d].
    let products = k.clone().swap_dims(2, 3).matmul(split(v));
    let products = products + pad_k.clone().swap_dims(2, 3).matmul(split(pad_v));
    let sums = k.sum_dim(2) + pad_k;
    let denominator = q.clone().matmul(sums.swap_dims(2, 3)) + 1e-6;
    let out = q.matmul(products) / denominator;
    out.swap_dims(1, 2).reshape([places, classes, width])
}
