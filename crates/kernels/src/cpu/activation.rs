//! GELU and CLIP's QuickGELU.

use burn::backend::flex::FlexTensor;

use super::math::{exp, normal};
use super::{contiguous, in_parts, own, tensor, vectorised};

/// `f` of each value and of whether it may fuse, see [`vectorised`].
fn map(x: FlexTensor, f: impl Fn(f32, bool) -> f32 + Sync + Copy) -> FlexTensor {
    let mut x = own(x);
    let len = x.layout().num_elements();
    in_parts(&mut x.storage_mut::<f32>()[..len], 1, |_, part| {
        vectorised(
            #[inline(always)]
            |fused| {
                // A loop of our own: `for_each` need not be inlined, and outside there is nothing to fuse with.
                for x in part.iter_mut() {
                    *x = f(*x, fused);
                }
            },
        );
    });
    x
}

fn map_two(
    x: &FlexTensor,
    y: &FlexTensor,
    f: impl Fn(f32, f32, bool) -> f32 + Sync + Copy,
) -> FlexTensor {
    let (x, y) = (contiguous(x), contiguous(y));
    let len = x.layout().num_elements();
    let (a, b) = (&x.storage::<f32>()[..len], &y.storage::<f32>()[..len]);
    let mut out = vec![0.0f32; len];
    in_parts(&mut out, 1, |first, part| {
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
    tensor(out, x.layout().shape().to_vec())
}

/// `x · Φ(x)`.
pub(crate) fn gelu(x: FlexTensor) -> FlexTensor {
    map(
        x,
        #[inline(always)]
        |x, fused| x * normal(x, fused).0,
    )
}

/// `grad · (Φ(x) + x φ(x))`.
pub(crate) fn gelu_backward(x: &FlexTensor, grad: &FlexTensor) -> FlexTensor {
    map_two(
        x,
        grad,
        #[inline(always)]
        |x, grad, fused| {
            let (below, density) = normal(x, fused);
            grad * (below + x * density)
        },
    )
}

#[inline(always)]
fn sigmoid(x: f32, fused: bool) -> f32 {
    1.0 / (1.0 + exp(-x, fused))
}

/// `x · σ(1.702 x)`.
pub(crate) fn quick_gelu(x: FlexTensor) -> FlexTensor {
    map(
        x,
        #[inline(always)]
        |x, fused| x * sigmoid(1.702 * x, fused),
    )
}

/// `grad · σ(s) (1 + s (1 − σ(s)))` with `s = 1.702 x`.
pub(crate) fn quick_gelu_backward(x: &FlexTensor, grad: &FlexTensor) -> FlexTensor {
    map_two(
        x,
        grad,
        #[inline(always)]
        |x, grad, fused| {
            let s = 1.702 * x;
            let gate = sigmoid(s, fused);
            grad * gate * (1.0 + s * (1.0 - gate))
        },
    )
}
