// First pass of the group norm of long groups: the sums of differences and of their squares of each piece of a group.
// Reference: reference/group_norm.rs
//
// Workgroup x is a piece of the group y + z · (workgroups along y).
struct Sizes {
    groups: u32,
    length: u32,
    // Values of a piece.
    piece: u32,
}

@group(0) @binding(${BINDING}) var<storage, read_write> values: array<f32>;
// [groups, pieces].
@group(0) @binding(${BINDING}) var<storage, read_write> results: array<vec2<f32>>;
@group(0) @binding(${BINDING}) var<uniform> sizes: Sizes;

var<workgroup> parts: array<vec2<f32>, ${LANES}>;

@compute @workgroup_size(${LANES}, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
) {
    let lane = thread.x;
    let place = group.y + group.z * groups.y;
    let is_inside = place < sizes.groups;
    let own = min(place, sizes.groups - 1u);
    let first = own * sizes.length;
    let begin = group.x * sizes.piece;
    let end = min(begin + sizes.piece, sizes.length);
    // Differences from the first value of the group: no cancellation.
    let pivot = values[first];
    var part = vec2<f32>(0.0);
    for (var i = begin + lane; i < end; i += ${LANES}u) {
        let difference = values[first + i] - pivot;
        part += vec2<f32>(difference, difference * difference);
    }
    parts[lane] = part;
    workgroupBarrier();
    if (lane == 0u && is_inside) {
        var sums = vec2<f32>(0.0);
        for (var i = 0u; i < ${LANES}u; i += 1u) {
            sums += parts[i];
        }
        results[own * groups.x + group.x] = sums;
    }
}
