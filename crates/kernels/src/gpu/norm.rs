//! Norms: a few threads take each run of values that is normalised together, and meet once.

use std::fmt::Write;

use burn::tensor::DType;

use super::activation::formula;
use super::{
    CubeTensor, LANES, Shader, dims, full, grid, head, into_contiguous, is_half, launch, output,
    shape, size, team_head,
};
use crate::Activation;

/// What is normalised together, and by which of its kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Norm {
    /// A row; each value has its own gain. Results are in half precision where gains are.
    Layer { is_half: bool },
    /// A row, brought to unit length.
    Unit,
    /// The channels of a group; each channel has its own gain. Then the activation.
    Group(Option<Activation>),
    /// The sums of pieces of a group, for groups so long that the few threads of one workgroup would be all that a
    /// graphics card has to do.
    Sums,
    /// Pieces of a group, normalised by these sums. Then the activation.
    Scaled(Option<Activation>),
}

/// Values of a piece of a long group.
const PIECE: usize = 4096;
/// Most pieces of a group: each workgroup reads the sums of all.
const PIECES_MAX: usize = 64;

/// Adds up what a thread sees from `start` to `end`, `threads` apart, as differences from the run's first value,
/// which is as near to the mean as the spread: nothing cancels.
fn sums(start: &str, end: &str, threads: usize) -> String {
    format!(
        "let pivot = values[first];\n\
         var sum = 0.0; var squares = 0.0;\n\
         for (var i = {start}; i < {end}; i += {threads}u) {{\n\
         let off = values[first + i] - pivot; sum += off; squares += off * off;\n\
         }}\n"
    )
}

/// Writes what a thread normalises from `start` to `end`, `threads` apart, given `both`, the sums of the run.
fn scaled(
    (start, end, threads): (&str, &str, usize),
    eps: &str,
    channel: &str,
    activation: Option<Activation>,
    number: &str,
) -> String {
    let mut text = format!(
        "both /= f32(length);\n\
         let mean = pivot + both.x;\n\
         let scale = inverseSqrt(max(both.y - both.x * both.x, 0.0) + bitcast<f32>({eps}));\n\
         if (is_wanted) {{\n\
         for (var i = {start}; i < {end}; i += {threads}u) {{\n\
         let channel = {channel};\n\
         let x = (values[first + i] - mean) * scale * f32(gain[channel]) + shift[channel];\n"
    );
    text += activation.map_or("let y = x;", formula);
    let _ = write!(text, "\nresults[first + i] = {number}(y);\n}}\n}}\n}}");
    text
}

impl Norm {
    /// Threads of a run. A row is short, and a workgroup takes many: what a barrier costs, it costs a workgroup.
    fn threads(self) -> usize {
        match self {
            Self::Layer { .. } | Self::Unit => 4,
            Self::Group(_) | Self::Sums | Self::Scaled(_) => LANES,
        }
    }

    pub fn text(self) -> String {
        const CHANNEL: &str = "(first + i) / area % channels";
        match self {
            Self::Layer { is_half } => self.whole("i", None, if is_half { "f16" } else { "f32" }),
            Self::Unit => {
                let mut text = team_head(&parts(), &[("values", "f32"), ("results", "f32")], 2, 1);
                text += &self.run();
                let threads = self.threads();
                text + &format!(
                    "var squares = 0.0;\n\
                     for (var i = start; i < length; i += {threads}u) {{\n\
                     let x = values[first + i]; squares += x * x;\n\
                     }}\n\
                     parts[lane] = vec2<f32>(squares, 0.0);\n\
                     workgroupBarrier();\n\
                     squares = 0.0;\n\
                     for (var i = 0u; i < {threads}u; i += 1u) {{ squares += parts[lane - start + i].x; }}\n\
                     let scale = inverseSqrt(max(squares, 1e-24));\n\
                     if (is_wanted) {{\n\
                     for (var i = start; i < length; i += {threads}u) {{ results[first + i] = values[first + i] * scale; }}\n\
                     }}\n}}"
                )
            }
            Self::Group(activation) => self.whole(CHANNEL, activation, "f32"),
            Self::Sums => {
                let buffers = [("values", "f32"), ("results", "vec2<f32>")];
                let mut text = team_head(&parts(), &buffers, 4, 1);
                text += &piece();
                text += &sums("begin + lane", "end", LANES);
                let _ = write!(
                    text,
                    "parts[lane] = vec2<f32>(sum, squares);\n\
                     workgroupBarrier();\n\
                     if (lane == 0u && is_wanted) {{\n\
                     var both = vec2<f32>(0.0);\n\
                     for (var i = 0u; i < {LANES}u; i += 1u) {{ both += parts[i]; }}\n\
                     results[run * groups.x + group.x] = both;\n\
                     }}\n}}"
                );
                text
            }
            Self::Scaled(activation) => {
                let buffers = [
                    ("values", "f32"),
                    ("sums", "vec2<f32>"),
                    ("gain", "f32"),
                    ("shift", "f32"),
                    ("results", "f32"),
                ];
                let mut text = head(&buffers, 6);
                text += &piece();
                let [area, channels, eps] = [3, 4, 5].map(size);
                let _ = writeln!(
                    text,
                    "let area = {area}; let channels = {channels}; let pivot = values[first];\n\
                     var both = vec2<f32>(0.0);\n\
                     for (var i = 0u; i < groups.x; i += 1u) {{ both += sums[run * groups.x + i]; }}"
                );
                let range = ("begin + lane", "end", LANES);
                text + &scaled(range, &eps, CHANNEL, activation, "f32")
            }
        }
    }

