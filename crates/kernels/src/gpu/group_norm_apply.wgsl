// Second pass of the group norm of long groups: each piece normalised by the sums of all pieces of its group, then
// activation and residual. Reference: reference/group_norm.rs
//
// Workgroup x is a piece of the group y + z · (workgroups along y).
#include activation_function

struct Sizes {
    groups: u32,
    length: u32,
    // Values of a piece.
    piece: u32,
    // Pixels of a channel.
    area: u32,
    channels: u32,
    eps: f32,
}

@group(0) @binding(${BINDING}) var<storage, read_write> values: array<f32>;
// [groups, pieces], of group_norm_sums.
@group(0) @binding(${BINDING}) var<storage, read_write> piece_sums: array<vec2<f32>>;
@group(0) @binding(${BINDING}) var<storage, read_write> gamma: array<f32>;
@group(0) @binding(${BINDING}) var<storage, read_write> beta: array<f32>;
#if ADD
@group(0) @binding(${BINDING}) var<storage, read_write> residual: array<f32>;
#endif
@group(0) @binding(${BINDING}) var<storage, read_write> results: array<f32>;
@group(0) @binding(${BINDING}) var<uniform> sizes: Sizes;

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
    var sums = vec2<f32>(0.0);
    for (var i = 0u; i < groups.x; i += 1u) {
        sums += piece_sums[own * groups.x + i];
    }
    sums /= f32(sizes.length);
    let mean = values[first] + sums.x;
    let scale = inverseSqrt(max(sums.y - sums.x * sums.x, 0.0) + sizes.eps);
    if (is_inside) {
        for (var i = begin + lane; i < end; i += ${LANES}u) {
#include group_norm_value
        }
    }
}
