// Layer norm of rows. Reference: reference/layer_norm.rs
//
// THREADS threads share a row; a workgroup takes LANES / THREADS rows. With F16 the scale gamma and the results are in
// half precision.
#if F16
enable f16;
#endif

struct Sizes {
    rows: u32,
    length: u32,
    eps: f32,
}

@group(0) @binding(${BINDING}) var<storage, read_write> values: array<f32>;
@group(0) @binding(${BINDING}) var<storage, read_write> gamma: array<${RESULT}>;
@group(0) @binding(${BINDING}) var<storage, read_write> beta: array<f32>;
@group(0) @binding(${BINDING}) var<storage, read_write> results: array<${RESULT}>;
@group(0) @binding(${BINDING}) var<uniform> sizes: Sizes;

var<workgroup> parts: array<vec2<f32>, ${LANES}>;

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
    // Differences from the first value, which is about as close to the mean as the others: no cancellation.
    let pivot = values[first];
    var part = vec2<f32>(0.0);
    for (var i = start; i < length; i += ${THREADS}u) {
        let difference = values[first + i] - pivot;
        part += vec2<f32>(difference, difference * difference);
    }
    parts[lane] = part;
    workgroupBarrier();
    var sums = vec2<f32>(0.0);
    for (var i = 0u; i < ${THREADS}u; i += 1u) {
        sums += parts[lane - start + i];
    }
    sums /= f32(length);
    let mean = pivot + sums.x;
    let scale = inverseSqrt(max(sums.y - sums.x * sums.x, 0.0) + sizes.eps);
    if (is_inside) {
        for (var i = start; i < length; i += ${THREADS}u) {
            let y = (values[first + i] - mean) * scale * f32(gamma[i]) + beta[i];
            results[first + i] = ${RESULT}(y);
        }
    }
}
