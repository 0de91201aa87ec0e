//! Products of matrices, and what is one after its operand is laid out anew.

use std::fmt::Write;

use burn::backend::ops::FloatTensorOps;
use burn_cubecl::CubeBackend;

use super::{
    CubeTensor, LANES, Shader, dims, grid, head, into_contiguous, launch, output, permute, size,
    view,
};

/// Most rows of a thread's block of results.
const ROWS: usize = 8;
/// Most columns of it, [`LANES`] apart.
const COLUMNS: usize = 4;

/// `rows × columns` results a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Matmul {
    rows: usize,
    columns: usize,
    /// Whether rows of the left operand are read four values at a time.
    is_wide: bool,
    has_bias: bool,
}

impl Matmul {
    pub fn text(self) -> String {
        let Self {
            rows,
            columns,
            is_wide,
            has_bias,
        } = self;
        let (wide, of) = if is_wide {
            (4, "vec4<f32>")
        } else {
            (1, "f32")
        };
        let mut buffers = vec![("left", of), ("right", "f32")];
        if has_bias {
            buffers.push(("bias", "f32"));
        }
        buffers.push(("results", "f32"));
        let mut text = head(&buffers, 3);
        let [m, k, n] = [size(0), size(1), size(2)];
        let _ = writeln!(
            text,
            "let height = {m}; let depth = {k} / {wide}u; let width = {n};\n\
             let first_row = (group.y + group.z * groups.y) * {rows}u;\n\
             let first_column = group.x * {}u + lane;",
            LANES * columns
        );
        for i in 0..rows {
            let _ = writeln!(
                text,
                "let row{i} = min(first_row + {i}u, height - 1u) * depth;"
            );
        }
        for j in 0..columns {
            let _ = writeln!(
                text,
                "let column{j} = min(first_column + {}u, width - 1u);",
                j * LANES
            );
        }
        for (i, j) in block(rows, columns) {
            let _ = writeln!(text, "var sum{i}_{j} = 0.0;");
        }
        let _ = writeln!(
            text,
            "for (var step = 0u; step < depth; step += 1u) {{\nlet at = step * {wide}u * width;"
        );
        for (part, j) in block(wide, columns) {
            let _ = writeln!(
                text,
                "let b{part}_{j} = right[at + {part}u * width + column{j}];"
            );
        }
        for i in 0..rows {
            let _ = writeln!(text, "let a{i} = left[row{i} + step];");
        }
        for (i, j) in block(rows, columns) {
            let _ = writeln!(text, "{}", multiply_add(&format!("sum{i}_{j}"), i, j, wide));
        }
        let _ = writeln!(text, "}}");
        for j in 0..columns {
            let _ = writeln!(text, "if (first_column + {}u < width) {{", j * LANES);
            if has_bias {
                let _ = writeln!(text, "let shift = bias[column{j}];");
            }
            let shift = if has_bias { " + shift" } else { "" };
            for i in 0..rows {
                let _ = writeln!(
                    text,
                    "if (first_row + {i}u < height) {{ \
                     results[(first_row + {i}u) * width + column{j}] = sum{i}_{j}{shift}; }}"
                );
            }
            let _ = writeln!(text, "}}");
        }
        text + "}\n"
    }
}

/// Places of a block, row by row.
pub(super) fn block(rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).flat_map(move |i| (0..columns).map(move |j| (i, j)))
}

