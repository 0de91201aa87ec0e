//! Percentiles, which every stretch in this crate is built on.

/// Above this many values a regular sample stands for all: a percentile of a picture does not need
/// more.
const MOST_VALUES: usize = 1 << 20;

/// The values at the given fractions (0 to 1) of the finite values in `values`; `None` when there
/// is none. Deterministic: large inputs are thinned by a regular stride.
pub(crate) fn percentiles<const N: usize>(
    values: impl Iterator<Item = f32> + Clone,
    fractions: [f64; N],
) -> Option<[f32; N]> {
    let count = values.clone().filter(|v| v.is_finite()).count();
    let stride = count.div_ceil(MOST_VALUES).max(1);
    let mut kept: Vec<f32> = values.filter(|v| v.is_finite()).step_by(stride).collect();
    let last = kept.len().checked_sub(1)?;
    Some(fractions.map(|fraction| {
        let at = libm::round(fraction * last as f64) as usize;
        *kept.select_nth_unstable_by(at.min(last), f32::total_cmp).1
    }))
}

/// The byte at a fraction (0 to 1) of a histogram; `None` when it is empty.
pub(crate) fn histogram_percentile(histogram: &[u32; 256], fraction: f64) -> Option<u8> {
    let total: u64 = histogram.iter().map(|&n| u64::from(n)).sum();
    let rank = libm::round(fraction * total.checked_sub(1)? as f64) as u64;
    let mut seen = 0_u64;
    for (byte, &n) in histogram.iter().enumerate() {
        seen += u64::from(n);
        if seen > rank {
            return u8::try_from(byte).ok();
        }
    }
    None
}

/// Maps `low..=high` to `0..=255` linearly, rounding; NaN becomes 0.
pub(crate) fn stretch_byte(value: f32, low: f32, high: f32) -> u8 {
    if value.is_nan() {
        return 0;
    }
    let span = (high - low).max(f32::MIN_POSITIVE);
    // `as` saturates, so that values outside the range (and a span of almost nothing) stay bytes.
    libm::roundf((value - low) / span * 255.0) as u8
}
