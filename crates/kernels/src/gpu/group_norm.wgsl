// Group norm, activation and residual of groups short enough for one workgroup each. Reference: reference/group_norm.rs
#include activation_function

struct Sizes {
    // Groups of all images.
    groups: u32,
    // Values of a group.
    length: u32,
    // Pixels of a channel.
    area: u32,
    channels: u32,
    eps: f32,
}

@group(0) @binding(${BINDING}) var<storage, read_write> values: array<f32>;
@group(0) @binding(${BINDING}) var<storage, read_write> gamma: array<f32>;
@group(0) @binding(${BINDING}) var<storage, read_write> beta: array<f32>;
#if ADD
@group(0) @binding(${BINDING}) var<storage, read_write> residual: array<f32>;
#endif
@group(0) @binding(${BINDING}) var<storage, read_write> results: array<f32>;
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
    let place = group.x + group.y * groups.x;
    let is_inside = place < sizes.groups;
    let first = min(place, sizes.groups - 1u) * length;
    // Differences from the first value, which is about as close to the mean as the others: no cancellation.
    let pivot = values[first];
    var part = vec2<f32>(0.0);
    for (var i = lane; i < length; i += ${LANES}u) {
        let difference = values[first + i] - pivot;
        part += vec2<f32>(difference, difference * difference);
    }
    parts[lane] = part;
    workgroupBarrier();
    var sums = vec2<f32>(0.0);
    for (var i = 0u; i < ${LANES}u; i += 1u) {
        sums += parts[i];
    }
    sums /= f32(length);
    let mean = pivot + sums.x;
    let scale = inverseSqrt(max(sums.y - sums.x * sums.x, 0.0) + sizes.eps);
    if (is_inside) {
        for (var i = lane; i < length; i += ${LANES}u) {
#include group_norm_value
        }
    }
}