/// Adds to `sum` the products of `a{i}`, of `wide` values, with `b0_{j}`, `b1_{j}`, ….
pub(super) fn multiply_add(sum: &str, i: usize, j: usize, wide: usize) -> String {
    if wide == 1 {
        return format!("{sum} += a{i} * b0_{j};");
    }
    ["x", "y", "z", "w"]
        .iter()
        .enumerate()
        .map(|(part, name)| format!("{sum} += a{i}.{name} * b{part}_{j};"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Columns a thread, so that the fewest threads have nothing to do.
pub(super) fn columns_for(width: usize) -> usize {
    (1..=COLUMNS)
        .rev()
        .min_by_key(|columns| width.next_multiple_of(columns * LANES))
        .unwrap_or(1)
}

/// Rows a thread.
pub(super) fn rows_for(height: usize) -> usize {
    if height < ROWS {
        height.next_power_of_two()
    } else {
        ROWS
    }
}

/// `left [m, k]` times `right [k, n]`, plus `bias [n]`; both row-major.
fn matmul(left: CubeTensor, right: CubeTensor, bias: Option<CubeTensor>) -> CubeTensor {
    let ([m, k], [_, n]) = (dims(&left), dims(&right));
    let out = output(&left, &[m, n]);
    let shader = Matmul {
        rows: rows_for(m),
        columns: columns_for(n),
        is_wide: k.is_multiple_of(4),
        has_bias: bias.is_some(),
    };
    let [y, z] = grid(m.div_ceil(shader.rows));
    let x = n.div_ceil(LANES * shader.columns);
    let inputs = [left, right].into_iter().chain(bias).collect();
    launch(Shader::Matmul(shader), [x, y, z], inputs, &out, &[m, k, n]);
    out
}

/// `x Wᵀ + b` over the last axis; weight `[out, in]`. No copy is made of a weight whose columns lie in one piece.
pub(crate) fn linear(x: CubeTensor, weight: CubeTensor, bias: Option<CubeTensor>) -> CubeTensor {
    let mut shape: Vec<usize> = x.meta.shape().iter().copied().collect();
    let [width, depth] = dims(&weight);
    let rows = shape.iter().product::<usize>() / depth.max(1);
    let right = into_contiguous(permute(weight, &[1, 0]));
    let left = view(into_contiguous(x), &[rows, depth]);
    let out = matmul(left, right, bias.map(into_contiguous));
    if let Some(last) = shape.last_mut() {
        *last = width;
    }
    view(out, &shape)
}

/// A convolution whose stride is its kernel, to row-major tokens `[N, cells, O]`.
pub(crate) fn patches(x: CubeTensor, weight: CubeTensor, bias: Option<CubeTensor>) -> CubeTensor {
    let ([n, c, h, w], [o, _, k, _]) = (dims(&x), dims(&weight));
    let (rows, columns) = (h / k, w / k);
    let cells = view(x, &[n, c, rows, k, columns, k]);
    let cells = into_contiguous(permute(cells, &[0, 2, 4, 1, 3, 5]));
    let weight = view(into_contiguous(weight), &[o, c * k * k]);
    linear(view(cells, &[n, rows * columns, c * k * k]), weight, bias)
}

/// The same as a map, `[N, O, h, w]`.
pub(crate) fn patch_map(x: CubeTensor, weight: CubeTensor, bias: CubeTensor) -> CubeTensor {
    let ([n, _, h, w], [o, _, k, _]) = (dims(&x), dims(&weight));
    let tokens = permute(patches(x, weight, Some(bias)), &[0, 2, 1]);
    view(tokens, &[n, o, h / k, w / k])
}

/// A transposed convolution whose stride is its kernel, from tokens `[N, height · width, C]`.
pub(crate) fn upsample(
    x: CubeTensor,
    height: usize,
    weight: CubeTensor,
    bias: CubeTensor,
) -> CubeTensor {
    let ([n, cells, c], [_, o, k, _]) = (dims(&x), dims(&weight));
    let width = cells / height;
    // Each value of the bias for all pixels of its tile.
    let bias = CubeBackend::float_expand(view(bias, &[o, 1]), [o, k * k].into());
    let left = view(into_contiguous(x), &[n * cells, c]);
    let right = view(into_contiguous(weight), &[c, o * k * k]);
    let tiles = matmul(left, right, Some(view(into_contiguous(bias), &[o * k * k])));
    let tiles = permute(
        view(tiles, &[n, height, width, o, k, k]),
        &[0, 3, 1, 4, 2, 5],
    );
    view(into_contiguous(tiles), &[n, o, k * height, k * width])
}
