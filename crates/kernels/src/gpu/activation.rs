//! Activations, each value by itself.

use std::fmt::Write;

use super::{CubeTensor, LANES, Shader, grid, head, into_contiguous, launch, output, shape, size};

/// Values a thread, [`LANES`] apart.
const EACH: usize = 4;

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unary {
    /// `x · Φ(x)`.
    Gelu,
    /// `x · σ(1.702 x)`.
    QuickGelu,
}

impl Unary {
    pub fn text(self) -> String {
        let mut text = head(&[("values", "f32"), ("results", "f32")], 1);
        let formula = match self {
            // erf by Abramowitz and Stegun's 7.1.26, at most 1.5e-7 off.
            Self::Gelu => {
                "let z = abs(x) * 0.70710678; let t = 1.0 / (1.0 + 0.3275911 * z);\n\
                 let p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 \
                 + t * 1.061405429))));\n\
                 let erf = sign(x) * (1.0 - p * exp(-z * z)); let y = 0.5 * x * (1.0 + erf);"
            }
            Self::QuickGelu => "let y = x / (1.0 + exp(-1.702 * x));",
        };
        let _ = writeln!(
            text,
            "let count = {}; let first = (group.x + group.y * groups.x) * {}u + lane;\n\
             for (var i = 0u; i < {EACH}u; i += 1u) {{\n\
             let at = first + i * {LANES}u;\n\
             if (at < count) {{ let x = values[at]; {formula} results[at] = y; }}\n\
             }}\n}}",
            size(0),
            LANES * EACH
        );
        text
    }
}

/// The same shape, each value by itself.
pub(crate) fn unary(x: CubeTensor, unary: Unary) -> CubeTensor {
    let shape = shape(&x);
    let count: usize = shape.iter().product();
    let out = output(&x, &shape);
    let [columns, rows] = grid(count.div_ceil(LANES * EACH));
    let inputs = vec![into_contiguous(x)];
    launch(
        Shader::Unary(unary),
        [columns, rows, 1],
        inputs,
        &out,
        &[count],
    );
    out
}
