//! What classes do with one another at each place: few numbers, but some fifty operations of Burn's, each of which is a
//! launch.

use std::fmt::Write;

use super::{
    CubeTensor, LANES, Shader, dims, each_value, full, grid, head, into_contiguous, launch,
    launch_each, output, size,
};

/// Which operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Classes {
    /// Linear attention in heads of `depth` channels.
    Attention { depth: usize },
    /// Means of `2 × 2` cells.
    Pool,
    /// The way back.
    Spread,
}

impl Classes {
    pub fn text(self) -> String {
        let [_, classes, width, grid] = [0, 1, 2, 3].map(size);
        match self {
            Self::Attention { depth } => attention_text(depth),
            Self::Pool => each_value(
                &[("values", "f32"), ("results", "f32")],
                4,
                &format!(
                    "let classes = {classes}; let width = {width}; let grid = {grid}; let half = grid / 2u;\n\
                     let channel = at % width; let class_ = at / width % classes; let place = at / width / classes;\n\
                     let pair = place / (half * half); let row = place / half % half; let column = place % half;\n\
                     let line = grid * width;\n\
                     let near = ((pair * classes + class_) * grid + 2u * row) * line + 2u * column * width + channel;\n\
                     results[at] = 0.25 * ((values[near] + values[near + line]) \
                     + (values[near + width] + values[near + line + width]));"
                ),
            ),
            // Along each axis: the first of two neighbours, and the second's weight.
            Self::Spread => each_value(
                &[("values", "f32"), ("onto", "f32"), ("results", "f32")],
                4,
                &format!(
                    "let classes = {classes}; let width = {width}; let grid = {grid}; let half = grid / 2u;\n\
                     let channel = at % width; let cell = at / width % (grid * grid);\n\
                     let sequence = at / width / (grid * grid);\n\
                     let pair = sequence / classes; let class_ = sequence % classes;\n\
                     let place = vec2<u32>(cell / grid, cell % grid) * (half - 1u);\n\
                     let most = vec2<u32>(max(half, 2u) - 2u);\n\
                     let near = min(place / (grid - 1u), most);\n\
                     let share = vec2<f32>(place - near * (grid - 1u)) / f32(grid - 1u);\n\
                     let next = vec2<u32>(share > vec2<f32>(0.0)) * vec2<u32>(half, 1u);\n\
                     let step = classes * width;\n\
                     let start = ((pair * half + near.x) * half + near.y) * step + class_ * width + channel;\n\
                     let above = mix(values[start], values[start + next.y * step], share.y);\n\
                     let under = mix(values[start + next.x * step], values[start + (next.x + next.y) * step], share.y);\n\
                     results[at] = onto[at] + mix(above, under, share.x);"
                ),
            ),
        }
    }
}

/// A thread takes a channel of a place: it sums up, for each channel of a key of its head, what that has in common
/// with its own channel of the values, and then meets the queries.
fn attention_text(depth: usize) -> String {
    let buffers = [
        "queries", "keys", "values", "guide_q", "guide_k", "pad_k", "pad_v", "results",
    ]
    .map(|name| (name, "f32"));
    let mut text = head(&buffers, 4);
    let [places, classes, width, pads] = [0, 1, 2, 3].map(size);
    let _ = writeln!(
        text,
        "let places = {places}; let classes = {classes}; let width = {width};\n\
         let channel = group.x * {LANES}u + lane; let own = min(channel, width - 1u);\n\
         let head = own / {depth}u * {depth}u;\n\
         let wanted = group.y + group.z * groups.y; let is_wanted = channel < width && wanted < places;\n\
         let first = min(wanted, places - 1u) * classes * width;\n\
         let pads = bitcast<f32>({pads}); let pad = pad_v[own];"
    );
    // `elu(z) + 1`: `z + 1` above zero, `eᶻ` below.
    let feature = |z: &str| format!("let z = {z}; let f = max(z, 0.0) + exp(min(z, 0.0));");
    for i in 0..depth {
        let feature = feature(&format!("pad_k[head + {i}u]"));
        let _ = writeln!(
            text,
            "var total{i} = 0.0; var product{i} = 0.0;\n\
             {{ {feature} total{i} = f * pads; product{i} = total{i} * pad; }}"
        );
    }
    text += "for (var i = 0u; i < classes; i += 1u) {\n\
             let row = i * width; let at = first + row; let value = values[at + own];\n";
    for i in 0..depth {
        let feature = feature(&format!(
            "keys[at + head + {i}u] + guide_k[row + head + {i}u]"
        ));
        let _ = writeln!(
            text,
            "{{ {feature} total{i} += f; product{i} += f * value; }}"
        );
    }
    text += "}\n\
             for (var i = 0u; i < classes; i += 1u) {\n\
             let row = i * width; let at = first + row; var above = 0.0; var below = 1e-6;\n";
    for i in 0..depth {
        let feature = feature(&format!(
            "queries[at + head + {i}u] + guide_q[row + head + {i}u]"
        ));
        let _ = writeln!(
            text,
            "{{ {feature} above += f * product{i}; below += f * total{i}; }}"
        );
    }
    text + "if (is_wanted) { results[at + own] = above / below; }\n}\n}\n"
}

/// See [`crate::class_attention`].
pub(crate) fn class_attention(
    qkv: [CubeTensor; 3],
    guidance: [CubeTensor; 2],
    pads: [CubeTensor; 2],
    pad_count: f32,
    heads: usize,
) -> CubeTensor {
    let [places, classes, width] = dims(&qkv[0]);
    let inputs: Vec<CubeTensor> = qkv.into_iter().chain(guidance).chain(pads).collect();
    let inputs: Vec<CubeTensor> = inputs.into_iter().map(full).map(into_contiguous).collect();
    let out = output(&inputs[0], &[places, classes, width], inputs[0].dtype);
    let shader = Shader::Classes(Classes::Attention {
        depth: width / heads,
    });
    let [y, z] = grid(places);
    let groups = [width.div_ceil(LANES), y, z];
    let sizes = [places, classes, width, pad_count.to_bits() as usize];
    launch(shader, groups, inputs, &out, &sizes);
    out
}

/// See [`crate::pool_classes`].
pub(crate) fn pool_classes(x: CubeTensor, pairs: usize, grid: usize) -> CubeTensor {
    let x = into_contiguous(full(x));
    let [sequences, _, width] = dims(&x);
    let (classes, half) = (sequences / pairs.max(1), grid / 2);
    let out = output(&x, &[pairs * half * half, classes, width], x.dtype);
    let sizes = [classes, width, grid];
    launch_each(Shader::Classes(Classes::Pool), vec![x], &out, &sizes);
    out
}

/// See [`crate::spread_classes`].
pub(crate) fn spread_classes(x: CubeTensor, onto: CubeTensor, grid: usize) -> CubeTensor {
    let [x, onto] = [x, onto].map(|operand| into_contiguous(full(operand)));
    let [_, classes, width] = dims(&x);
    let out = output(&onto, &dims::<3>(&onto), onto.dtype);
    let sizes = [classes, width, grid];
    launch_each(
        Shader::Classes(Classes::Spread),
        vec![x, onto],
        &out,
        &sizes,
    );
    out
}
