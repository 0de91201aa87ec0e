//! A picture of one sensor and which of its pixels hold a measurement.

use crate::{Rgb8, resize_bilinear};

/// An 8-bit picture with its validity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// `[height_px, width_px, 3]`; black where invalid.
    pub picture: Rgb8,
    /// Whether each pixel holds a measurement, `[height_px * width_px]`; `None` when all do.
    pub valid: Option<Vec<bool>>,
}

impl Tile {
    /// A picture of which every pixel is valid.
    #[must_use]
    pub fn all_valid(picture: Rgb8) -> Self {
        Self {
            picture,
            valid: None,
        }
    }

    /// Whether a pixel is valid.
    #[must_use]
    pub fn is_valid(&self, x_px: usize, y_px: usize) -> bool {
        self.valid
            .as_ref()
            .is_none_or(|valid| valid[y_px * self.picture.width_px + x_px])
    }

    /// Another size, with antialiasing; invalid pixels have no share in their neighbours' colours.
    /// A pixel is valid when at least half of what it covers is.
    #[must_use]
    pub fn resized(&self, width_px: usize, height_px: usize) -> Self {
        let mut picture = resize_bilinear(&self.picture, width_px, height_px);
        let Some(valid) = &self.valid else {
            return Self::all_valid(picture);
        };
        let shares: Vec<u8> = valid.iter().map(|&v| u8::from(v) * 255).collect();
        let shares = Rgb8::from_grey(self.picture.width_px, self.picture.height_px, &shares);
        let shares = resize_bilinear(&shares, width_px, height_px);
        let mut out = Vec::with_capacity(width_px * height_px);
        for (pixel, share) in picture
            .data
            .chunks_exact_mut(3)
            .zip(shares.data.chunks_exact(3))
        {
            let share = u32::from(share[0]);
            out.push(share >= 128);
            for byte in pixel {
                // Invalid pixels are black, so that sums are of the valid ones alone.
                let mean = (u32::from(*byte) * 255 + share / 2) / share.max(1);
                *byte = if share >= 128 { mean.min(255) as u8 } else { 0 };
            }
        }
        let valid = out.contains(&false).then_some(out);
        Self { picture, valid }
    }
}
