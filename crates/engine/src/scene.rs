//! What a session remembers of a scene: where its windows lie and the features of those that fit.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use burn::tensor::Tensor;
use mmovseg_model::config::Radiometry;
use mmovseg_model::network::{ClipMaps, DinoMaps, Ground, Volumes};
use mmovseg_model::{Modality, ModelConfig};
use mmovseg_raster::{Preprocess, RasterError, Rgb8, RgbRadiometry, SarRadiometry, TilePair, fit};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::pixels::{model_pixels, normalise_pixels};
use crate::windows::Plan;

/// Most memory that the features of one scene's windows may take, in bytes, so that a changed word
/// re-runs text and head only. The first windows that fit are kept, the others are encoded again in
/// each run: runs go through the windows in one order, so that keeping the newest would keep none.
/// A window of nano takes about 8 MB, one of the released models about 25 MB.
const KEPT_BYTES_MAX: usize = 256 << 20;

/// Which features a run needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wants {
    pub clip: bool,
    pub optical: bool,
    pub sar: bool,
}

impl Wants {
    pub fn of(modality: Modality) -> Self {
        Self {
            clip: modality != Modality::Sar,
            optical: modality != Modality::Sar,
            sar: modality != Modality::Optical,
        }
    }
}

/// Features of one window.
#[derive(Clone, Default)]
pub(crate) struct Features {
    /// The scene they were last compared with.
    scene: u64,
    /// What the towers saw.
    optical_pixels: u64,
    sar_pixels: u64,
    pub clip: Option<ClipMaps>,
    pub optical: Option<DinoMaps>,
    pub sar: Option<DinoMaps>,
}

impl Features {
    /// Whether nothing has to be computed for a run on scene `key`.
    fn suffice(&self, key: u64, wants: Wants) -> bool {
        self.scene == key
            && (!wants.clip || self.clip.is_some())
            && (!wants.optical || self.optical.is_some())
            && (!wants.sar || self.sar.is_some())
    }

    fn bytes(&self) -> usize {
        fn of<const D: usize>(tensor: &Tensor<D>) -> usize {
            tensor.dims().iter().product::<usize>() * size_of::<f32>()
        }
        let dino = |maps: &Option<DinoMaps>| {
            let bytes = |maps: &DinoMaps| {
                let pixels = maps.pixels.as_ref().map_or(0, of);
                of(&maps.down) + of(&maps.coarse) + of(&maps.fine) + pixels
            };
            maps.as_ref().map_or(0, bytes)
        };
        let clip = |maps: &ClipMaps| of(&maps.dense) + of(&maps.coarse) + of(&maps.fine);
        self.clip.as_ref().map_or(0, clip) + dino(&self.optical) + dino(&self.sar)
    }
}

/// What the head has made of a scene as a whole, so that a changed word repeats only what hears it.
pub(crate) struct Heard {
    /// The scene's [`Scene::key`].
    pub key: u64,
    pub ground: Ground,
    /// By class name; those of the last run.
    pub volumes: HashMap<String, Volumes>,
}

/// Normalised planes of one window, `[3, S, S]` each.
pub(crate) struct Pixels {
    pub optical: Vec<f32>,
    pub sar: Vec<f32>,
}

/// One scene.
pub(crate) struct Scene {
    /// Of the tiles' pixels and the preprocessing.
    pub key: u64,
    pub plan: Plan,
    preprocess: Preprocess,
    /// Measured once for all windows; `None` when each picture is normalised by itself or not at all.
    radiometry: Option<(RgbRadiometry, SarRadiometry)>,
    windows: Vec<Features>,
    /// Memory of the features in `windows`.
    bytes: usize,
}

/// Tells scenes apart.
pub(crate) fn key(pair: &TilePair, preprocess: Preprocess) -> u64 {
    let mut hasher = Xxh3::new();
    preprocess.hash(&mut hasher);
    for tile in [&pair.rgb, &pair.sar] {
        (tile.width_px, tile.height_px, &tile.data).hash(&mut hasher);
    }
    hasher.finish()
}

