// Maps [M, g², C], cyclically shifted, to their four windows [4 M, g² / 4, C]. Reference: reference/cut_windows.rs
struct Sizes {
    count: u32,
    width: u32,
    grid: u32,
    shift: u32,
}

@group(0) @binding(${BINDING}) var<storage, read_write> values: array<f32>;
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
    let window = place / (side * side);
    let inside = place % (side * side);
    let row = (window / 2u * side + inside / side + sizes.shift) % grid;
    let column = (window % 2u * side + inside % side + sizes.shift) % grid;
    return values[(map * cells + row * grid + column) * width + channel];
}

#include each_value
