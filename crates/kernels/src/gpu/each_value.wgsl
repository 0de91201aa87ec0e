// The entry point of kernels whose results are independent: results[at] = value(at) for at < sizes.count.
@compute @workgroup_size(${LANES}, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
) {
    let first = (group.x + group.y * groups.x) * ${VALUES}u * ${LANES}u + thread.x;
    for (var i = 0u; i < ${VALUES}u; i += 1u) {
        let at = first + i * ${LANES}u;
        if (at < sizes.count) {
            results[at] = value(at);
        }
    }
}
