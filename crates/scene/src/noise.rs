//! Reproducible noise: integer hashes and value noise, the same bits on every platform.
//!
//! Only wrapping integer arithmetic and the IEEE-exact `f32` operations (`+ - * / sqrt floor`)
//! are used, so a native build and a WebAssembly build draw the same scene.

/// A well-mixed 32-bit hash of a lattice point (the finaliser of MurmurHash3).
#[inline]
pub fn hash(seed: u32, x: i32, y: i32) -> u32 {
    let mut h = seed
        ^ (x as u32).wrapping_mul(0x9E37_79B1)
        ^ (y as u32).wrapping_mul(0x85EB_CA77).rotate_left(13);
    h ^= h >> 16;
    h = h.wrapping_mul(0x85EB_CA6B);
    h ^= h >> 13;
    h = h.wrapping_mul(0xC2B2_AE35);
    h ^ (h >> 16)
}

/// Maps 32 random bits to `[0, 1)` with 24 bits of precision.
#[inline]
pub fn unit(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// The lattice index at or below `x`: without SSE 4.1, `f32::floor` is a call.
#[inline]
pub fn cell(x: f32) -> i32 {
    let whole = x as i32;
    whole - i32::from(whole as f32 > x)
}

/// `f32::floor` without the call.
#[inline]
pub fn floor(x: f32) -> f32 {
    cell(x) as f32
}

/// Other bits from a hash, for a second number that belongs to the same point.
#[inline]
pub fn remix(hash: u32) -> u32 {
    hash.wrapping_mul(0x9E37_79B1)
}

/// A uniform number in `[0, 1)` that belongs to a lattice point.
#[inline]
pub fn uniform(seed: u32, x: i32, y: i32) -> f32 {
    unit(hash(seed, x, y))
}

/// [`uniform`] with one round of mixing: enough for the corners of smooth noise, and half the time.
#[inline]
fn corner(row: u32, x: i32) -> f32 {
    let mut h = row.wrapping_add((x as u32).wrapping_mul(0x9E37_79B1));
    h ^= h >> 15;
    h = h.wrapping_mul(0x2C1B_3C6D);
    unit(h ^ (h >> 14))
}

#[inline]
pub fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

#[inline]
fn fade(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

/// 0 below `lo`, 1 above `hi`, smooth between.
#[inline]
pub fn smoothstep(lo: f32, hi: f32, x: f32) -> f32 {
    fade(((x - lo) / (hi - lo)).clamp(0.0, 1.0))
}

/// Value noise in `[-1, 1]` with one lattice point per unit.
#[inline]
pub fn value2(seed: u32, x: f32, y: f32) -> f32 {
    let (ix, iy) = (cell(x), cell(y));
    let (tx, ty) = (fade(x - ix as f32), fade(y - iy as f32));
    let mut here = seed.wrapping_add((iy as u32).wrapping_mul(0x85EB_CA77));
    let mut below = here.wrapping_add(0x85EB_CA77);
    here = (here ^ (here >> 16)).wrapping_mul(0xC2B2_AE3D);
    below = (below ^ (below >> 16)).wrapping_mul(0xC2B2_AE3D);
    let top = lerp(corner(here, ix), corner(here, ix + 1), tx);
    let bottom = lerp(corner(below, ix), corner(below, ix + 1), tx);
    lerp(top, bottom, ty) * 2.0 - 1.0
}

/// One-dimensional value noise in `[-1, 1]`.
#[inline]
pub fn value1(seed: u32, x: f32) -> f32 {
    let ix = cell(x);
    lerp(
        uniform(seed, ix, 0),
        uniform(seed, ix + 1, 0),
        fade(x - ix as f32),
    ) * 2.0
        - 1.0
}

/// Fractal value noise, about `[-1, 1]`; octaves are rotated against each other so that the
/// lattice does not show.
#[inline]
pub fn fbm(seed: u32, x: f32, y: f32, octaves: u32) -> f32 {
    let (mut x, mut y, mut amplitude, mut sum, mut total) = (x, y, 1.0_f32, 0.0_f32, 0.0_f32);
    for octave in 0..octaves {
        sum += amplitude * value2(seed.wrapping_add(octave.wrapping_mul(0x68E3_1DA4)), x, y);
        total += amplitude;
        amplitude *= 0.5;
        (x, y) = (1.6 * x - 1.2 * y + 17.3, 1.2 * x + 1.6 * y - 9.1);
    }
    sum / total
}

/// Ridged fractal noise in about `[0, 1]`: sharp crests, as eroded mountains have.
#[inline]
pub fn ridged(seed: u32, x: f32, y: f32, octaves: u32) -> f32 {
    let (mut x, mut y, mut amplitude, mut sum, mut total) = (x, y, 1.0_f32, 0.0_f32, 0.0_f32);
    let mut weight = 1.0_f32;
    for octave in 0..octaves {
        let n = value2(seed.wrapping_add(octave.wrapping_mul(0x68E3_1DA4)), x, y);
        let crest = (1.0 - n.abs()) * (1.0 - n.abs());
        sum += amplitude * crest * weight;
        total += amplitude;
        weight = crest.min(1.0);
        amplitude *= 0.55;
        (x, y) = (1.6 * x - 1.2 * y + 17.3, 1.2 * x + 1.6 * y - 9.1);
    }
    sum / total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_stays_in_range_and_varies() {
        let mut lowest = f32::MAX;
        let mut highest = f32::MIN;
        for i in 0..4000 {
            let n = fbm(7, i as f32 * 0.37, i as f32 * -0.21, 4);
            assert!((-1.0..=1.0).contains(&n));
            lowest = lowest.min(n);
            highest = highest.max(n);
        }
        assert!(lowest < -0.4 && highest > 0.4, "{lowest} {highest}");
    }
}
