//! The height field below a scene.

use crate::noise::{fbm, lerp, ridged};
use crate::salt;

/// Shape of the terrain.
pub struct Terrain {
    /// Typical slope, rise over run.
    pub slope_scale: f32,
    /// Distance of hills.
    pub hill_px: f32,
    /// 0 soft hills, 1 sharp crests.
    pub crests: f32,
    /// Share of the scene below the lakes' level.
    pub lake_share: f32,
}

impl Terrain {
    fn has_lakes(&self) -> bool {
        self.lake_share > 0.0
    }

    /// Terrain height in pixels (10 m).
    pub fn height_px(&self, seed: u32, x: f32, y: f32) -> f32 {
        if self.slope_scale < 0.004 && !self.has_lakes() {
            return 0.0; // A plain: no relief to see.
        }
        let (u, v) = (x / self.hill_px, y / self.hill_px);
        let soft = if self.crests < 1.0 {
            fbm(seed ^ salt::SOFT_HILLS, u, v, 5)
        } else {
            0.0
        };
        let sharp = if self.crests > 0.0 {
            ridged(seed ^ salt::SHARP_CRESTS, u * 0.8, v * 0.8, 6) * 2.0 - 0.8
        } else {
            0.0
        };
        lerp(soft, sharp, self.crests) * self.slope_scale * self.hill_px * 0.7
    }

    /// Height of the lakes' surface over a field of heights: the quantile of
    /// [`Terrain::lake_share`].
    pub fn lake_level_px(&self, heights: &[f32]) -> f32 {
        if !self.has_lakes() || self.slope_scale <= 0.0 {
            return f32::MIN;
        }
        let mut sorted = heights.to_vec();
        let rank = (self.lake_share * (sorted.len() - 1) as f32) as usize;
        let (_, level, _) = sorted.select_nth_unstable_by(rank, f32::total_cmp);
        *level
    }
}