    /// Which run a thread takes part in, and from where.
    fn run(self) -> String {
        let threads = self.threads();
        let [runs, length] = [0, 1].map(size);
        format!(
            "let length = {length}; let runs = {runs};\n\
             let wanted = (group.x + group.y * groups.x) * {}u + lane / {threads}u;\n\
             let is_wanted = wanted < runs;\n\
             let run = min(wanted, runs - 1u); let first = run * length; let start = lane % {threads}u;\n",
            LANES / threads
        )
    }

    /// A run in one go, by the threads of a part of a workgroup.
    fn whole(self, channel: &str, activation: Option<Activation>, number: &str) -> String {
        let buffers = [
            ("values", "f32"),
            ("gain", number),
            ("shift", "f32"),
            ("results", number),
        ];
        let mut text = team_head(&parts(), &buffers, 5, 1);
        text += &self.run();
        let threads = self.threads();
        let [area, channels, eps] = [2, 3, 4].map(size);
        let _ = writeln!(text, "let area = {area}; let channels = {channels};");
        text += &sums("start", "length", threads);
        let _ = writeln!(
            text,
            "parts[lane] = vec2<f32>(sum, squares);\n\
             workgroupBarrier();\n\
             var both = vec2<f32>(0.0);\n\
             for (var i = 0u; i < {threads}u; i += 1u) {{ both += parts[lane - start + i]; }}"
        );
        text + &scaled(
            ("start", "length", threads),
            &eps,
            channel,
            activation,
            number,
        )
    }
}

/// Where the threads of a workgroup meet.
fn parts() -> String {
    format!("var<workgroup> parts: array<vec2<f32>, {LANES}>;\n")
}

/// Which piece of which run a workgroup takes: `group.x` of the `groups.x` of run `group.y + group.z · groups.y`.
fn piece() -> String {
    let [runs, length, piece] = [0, 1, 2].map(size);
    format!(
        "let runs = {runs}; let length = {length};\n\
         let wanted = group.y + group.z * groups.y; let is_wanted = wanted < runs;\n\
         let run = min(wanted, runs - 1u); let first = run * length;\n\
         let begin = group.x * {piece}; let end = min(begin + {piece}, length);\n"
    )
}

fn norm(
    norm: Norm,
    operands: [CubeTensor; 3],
    [length, area, channels]: [usize; 3],
    eps: f32,
) -> CubeTensor {
    let shape = shape(&operands[0]);
    let runs = shape.iter().product::<usize>() / length.max(1);
    let out = output(&operands[0], &shape, operands[1].dtype);
    let [columns, rows] = grid(runs.div_ceil(LANES / norm.threads()));
    let inputs = operands.map(into_contiguous).into();
    let sizes = [runs, length, area, channels, eps.to_bits() as usize];
    launch(Shader::Norm(norm), [columns, rows, 1], inputs, &out, &sizes);
    out
}

/// A norm of long groups: their sums first, by pieces, then each piece.
fn long_norm(
    [x, gain, shift]: [CubeTensor; 3],
    [length, area, channels]: [usize; 3],
    eps: f32,
    activation: Option<Activation>,
) -> CubeTensor {
    let shape = shape(&x);
    let runs = shape.iter().product::<usize>() / length.max(1);
    let piece = PIECE.max(length.div_ceil(PIECES_MAX));
    let pieces = length.div_ceil(piece);
    let x = into_contiguous(x);
    let sums = output(&x, &[runs, pieces, 2], DType::F32);
    let [y, z] = grid(runs);
    let groups = [pieces, y, z];
    let mut sizes = vec![runs, length, piece];
    launch(
        Shader::Norm(Norm::Sums),
        groups,
        vec![x.clone()],
        &sums,
        &sizes,
    );
    let out = output(&x, &shape, DType::F32);
    sizes.extend([area, channels, eps.to_bits() as usize]);
    let inputs = vec![x, sums, into_contiguous(gain), into_contiguous(shift)];
    launch(
        Shader::Norm(Norm::Scaled(activation)),
        groups,
        inputs,
        &out,
        &sizes,
    );
    out
}

/// Over the last axis; in half precision where the gain is.
pub(crate) fn layer_norm(
    x: CubeTensor,
    gain: CubeTensor,
    shift: CubeTensor,
    eps: f32,
) -> CubeTensor {
    let [width] = dims(&gain);
    let is_half = is_half(&gain);
    let [x, shift] = [x, shift].map(full);
    norm(
        Norm::Layer { is_half },
        [x, gain, shift],
        [width, 1, width],
        eps,
    )
}

/// Over `[N, C, H, W]` with biased variance, then the activation.
pub(crate) fn group_norm(
    x: CubeTensor,
    gain: CubeTensor,
    shift: CubeTensor,
    groups: usize,
    eps: f32,
    activation: Option<Activation>,
) -> CubeTensor {
    let [_, c, h, w] = dims(&x);
    let [x, gain, shift] = [x, gain, shift].map(full);
    let sizes = [c / groups * h * w, h * w, c];
    if sizes[0] > 2 * PIECE {
        return long_norm([x, gain, shift], sizes, eps, activation);
    }
    norm(Norm::Group(activation), [x, gain, shift], sizes, eps)
}

/// Rows of the last axis at unit length, see [`crate::unit`].
pub(crate) fn unit(x: CubeTensor) -> CubeTensor {
    let x = into_contiguous(full(x));
    let shape = shape(&x);
    let length = shape.last().copied().unwrap_or(1);
    let runs = shape.iter().product::<usize>() / length.max(1);
    let out = output(&x, &shape, x.dtype);
    let [columns, rows] = grid(runs.div_ceil(LANES / Norm::Unit.threads()));
    let shader = Shader::Norm(Norm::Unit);
    launch(shader, [columns, rows, 1], vec![x], &out, &[runs, length]);
    out
}
