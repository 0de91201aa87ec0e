// A convolution of stride 1 with zero padding, computed from the map itself. Reference: reference/conv.rs
//
// The product of the weights (a row is an output channel) with the map (a column is a pixel), tap by tap. The channels of
// a tap are contiguous in the weights [O, k, k, C]. Image `group.z`. Constants: `Block::template` in block.rs.
#include activation_function

struct Sizes {
    channels: u32,
    outputs: u32,
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
    let width = sizes.width;
    let area = sizes.height * width;
    let side = sizes.side;
    // In reads.
    let depth = channels / ${PARTS}u;
    let taps = side * side;
    let pad = i32(side / 2u);
    let bottom = i32(sizes.height) - 1;
    let right = i32(width) - 1;
    let image = group.z * channels * area;
    let first_row = (group.y * ${TEAMS}u + thread.y) * ${ROWS}u;
    let first_column = group.x * ${COLUMNS}u * ${LANES}u + thread.x;
#for i in ROWS
    let row${i} = min(first_row + ${i}u, outputs - 1u) * taps * depth;
#endfor
#for j in COLUMNS
    let column${j} = first_column + ${j}u * ${LANES}u;
    let read${j} = min(column${j}, area - 1u);
    let y${j} = i32(read${j} / width) - pad;
    let x${j} = i32(read${j} % width) - pad;
#endfor
#for i in ROWS
#for j in COLUMNS
    var sum${i}_${j} = 0.0;
#endfor
#endfor
    for (var tap = 0u; tap < taps; tap += 1u) {
        let down = i32(tap / side);
        let along = i32(tap % side);
#for j in COLUMNS
        // Outside of the map: a pixel of the map times 0.
        let v${j} = y${j} + down;
        let u${j} = x${j} + along;
        let inside${j} = select(0.0, 1.0, v${j} >= 0 && v${j} <= bottom && u${j} >= 0 && u${j} <= right);
        let pixel${j} = image + u32(clamp(v${j}, 0, bottom) * i32(width) + clamp(u${j}, 0, right));
#endfor
        for (var step = 0u; step < depth; step += 1u) {
            let at = step * ${PARTS}u * area;
            let weight = tap * depth + step;
#for part in PARTS
#for j in COLUMNS
            let b${part}_${j} = pixels[at + ${part}u * area + pixel${j}] * inside${j};
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
