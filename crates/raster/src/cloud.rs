//! Clouds and their shadows over an optical tile: seeded, the same bytes on every platform.

use serde::{Deserialize, Serialize};

use crate::Rgb8;

/// A cloud layer over a tile; the same values give the same cloud.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cloud {
    /// Chooses shapes, place and the sun's direction.
    pub seed: u64,
    /// Opacity of the densest parts, 0 (nothing) to 1 (ground invisible). About 0.5 is a thin
    /// cloud.
    pub opacity: f32,
    /// Share of the tile with at least a trace of cloud, 0 to 1.
    pub cover: f32,
}

impl Cloud {
    /// A clear sky.
    pub const NONE: Self = Self {
        seed: 1,
        opacity: 0.0,
        cover: 0.7,
    };

    /// Whether it changes the tile.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        self.opacity > 0.0 && self.cover > 0.0
    }
}

/// Octaves of the noise: shapes from a third of the tile down to about a hundredth of it.
const OCTAVES: u32 = 6;

/// Cells of the coarsest octave along the longer side.
const COARSEST_CELLS: usize = 3;

/// Length of the soft edge, as a part of the noise's range between its 2 % and 98 % percentiles.
const EDGE: f32 = 0.3;

/// How much light a fully opaque cloud's shadow takes.
const SHADOW: f32 = 0.45;

/// Sunlit and shaded cloud tops; Rayleigh haze above them makes them slightly blue.
const TOP: [[f32; 3]; 2] = [[248.0, 250.0, 254.0], [206.0, 212.0, 222.0]];

/// The colour of a dense cloud in the sun, which stands where an optical tile has no data and the
/// SAR tile has: the model has learnt to rely on SAR there.
pub const CLOUD_COLOUR: [u8; 3] = [248, 250, 254];

/// Lays a cloud over a tile. Returns the tile and the cloud's opacity at each pixel
/// (`[height_px, width_px]`, 0 to 1, shadows not included).
///
/// `opacity` and `cover` outside 0 to 1 are clamped, NaN counts as 0.
#[must_use]
pub fn add_cloud(picture: &Rgb8, cloud: &Cloud) -> (Rgb8, Vec<f32>) {
    let (w, h) = (picture.width_px, picture.height_px);
    let opacity = unit(cloud.opacity);
    let cover = unit(cloud.cover);
    if w == 0 || h == 0 || opacity == 0.0 || cover == 0.0 {
        return (picture.clone(), vec![0.0; w * h]);
    }
    let density = density(w, h, cloud.seed, cover);
    let texture = fractal_noise(w, h, cloud.seed ^ 0x7e57_u64);

    // Sun from any side, clouds one to two kilometres up at 10 m/px: the shadow falls 4 to 8 % of
    // the tile away.
    let turn = lattice(cloud.seed, 1 << 20, 0, 0) * core::f32::consts::TAU;
    let length = (0.04 + 0.04 * lattice(cloud.seed, 1 << 20, 1, 0)) * w.max(h) as f32;
    let shift = [libm::cosf(turn), libm::sinf(turn)].map(|v| libm::roundf(v * length) as isize);

    let mut out = picture.clone();
    let mut alpha = Vec::with_capacity(w * h);
    for (index, pixel) in out.data.chunks_exact_mut(3).enumerate() {
        let (x, y) = (index % w, index / w);
        // Outside the tile there is as much cloud as at its edge.
        let from_x = x.saturating_add_signed(-shift[0]).min(w - 1);
        let from_y = y.saturating_add_signed(-shift[1]).min(h - 1);
        let light = 1.0 - SHADOW * opacity * density[from_y * w + from_x];
        let a = opacity * density[index];
        for (c, byte) in pixel.iter_mut().enumerate() {
            let top = TOP[1][c] + (TOP[0][c] - TOP[1][c]) * texture[index];
            *byte = libm::roundf(f32::from(*byte) * light * (1.0 - a) + top * a) as u8;
        }
        alpha.push(a);
    }
    (out, alpha)
}

fn unit(v: f32) -> f32 {
    if v.is_nan() { 0.0 } else { v.clamp(0.0, 1.0) }
}

fn smooth(t: f32) -> f32 {
    let t = t.clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Cloud density 0 to 1, above 0 on a share `cover` of the pixels. `[h, w]`.
fn density(w: usize, h: usize, seed: u64, cover: f32) -> Vec<f32> {
    let noise = fractal_noise(w, h, seed);
    let fractions = [0.02, 0.98, f64::from(1.0 - cover)];
    let Some([low, high, threshold]) = crate::stats::percentiles(noise.iter().copied(), fractions)
    else {
        return noise;
    };
    let edge = (EDGE * (high - low)).max(1e-6);
    // Near full cover the soft edge moves out of the noise's range, so that an overcast tile has no
    // holes.
    let threshold = threshold - edge * 1.5 * smooth((cover - 0.8) / 0.2);
    noise
        .iter()
        .map(|&n| smooth((n - threshold) / edge))
        .collect()
}

/// Sum of octaves of value noise with smooth interpolation, 0 to 1. `[h, w]`.
fn fractal_noise(w: usize, h: usize, seed: u64) -> Vec<f32> {
    let mut out = vec![0.0_f32; w * h];
    let longest = w.max(h) as f32;
    let mut weight = 0.5_f32;
    let mut total = 0.0_f32;
    for octave in 0..OCTAVES {
        let cells = COARSEST_CELLS << octave;
        let step = cells as f32 / longest;
        let across = (w as f32 * step) as usize + 2;
        let down = (h as f32 * step) as usize + 2;
        let grid: Vec<f32> = (0..across * down)
            .map(|i| lattice(seed, octave, (i % across) as u32, (i / across) as u32))
            .collect();
        let columns: Vec<(usize, f32)> = (0..w).map(|x| split(x as f32 * step, across)).collect();
        for y in 0..h {
            let (row, v) = split(y as f32 * step, down);
            let (upper, lower) = (&grid[row * across..], &grid[(row + 1) * across..]);
            for (out, &(col, u)) in out[y * w..(y + 1) * w].iter_mut().zip(&columns) {
                let a = upper[col] + (upper[col + 1] - upper[col]) * u;
                let b = lower[col] + (lower[col + 1] - lower[col]) * u;
                *out += weight * (a + (b - a) * v);
            }
        }
        total += weight;
        weight *= 0.55;
    }
    for v in &mut out {
        *v /= total;
    }
    out
}

/// Cell and smoothed position in it; the last cell has a right-hand neighbour.
fn split(at: f32, cells: usize) -> (usize, f32) {
    let cell = (at as usize).min(cells - 2);
    (cell, smooth(at - cell as f32))
}

/// A number from 0 to 1 for a lattice point: SplitMix64's finaliser over its coordinates.
fn lattice(seed: u64, octave: u32, x: u32, y: u32) -> f32 {
    let mut z = seed
        ^ (u64::from(x) << 32 | u64::from(y)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ u64::from(octave).wrapping_mul(0xd1b5_4a32_d192_ed03);
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    // 24 bits fit a f32 exactly.
    (z >> 40) as f32 / 16_777_215.0
}

#[cfg(test)]
mod tests {
    use super::Cloud;

    #[test]
    fn a_cloud_needs_both_opacity_and_cover_to_be_seen() {
        let cloud = |opacity, cover| Cloud {
            opacity,
            cover,
            seed: 1,
        };
        assert!(!Cloud::NONE.is_visible());
        assert!(!cloud(0.5, 0.0).is_visible());
        assert!(cloud(0.5, 0.5).is_visible());
    }
}
