//! Block quantisation, the writing half: choosing scales (see `dequant` for the layout).
//!
//! q8 keeps q in -127..=127 with the scale of least squared error among a few that clip nothing,
//! so each value is off by at most half a scale. q4 keeps q in -8..=7, stored as `q + 8` in a
//! nibble (even column in the low one), with the scale of least squared error among a few
//! candidates: the extreme value of a block may be clipped when that helps the other 31.

use half::f16;

use crate::dequant::BLOCK;

/// Scales tried for a q8 block, upwards from the smallest that clips nothing.
const Q8_CANDIDATES: u16 = 24;

/// A block that cannot be stored: its largest magnitude is not finite or needs a scale beyond f16.
#[derive(Debug, PartialEq)]
pub(crate) struct OutOfRange(pub f32);

/// Largest magnitude of the block; `OutOfRange` for NaN and infinity.
fn magnitude(block: &[f32]) -> Result<f32, OutOfRange> {
    let mut largest = 0f32;
    for &v in block {
        if !v.is_finite() {
            return Err(OutOfRange(v));
        }
        largest = largest.max(v.abs());
    }
    Ok(largest)
}

/// The smallest f16 that is not below `v` (`v` finite, at least 0); infinity beyond f16.
fn f16_not_below(v: f32) -> f16 {
    let near = f16::from_f32(v);
    if near.to_f32() < v {
        f16::from_bits(near.to_bits() + 1)
    } else {
        near
    }
}

/// Rounds half to even. Only for magnitudes below 2^22; unlike `f32::round` this needs no call on
/// baseline x86-64, which makes the q4 search several times faster.
fn round(v: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0; // 1.5 * 2^23
    (v + SHIFT) - SHIFT
}

fn q8_value(v: f32, step: f32) -> f32 {
    if step == 0.0 {
        0.0
    } else {
        round((v / step).clamp(-127.0, 127.0))
    }
}

fn q8_scale(block: &[f32]) -> Result<f16, OutOfRange> {
    let largest = magnitude(block)?;
    let plain = f16_not_below(largest / 127.0);
    if !plain.is_finite() {
        return Err(OutOfRange(largest));
    }
    let error = |scale: f16| {
        let step = scale.to_f32();
        block
            .iter()
            .map(|&v| (v - q8_value(v, step) * step).powi(2))
            .sum::<f32>()
    };
    // Neighbouring scales round the block's values quite differently. Labels of six scenes that
    // agree with f32, tiny B and L: 99.3 % and 98.8 % with the first, 99.4 % and 99.1 % with the
    // best of these. They are f16's own neighbours, about a thousandth apart.
    let mut best = (error(plain), plain);
    for step in 1..Q8_CANDIDATES {
        let scale = f16::from_bits(plain.to_bits() + step);
        if !scale.is_finite() {
            break;
        }
        let candidate = error(scale);
        if candidate < best.0 {
            best = (candidate, scale);
        }
    }
    Ok(best.1)
}

/// Appends one row as q8: the values to `values`, the scales (little-endian f16) to `scales`.
pub(crate) fn q8_row(
    row: &[f32],
    values: &mut Vec<u8>,
    scales: &mut Vec<u8>,
) -> Result<(), OutOfRange> {
    for block in row.chunks(BLOCK) {
        let scale = q8_scale(block)?;
        let step = scale.to_f32();
        values.extend(
            block
                .iter()
                .map(|&v| (q8_value(v, step) as i8).cast_unsigned()),
        );
        scales.extend(scale.to_le_bytes());
    }
    Ok(())
}

fn q4_value(v: f32, step: f32) -> f32 {
    if step == 0.0 {
        0.0
    } else {
        round((v / step).clamp(-8.0, 7.0))
    }
}

/// Squared error of the block at a scale, and the least-squares scale for the same q values.
fn q4_error(block: &[f32], step: f32) -> (f32, f32) {
    let (mut error, mut vq, mut qq) = (0f32, 0f32, 0f32);
    for &v in block {
        let q = q4_value(v, step);
        let d = v - q * step;
        error += d * d;
        vq += v * q;
        qq += q * q;
    }
    (error, if qq > 0.0 { vq / qq } else { 0.0 })
}

fn q4_scale(block: &[f32]) -> Result<f16, OutOfRange> {
    let largest = magnitude(block)?;
    let extreme = block
        .iter()
        .copied()
        .find(|v| v.abs() == largest)
        .unwrap_or(0.0);
    // The scale that clips nothing; every other candidate must beat it.
    let mut best = f16_not_below(largest / 7.0);
    if !best.is_finite() {
        return Err(OutOfRange(largest));
    }
    let (mut least, refined) = q4_error(block, best.to_f32());
    let mut consider = |candidate: f32, best: &mut f16| {
        let scale = f16::from_f32(candidate);
        let (error, refined) = q4_error(block, scale.to_f32());
        if scale.is_finite() && error < least {
            least = error;
            *best = scale;
            Some(refined)
        } else {
            None
        }
    };
    let mut refined = refined;
    // Denominators: below 7 and -8 the extreme value has room to spare, above it is clipped.
    for denominator in [7.3, 7.7, 8.2, 8.8, -7.6, -8.0, -8.4, -9.0, -9.8] {
        // A negative denominator maps the extreme value to -8, the longer side of the range.
        let candidate = if denominator > 0.0 {
            largest / denominator
        } else {
            extreme / denominator
        };
        if let Some(r) = consider(candidate, &mut best) {
            refined = r;
        }
    }
    consider(refined, &mut best);
    Ok(best)
}

