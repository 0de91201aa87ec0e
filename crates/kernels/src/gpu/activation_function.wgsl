// f(x) of an activation; nothing where a kernel has none.
#if GELU
// erf by Abramowitz and Stegun 7.1.26, error at most 1.5e-7.
fn activation(x: f32) -> f32 {
    let z = abs(x) * 0.70710678;
    let t = 1.0 / (1.0 + 0.3275911 * z);
    let p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    let erf = sign(x) * (1.0 - p * exp(-z * z));
    return 0.5 * x * (1.0 + erf);
}
#endif
#if QUICK_GELU
fn activation(x: f32) -> f32 {
    return x / (1.0 + exp(-1.702 * x));
}
#endif
#if RELU
fn activation(x: f32) -> f32 {
    return max(x, 0.0);
}
#endif
#if SIGMOID
fn activation(x: f32) -> f32 {
    return 1.0 / (1.0 + exp(-x));
}
#endif
