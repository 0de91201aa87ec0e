//! What the painter hands to the renderers: the material of every pixel and the slope below it.

use crate::noise::lerp;

/// Pixels computed beyond each edge, so that blurs and slopes have no border.
pub const PAD_PX: usize = 4;

/// Red, green and blue reflectance, 0 to 1.
pub type Rgb = [f32; 3];

/// `c` times `k`.
pub fn scale(c: Rgb, k: f32) -> Rgb {
    [c[0] * k, c[1] * k, c[2] * k]
}

/// From `a` (0) to `b` (1).
pub fn mix(a: Rgb, b: Rgb, t: f32) -> Rgb {
    [
        lerp(a[0], b[0], t),
        lerp(a[1], b[1], t),
        lerp(a[2], b[2], t),
    ]
}

/// The material of one pixel before light, relief and speckle.
#[derive(Clone, Copy)]
pub struct Surface {
    pub label: u8,
    /// Surface reflectance, red, green, blue.
    pub rgb: Rgb,
    /// Mean VH backscatter, dB.
    pub db: f32,
    /// VV backscatter over the usual ratio of VV to VH, dB.
    pub vv_gain_db: f32,
    /// Extra backscattered power of a point target (linear, 1 = 0 dB).
    pub point: f32,
    /// How much the relief modulates this pixel: 0 flat (water), 1 open ground.
    pub relief: f32,
}

/// A painted scene on the padded grid.
pub struct Layout {
    /// Side of the padded grid.
    pub side_px: usize,
    /// `[side_px, side_px]`.
    pub surface: Vec<Surface>,
    /// Terrain slope (rise over run) towards +x and +y.
    pub slope: Vec<[f32; 2]>,
    /// Sun direction in the image plane (unit vector towards the sun), x right, y down.
    pub sun: [f32; 2],
}
