//! Convolutions, of stride 1 or as wide as their kernel, computed from the map itself: the product of a matrix of
//! weights with pixels that are found, not unfolded.

use std::fmt::Write;

use super::block::{Block, End, places};
use super::{
    CubeTensor, LANES, Shader, dims, full, into_contiguous, launch, output, permute, size,
};

/// The text of a convolution: a row is an output channel, a column a pixel.
pub(super) fn text(block: Block) -> String {
    let Block { rows, columns, .. } = block;
    let wide = block.wide();
    let mut text = block.head("weights", "pixels", 8);
    let [input, output, h, w, k] = [0, 1, 2, 3, 4].map(size);
    let [stride, reach] = [6, 7].map(size);
    let _ = writeln!(
        text,
        "let channels = {input}; let outputs = {output}; let height = {h}; let width = {w}; let side = {k};\n\
         let stride = {stride}; let reach = i32({reach}); let across = width / stride;\n\
         let area = height / stride * across; let plane = height * width;\n\
         let deep = channels / {wide}u; let taps = side * side;\n\
         let bottom = i32(height) - 1; let right = i32(width) - 1;\n\
         let first_row = group.y * {}u + thread.y * {rows}u; let first_column = group.x * {}u + lane;\n\
         let image = group.z * channels * plane;",
        block.workgroup_rows(),
        block.workgroup_columns()
    );
    for i in 0..rows {
        let _ = writeln!(
            text,
            "let row{i} = min(first_row + {i}u, outputs - 1u) * taps * deep;"
        );
    }
    for j in 0..columns {
        let _ = writeln!(
            text,
            "let column{j} = min(first_column + {}u, area - 1u);\n\
             let y{j} = i32(column{j} / across * stride) - reach; let x{j} = i32(column{j} % across * stride) - reach;",
            j * LANES
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
         let at = step * {wide}u * plane; let weight = tap * deep + step;"
    );
    text += &block.step(
        |i| format!("weights[row{i} + weight]"),
        |part, j| format!("pixels[at + {part}u * plane + from{j}] * inside{j}"),
    );
    let repeat = size(5);
    let _ = writeln!(
        text,
        "}}\n}}\nlet map = group.z * outputs * area; let base = group.z / {repeat} * outputs * area;"
    );
    for (i, j) in places(rows, columns) {
        let at = format!("(first_row + {i}u) * area + column{j}");
        let _ = writeln!(
            text,
            "if (first_row + {i}u < outputs && first_column + {}u < area) {{ \
             {} }}",
            j * LANES,
            block.write(
                i,
                j,
                &format!("first_row + {i}u"),
                &format!("map + {at}"),
                &format!("base + {at}")
            )
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
    end: (End, Option<CubeTensor>),
) -> CubeTensor {
    let reach = weight.meta.shape()[2] / 2;
    strided(x, weight, bias, end, [1, reach])
}

/// A convolution whose stride is its kernel, `[N, C, k · h, k · w]` to `[N, O, h, w]`.
pub(crate) fn patch_map(x: CubeTensor, weight: CubeTensor, bias: CubeTensor) -> CubeTensor {
    let stride = weight.meta.shape()[2];
    strided(x, weight, Some(bias), (End::Plain, None), [stride, 0])
}

/// The result at every `stride`-th pixel of every `stride`-th line, whose kernel begins `reach` pixels before it.
fn strided(
    x: CubeTensor,
    weight: CubeTensor,
    bias: Option<CubeTensor>,
    (end, onto): (End, Option<CubeTensor>),
    [stride, reach]: [usize; 2],
) -> CubeTensor {
    let ([n, c, h, w], [o, _, k, _]) = (dims(&x), dims(&weight));
    let [x, weight] = [x, weight].map(full);
    let (bias, onto) = (bias.map(full), onto.map(full));
    let [down, across] = [h, w].map(|side| side / stride);
    let block = Block::new([o, down * across, c], false, bias.as_ref(), end);
    let out = output(&x, &[n, o, down, across], block.dtype());
    let repeat = onto
        .as_ref()
        .map_or(1, |onto| n / onto.meta.shape()[0].max(1));
    let groups = [
        (down * across).div_ceil(block.workgroup_columns()),
        o.div_ceil(block.workgroup_rows()),
        n,
    ];
    // Channels innermost, so that a tap's weights lie together.
    let weight = into_contiguous(permute(weight, &[0, 2, 3, 1]));
    let inputs = [weight, into_contiguous(x)]
        .into_iter()
        .chain(bias.map(into_contiguous))
        .chain(onto.map(into_contiguous))
        .collect();
    let sizes = [c, o, h, w, k, repeat, stride, reach];
    launch(Shader::Conv(block), groups, inputs, &out, &sizes);
    out
}
