//! The pair that is open: as read, and as shown under its cloud.

use std::cell::RefCell;
use std::rc::Rc;

use mmovseg_engine::resolution::{model_size, onto_grid};
use mmovseg_engine::{
    EngineError, Event, HashedPair, SegmentRequest, Segmentation, Sensor, Session, TilePair,
};
use mmovseg_protocol::{Cloud, MAX_SHOWN_PX, Outline, Reading, Resolution, Tiles};
use mmovseg_raster::{RasterError, Rgb8, add_cloud, open_pair};

use crate::sensor::looks_swapped;

/// An open pair.
#[derive(Clone)]
pub struct OpenTiles {
    /// The optical tile without our cloud, where there is one.
    clear: Option<Rgb8>,
    /// What the page shows, and the model sees unless it was trained for another pixel size.
    pub shown: HashedPair,
    /// What decides the pixel size that the model sees.
    resolution: Resolution,
    /// `shown` in the model's pixel size, once a run has needed it.
    resampled: RefCell<Option<Rc<Resampled>>>,
    /// Index into `mmovseg_scene::CLASSES` of each pixel, for generated scenes.
    pub truth: Option<Vec<u8>>,
    /// Whether the SAR tile looks optical and the optical one like SAR.
    swapped: bool,
    /// File names or the scene's seed, for reports.
    pub origin: String,
    /// The cloud that was laid over.
    pub cloud: Cloud,
}

/// Why a pair cannot be opened.
pub struct RefusedPair {
    /// What, where and what to do.
    pub message: String,
    /// Outlines of the optical and of the SAR file, when they have no ground in common.
    pub outlines: Option<[Outline; 2]>,
}

impl From<RasterError> for RefusedPair {
    fn from(error: RasterError) -> Self {
        let message = error.to_string();
        let outlines = match error {
            RasterError::NoOverlap { outlines, .. } => both(*outlines),
            _ => None,
        };
        Self { message, outlines }
    }
}

/// Both outlines, where both are known.
fn both([optical, sar]: [Option<Outline>; 2]) -> Option<[Outline; 2]> {
    Some([optical?, sar?])
}

/// A pair in the pixel size that the model was trained for.
pub struct Resampled {
    /// The pair.
    pub pair: HashedPair,
    /// What the user is told of it.
    pub note: String,
}

impl OpenTiles {
    /// Reads two files.
    ///
    /// # Errors
    /// Those of [`open_pair`].
    pub fn from_files(
        rgb: (&[u8], &str),
        sar: (&[u8], &str),
        reading: &Reading,
        cloud: Cloud,
    ) -> Result<Self, RasterError> {
        let pair = open_pair(rgb, sar, &reading.optical, &reading.sar)?;
        let swapped = looks_swapped(&pair.rgb, &pair.sar);
        let origin = format!("{} and {}", rgb.1, sar.1);
        let tiles = Self::new(pair, None, swapped, origin, cloud);
        Ok(Self {
            resolution: reading.resolution,
            ..tiles
        })
    }

    /// Generates a scene of `size_px` x `size_px` pixels.
    pub fn from_scene(seed: u32, size_px: u32, cloud: Cloud) -> Self {
        let scene = mmovseg_scene::generate(u64::from(seed), size_px as usize);
        let pair = TilePair::new(scene.rgb, scene.sar);
        let origin = format!("generated scene {seed}");
        Self::new(pair, Some(scene.label), false, origin, cloud)
    }

    fn new(
        pair: TilePair,
        truth: Option<Vec<u8>>,
        swapped: bool,
        origin: String,
        cloud: Cloud,
    ) -> Self {
        let mut tiles = Self {
            clear: None,
            shown: HashedPair::new(pair),
            resolution: Resolution::Auto,
            resampled: RefCell::default(),
            truth,
            swapped,
            origin,
            cloud,
        };
        tiles.set_cloud(cloud);
        tiles
    }

    /// Replaces the cloud.
    pub fn set_cloud(&mut self, cloud: Cloud) {
        self.cloud = cloud;
        self.resampled.take();
        let clear = self.clear.take();
        if !cloud.is_visible() {
            // A tile without a cloud is kept once only: it may have 10 000 px a side.
            if let Some(clear) = clear {
                self.shown.set_rgb(clear);
            }
            return;
        }
        let clear = clear.unwrap_or_else(|| self.shown.rgb.clone());
        self.shown.set_rgb(add_cloud(&clear, &cloud).0);
        self.clear = Some(clear);
    }

    /// The pair for a model that was trained for pixels of `gsd_m`; `None` when it sees the pair as
    /// it is shown.
    pub fn resampled(&self, gsd_m: Option<f32>) -> Option<Rc<Resampled>> {
        let native_px = [self.shown.rgb.width_px, self.shown.rgb.height_px];
        let pixel_m = self.shown.pixel_size_m();
        let ([w, h], note) = model_size(native_px, pixel_m, gsd_m, self.resolution)?;
        let mut slot = self.resampled.borrow_mut();
        let known = slot.get_or_insert_with(|| {
            Rc::new(Resampled {
                pair: HashedPair::new(self.shown.resized(w, h)),
                note,
            })
        });
        Some(Rc::clone(known))
    }

    /// Runs the model on the pair; labels are on the grid of `shown`.
    ///
    /// # Errors
    /// Those of [`Session::segment`].
    pub async fn segment(
        &self,
        session: &mut Session,
        request: &SegmentRequest,
        on: &mut dyn FnMut(Event),
    ) -> Result<Segmentation, EngineError> {
        let Some(resampled) = self.resampled(session.manifest().gsd_m) else {
            return session.segment(&self.shown, request, on).await;
        };
        let mut found = session.segment(&resampled.pair, request, on).await?;
        let [optical, sar] =
            [Sensor::Optical, Sensor::Sar].map(|sensor| request.modality.uses(sensor));
        let valid = self.shown.valid(optical, sar);
        let size_px = [self.shown.rgb.width_px, self.shown.rgb.height_px];
        onto_grid(&mut found, size_px, valid.as_deref());
        Ok(found)
    }

    /// Every how many pixels one is shown.
    pub fn step_px(&self) -> usize {
        let longest = self.shown.rgb.width_px.max(self.shown.rgb.height_px);
        longest.div_ceil(MAX_SHOWN_PX as usize).max(1)
    }

    /// What the page is told.
    pub fn describe(&self) -> Tiles {
        let (w, h) = (self.shown.rgb.width_px, self.shown.rgb.height_px);
        let step = self.step_px();
        let mut notes = self.shown.notes.clone();
        if step > 1 {
            notes.push(format!(
                "The pictures are {step} times smaller than the tiles of {w} x {h} px; results and exports have every pixel"
            ));
        }
        Tiles {
            width_px: side(w),
            height_px: side(h),
            step_px: side(step),
            shown_width_px: side(w.div_ceil(step)),
            shown_height_px: side(h.div_ceil(step)),
            has_truth: self.truth.is_some(),
            looks_swapped: self.swapped,
            crs: self
                .shown
                .georef
                .as_ref()
                .and_then(|georef| georef.epsg)
                .map(|code| format!("EPSG:{code}")),
            notes,
            outlines: both(self.shown.outlines.clone()),
        }
    }
}

/// A side in pixels as the protocol has it; the raster crate limits sides to far less than
/// `u32::MAX`.
pub fn side(px: usize) -> u32 {
    u32::try_from(px).unwrap_or(u32::MAX)
}
