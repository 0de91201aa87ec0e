// The inverse of cut_windows, added to a residual [M, g², C]. Reference: reference/join_windows.rs
struct Sizes {
    count: u32,
    width: u32,
    grid: u32,
    shift: u32,
}

@group(0) @binding(${BINDING}) var<storage, read_write> values: array<f32>;
@group(0) @binding(${BINDING}) var<storage, read_write> residual: array<f32>;
@group(0) @binding(${BINDING}) var<storage, read_write> results: array<f32>;
@group(0) @binding(${BINDING}) var<uniform> sizes: Sizes;

fn value(at: u32) -> f32 {
    let width = sizes.width;
    let grid = sizes.grid;
    let side = grid / 2u;
    let cells = grid * grid;
    let channel = at % width;
    let place = at / width % cells;
    let map = at / width / cells;
    let row = (place / grid + grid - sizes.shift) % grid;
    let column = (place + grid - sizes.shift) % grid;
    let window = row / side * 2u + column / side;
    let inside = row % side * side + column % side;
    return residual[at] + values[((map * 4u + window) * side * side + inside) * width + channel];
}

#include each_value
