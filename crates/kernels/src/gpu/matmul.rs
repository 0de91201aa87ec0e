//! Products of matrices, and what is one after its operand is laid out anew.

use std::fmt::Write;

use burn::tensor::DType;

use super::block::{Block, BlockEpilogue, places};
use super::{
    CubeTensor, Shader, as_numbers, dims, full, grid, into_contiguous, is_half, launch, output,
    permute, shape, size, view,
};

/// Where a product's results go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum To {
    /// To a matrix, row-major.
    Matrix,
    /// Each row to a tile of `k × k` pixels of each channel of a map; the channel has one value of the bias.
    Tiles,
}

/// The text of a product.
pub(super) fn text(block: Block, to: To) -> String {
    let Block { rows, columns, .. } = block;
    let (wide, pair) = (block.wide(), block.own_read());
    let sizes = match to {
        To::Matrix => 5,
        To::Tiles => 7,
    };
    let mut text = block.head("left", "right", sizes);
    let [m, k, n] = [0, 1, 2].map(size);
    let _ = writeln!(
        text,
        "let height = {m}; let depth = {k} / {wide}u; let width = {n}; let next = width / {pair}u;\n\
         let first_row = (group.y + group.z * groups.y) * {}u + thread.y * {rows}u;\n\
         let first_column = group.x * {}u;",
        block.workgroup_rows(),
        block.workgroup_columns()
    );
    text += &block.row_starts("height", "depth");
    for j in 0..columns {
        let _ = writeln!(
            text,
            "let wanted{j} = first_column + {}; let column{j} = min(wanted{j}, width - {}u);",
            block.column(j),
            pair - j % pair
        );
    }
    text += &block.sums();
    let _ = writeln!(
        text,
        "for (var step = 0u; step < depth; step += 1u) {{\nlet at = step * {wide}u * next;"
    );
    text += &block.step(
        |i| format!("left[row{i} + step]"),
        |part, j| format!("right[at + {part}u * next + column{j} / {pair}u]"),
    );
    text += "}\n";
    let _ = match to {
        To::Matrix => {
            let [run, repeat] = [3, 4].map(size);
            writeln!(text, "let run = {run}; let repeat = {repeat};")
        }
        To::Tiles => {
            let [high, across, side, channels] = [3, 4, 5, 6].map(size);
            writeln!(
                text,
                "let high = {high}; let across = {across}; let side = {side}; let channels = {channels};\n\
                 let line = across * side; let tile = side * side;"
            )
        }
    };
    for (i, j) in places(rows, columns) {
        let row = format!("(first_row + {i}u)");
        let (bias_at, at) = match to {
            To::Matrix => (format!("column{j}"), format!("{row} * width + column{j}")),
            To::Tiles => (
                format!("column{j} / tile"),
                format!(
                    "(({row} / across / high * channels + column{j} / tile) * high + {row} / across % high) * side * line \
                     + column{j} / side % side * line + {row} % across * side + column{j} % side"
                ),
            ),
        };
        let onto = match to {
            To::Matrix => format!("({row} / run / repeat * run + {row} % run) * width + column{j}"),
            To::Tiles => at.clone(),
        };
        let _ = writeln!(
            text,
            "if (first_row + {i}u < height && wanted{j} < width) {{ {} }}",
            block.write(i, j, &bias_at, &at, &onto)
        );
    }
    text + "}\n"
}

/// `left [m, k]` times `right [k, n]`, plus `bias [n]`, then what `end` says, with `onto [m / repeat, n]` where it is needed:
/// each `run` of its rows for as many runs of the product one after the other. All row-major. In the numbers of `right`; bias,
/// `onto` and what is added to it are in f32.
fn matmul(
    left: CubeTensor,
    right: CubeTensor,
    bias: Option<CubeTensor>,
    (end, onto): (BlockEpilogue, Option<CubeTensor>),
    [run, repeat]: [usize; 2],
) -> CubeTensor {
    let ([m, k], [_, n]) = (dims(&left), dims(&right));
    // Half numbers are read two at a time.
    let dtype = if n.is_multiple_of(2) {
        right.dtype
    } else {
        DType::F32
    };
    let (left, right) = (as_numbers(left, dtype), as_numbers(right, dtype));
    let block = Block::new([m, n, k], is_half(&right), bias.as_ref(), end);
    let out = output(&left, &[m, n], block.dtype());
    let inputs = [left, right].into_iter().chain(bias).chain(onto).collect();
    To::Matrix.launch(block, inputs, &out, &[m, k, n, run, repeat]);
    out
}

impl To {
    /// Of `sizes` the first are rows, depth and columns of the product.
    fn launch(self, block: Block, inputs: Vec<CubeTensor>, out: &CubeTensor, sizes: &[usize]) {
        let [y, z] = grid(sizes[0].div_ceil(block.workgroup_rows()));
        let groups = [sizes[2].div_ceil(block.workgroup_columns()), y, z];
        launch(Shader::Matmul(block, self), groups, inputs, out, sizes);
    }
}

/// `x Wᵀ + b` over the last axis, and what `end` says, with `onto` of the result's shape where it is needed, or with fewer of
/// its first axis, each for as many one after the other; weight `[out, in]`. In half precision where the weight is, but for
/// what is added to `onto`. No copy is made of a weight whose columns lie in one piece.
pub(crate) fn linear(
    x: CubeTensor,
    weight: CubeTensor,
    bias: Option<CubeTensor>,
    (end, onto): (BlockEpilogue, Option<CubeTensor>),
) -> CubeTensor {
    let mut shape = shape(&x);
    let [width, depth] = dims(&weight);
    let rows = shape.iter().product::<usize>() / depth.max(1);
    let right = into_contiguous(permute(weight, &[1, 0]));
    let left = view(into_contiguous(x), &[rows, depth]);
    let first = |shape: &[usize]| shape.first().copied().unwrap_or(1).max(1);
    let repeat = onto
        .as_ref()
        .map_or(1, |onto| first(&shape) / first(onto.meta.shape()));
    let run = (rows / first(&shape)).max(1);
    let end = (end, onto.map(full).map(into_contiguous));
    let bias = bias.map(full).map(into_contiguous);
    let out = matmul(left, right, bias, end, [run, repeat]);
    if let Some(last) = shape.last_mut() {
        *last = width;
    }
    view(out, &shape)
}

/// A transposed convolution whose stride is its kernel, from tokens `[N, height · width, C]`; what `end` says, with `onto` of the
/// result's shape where it is needed.
pub(crate) fn upsample(
    x: CubeTensor,
    height: usize,
    weight: CubeTensor,
    bias: CubeTensor,
    (end, onto): (BlockEpilogue, Option<CubeTensor>),
) -> CubeTensor {
    let ([n, cells, c], [_, o, k, _]) = (dims(&x), dims(&weight));
    let width = cells / height;
    let [x, weight, bias] = [x, weight, bias].map(|operand| into_contiguous(full(operand)));
    let (rows, columns) = (n * cells, o * k * k);
    let onto = onto.map(full).map(into_contiguous);
    let block = Block::new([rows, columns, c], false, Some(&bias), end);
    let out = output(&x, &[n, o, k * height, k * width], block.dtype());
    let sizes = [rows, c, columns, height, width, k, o];
    let inputs = [x, weight, bias].into_iter().chain(onto).collect();
    To::Tiles.launch(block, inputs, &out, &sizes);
    out
}
