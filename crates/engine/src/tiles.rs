//! The tiles of a run with the hash of each one's pixels.

use std::hash::{Hash, Hasher};
use std::ops::Deref;

use mmovseg_raster::{Rgb8, TilePair};
use xxhash_rust::xxh3::Xxh3;

use mmovseg_types::Sensor;

/// A tile pair whose owner has hashed its pixels: sessions find results of it by these hashes, and
/// do not read a scene of 300 MB again for every changed word.
#[derive(Clone, Debug)]
pub struct HashedPair {
    pair: TilePair,
    rgb: u64,
    sar: u64,
}

impl HashedPair {
    /// Hashes both tiles.
    #[must_use]
    pub fn new(pair: TilePair) -> Self {
        let mut hashed = Self {
            rgb: 0,
            sar: hash(
                &pair.sar,
                (
                    &pair.sar_valid,
                    pair.radiometry.as_ref().map(|r| r.1.bits()),
                ),
            ),
            pair,
        };
        hashed.rgb = hashed.hash_of_rgb();
        hashed
    }

    /// Replaces the optical tile, as a cloud over it does. The SAR tile is not read.
    pub fn set_rgb(&mut self, rgb: Rgb8) {
        self.pair.rgb = rgb;
        self.rgb = self.hash_of_rgb();
    }

    /// What the encoders see of the optical tile depends on its pixels, its holes and where SAR
    /// fills them, and on a radiometry from outside.
    fn hash_of_rgb(&self) -> u64 {
        let pair = &self.pair;
        let holes = pair
            .rgb_valid
            .as_ref()
            .map(|valid| (valid, &pair.sar_valid));
        hash(&pair.rgb, (holes, pair.radiometry.as_ref().map(|r| &r.0)))
    }

    /// The pair without its hashes.
    #[must_use]
    pub fn into_pair(self) -> TilePair {
        self.pair
    }

    /// The hash of a tile's size and pixels.
    pub(crate) fn hash_of(&self, sensor: Sensor) -> u64 {
        match sensor {
            Sensor::Optical => self.rgb,
            Sensor::Sar => self.sar,
        }
    }

    /// The tile of a sensor.
    pub(crate) fn tile(&self, sensor: Sensor) -> &Rgb8 {
        match sensor {
            Sensor::Optical => &self.pair.rgb,
            Sensor::Sar => &self.pair.sar,
        }
    }
}

impl From<TilePair> for HashedPair {
    fn from(pair: TilePair) -> Self {
        Self::new(pair)
    }
}

impl Deref for HashedPair {
    type Target = TilePair;

    fn deref(&self) -> &TilePair {
        &self.pair
    }
}

fn hash(tile: &Rgb8, beside: impl Hash) -> u64 {
    let mut hasher = Xxh3::new();
    (tile.width_px, tile.height_px, &tile.data).hash(&mut hasher);
    beside.hash(&mut hasher);
    hasher.finish()
}
