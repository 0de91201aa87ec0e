// Bilinear interpolation with aligned corners, [N · (g/2)², T, C] to [N · T, g², C], added to a residual.
// Reference: reference/spread_classes.rs
struct Sizes {
    count: u32,
    classes: u32,
    width: u32,
    grid: u32,
}

@group(0) @binding(${BINDING}) var<storage, read_write> values: array<f32>;
@group(0) @binding(${BINDING}) var<storage, read_write> residual: array<f32>;
@group(0) @binding(${BINDING}) var<storage, read_write> results: array<f32>;
@group(0) @binding(${BINDING}) var<uniform> sizes: Sizes;

fn value(at: u32) -> f32 {
    let classes = sizes.classes;
    let width = sizes.width;
    let grid = sizes.grid;
    let half = grid / 2u;
    let channel = at % width;
    let cell = at / width % (grid * grid);
    let sequence = at / width / (grid * grid);
    let pair = sequence / classes;
    let class_ = sequence % classes;
    // Along each axis: the index of the first of two neighbours, and the weight of the second.
    let place = vec2<u32>(cell / grid, cell % grid) * (half - 1u);
    let first = min(place / (grid - 1u), vec2<u32>(max(half, 2u) - 2u));
    let weight = vec2<f32>(place - first * (grid - 1u)) / f32(grid - 1u);
    // A neighbour of weight 0 may lie outside of the map: the first is read instead.
    let next = vec2<u32>(weight > vec2<f32>(0.0)) * vec2<u32>(half, 1u);
    let step = classes * width;
    let start = ((pair * half + first.x) * half + first.y) * step + class_ * width + channel;
    let above = mix(values[start], values[start + next.y * step], weight.y);
    let below = mix(values[start + next.x * step], values[start + (next.x + next.y) * step], weight.y);
    return residual[at] + mix(above, below, weight.x);
}

#include each_value
