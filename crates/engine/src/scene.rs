//! One scene of a run: how it is cut into windows, and the pixels of each as the encoders read
//! them.

use mmovseg_model::config::Radiometry;
use mmovseg_model::{Modality, ModelConfig, Sensor};
use mmovseg_raster::{
    CLOUD_COLOUR, GeoRef, Preprocess, RasterError, Rgb8, RgbRadiometry, SarRadiometry, fit_optical,
    fit_sar, robust_rgb,
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
    /// Whether SAR stands in where the optical tile has no data: then it is shown a cloud there.
    clouds_holes: bool,
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
        let origin_px = pair.georef.as_ref().map_or([0; 2], origin_px);
        let plan = Plan::new(
            rgb,
            origin_px,
            request.tiling,
            request.preprocess,
            (config.input_px, 4 * config.head.grid),
        );
        let reads_sar = request.modality.uses(Sensor::Sar) && config.uses(Sensor::Sar);
        let must_agree = plan.count() > 1 || request.preprocess == Preprocess::Parity;
        if reads_sar && must_agree && rgb != sar {
            return Err(RasterError::SizeMismatch { rgb, sar });
        }
        Ok(Self {
            pair,
            plan,
            preprocess: request.preprocess,
            radiometry: config.radiometry,
            input_px: config.input_px,
            clouds_holes: request.modality == Modality::Fused
                && config.uses(Sensor::Sar)
                && pair.rgb_valid.is_some(),
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
        let clouds = self.clouds_holes && sensor == Sensor::Optical;
        let inputs = (
            sensor,
            self.pair.hash_of(sensor),
            self.preprocess,
            place,
            clouds,
        );
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
        let mut even = self.even(sensor, &fitted, cache);
        if self.clouds_holes && sensor == Sensor::Optical {
            self.cloud_holes(window, &mut even)?;
        }
        Ok(normalise_pixels(&even))
    }

    /// A fitted tile under the radiometry that the model was trained with.
    fn even(&self, sensor: Sensor, fitted: &Rgb8, cache: &mut ResultCache) -> Rgb8 {
        if self.radiometry == Radiometry::AsIs {
            return fitted.clone();
        }
        if let Some((rgb, sar)) = &self.pair.radiometry {
            return match sensor {
                Sensor::Optical => rgb.apply(fitted),
                Sensor::Sar => sar.apply(fitted),
            };
        }
        let masked = self.pair.sar_valid.is_some();
        let measure_sar = if masked {
            SarRadiometry::measure_masked
        } else {
            SarRadiometry::measure
        };
        match (sensor, self.is_cut()) {
            (Sensor::Optical, false) => robust_rgb(fitted),
            (Sensor::Sar, false) => measure_sar(fitted).apply(fitted),
            // One measure for all windows, so that they agree where they overlap.
            (Sensor::Optical, true) => self
                .measured(sensor, cache, RgbRadiometry::measure)
                .apply(fitted),
            (Sensor::Sar, true) => self.measured(sensor, cache, measure_sar).apply(fitted),
        }
    }

    /// Draws a cloud where the optical tile has no data and the SAR tile has.
    fn cloud_holes(&self, window: usize, fitted: &mut Rgb8) -> Result<(), RasterError> {
        let [x, y, width, height] = if self.is_cut() {
            self.place(window)
        } else {
            [0, 0, self.pair.rgb.width_px, self.pair.rgb.height_px]
        };
        let Some(holes) = self.pair.optical_holes([x, y], [width, height]) else {
            return Ok(());
        };
        let holes = fit_optical(&holes, self.preprocess, self.input_px)?;
        let pixels = fitted.data.chunks_exact_mut(3);
        for (pixel, hole) in pixels.zip(holes.data.chunks_exact(3)) {
            // In parity, what lies outside of the tile is grey, of 128.
            if hole[0] > 128 {
                pixel.copy_from_slice(&CLOUD_COLOUR);
            }
        }
        Ok(())
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

/// Columns and rows from the origin of the reference system to the first pixel: what parts of one
/// raster agree on. Zero for a place that is not a number.
fn origin_px(place: &GeoRef) -> [i64; 2] {
    let origin = place.to_pixel(0.0, 0.0).unwrap_or_default();
    origin.map(|pixel| (-pixel.round()).clamp(-1e15, 1e15) as i64)
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
