// Means of 2 × 2 cells: [N · T, g², C] to [N · (g/2)², T, C]. Reference: reference/pool_classes.rs
struct Sizes {
    count: u32,
    classes: u32,
    width: u32,
    grid: u32,
}

@group(0) @binding(${BINDING}) var<storage, read_write> values: array<f32>;
@group(0) @binding(${BINDING}) var<storage, read_write> results: array<f32>;
@group(0) @binding(${BINDING}) var<uniform> sizes: Sizes;

fn value(at: u32) -> f32 {
    let classes = sizes.classes;
    let width = sizes.width;
    let grid = sizes.grid;
    let half = grid / 2u;
    let channel = at % width;
    let class_ = at / width % classes;
    let place = at / width / classes;
    let pair = place / (half * half);
    let row = place / half % half;
    let column = place % half;
    let line = grid * width;
    let corner = ((pair * classes + class_) * grid + 2u * row) * line + 2u * column * width + channel;
    return 0.25 * ((values[corner] + values[corner + line]) + (values[corner + width] + values[corner + line + width]));
}

#include each_value