/// Appends one row as q4: packed nibbles to `values`, the scales (little-endian f16) to `scales`.
pub(crate) fn q4_row(
    row: &[f32],
    values: &mut Vec<u8>,
    scales: &mut Vec<u8>,
) -> Result<(), OutOfRange> {
    for block in row.chunks(BLOCK) {
        let scale = q4_scale(block)?;
        let step = scale.to_f32();
        let nibble = |v: f32| (q4_value(v, step) as i8 + 8).cast_unsigned();
        // BLOCK is even, so only the last pair of a row can lack its second value.
        values.extend(block.chunks(2).map(|pair| {
            let high = pair.get(1).map_or(8, |&v| nibble(v));
            nibble(pair[0]) | (high << 4)
        }));
        scales.extend(scale.to_le_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::dequant::{q4_restore, q4_row_bytes, q8_restore, read_scales};
    use proptest::prelude::*;

    /// Rows of very different magnitudes, down to f16's subnormal scales.
    fn rows() -> impl Strategy<Value = Vec<f32>> {
        (-40i32..12, 1usize..100).prop_flat_map(|(exponent, len)| {
            let unit = 2f32.powi(exponent);
            proptest::collection::vec((-1f32..1f32).prop_map(move |v| v * unit), len)
        })
    }

    fn scales_of(bytes: &[u8]) -> Vec<f32> {
        read_scales(bytes).unwrap()
    }

    proptest! {
        #[test]
        fn q8_is_within_half_a_scale(row in rows()) {
            let (mut values, mut scales, mut back) = (vec![], vec![], vec![]);
            q8_row(&row, &mut values, &mut scales).unwrap();
            prop_assert_eq!(values.len(), row.len());
            q8_restore(&values, &scales, &mut back).unwrap();
            prop_assert_eq!(back.len(), row.len());
            for (i, (a, b)) in row.iter().zip(&back).enumerate() {
                let scale = scales_of(&scales)[i / BLOCK];
                prop_assert!((a - b).abs() <= scale * 0.5001, "{} {} {}", a, b, scale);
            }
            for (block, scale) in row.chunks(BLOCK).zip(scales_of(&scales)) {
                let largest = magnitude(block).unwrap();
                // Not wastefully large: within the f16 steps tried of largest / 127.
                prop_assert!(scale <= largest / 127.0 * 1.025 + 6e-8 * f32::from(Q8_CANDIDATES));
            }
        }

        #[test]
        fn q4_is_no_worse_than_the_plain_scale(row in rows()) {
            let (mut values, mut scales, mut back) = (vec![], vec![], vec![]);
            q4_row(&row, &mut values, &mut scales).unwrap();
            prop_assert_eq!(values.len(), q4_row_bytes(row.len()));
            q4_restore(&values, &scales, row.len(), &mut back).unwrap();
            prop_assert_eq!(back.len(), row.len());
            for (a, b) in row.chunks(BLOCK).zip(back.chunks(BLOCK)) {
                let error: f32 = a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum();
                let plain = f16_not_below(magnitude(a).unwrap() / 7.0).to_f32();
                let bound: f32 = a
                    .iter()
                    .map(|x| (x - (x / plain).round_ties_even().clamp(-8.0, 7.0) * plain).powi(2))
                    .filter(|e| e.is_finite())
                    .sum();
                prop_assert!(error <= bound * 1.0001 + f32::MIN_POSITIVE, "{} {}", error, bound);
                // Hence no value is off by more than all of the block's allowance.
                prop_assert!(error.sqrt() <= plain / 2.0 * (a.len() as f32).sqrt() * 1.001);
            }
        }
    }

    #[test]
    fn the_q4_search_pays() {
        // A block like trained weights, from a small deterministic generator.
        let mut state = 1u32;
        let mut uniform = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        let row: Vec<f32> = (0..3200)
            .map(|_| (0..6).map(|_| uniform()).sum::<f32>() * 0.02)
            .collect();
        let (mut values, mut scales, mut back) = (vec![], vec![], vec![]);
        q4_row(&row, &mut values, &mut scales).unwrap();
        q4_restore(&values, &scales, row.len(), &mut back).unwrap();
        let squared =
            |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum() };
        let plain: f32 = row
            .chunks(BLOCK)
            .map(|b| q4_error(b, f16_not_below(magnitude(b).unwrap() / 7.0).to_f32()).0)
            .sum();
        let searched = squared(&row, &back);
        assert!(searched < 0.85 * plain, "{searched} against {plain}");
    }

    #[test]
    fn zeros_stay_zero_and_exact_values_stay_exact() {
        let (mut values, mut scales, mut back) = (vec![], vec![], vec![]);
        q4_row(&[0.0; 40], &mut values, &mut scales).unwrap();
        q4_restore(&values, &scales, 40, &mut back).unwrap();
        assert_eq!(back, vec![0.0; 40]);
        let exact: Vec<f32> = (-8..8).map(|q| q as f32 * 0.25).collect();
        let (mut values, mut scales, mut back) = (vec![], vec![], vec![]);
        q4_row(&exact, &mut values, &mut scales).unwrap();
        q4_restore(&values, &scales, 16, &mut back).unwrap();
        assert_eq!(back, exact);
    }

    #[test]
    fn refuses_what_f16_scales_cannot_hold() {
        for bad in [f32::NAN, f32::INFINITY, 1e9] {
            let (mut values, mut scales) = (vec![], vec![]);
            assert!(q8_row(&[1.0, bad], &mut values, &mut scales).is_err());
            assert!(q4_row(&[1.0, bad], &mut values, &mut scales).is_err());
        }
        assert!(q8_restore(&[1], &f16::INFINITY.to_le_bytes(), &mut vec![]).is_none());
        assert!(q4_restore(&[1], &f16::NAN.to_le_bytes(), 2, &mut vec![]).is_none());
    }
}
