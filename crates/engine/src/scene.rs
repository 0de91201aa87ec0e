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
    /// Cells along a side of the logits, 4g.
    cells: usize,
    /// Whether both sensors are read.
    fuses: bool,
}

/// What the SAR encoder is shown where there are no data. The optical tile alone decides there;
/// this matters for the ground beside. With the right half of 14 real tiles missing, the
/// left half kept 94.4 % of its labels with 96 or 128, 86.5 % with black.
const SAR_FILL: [u8; 3] = [128; 3];

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
        let cells = 4 * config.head.grid;
        let origin_px = pair.georef.as_ref().map_or([0; 2], origin_px);
        let plan = Plan::new(
            rgb,
            origin_px,
            request.tiling,
            request.preprocess,
            (config.input_px, cells),
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
            cells,
            fuses: request.modality == Modality::Fused && config.uses(Sensor::Sar),
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
        let clouds = self.clouds_holes() && sensor == Sensor::Optical;
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
        match sensor {
            Sensor::Optical if self.clouds_holes() => {
                let holes = self.optical_holes(window)?;
                fill(&mut even, holes.as_ref(), CLOUD_COLOUR);
            }
            Sensor::Optical => {}
            Sensor::Sar => fill(&mut even, self.sar_gaps(window)?.as_ref(), SAR_FILL),
        }
        Ok(normalise_pixels(&even))
    }

    /// Weight of both sensors' logits in each cell of a window, `[4g, 4g]` row by row: 0 where SAR
    /// has no data and the optical tile decides alone. `None` when it is 1 everywhere.
    ///
    /// # Errors
    /// When the tile cannot be fitted to the model's square.
    pub fn sar_weights(&self, window: usize) -> Result<Option<Vec<f32>>, RasterError> {
        if !self.fuses {
            return Ok(None);
        }
        let Some(gaps) = self.sar_gaps(window)? else {
            return Ok(None);
        };
        let (side, cells) = (self.input_px, self.cells);
        let mut weights = vec![0.0; cells * cells];
        let cell = |pixel: usize| pixel * cells / side;
        let mut areas = vec![0.0; cells * cells];
        for (i, gap) in gaps.data.chunks_exact(3).enumerate() {
            let at = cell(i / side) * cells + cell(i % side);
            areas[at] += 1.0;
            weights[at] += f32::from(u8::from(!is_hole(gap)));
        }
        for (weight, area) in weights.iter_mut().zip(areas) {
            *weight /= f32::max(area, 1.0);
        }
        Ok(Some(weights))
    }

    /// Whether SAR stands in where the optical tile has no data: then the model is shown a cloud
    /// there.
    fn clouds_holes(&self) -> bool {
        self.fuses && self.pair.rgb_valid.is_some()
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

    /// Where the optical tile of a window has no data and the SAR tile has, fitted as the tile is.
    fn optical_holes(&self, window: usize) -> Result<Option<Rgb8>, RasterError> {
        let [x, y, width, height] = self.part(Sensor::Optical, window);
        let holes = self.pair.optical_holes([x, y], [width, height]);
        holes
            .map(|holes| fit_optical(&holes, self.preprocess, self.input_px))
            .transpose()
    }

    /// Where the SAR tile of a window has no data, fitted as the tile is.
    fn sar_gaps(&self, window: usize) -> Result<Option<Rgb8>, RasterError> {
        let [x, y, width, height] = self.part(Sensor::Sar, window);
        let gaps = self.pair.sar_gaps([x, y], [width, height]);
        gaps.map(|gaps| fit_sar(&gaps, self.preprocess, self.input_px))
            .transpose()
    }

    /// First pixel and size of what a window shows of a tile, columns first.
    fn part(&self, sensor: Sensor, window: usize) -> [usize; 4] {
        if self.is_cut() {
            return self.place(window);
        }
        let tile = self.pair.tile(sensor);
        [0, 0, tile.width_px, tile.height_px]
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

/// Whether a pixel of a fitted mask lies in a hole. In parity, what lies outside of the tile is
/// grey, of 128.
fn is_hole(pixel: &[u8]) -> bool {
    pixel[0] > 128
}

/// Paints the holes of a fitted tile.
fn fill(fitted: &mut Rgb8, holes: Option<&Rgb8>, colour: [u8; 3]) {
    let Some(holes) = holes else {
        return;
    };
    let pixels = fitted.data.chunks_exact_mut(3);
    for (pixel, hole) in pixels.zip(holes.data.chunks_exact(3)) {
        if is_hole(hole) {
            pixel.copy_from_slice(&colour);
        }
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
