// Rows at unit length. Reference: reference/unit.rs
//
// THREADS threads share a row; a workgroup takes LANES / THREADS rows.
struct Sizes {
    rows: u32,
    length: u32,
}

@group(0) @binding(${BINDING}) var<storage, read_write> values: array<f32>;
@group(0) @binding(${BINDING}) var<storage, read_write> results: array<f32>;
@group(0) @binding(${BINDING}) var<uniform> sizes: Sizes;

var<workgroup> parts: array<f32, ${LANES}>;

@compute @workgroup_size(${LANES}, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
) {
    let lane = thread.x;
    let length = sizes.length;
    let row = (group.x + group.y * groups.x) * (${LANES}u / ${THREADS}u) + lane / ${THREADS}u;
    let is_inside = row < sizes.rows;
    let first = min(row, sizes.rows - 1u) * length;
    let start = lane % ${THREADS}u;
    var squares = 0.0;
    for (var i = start; i < length; i += ${THREADS}u) {
        let x = values[first + i];
        squares += x * x;
    }
    parts[lane] = squares;
    workgroupBarrier();
    squares = 0.0;
    for (var i = 0u; i < ${THREADS}u; i += 1u) {
        squares += parts[lane - start + i];
    }
    let scale = inverseSqrt(max(squares, 1e-24));
    if (is_inside) {
        for (var i = start; i < length; i += ${THREADS}u) {
            results[first + i] = values[first + i] * scale;
        }
    }
}
