//! One scene of a run: how it is cut into windows, and the pixels of each as the encoders read them.

use mmovseg_model::config::Radiometry;
use mmovseg_model::{ModelConfig, Sensor};
use mmovseg_raster::{
    Preprocess, RasterError, Rgb8, RgbRadiometry, SarRadiometry, fit_optical, fit_sar, robust_rgb,
    robust_sar,
};

use crate::api::SegmentRequest;
use crate::cache::{Cached, Key, ResultCache};
use crate::pixels::normalise_pixels;
use crate::tiles::HashedPair;
use crate::windows::Plan;

/// A tile pair, its windows, and how their pixels are prepared.
pub(crate) struct Scene<'a> {
    pub pair: &'a HashedPair,
    pub plan: Plan,
    preprocess: Preprocess,
    radiometry: Radiometry,
    input_px: usize,
}

impl<'a> Scene<'a> {
    /// Checks that the pair can be cut as the request asks.
    ///
    /// # Errors
    /// When a tile has no pixels, or the tiles' sizes differ where they must not.
    pub fn new(
        pair: &'a HashedPair,
        request: &SegmentRequest,
        config: &ModelConfig,
    ) -> Result<Self, RasterError> {
        let size = |tile: &Rgb8| [tile.width_px, tile.height_px];
        let (rgb, sar) = (size(&pair.rgb), size(&pair.sar));
        if rgb.contains(&0) {
            return Err(RasterError::Argument(
                "a tile without pixels cannot be segmented; choose another tile".into(),
            ));
        }
        let plan = Plan::new(
            rgb,
            request.tiling,
            request.preprocess,
            config.input_px,
            4 * config.head.grid,
        );
        let must_agree = plan.count() > 1 || request.preprocess == Preprocess::Parity;
        if must_agree && rgb != sar {
            return Err(RasterError::SizeMismatch { rgb, sar });
        }
        Ok(Self {
            pair,
            plan,
            preprocess: request.preprocess,
            radiometry: config.radiometry,
            input_px: config.input_px,
        })
    }

    /// Whether the scene is cut into windows.
    pub fn is_cut(&self) -> bool {
        self.plan.count() > 1
    }

    /// First pixel and size of a window, columns first.
    fn place(&self, window: usize) -> [usize; 4] {
        let [column, row] = self.plan.position(window);
        let (columns, rows) = (&self.plan.columns, &self.plan.rows);
        [
            columns.start_px(column),
            rows.start_px(row),
            columns.window_px,
            rows.window_px,
        ]
    }

    /// Key of the hash of a window's pixels: all that [`Scene::pixels`] depends on.
    pub fn pixels_key(&self, sensor: Sensor, window: usize) -> Key {
        let place = self.is_cut().then(|| self.place(window));
        let inputs = (sensor, self.pair.hash_of(sensor), self.preprocess, place);
        Key::new("pixels", inputs)
    }

    /// Normalised planes `[3, S, S]` of a window of one tile. What is measured on the scene as a
    /// whole is kept in `cache`.
    ///
    /// # Errors
    /// When the tile cannot be fitted to the model's square.
    pub fn pixels(
        &self,
        sensor: Sensor,
        window: usize,
        cache: &mut ResultCache,
    ) -> Result<Vec<f32>, RasterError> {
        let tile = self.pair.tile(sensor);
        let cut;
        let part = if self.is_cut() {
            let [x, y, width, height] = self.place(window);
            cut = tile.crop([x, y], [width, height]);
            &cut
        } else {
            tile
        };
        let fitted = match sensor {
            Sensor::Optical => fit_optical(part, self.preprocess, self.input_px)?,
            Sensor::Sar => fit_sar(part, self.preprocess, self.input_px)?,
        };
        let even = match (self.radiometry, sensor, self.is_cut()) {
            (Radiometry::AsIs, ..) => fitted,
            (Radiometry::Robust, Sensor::Optical, false) => robust_rgb(&fitted),
            (Radiometry::Robust, Sensor::Sar, false) => robust_sar(&fitted),
            // One measure for all windows, so that they agree where they overlap.
            (Radiometry::Robust, Sensor::Optical, true) => self
                .measured(sensor, cache, RgbRadiometry::measure)
                .apply(&fitted),
            (Radiometry::Robust, Sensor::Sar, true) => self
                .measured(sensor, cache, SarRadiometry::measure)
                .apply(&fitted),
        };
        Ok(normalise_pixels(&even))
    }

    fn measured<T: Cached>(
        &self,
        sensor: Sensor,
        cache: &mut ResultCache,
        measure: fn(&Rgb8) -> T,
    ) -> T {
        let key = Key::new("radiometry", (sensor, self.pair.hash_of(sensor)));
        cache.get(key).unwrap_or_else(|| {
            let measured = measure(self.pair.tile(sensor));
            cache.insert(key, measured.clone());
            measured
        })
    }
}

impl Cached for RgbRadiometry {
    fn bytes(&self) -> usize {
        256
    }
}

impl Cached for SarRadiometry {
    fn bytes(&self) -> usize {
        size_of::<Self>()
    }
}
