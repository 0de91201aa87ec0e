// An elementwise activation. Reference: reference/activation.rs
#include activation_function

struct Sizes {
    count: u32,
}

@group(0) @binding(${BINDING}) var<storage, read_write> values: array<f32>;
@group(0) @binding(${BINDING}) var<storage, read_write> results: array<f32>;
@group(0) @binding(${BINDING}) var<uniform> sizes: Sizes;

fn value(at: u32) -> f32 {
    return activation(values[at]);
}

#include each_value
