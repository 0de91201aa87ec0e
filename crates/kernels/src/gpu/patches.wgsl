// A convolution whose stride is its kernel, computed from the map itself. Reference: reference/patches.rs
//
// The product of the weights (a row is an output channel) with the map (a column is a cell). The taps of a channel are
// contiguous in the weights [O, C, k, k], as in a checkpoint. Image `group.z`. Constants: `Block::template` in block.rs.
#include activation_function

struct Sizes {
    channels: u32,
    outputs: u32,
    // Cells.
    height: u32,
    width: u32,
    side: u32,
    // Images for each image of the residual.
    repeat: u32,
}

@group(0) @binding(${BINDING}) var<storage, read_write> weights: array<${SHARED}>;
@group(0) @binding(${BINDING}) var<storage, read_write> pixels: array<f32>;
#if BIAS
@group(0) @binding(${BINDING}) var<storage, read_write> bias: array<f32>;
#endif
#if ADD
@group(0) @binding(${BINDING}) var<storage, read_write> residual: array<f32>;
#endif
@group(0) @binding(${BINDING}) var<storage, read_write> results: array<f32>;
@group(0) @binding(${BINDING}) var<uniform> sizes: Sizes;

#include conv_write

@compute @workgroup_size(${LANES}, ${TEAMS}, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
) {
    let channels = sizes.channels;
    let outputs = sizes.outputs;
    let across = sizes.width;
    let area = sizes.height * across;
    let side = sizes.side;
    let line = across * side;
    let plane = area * side * side;
    // Taps in reads.
    let depth = side * side / ${PARTS}u;
    let image = group.z * channels * plane;
    let first_row = (group.y * ${TEAMS}u + thread.y) * ${ROWS}u;
    let first_column = group.x * ${COLUMNS}u * ${LANES}u + thread.x;
#for i in ROWS
    let row${i} = min(first_row + ${i}u, outputs - 1u) * channels * depth;
#endfor
#for j in COLUMNS
    let column${j} = first_column + ${j}u * ${LANES}u;
    let read${j} = min(column${j}, area - 1u);
    let corner${j} = image + (read${j} / across * line + read${j} % across) * side;
#endfor
#for i in ROWS
#for j in COLUMNS
    var sum${i}_${j} = 0.0;
#endfor
#endfor
    for (var tap = 0u; tap < depth; tap += 1u) {
#for part in PARTS
        let tap${part} = tap * ${PARTS}u + ${part}u;
        let offset${part} = tap${part} / side * line + tap${part} % side;
#endfor
        for (var channel = 0u; channel < channels; channel += 1u) {
            let at = channel * plane;
            let weight = channel * depth + tap;
#for part in PARTS
#for j in COLUMNS
            let b${part}_${j} = pixels[at + offset${part} + corner${j}];
#endfor
#endfor
#for i in ROWS
            let a${i} = weights[row${i} + weight];
#endfor
#include block_products
        }
    }
#for i in ROWS
#for j in COLUMNS
    if (first_row + ${i}u < outputs && column${j} < area) {
        write(group.z, first_row + ${i}u, column${j}, sum${i}_${j});
    }
#endfor
#endfor
}
