//! Attention.

use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::permute;
use burn_cubecl::tensor::CubeTensor;

use super::launch::{Kernel, LANES, dims, is_half, launch, output, to_dtype};
use super::template::Template;

/// Keys met at a time.
const KEYS: usize = 4;
/// Values of queries that a thread holds in registers, besides as many of their results.
const REGISTERS: usize = 64;

/// `attention.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Attention {
    /// Of a head; a multiple of four.
    width: usize,
    has_bias: bool,
    is_half: bool,
    is_packed: bool,
}

impl Kernel for Attention {
    fn text(self) -> String {
        Template::new()
            .constant("QUADS", self.width / 4)
            .constant("QUERIES", self.queries())
            .constant("KEYS", KEYS)
            .constant(
                "QUAD",
                if self.is_half {
                    "vec4<f16>"
                } else {
                    "vec4<f32>"
                },
            )
            .flag("BIAS", self.has_bias)
            .flag("F16", self.is_half)
            .flag("PACKED", self.is_packed)
            .expand(include_str!("attention.wgsl"))
    }
}

impl Attention {
    /// Queries of a thread: a key that is read serves all of them.
    fn queries(self) -> usize {
        (REGISTERS / self.width).clamp(1, 2)
    }

    /// `inputs` are queries, keys and values, or all packed, and the bias. Of the former three
    /// `strides` each, in values: sequence, head, position.
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
        launch(self, groups, inputs, &out, &sizes);
        permute(out, &[0, 2, 1, 3])
    }
}

/// Whether the kernel takes heads of this width.
pub(crate) fn fits_attention(width: usize) -> bool {
    width.is_multiple_of(4)
}

/// `softmax(scale · q kᵀ + bias) v` for `[N, heads, L, d]`; `bias [period, L, L]` by key, then
/// query. The result is `[N, L, heads, d]` in memory, the order in which heads are merged, and has
/// the type of `q`.
pub(crate) fn attention(
    q: CubeTensor,
    k: CubeTensor,
    v: CubeTensor,
    scale: f32,
    bias: Option<CubeTensor>,
) -> CubeTensor {
    let [n, heads, length, width] = dims(&q);
    let kernel = Attention {
        width,
        has_bias: bias.is_some(),
        is_half: is_half(&q),
        is_packed: false,
    };
    let period = bias.as_ref().map_or(1, |bias| bias.meta.shape()[0]);
    let (mut strides, dtype) = (Vec::new(), q.dtype);
    let mut inputs = Vec::new();
    for operand in [q, k, v] {
        let operand = in_quads(to_dtype(operand, dtype));
        strides.extend((0..3).map(|axis| operand.meta.strides()[axis]));
        inputs.push(operand);
    }
    inputs.extend(bias);
    kernel.launch(inputs, [n, heads, length], scale, period, &strides)
}

/// Attention of queries, keys and values packed as thirds of `[N, L, 3 · heads · d]`, without bias.
pub(crate) fn attention_packed(qkv: CubeTensor, heads: usize, scale: f32) -> CubeTensor {
    let qkv = into_contiguous(qkv);
    let [n, length, row] = dims(&qkv);
    let width = row / 3 / heads;
    let kernel = Attention {
        width,
        has_bias: false,
        is_half: is_half(&qkv),
        is_packed: true,
    };
    let strides = [length * row, width, row].repeat(3);
    kernel.launch(vec![qkv], [n, heads, length], scale, 1, &strides)
}

/// The operand, copied where its heads cannot be read as aligned vectors of four values.
fn in_quads(operand: CubeTensor) -> CubeTensor {
    let strides = operand.meta.strides();
    if strides[3] == 1 && (0..3).all(|axis| strides[axis].is_multiple_of(4)) {
        operand
    } else {
        into_contiguous(operand)
    }
}
