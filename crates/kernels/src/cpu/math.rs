//! Elementary functions as plain arithmetic, so that loops over them are vectorised.

/// `a · b + c`, as one instruction where `fused`. Only inside of `vectorised`, which knows whether
/// the instruction exists: without it, the call is a hundred times as slow.
#[inline(always)]
fn multiply_add(a: f32, b: f32, c: f32, fused: bool) -> f32 {
    if fused { a.mul_add(b, c) } else { a * b + c }
}

/// `eˣ` to 2 units in the last place for `x` in (−87, 88); below, a value under 1e−37; above, e⁸⁸.
///
/// Reduced to `2ⁿ · eʳ` with `|r| ≤ ln 2 / 2`; `eʳ` is its Taylor series to the seventh power. For
/// `fused` see [`multiply_add`].
#[inline(always)]
pub(crate) fn exp(x: f32, fused: bool) -> f32 {
    exp_within(x.clamp(-87.0, 88.0), fused)
}

/// [`exp`] for `x` in [−87, 88].
#[inline(always)]
pub(crate) fn exp_within(x: f32, fused: bool) -> f32 {
    // Adding 1.5 · 2²³ leaves the rounded quotient in the low bits of the sum.
    const SHIFT: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let shifted = multiply_add(x, std::f32::consts::LOG2_E, SHIFT, fused);
    let n = shifted - SHIFT;
    let r = multiply_add(-n, LN_2_HIGH, x, fused);
    let r = multiply_add(-n, LN_2_LOW, r, fused);
    let series = 1.0 / 5040.0;
    let series = multiply_add(series, r, 1.0 / 720.0, fused);
    let series = multiply_add(series, r, 1.0 / 120.0, fused);
    let series = multiply_add(series, r, 1.0 / 24.0, fused);
    let series = multiply_add(series, r, 1.0 / 6.0, fused);
    let series = multiply_add(series, r, 0.5, fused);
    let series = multiply_add(series, r, 1.0, fused);
    let series = multiply_add(series, r, 1.0, fused);
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    series * power
}

/// The standard normal distribution function `Φ(x)` and its density, to about 1e−7.
///
/// `erfc` after Abramowitz and Stegun 7.1.26.
#[inline(always)]
pub(crate) fn normal(x: f32, fused: bool) -> (f32, f32) {
    const FRAC_1_SQRT_2PI: f32 = 0.398_942_3;
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / multiply_add(0.327_591_1, z, 1.0, fused);
    // Clamp the tail: subnormal results would take a hundred cycles each.
    let gauss = exp((-0.5 * x * x).max(-75.0), fused);
    let tail = 1.061_405_4;
    let tail = multiply_add(tail, t, -1.453_152, fused);
    let tail = multiply_add(tail, t, 1.421_413_8, fused);
    let tail = multiply_add(tail, t, -0.284_496_74, fused);
    let tail = multiply_add(tail, t, 0.254_829_6, fused);
    let tail = 0.5 * tail * t * gauss;
    let below = if x < 0.0 { tail } else { 1.0 - tail };
    (below, FRAC_1_SQRT_2PI * gauss)
}

/// Partial sums and maxima: enough to fill the widest registers.
pub(crate) const LANES: usize = 16;

/// Folds the lanes in halves: one after another, each operation would wait for the one before.
#[inline(always)]
pub(crate) fn fold(lanes: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut eight = [0.0f32; 8];
    for i in 0..8 {
        eight[i] = f(lanes[i], lanes[i + 8]);
    }
    let mut four = [0.0f32; 4];
    for i in 0..4 {
        four[i] = f(eight[i], eight[i + 4]);
    }
    f(f(four[0], four[2]), f(four[1], four[3]))
}

/// The sum of `f(i)` for `i < len`, in [`LANES`] partial sums.
#[inline(always)]
pub(crate) fn sum(len: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let whole = len / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, total) in lanes.iter_mut().enumerate() {
            *total += f(start + lane);
        }
    }
    let mut total = fold(lanes, |a, b| a + b);
    for i in whole..len {
        total += f(i);
    }
    total
}

/// The largest value of a slice; −∞ for an empty one.
#[inline(always)]
pub(crate) fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (max, &value) in lanes.iter_mut().zip(chunk) {
            *max = if value > *max { value } else { *max };
        }
    }
    let max = fold(lanes, |a, b| if b > a { b } else { a });
    rest.iter().fold(max, |a, &b| if b > a { b } else { a })
}

#[cfg(test)]
mod tests {
    use super::{exp, max, normal, sum};

    #[test]
    fn exp_is_exact_to_a_few_units_in_the_last_place() {
        for fused in [false, true] {
            for i in -8690..8790 {
                let x = i as f32 * 0.01;
                let want = f64::from(x).exp();
                let off = (f64::from(exp(x, fused)) / want - 1.0).abs();
                assert!(off < 3e-7, "{x}: {off}");
            }
            assert!(exp(-1000.0, fused) < 1e-37);
            assert!(exp(f32::NEG_INFINITY, fused) < 1e-37);
        }
    }

    #[test]
    fn normal_distribution_agrees_with_its_definition() {
        // Φ by Simpson's rule from −12, density in closed form.
        let density = |x: f64| (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let mut total = 0.0;
        let step = 0.001;
        for i in 0..20_000 {
            let a = -12.0 + f64::from(i) * step;
            total += (density(a) + 4.0 * density(a + step / 2.0) + density(a + step)) * step / 6.0;
            for fused in [false, true] {
                let (below, at) = normal((a + step) as f32, fused);
                assert!((f64::from(below) - total).abs() < 3e-7, "{}", a + step);
                assert!((f64::from(at) - density(a + step)).abs() < 2e-7);
            }
        }
    }

    #[test]
    fn sums_and_maxima_take_every_place() {
        for len in [0, 1, 15, 16, 17, 100] {
            let values: Vec<f32> = (0..len).map(|i| ((i * 37) % 101) as f32).collect();
            assert_eq!(sum(len, |i| values[i]), values.iter().sum::<f32>());
            assert_eq!(
                max(&values),
                values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
            );
        }
    }
}
