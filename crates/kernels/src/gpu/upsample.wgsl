// A transposed convolution whose stride is its kernel: tokens [N · high · across, depth] to maps
// [N, channels, side · high, side · across]. Reference: reference/upsample.rs
//
// A product like linear.wgsl whose column is a pixel of a channel's tile: each row of results is written to the tiles of
// its cell.
#include activation_function

struct Sizes {
    // Cells of all images.
    height: u32,
    depth: u32,
    // channels · side².
    width: u32,
    high: u32,
    across: u32,
    side: u32,
    channels: u32,
    // Images for each image of the residual.
    repeat: u32,
}

@group(0) @binding(${BINDING}) var<storage, read_write> left: array<${SHARED}>;
@group(0) @binding(${BINDING}) var<storage, read_write> right: array<${OWN}>;
#if BIAS
@group(0) @binding(${BINDING}) var<storage, read_write> bias: array<f32>;
#endif
#if ADD
@group(0) @binding(${BINDING}) var<storage, read_write> residual: array<f32>;
#endif
@group(0) @binding(${BINDING}) var<storage, read_write> results: array<f32>;
@group(0) @binding(${BINDING}) var<uniform> sizes: Sizes;

// Applies the epilogue to a sum of a cell (`row`) and a pixel of a tile (`column`) and writes it.
fn write(row: u32, column: u32, sum: f32) {
    let side = sizes.side;
    let tile = side * side;
    let line = sizes.across * side;
    let area = sizes.high * side * line;
    let channel = column / tile;
    let image = row / sizes.across / sizes.high;
    let y = row / sizes.across % sizes.high * side + column / side % side;
    let x = row % sizes.across * side + column % side;
    let pixel = channel * area + y * line + x;
    var value = sum;
#if BIAS
    value += bias[channel];
#endif
#if ACTIVATION
    value = activation(value);
#endif
#if ADD
    value += residual[image / sizes.repeat * sizes.channels * area + pixel];
#endif
    results[image * sizes.channels * area + pixel] = value;
}

@compute @workgroup_size(${LANES}, ${TEAMS}, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
) {
    let height = sizes.height;
    let width = sizes.width;
    // In reads.
    let depth = sizes.depth / ${PARTS}u;
    let first_row = ((group.y + group.z * groups.y) * ${TEAMS}u + thread.y) * ${ROWS}u;
    let first_column = group.x * ${COLUMNS}u * ${LANES}u + thread.x;
#for i in ROWS
    let row${i} = min(first_row + ${i}u, height - 1u) * depth;
#endfor
#for j in COLUMNS
    let column${j} = first_column + ${j}u * ${LANES}u;
    let read${j} = min(column${j}, width - 1u);
#endfor
#for i in ROWS
#for j in COLUMNS
    var sum${i}_${j} = 0.0;
#endfor
#endfor
    for (var step = 0u; step < depth; step += 1u) {
        let at = step * ${PARTS}u * width;
#for part in PARTS
#for j in COLUMNS
        let b${part}_${j} = right[at + ${part}u * width + read${j}];
#endfor
#endfor
#for i in ROWS
        let a${i} = left[row${i} + step];
#endfor
#include block_products
    }
#for i in ROWS
#for j in COLUMNS
    if (first_row + ${i}u < height && column${j} < width) {
        write(first_row + ${i}u, column${j}, sum${i}_${j});
    }
#endfor
#endfor
}
