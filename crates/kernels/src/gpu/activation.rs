//! Activations, each value by itself.

use super::{CubeTensor, Shader, each_value, full, into_contiguous, launch_each, output, shape};
use crate::activation::Activation;

/// A function `activation` of a text.
pub(super) fn function(activation: Activation) -> String {
    format!(
        "fn activation(x: f32) -> f32 {{\n{}\nreturn y;\n}}\n",
        formula(activation)
    )
}

/// What makes `y` of `x`.
pub(super) fn formula(activation: Activation) -> &'static str {
    match activation {
        // erf by Abramowitz and Stegun's 7.1.26, at most 1.5e-7 off.
        Activation::Gelu => {
            "let z = abs(x) * 0.70710678; let t = 1.0 / (1.0 + 0.3275911 * z);\n\
             let p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 \
             + t * 1.061405429))));\n\
             let erf = sign(x) * (1.0 - p * exp(-z * z)); let y = 0.5 * x * (1.0 + erf);"
        }
        Activation::QuickGelu => "let y = x / (1.0 + exp(-1.702 * x));",
        Activation::Relu => "let y = max(x, 0.0);",
        Activation::Sigmoid => "let y = 1.0 / (1.0 + exp(-x));",
    }
}

pub(super) fn text(activation: Activation) -> String {
    let body = format!(
        "let x = values[at]; {} results[at] = y;",
        formula(activation)
    );
    each_value(&[("values", "f32"), ("results", "f32")], 1, &body)
}

/// The same shape, each value by itself.
pub(crate) fn activate(x: CubeTensor, activation: Activation) -> CubeTensor {
    let x = full(x);
    let out = output(&x, &shape(&x), x.dtype);
    let inputs = vec![into_contiguous(x)];
    launch_each(Shader::Activation(activation), inputs, &out, &[]);
    out
}