impl Scene {
    /// A scene to be cut by `plan`, which takes over what an `older` one of the same plan has
    /// learnt: features of a tile that stayed the same are found again by its pixels, so that
    /// pulling a cloud over the optical tile re-runs only what sees it.
    pub fn new(
        pair: &TilePair,
        key: u64,
        plan: Plan,
        preprocess: Preprocess,
        config: &ModelConfig,
        older: Option<Self>,
    ) -> Result<Self, RasterError> {
        let size = |tile: &Rgb8| [tile.width_px, tile.height_px];
        let (rgb, sar) = (size(&pair.rgb), size(&pair.sar));
        if plan.count() > 1 && rgb != sar {
            return Err(RasterError::SizeMismatch { rgb, sar });
        }
        let radiometry = match config.radiometry {
            Radiometry::Robust if plan.count() > 1 => Some((
                RgbRadiometry::measure(&pair.rgb),
                SarRadiometry::measure(&pair.sar),
            )),
            Radiometry::Robust | Radiometry::AsIs => None,
        };
        let (windows, bytes) = match older.filter(|older| older.plan == plan) {
            Some(older) => (older.windows, older.bytes),
            None => (vec![Features::default(); plan.count()], 0),
        };
        Ok(Self {
            key,
            plan,
            preprocess,
            radiometry,
            windows,
            bytes,
        })
    }

    /// Takes out what is known of a window, and gives its pixels when that is not all that is
    /// wanted. Features of other pixels are dropped.
    pub fn take(
        &mut self,
        index: usize,
        wants: Wants,
        pair: &TilePair,
        config: &ModelConfig,
    ) -> Result<(Features, Option<Pixels>), RasterError> {
        let mut features = std::mem::take(&mut self.windows[index]);
        self.bytes -= features.bytes();
        if features.suffice(self.key, wants) {
            return Ok((features, None));
        }
        let pixels = self.pixels(index, pair, config)?;
        let hash = |planes: &[f32]| xxh3_64(bytemuck::cast_slice(planes));
        let (optical, sar) = (hash(&pixels.optical), hash(&pixels.sar));
        if features.optical_pixels != optical {
            (features.clip, features.optical) = (None, None);
        }
        if features.sar_pixels != sar {
            features.sar = None;
        }
        (features.optical_pixels, features.sar_pixels) = (optical, sar);
        features.scene = self.key;
        Ok((features, Some(pixels)))
    }

    /// Puts a window's features back, as far as there is room.
    pub fn keep(&mut self, index: usize, features: Features) {
        let bytes = features.bytes();
        if self.plan.count() == 1 || self.bytes + bytes <= KEPT_BYTES_MAX {
            self.bytes += bytes;
            self.windows[index] = features;
        }
    }

    fn pixels(
        &self,
        index: usize,
        pair: &TilePair,
        config: &ModelConfig,
    ) -> Result<Pixels, RasterError> {
        if self.plan.count() == 1 {
            let (optical, sar) = model_pixels(&pair.rgb, &pair.sar, self.preprocess, config)?;
            return Ok(Pixels { optical, sar });
        }
        let [column, row] = self.plan.position(index);
        let (columns, rows) = (&self.plan.columns, &self.plan.rows);
        let at = [columns.start_px(column), rows.start_px(row)];
        let size = [columns.window_px, rows.window_px];
        let cut = |tile: &Rgb8| tile.crop(at, size);
        let mut tiles = fit(
            &cut(&pair.rgb),
            &cut(&pair.sar),
            self.preprocess,
            config.input_px,
        )?;
        if let Some((rgb, sar)) = &self.radiometry {
            tiles.rgb = rgb.apply(&tiles.rgb);
            tiles.sar = sar.apply(&tiles.sar);
        }
        Ok(Pixels {
            optical: normalise_pixels(&tiles.rgb),
            sar: normalise_pixels(&tiles.sar),
        })
    }
}
