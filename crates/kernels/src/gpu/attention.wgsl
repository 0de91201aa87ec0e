// softmax(scale · q kᵀ + bias) v per head, without a buffer of scores. Reference: reference/attention.rs
//
// A thread holds QUERIES queries and their results in registers and streams the keys, KEYS at a time, with the online
// softmax of Milakov and Gimelshein (2018): results are rescaled when a larger score is met. A workgroup takes
// LANES · QUERIES queries of head `group.y` of sequence `group.z`. Heads are QUADS vectors of four values wide.
//
// Constants: QUADS, QUERIES, KEYS, QUAD (type of a vector: vec4<f32> or vec4<f16>); flags: F16, BIAS, PACKED (queries, keys
// and values are thirds of one buffer, which may be bound only once).
#if F16
enable f16;
#endif

struct Sizes {
    length: u32,
    heads: u32,
    scale: f32,
    // Entries of the bias before they repeat.
    period: u32,
    // Strides of sequence, head and position in vectors of four values.
    query_sequence: u32,
    query_head: u32,
    query_position: u32,
    key_sequence: u32,
    key_head: u32,
    key_position: u32,
    value_sequence: u32,
    value_head: u32,
    value_position: u32,
}

#if PACKED
@group(0) @binding(${BINDING}) var<storage, read_write> qkv: array<${QUAD}>;
#else
@group(0) @binding(${BINDING}) var<storage, read_write> queries: array<${QUAD}>;
@group(0) @binding(${BINDING}) var<storage, read_write> keys: array<${QUAD}>;
@group(0) @binding(${BINDING}) var<storage, read_write> values: array<${QUAD}>;
#endif
#if BIAS
// [period, key, query].
@group(0) @binding(${BINDING}) var<storage, read_write> bias: array<f32>;
#endif
// [N, L, heads, d].
@group(0) @binding(${BINDING}) var<storage, read_write> results: array<${QUAD}>;
@group(0) @binding(${BINDING}) var<uniform> sizes: Sizes;

fn query(at: u32) -> vec4<f32> {
#if PACKED
    return vec4<f32>(qkv[at]);
#else
    return vec4<f32>(queries[at]);
#endif
}

fn key(at: u32) -> vec4<f32> {
#if PACKED
    return vec4<f32>(qkv[sizes.heads * ${QUADS}u + at]);
#else
    return vec4<f32>(keys[at]);
#endif
}

fn value(at: u32) -> vec4<f32> {
#if PACKED
    return vec4<f32>(qkv[2u * sizes.heads * ${QUADS}u + at]);
#else
    return vec4<f32>(values[at]);
#endif
}

@compute @workgroup_size(${LANES}, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
) {
    let length = sizes.length;
    let query_start = group.z * sizes.query_sequence + group.y * sizes.query_head;
    let key_start = group.z * sizes.key_sequence + group.y * sizes.key_head;
    let value_start = group.z * sizes.value_sequence + group.y * sizes.value_head;
#for i in QUERIES
    let place${i} = (group.x * ${QUERIES}u + ${i}u) * ${LANES}u + thread.x;
    let query${i} = min(place${i}, length - 1u);
    let at${i} = query_start + query${i} * sizes.query_position;
    var largest${i} = -1e30;
    var total${i} = 0.0;
#if BIAS
    let bias${i} = group.z % sizes.period * length * length + query${i};
#endif
#for quad in QUADS
    let q${i}_${quad} = query(at${i} + ${quad}u) * sizes.scale;
    var sum${i}_${quad} = vec4<f32>(0.0);
#endfor
#endfor
    for (var first_key = 0u; first_key < length; first_key += ${KEYS}u) {
#for j in KEYS
        let key${j} = min(first_key + ${j}u, length - 1u);
#endfor
#for i in QUERIES
#for j in KEYS
#if BIAS
        var score${i}_${j} = bias[bias${i} + key${j} * length];
#else
        var score${i}_${j} = 0.0;
#endif
#endfor
#endfor
#for j in KEYS
        let key_at${j} = key_start + key${j} * sizes.key_position;
#for quad in QUADS
        let k${j}_${quad} = key(key_at${j} + ${quad}u);
#for i in QUERIES
        score${i}_${j} += dot(q${i}_${quad}, k${j}_${quad});
#endfor
#endfor
#endfor
#for i in QUERIES
        var top${i} = largest${i};
#for j in KEYS
        // A key beyond the last one repeats it: its weight becomes 0.
        score${i}_${j} = select(-1e30, score${i}_${j}, first_key + ${j}u < length);
        top${i} = max(top${i}, score${i}_${j});
#endfor
        let shrink${i} = exp(largest${i} - top${i});
        largest${i} = top${i};
        total${i} *= shrink${i};
#for j in KEYS
        let p${i}_${j} = exp(score${i}_${j} - top${i});
        total${i} += p${i}_${j};
#endfor
#endfor
#for j in KEYS
        let value_at${j} = value_start + key${j} * sizes.value_position;
#endfor
#for quad in QUADS
#for i in QUERIES
        sum${i}_${quad} *= shrink${i};
#endfor
#for j in KEYS
        let v${j}_${quad} = value(value_at${j} + ${quad}u);
#for i in QUERIES
        sum${i}_${quad} += p${i}_${j} * v${j}_${quad};
#endfor
#endfor
#endfor
    }
#for i in QUERIES
    if (place${i} < length) {
        let to = ((group.z * length + place${i}) * sizes.heads + group.y) * ${QUADS}u;
#for quad in QUADS
        results[to + ${quad}u] = ${QUAD}(sum${i}_${quad} / total${i});
#endfor
    }
#endfor
}
