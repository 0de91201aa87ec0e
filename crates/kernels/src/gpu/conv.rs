//! Convolutions, of stride 1 or as wide as their kernel, computed from the map itself: the product of a matrix of
//! weights with pixels that are found, not unfolded.

use std::fmt::Write;

use burn::tensor::DType;

use super::block::{Block, BlockEpilogue, places};
use super::{
    CubeTensor, LANES, Shader, dims, full, into_contiguous, launch, output, permute, size,
};
use crate::layout::CellLayout;

/// The text of a convolution of stride 1: a row is an output channel, a column a pixel. Channels are innermost in the weights.
pub(super) fn text(block: Block, cells: CellLayout) -> String {
    let (columns, wide) = (block.columns, block.wide());
    let mut text = block.head("weights", "pixels", 6);
    let [input, output, h, w, k, repeat] = [0, 1, 2, 3, 4, 5].map(size);
    let _ = writeln!(
        text,
        "let channels = {input}; let outputs = {output}; let height = {h}; let width = {w}; let side = {k};\n\
         let area = height * width; let deep = channels / {wide}u; let taps = side * side; let reach = i32(side / 2u);\n\
         let bottom = i32(height) - 1; let right = i32(width) - 1;\n\
         let image = group.z * channels * area;"
    );
    text += &rows_and_columns(block, "taps * deep");
    for j in 0..columns {
        let _ = writeln!(
            text,
            "let y{j} = i32(column{j} / width) - reach; let x{j} = i32(column{j} % width) - reach;"
        );
    }
    text += &block.sums();
    let _ = writeln!(
        text,
        "for (var tap = 0u; tap < taps; tap += 1u) {{\n\
         let down = i32(tap / side); let along = i32(tap % side);"
    );
    for j in 0..columns {
        // Outside the map is zero; the pixel that is read there instead is one of the map.
        let _ = writeln!(
            text,
            "let v{j} = y{j} + down; let u{j} = x{j} + along;\n\
             let inside{j} = select(0.0, 1.0, v{j} >= 0 && v{j} <= bottom && u{j} >= 0 && u{j} <= right);\n\
             let from{j} = image + u32(clamp(v{j}, 0, bottom) * i32(width) + clamp(u{j}, 0, right));"
        );
    }
    let _ = writeln!(
        text,
        "for (var step = 0u; step < deep; step += 1u) {{\n\
         let at = step * {wide}u * area; let weight = tap * deep + step;"
    );
    text += &block.step(
        |i| format!("weights[row{i} + weight]"),
        |part, j| format!("pixels[at + {part}u * area + from{j}] * inside{j}"),
    );
    let _ = writeln!(
        text,
        "}}\n}}\nlet base = group.z / {repeat} * outputs * area;"
    );
    text + &written(block, cells)
}

/// The text of a convolution whose stride is its kernel: a row is an output channel, a column a cell. The taps of a
/// channel lie together in the weights, as in a checkpoint.
pub(super) fn patches_text(block: Block, cells: CellLayout) -> String {
    let (columns, wide) = (block.columns, block.wide());
    let mut text = block.head("weights", "pixels", 6);
    let [input, output, h, w, k, repeat] = [0, 1, 2, 3, 4, 5].map(size);
    let _ = writeln!(
        text,
        "let channels = {input}; let outputs = {output}; let side = {k};\n\
         let across = {w}; let area = {h} * across; let line = across * side; let plane = area * side * side;\n\
         let deep = side * side / {wide}u; let image = group.z * channels * plane;"
    );
    text += &rows_and_columns(block, "channels * deep");
    for j in 0..columns {
        let _ = writeln!(
            text,
            "let corner{j} = image + (column{j} / across * line + column{j} % across) * side;"
        );
    }
    text += &block.sums();
    let _ = writeln!(text, "for (var tap = 0u; tap < deep; tap += 1u) {{");
    for part in 0..wide {
        let _ = writeln!(
            text,
            "let tap{part} = tap * {wide}u + {part}u; let off{part} = tap{part} / side * line + tap{part} % side;"
        );
    }
    let _ = writeln!(
        text,
        "for (var channel = 0u; channel < channels; channel += 1u) {{\n\
         let at = channel * plane; let weight = channel * deep + tap;"
    );
    text += &block.step(
        |i| format!("weights[row{i} + weight]"),
        |part, j| format!("pixels[at + off{part} + corner{j}]"),
    );
    let _ = writeln!(
        text,
        "}}\n}}\nlet base = group.z / {repeat} * outputs * area;"
    );
    text + &written(block, cells)
}

