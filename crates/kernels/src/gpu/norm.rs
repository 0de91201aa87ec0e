//! Norms: a few threads take each run of values that is normalised together, and meet once.

use std::fmt::Write;

use burn::tensor::DType;

use super::activation::formula;
use super::{
    CubeTensor, LANES, Shader, dims, full, grid, head, into_contiguous, is_half, launch, output,
    shape, size, team_head,
};
use crate::activation::Activation;

/// What is normalised together, and by which of its kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Norm {
    /// A row; each value has its own gain. Results are in half precision where gains are.
    Layer { is_half: bool },
    /// A row, brought to unit length.
    Unit,
    /// The channels of a group; each channel has its own gain.
    Group(Finish),
    /// The sums of pieces of a group, for groups so long that the few threads of one workgroup would be all that a
    /// graphics card has to do.
    Sums,
    /// Pieces of a group, normalised by these sums.
    Scaled(Finish),
}

/// What becomes of a normalised value: its activation, then it is added to what `onto` has at the same place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Finish {
    activation: Option<Activation>,
    has_onto: bool,
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
    finish: Finish,
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
    text += finish.activation.map_or("let y = x;", formula);
    let onto = if finish.has_onto {
        "onto[first + i] + "
    } else {
        ""
    };
    let _ = write!(
        text,
        "\nresults[first + i] = {onto}{number}(y);\n}}\n}}\n}}"
    );
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
            Self::Layer { is_half } => {
                let number = if is_half { "f16" } else { "f32" };
                self.whole("i", Finish::default(), number)
            }
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
            Self::Group(finish) => self.whole(CHANNEL, finish, "f32"),
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
            Self::Scaled(finish) => {
                let sums = ("sums", "vec2<f32>");
                let buffers = [("values", "f32"), sums, ("gain", "f32"), ("shift", "f32")];
                let buffers = finish.buffers(&buffers, "f32");
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
                text + &scaled(range, &eps, CHANNEL, finish, "f32")
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
    fn whole(self, channel: &str, finish: Finish, number: &str) -> String {
        let buffers = [("values", "f32"), ("gain", number), ("shift", "f32")];
        let buffers = finish.buffers(&buffers, number);
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
        text + &scaled(("start", "length", threads), &eps, channel, finish, number)
    }
}

impl Finish {
    /// The buffers of a kernel that reads these first and writes `number`s.
    fn buffers<'a>(self, read: &[(&'a str, &'a str)], number: &'a str) -> Vec<(&'a str, &'a str)> {
        let onto = self.has_onto.then_some(("onto", "f32"));
        let last = [("results", number)];
        read.iter().copied().chain(onto).chain(last).collect()
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
    onto: Option<CubeTensor>,
    [length, area, channels]: [usize; 3],
    eps: f32,
) -> CubeTensor {
    let shape = shape(&operands[0]);
    let runs = shape.iter().product::<usize>() / length.max(1);
    let out = output(&operands[0], &shape, operands[1].dtype);
    let [columns, rows] = grid(runs.div_ceil(LANES / norm.threads()));
    let inputs = operands.into_iter().chain(onto);
    let inputs = inputs.map(into_contiguous).collect();
    let sizes = [runs, length, area, channels, eps.to_bits() as usize];
    launch(Shader::Norm(norm), [columns, rows, 1], inputs, &out, &sizes);
    out
}

/// A norm of long groups: their sums first, by pieces, then each piece.
fn long_norm(
    [x, gain, shift]: [CubeTensor; 3],
    [length, area, channels]: [usize; 3],
    eps: f32,
    (finish, onto): (Finish, Option<CubeTensor>),
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
    let inputs = [x, sums, gain, shift].into_iter().chain(onto);
    let inputs = inputs.map(into_contiguous).collect();
    launch(
        Shader::Norm(Norm::Scaled(finish)),
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
        None,
        [width, 1, width],
        eps,
    )
}

/// Over `[N, C, H, W]` with biased variance, then the activation, added to `onto` where there is one.
pub(crate) fn group_norm(
    [x, gain, shift]: [CubeTensor; 3],
    groups: usize,
    eps: f32,
    activation: Option<Activation>,
    onto: Option<CubeTensor>,
) -> CubeTensor {
    let [_, c, h, w] = dims(&x);
    let [x, gain, shift] = [x, gain, shift].map(full);
    let finish = Finish {
        activation,
        has_onto: onto.is_some(),
    };
    let onto = onto.map(full);
    let sizes = [c / groups * h * w, h * w, c];
    if sizes[0] > 2 * PIECE {
        return long_norm([x, gain, shift], sizes, eps, (finish, onto));
    }
    norm(Norm::Group(finish), [x, gain, shift], onto, sizes, eps)
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
