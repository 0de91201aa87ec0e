//! Attention that never writes its scores: a thread holds queries and their results, and meets the keys a few at
//! a time; the largest score so far is taken out of all exponentials.

use std::fmt::Write;

use super::block::places;
use super::{
    CubeTensor, LANES, Shader, as_numbers, dims, head, into_contiguous, is_half, launch, output,
    permute, size,
};

/// Keys met at a time.
const KEYS: usize = 4;
/// Values of a query that a thread has registers for, beside as many of its result.
const REGISTERS: usize = 64;

/// Heads of a width that is a multiple of four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Attention {
    width: usize,
    is_biased: bool,
    is_half: bool,
    /// Queries, keys and values are thirds of one tensor, which may be bound only once.
    is_packed: bool,
}

impl Attention {
    /// Queries of a thread, [`LANES`] apart: a key that is read serves all of them.
    fn queries(self) -> usize {
        (REGISTERS / self.width).clamp(1, 2)
    }

    pub fn text(self) -> String {
        let (quads, queries) = (self.width / 4, self.queries());
        let quad_of = if self.is_half {
            "vec4<f16>"
        } else {
            "vec4<f32>"
        };
        let [queries_of, keys_of, values_of] = if self.is_packed {
            ["thirds"; 3]
        } else {
            ["queries", "keys", "values"]
        };
        let mut buffers = vec![(queries_of, quad_of)];
        if !self.is_packed {
            buffers.extend([(keys_of, quad_of), (values_of, quad_of)]);
        }
        if self.is_biased {
            buffers.push(("bias", "f32"));
        }
        buffers.push(("results", quad_of));
        let mut text = head(&buffers, 13);
        let [length, heads, scale, period] = [0, 1, 2, 3].map(size);
        let [query_at, key_at, value_at] = [0, 1, 2].map(|operand| {
            let [n, head] = [4, 5].map(|i| size(i + 3 * operand));
            let third = if self.is_packed { operand * quads } else { 0 };
            format!("group.z * {n} + group.y * {head} + heads * {third}u")
        });
        let [next_query, next_key, next_value] = [6, 9, 12].map(size);
        let _ = writeln!(
            text,
            "let length = {length}; let heads = {heads}; let scale = bitcast<f32>({scale});\n\
             let window = group.z % {period};\n\
             let key_at = {key_at}; let next_key = {next_key};\n\
             let value_at = {value_at}; let next_value = {next_value};",
        );
        for i in 0..queries {
            let _ = writeln!(
                text,
                "let place{i} = group.x * {}u + {}u + lane; let query{i} = min(place{i}, length - 1u);\n\
                 let at{i} = {query_at} + query{i} * {next_query};\n\
                 var largest{i} = -1e30; var total{i} = 0.0;",
                LANES * queries,
                LANES * i
            );
            if self.is_biased {
                let _ = writeln!(text, "let bias{i} = window * length * length + query{i};");
            }
            for quad in 0..quads {
                let _ = writeln!(
                    text,
                    "let q{i}_{quad} = vec4<f32>({queries_of}[at{i} + {quad}u]) * scale; var sum{i}_{quad} = vec4<f32>(0.0);"
                );
            }
        }
        let _ = writeln!(text, "for (var key = 0u; key < length; key += {KEYS}u) {{");
        for j in 0..KEYS {
            let _ = writeln!(text, "let key{j} = min(key + {j}u, length - 1u);");
        }
        for (i, j) in places(queries, KEYS) {
            let start = if self.is_biased {
                format!("bias[bias{i} + key{j} * length]")
            } else {
                "0.0".to_owned()
            };
            let _ = writeln!(text, "var score{i}_{j} = {start};");
        }
        for j in 0..KEYS {
            let _ = writeln!(text, "let k{j} = key_at + key{j} * next_key;");
            for quad in 0..quads {
                let _ = writeln!(
                    text,
                    "let k{j}_{quad} = vec4<f32>({keys_of}[k{j} + {quad}u]);"
                );
                for i in 0..queries {
                    let _ = writeln!(text, "score{i}_{j} += dot(q{i}_{quad}, k{j}_{quad});");
                }
            }
        }
        for i in 0..queries {
            for j in 1..KEYS {
                let _ = writeln!(
                    text,
                    "score{i}_{j} = select(-1e30, score{i}_{j}, key + {j}u < length);"
                );
            }
            let top = (0..KEYS).fold(format!("largest{i}"), |all, j| {
                format!("max({all}, score{i}_{j})")
            });
            let _ = writeln!(
                text,
                "let top{i} = {top}; let shrink{i} = exp(largest{i} - top{i}); largest{i} = top{i};\n\
                 total{i} *= shrink{i};"
            );
            for j in 0..KEYS {
                let _ = writeln!(
                    text,
                    "let p{i}_{j} = exp(score{i}_{j} - top{i}); total{i} += p{i}_{j};"
                );
            }
        }
        for j in 0..KEYS {
            let _ = writeln!(text, "let v{j} = value_at + key{j} * next_value;");
        }
        for quad in 0..quads {
            for j in 0..KEYS {
                let _ = writeln!(
                    text,
                    "let v{j}_{quad} = vec4<f32>({values_of}[v{j} + {quad}u]);"
                );
            }
            for i in 0..queries {
                let parts: Vec<String> = (0..KEYS)
                    .map(|j| format!("p{i}_{j} * v{j}_{quad}"))
                    .collect();
                let _ = writeln!(
                    text,
                    "sum{i}_{quad} = sum{i}_{quad} * shrink{i} + {};",
                    parts.join(" + ")
                );
            }
        }
        text += "}\n";
        for i in 0..queries {
            let _ = writeln!(
                text,
                "if (place{i} < length) {{\n\
                 let to = ((group.z * length + place{i}) * heads + group.y) * {quads}u;"
            );
            for quad in 0..quads {
                let _ = writeln!(
                    text,
                    "results[to + {quad}u] = {quad_of}(sum{i}_{quad} / total{i});"
                );
            }
            text += "}\n";
        }
        text + "}\n"
    }
}

