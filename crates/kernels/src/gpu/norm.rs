//! Norms: a few threads take each run of values that is normalised together, and meet once.

use std::fmt::Write;

use super::{
    CubeTensor, LANES, Shader, dims, grid, head, into_contiguous, launch, output, shape, size,
};

/// What is normalised together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Norm {
    /// A row; each value has its own gain.
    Layer,
    /// The channels of a group; each channel has its own gain.
    Group,
}

impl Norm {
    /// Threads of a run. A row is short, and a workgroup takes many: what a barrier costs, it costs a workgroup.
    fn threads(self) -> usize {
        match self {
            Self::Layer => 4,
            Self::Group => LANES,
        }
    }

    /// The mean and the variance come from one pass over the differences from the run's first value, which is
    /// as near to the mean as the spread: nothing cancels.
    pub fn text(self) -> String {
        let buffers = ["values", "gain", "shift", "results"].map(|name| (name, "f32"));
        let mut text = format!("var<workgroup> parts: array<vec2<f32>, {LANES}>;\n");
        text += &head(&buffers, 5);
        let threads = self.threads();
        let [runs, length, area, channels, eps] = [0, 1, 2, 3, 4].map(size);
        let _ = writeln!(
            text,
            "let length = {length}; let area = {area}; let channels = {channels}; let runs = {runs};\n\
             let wanted = (group.x + group.y * groups.x) * {}u + lane / {threads}u;\n\
             let run = min(wanted, runs - 1u); let first = run * length; let start = lane % {threads}u;\n\
             let pivot = values[first];\n\
             var sum = 0.0; var squares = 0.0;\n\
             for (var i = start; i < length; i += {threads}u) {{\n\
             let off = values[first + i] - pivot; sum += off; squares += off * off;\n\
             }}\n\
             parts[lane] = vec2<f32>(sum, squares);\n\
             workgroupBarrier();\n\
             var both = vec2<f32>(0.0);\n\
             for (var i = 0u; i < {threads}u; i += 1u) {{ both += parts[lane - start + i]; }}\n\
             both /= f32(length);\n\
             let mean = pivot + both.x;\n\
             let scale = inverseSqrt(max(both.y - both.x * both.x, 0.0) + bitcast<f32>({eps}));\n\
             if (wanted < runs) {{\n\
             for (var i = start; i < length; i += {threads}u) {{",
            LANES / threads
        );
        let channel = match self {
            Self::Layer => "i",
            Self::Group => "(first + i) / area % channels",
        };
        let _ = writeln!(
            text,
            "let channel = {channel};\n\
             results[first + i] = (values[first + i] - mean) * scale * gain[channel] + shift[channel];\n\
             }}\n}}\n}}"
        );
        text
    }
}

fn norm(
    norm: Norm,
    operands: [CubeTensor; 3],
    [length, area, channels]: [usize; 3],
    eps: f32,
) -> CubeTensor {
    let shape = shape(&operands[0]);
    let runs = shape.iter().product::<usize>() / length.max(1);
    let out = output(&operands[0], &shape);
    let [columns, rows] = grid(runs.div_ceil(LANES / norm.threads()));
    let inputs = operands.map(into_contiguous).into();
    let sizes = [runs, length, area, channels, eps.to_bits() as usize];
    launch(Shader::Norm(norm), [columns, rows, 1], inputs, &out, &sizes);
    out
}

/// Over the last axis.
pub(crate) fn layer_norm(
    x: CubeTensor,
    gain: CubeTensor,
    shift: CubeTensor,
    eps: f32,
) -> CubeTensor {
    let [width] = dims(&gain);
    norm(Norm::Layer, [x, gain, shift], [width, 1, width], eps)
}

/// Over `[N, C, H, W]` with biased variance.
pub(crate) fn group_norm(
    x: CubeTensor,
    gain: CubeTensor,
    shift: CubeTensor,
    groups: usize,
    eps: f32,
) -> CubeTensor {
    let [_, c, h, w] = dims(&x);
    let sizes = [c / groups * h * w, h * w, c];
    norm(Norm::Group, [x, gain, shift], sizes, eps)
}