/// Where the weights of a thread's rows begin, each `length` reads long, and which columns are its own.
fn rows_and_columns(block: Block, length: &str) -> String {
    let Block { rows, columns, .. } = block;
    let mut text = format!(
        "let first_row = group.y * {}u + thread.y * {rows}u; let first_column = group.x * {}u + lane;\n",
        block.workgroup_rows(),
        block.workgroup_columns()
    );
    text += &block.row_starts("outputs", length);
    for j in 0..columns {
        let _ = writeln!(
            text,
            "let column{j} = min(first_column + {}u, area - 1u);",
            j * LANES
        );
    }
    text
}

/// The end of a text: results of image `group.z`; what they are added to, if anything, begins at `base`.
fn written(block: Block, cells: CellLayout) -> String {
    let mut text = String::from("let map = group.z * outputs * area;\n");
    for (i, j) in places(block.rows, block.columns) {
        let channel = format!("(first_row + {i}u)");
        let at = match cells {
            CellLayout::Map => format!("{channel} * area + column{j}"),
            CellLayout::Tokens => format!("column{j} * outputs + {channel}"),
        };
        let (to, onto) = (format!("map + {at}"), format!("base + {at}"));
        let _ = writeln!(
            text,
            "if ({channel} < outputs && first_column + {}u < area) {{ {} }}",
            j * LANES,
            block.write(i, j, &channel, &to, &onto)
        );
    }
    text + "}\n"
}

/// `[N, C, H, W]` to `[N, O, H, W]` with zeros around the map, and what `end` says, with `onto [M, O, H, W]` where it is
/// needed, each of the `M` for as many images one after the other; weight `[O, C, k, k]` with odd `k`.
pub(crate) fn conv(
    x: CubeTensor,
    weight: CubeTensor,
    bias: Option<CubeTensor>,
    end: (BlockEpilogue, Option<CubeTensor>),
) -> CubeTensor {
    laid_out(x, weight, bias, end, CellLayout::Map)
}

/// The same, its results laid out as `cells`.
fn laid_out(
    x: CubeTensor,
    weight: CubeTensor,
    bias: Option<CubeTensor>,
    (end, onto): (BlockEpilogue, Option<CubeTensor>),
    cells: CellLayout,
) -> CubeTensor {
    let ([n, c, h, w], [o, _, k, _]) = (dims(&x), dims(&weight));
    let block = Block::new([o, h * w, c], false, bias.as_ref(), end);
    let repeat = onto
        .as_ref()
        .map_or(1, |onto| n / onto.meta.shape()[0].max(1));
    // Channels innermost, so that a tap's weights lie together.
    let weight = permute(weight, &[0, 2, 3, 1]);
    let inputs = [weight, x].into_iter().chain(bias).chain(onto);
    let inputs: Vec<CubeTensor> = inputs.map(full).map(into_contiguous).collect();
    let out = cells_output(&inputs[0], cells, [n, o, h, w]);
    let sizes = [c, o, h, w, k, repeat];
    let groups = groups(block, [o, h * w, n]);
    launch(Shader::Conv(block, cells), groups, inputs, &out, &sizes);
    out
}

/// A convolution whose stride is its kernel, `[N, C, k · h, k · w]` to `h × w` cells of `O` channels, and what each result
/// goes through.
pub(crate) fn patches(
    x: CubeTensor,
    weight: CubeTensor,
    bias: Option<CubeTensor>,
    cells: CellLayout,
    (end, residual): (BlockEpilogue, Option<CubeTensor>),
) -> CubeTensor {
    let ([n, c, h, w], [o, _, k, _]) = (dims(&x), dims(&weight));
    if k == 1 {
        return laid_out(x, weight, bias, (end, residual), cells);
    }
    let [down, across] = [h, w].map(|side| side / k);
    let repeat = residual
        .as_ref()
        .map_or(1, |residual| n / residual.meta.shape()[0].max(1));
    let block = Block::new([o, down * across, k * k], false, bias.as_ref(), end);
    let inputs = [weight, x].into_iter().chain(bias).chain(residual);
    let inputs: Vec<CubeTensor> = inputs.map(full).map(into_contiguous).collect();
    let out = cells_output(&inputs[0], cells, [n, o, down, across]);
    let groups = groups(block, [o, down * across, n]);
    let sizes = [c, o, down, across, k, repeat];
    launch(Shader::Patches(block, cells), groups, inputs, &out, &sizes);
    out
}

/// An output beside `like`, in f32, its cells laid out so.
fn cells_output(like: &CubeTensor, cells: CellLayout, [n, o, h, w]: [usize; 4]) -> CubeTensor {
    match cells {
        CellLayout::Map => output(like, &[n, o, h, w], DType::F32),
        CellLayout::Tokens => output(like, &[n, h * w, o], DType::F32),
    }
}

/// Workgroups for so many channels, pixels and images.
fn groups(block: Block, [channels, pixels, images]: [usize; 3]) -> [usize; 3] {
    [
        pixels.div_ceil(block.workgroup_columns()),
        channels.div_ceil(block.workgroup_rows()),
        images,
    ]
}
