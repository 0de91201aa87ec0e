//! The pair that is open: as read, and as shown under its cloud.

use mmovseg_engine::TilePair;
use mmovseg_protocol::{Cloud, CloudKind, Tiles};
use mmovseg_raster::{OpticalOptions, RasterError, Rgb8, SarOptions, add_cloud, open_pair};

/// An open pair.
#[derive(Clone)]
pub struct OpenTiles {
    /// The optical tile without our cloud.
    clear: Rgb8,
    /// What the model sees and the page shows.
    pub shown: TilePair,
    /// Index into `mmovseg_scene::CLASSES` of each pixel, for generated scenes.
    pub truth: Option<Vec<u8>>,
}

impl OpenTiles {
    /// Reads two files.
    ///
    /// # Errors
    /// Those of [`open_pair`].
    pub fn from_files(
        rgb: (&[u8], &str),
        sar: (&[u8], &str),
        cloud: Cloud,
    ) -> Result<Self, RasterError> {
        let pair = open_pair(rgb, sar, &OpticalOptions::default(), &SarOptions::default())?;
        Ok(Self::new(pair, None, cloud))
    }

    /// Generates a scene of `size_px` x `size_px` pixels.
    pub fn from_scene(seed: u32, size_px: u32, cloud: Cloud) -> Self {
        let scene = mmovseg_scene::generate(u64::from(seed), size_px as usize);
        let pair = TilePair {
            rgb: scene.rgb,
            sar: scene.sar,
            georef: None,
            notes: Vec::new(),
        };
        Self::new(pair, Some(scene.label), cloud)
    }

    fn new(pair: TilePair, truth: Option<Vec<u8>>, cloud: Cloud) -> Self {
        let mut tiles = Self {
            clear: pair.rgb.clone(),
            shown: pair,
            truth,
        };
        tiles.set_cloud(cloud);
        tiles
    }

    /// Replaces the cloud.
    pub fn set_cloud(&mut self, cloud: Cloud) {
        let kind = match cloud.kind {
            CloudKind::None => mmovseg_scene::CloudKind::None,
            CloudKind::Thin => mmovseg_scene::CloudKind::Thin,
            CloudKind::Thick => mmovseg_scene::CloudKind::Thick,
        };
        self.shown.rgb = match mmovseg_scene::cloud_for(u64::from(cloud.seed), kind) {
            Some(layer) => add_cloud(&self.clear, &layer).0,
            None => self.clear.clone(),
        };
    }

    /// What the page is told.
    pub fn describe(&self) -> Tiles {
        Tiles {
            width_px: side(self.shown.rgb.width_px),
            height_px: side(self.shown.rgb.height_px),
            has_truth: self.truth.is_some(),
            notes: self.shown.notes.clone(),
        }
    }
}

/// A side that the raster room has limited to far less than `u32`.
pub fn side(px: usize) -> u32 {
    u32::try_from(px).unwrap_or(u32::MAX)
}
