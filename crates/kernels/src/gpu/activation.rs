//! Activations, each value by itself.

use std::fmt::Write;

use super::{
    CubeTensor, LANES, Shader, full, grid, head, into_contiguous, launch, output, shape, size,
};
use crate::Activation;

/// Values a thread, [`LANES`] apart.
const EACH: usize = 4;

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
    let mut text = head(&[("values", "f32"), ("results", "f32")], 1);
    let _ = writeln!(
        text,
        "let count = {}; let first = (group.x + group.y * groups.x) * {}u + lane;\n\
         for (var i = 0u; i < {EACH}u; i += 1u) {{\n\
         let at = first + i * {LANES}u;\n\
         if (at < count) {{ let x = values[at]; {} results[at] = y; }}\n\
         }}\n}}",
        size(0),
        LANES * EACH,
        formula(activation)
    );
    text
}

/// The same shape, each value by itself.
pub(crate) fn activate(x: CubeTensor, activation: Activation) -> CubeTensor {
    let x = full(x);
    let shape = shape(&x);
    let count: usize = shape.iter().product();
    let out = output(&x, &shape, x.dtype);
    let [columns, rows] = grid(count.div_ceil(LANES * EACH));
    let inputs = vec![into_contiguous(x)];
    launch(
        Shader::Activation(activation),
        [columns, rows, 1],
        inputs,
        &out,
        &[count],
    );
    out
}
