//! Elementwise activations.

use burn::backend::flex::FlexTensor;

use super::math::{exp, normal};
use super::memory::{into_writable, new_tensor, to_contiguous, values};
use super::parallel::for_each_part;
use super::simd::vectorised;
use crate::activation::Activation;

/// `f(x)`; the result takes the memory of an input that nobody else holds.
pub(crate) fn activate(x: FlexTensor, activation: Activation) -> FlexTensor {
    let mut x = into_writable(x);
    let len = x.layout().num_elements();
    for_each_part(&mut x.storage_mut::<f32>()[..len], 1, |_, part| {
        activate_slice(part, activation);
    });
    x
}

/// `f(x)` in place.
pub(crate) fn activate_slice(values: &mut [f32], activation: Activation) {
    match activation {
        Activation::Gelu => map(
            values,
            #[inline(always)]
            |x, fused| x * normal(x, fused).0,
        ),
        Activation::QuickGelu => map(
            values,
            #[inline(always)]
            |x, fused| x * sigmoid(1.702 * x, fused),
        ),
        Activation::Relu => map(
            values,
            // Keeps NaN, unlike `max`.
            #[inline(always)]
            |x, _| if x < 0.0 { 0.0 } else { x },
        ),
        Activation::Sigmoid => map(values, sigmoid),
    }
}

/// Applies `f(value, fused)`; see [`vectorised`].
fn map(values: &mut [f32], f: impl Fn(f32, bool) -> f32) {
    vectorised(
        #[inline(always)]
        |fused| {
            // A `for` loop: `for_each` may not be inlined into the vectorised function.
            for x in values.iter_mut() {
                *x = f(*x, fused);
            }
        },
    );
}

/// The gradient of the input: `grad · (Φ(x) + x φ(x))` for GELU; `grad · σ(s) (1 + s (1 − σ(s)))`
/// with `s = 1.702 x` for QuickGELU; `grad` above zero for ReLU; `grad · σ(x) (1 − σ(x))` for the
/// sigmoid.
pub(crate) fn activate_backward(
    x: &FlexTensor,
    grad: &FlexTensor,
    activation: Activation,
) -> FlexTensor {
    match activation {
        Activation::Gelu => map_two(
            x,
            grad,
            #[inline(always)]
            |x, grad, fused| {
                let (below, density) = normal(x, fused);
                grad * (below + x * density)
            },
        ),
        Activation::QuickGelu => map_two(
            x,
            grad,
            #[inline(always)]
            |x, grad, fused| {
                let s = 1.702 * x;
                let gate = sigmoid(s, fused);
                grad * gate * (1.0 + s * (1.0 - gate))
            },
        ),
        Activation::Relu => map_two(
            x,
            grad,
            #[inline(always)]
            |x, grad, _| if x > 0.0 { grad } else { 0.0 },
        ),
        Activation::Sigmoid => map_two(
            x,
            grad,
            #[inline(always)]
            |x, grad, fused| {
                let y = sigmoid(x, fused);
                grad * y * (1.0 - y)
            },
        ),
    }
}

fn map_two(
    x: &FlexTensor,
    y: &FlexTensor,
    f: impl Fn(f32, f32, bool) -> f32 + Sync + Copy,
) -> FlexTensor {
    let (x, y) = (to_contiguous(x), to_contiguous(y));
    let (a, b) = (values(&x), values(&y));
    let mut out = vec![0.0f32; a.len()];
    for_each_part(&mut out, 1, |first, part| {
        let a = &a[first..first + part.len()];
        let b = &b[first..first + part.len()];
        vectorised(
            #[inline(always)]
            |fused| {
                for ((out, &x), &y) in part.iter_mut().zip(a).zip(b) {
                    *out = f(x, y, fused);
                }
            },
        );
    });
    new_tensor(out, x.layout().shape().to_vec())
}

#[inline(always)]
fn sigmoid(x: f32, fused: bool) -> f32 {
    1.0 / (1.0 + exp(-x, fused))
}