/// Whether heads of this width are computed here.
pub(crate) fn fits_attention(width: usize) -> bool {
    width.is_multiple_of(4)
}

/// `softmax(scale · q kᵀ + bias) v` for `[N, heads, L, d]`; `bias [period, L, L]` by key, then query. The result
/// lies as `[N, L, heads, d]`, which is how it is used next, and is in the numbers of `q`.
pub(crate) fn attention(
    q: CubeTensor,
    k: CubeTensor,
    v: CubeTensor,
    scale: f32,
    bias: Option<CubeTensor>,
) -> CubeTensor {
    let [n, heads, length, width] = dims(&q);
    let shader = Attention {
        width,
        is_biased: bias.is_some(),
        is_half: is_half(&q),
        is_packed: false,
    };
    let period = bias.as_ref().map_or(1, |bias| bias.meta.shape()[0]);
    let (mut strides, dtype) = (Vec::new(), q.dtype);
    let mut inputs = Vec::new();
    for operand in [q, k, v] {
        let operand = in_quads(as_numbers(operand, dtype));
        strides.extend((0..3).map(|axis| operand.meta.strides()[axis]));
        inputs.push(operand);
    }
    inputs.extend(bias);
    shader.launch(inputs, [n, heads, length], scale, period, &strides)
}

/// The same of thirds `[N, L, 3 · heads · d]`, without bias.
pub(crate) fn attention_packed(qkv: CubeTensor, heads: usize, scale: f32) -> CubeTensor {
    let qkv = into_contiguous(qkv);
    let [n, length, row] = dims(&qkv);
    let width = row / 3 / heads;
    let shader = Attention {
        width,
        is_biased: false,
        is_half: is_half(&qkv),
        is_packed: true,
    };
    let strides = [length * row, width, row].repeat(3);
    shader.launch(vec![qkv], [n, heads, length], scale, 1, &strides)
}

impl Attention {
    /// Of inputs of which queries, keys and values come first, with three strides each.
    fn launch(
        self,
        inputs: Vec<CubeTensor>,
        [n, heads, length]: [usize; 3],
        scale: f32,
        period: usize,
        strides: &[usize],
    ) -> CubeTensor {
        let out = output(&inputs[0], &[n, length, heads, self.width], inputs[0].dtype);
        let mut sizes = vec![length, heads, scale.to_bits() as usize, period];
        sizes.extend(strides.iter().map(|stride| stride / 4));
        let groups = [length.div_ceil(LANES * self.queries()), heads, n];
        launch(Shader::Attention(self), groups, inputs, &out, &sizes);
        permute(out, &[0, 2, 1, 3])
    }
}

/// An operand whose heads can be read four values at a time.
fn in_quads(operand: CubeTensor) -> CubeTensor {
    let strides = operand.meta.strides();
    if strides[3] == 1 && (0..3).all(|axis| strides[axis].is_multiple_of(4)) {
        operand
    } else {
        into_contiguous(operand)
    }
}
