// Linear attention among the classes of each place. Reference: reference/class_attention.rs
//
// A thread computes one channel of one place for all classes: first, per channel of its head, Σ φ(k) and Σ φ(k) v for its
// own channel of v, then the result of each query. DEPTH is the number of channels of a head.
struct Sizes {
    places: u32,
    classes: u32,
    width: u32,
    pads: f32,
}

@group(0) @binding(${BINDING}) var<storage, read_write> queries: array<f32>;
@group(0) @binding(${BINDING}) var<storage, read_write> keys: array<f32>;
@group(0) @binding(${BINDING}) var<storage, read_write> values: array<f32>;
@group(0) @binding(${BINDING}) var<storage, read_write> guidance_q: array<f32>;
@group(0) @binding(${BINDING}) var<storage, read_write> guidance_k: array<f32>;
@group(0) @binding(${BINDING}) var<storage, read_write> pad_k: array<f32>;
@group(0) @binding(${BINDING}) var<storage, read_write> pad_v: array<f32>;
@group(0) @binding(${BINDING}) var<storage, read_write> results: array<f32>;
@group(0) @binding(${BINDING}) var<uniform> sizes: Sizes;

// φ(z) = elu(z) + 1: z + 1 above zero, eᶻ below.
fn feature(z: f32) -> f32 {
    return max(z, 0.0) + exp(min(z, 0.0));
}

@compute @workgroup_size(${LANES}, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
) {
    let classes = sizes.classes;
    let width = sizes.width;
    let channel = group.x * ${LANES}u + thread.x;
    let own = min(channel, width - 1u);
    let head = own / ${DEPTH}u * ${DEPTH}u;
    let place = group.y + group.z * groups.y;
    let is_inside = channel < width && place < sizes.places;
    let first = min(place, sizes.places - 1u) * classes * width;
    let pad = pad_v[own];
#for i in DEPTH
    var total${i} = feature(pad_k[head + ${i}u]) * sizes.pads;
    var product${i} = total${i} * pad;
#endfor
    for (var class_ = 0u; class_ < classes; class_ += 1u) {
        let row = class_ * width;
        let at = first + row;
        let value = values[at + own];
#for i in DEPTH
        let f${i} = feature(keys[at + head + ${i}u] + guidance_k[row + head + ${i}u]);
        total${i} += f${i};
        product${i} += f${i} * value;
#endfor
    }
    for (var class_ = 0u; class_ < classes; class_ += 1u) {
        let row = class_ * width;
        let at = first + row;
        var numerator = 0.0;
        var denominator = 1e-6;
#for i in DEPTH
        let f${i} = feature(queries[at + head + ${i}u] + guidance_q[row + head + ${i}u]);
        numerator += f${i} * product${i};
        denominator += f${i} * total${i};
#endfor
        if (is_inside) {
            results[at + own] = numerator / denominator;
        }
    }
}
