//! Two files of the same ground, opened onto one grid: the optical tile's.

use crate::optical::OpticalRule;
use crate::placing::{Member, Placing, outline_degrees, pixel_area_m2};
use crate::sar::SarRule;
use crate::{
    GeoRef, OpticalOptions, RasterError, Rgb8, RgbRadiometry, SarOptions, SarRadiometry, Tile,
    decode,
};

/// An optical and a SAR tile on one grid.
#[derive(Clone, Debug, PartialEq)]
pub struct TilePair {
    /// Optical, `[h, w, 3]`; black where invalid.
    pub rgb: Rgb8,
    /// SAR, of the same size; black where invalid.
    pub sar: Rgb8,
    /// Whether each optical pixel holds a measurement, `[h * w]`; `None` when all do.
    pub rgb_valid: Option<Vec<bool>>,
    /// Whether each SAR pixel holds a measurement, `[h * w]`; `None` when all do.
    pub sar_valid: Option<Vec<bool>>,
    /// Place of the common grid, when the optical file (or failing that a SAR file of the same
    /// size) says.
    pub georef: Option<GeoRef>,
    /// Outlines of the optical and the SAR file as WGS 84 longitudes and latitudes, where they are
    /// known.
    pub outlines: [Option<Vec<[f64; 2]>>; 2],
    /// Measured on the scene that this pair is a part of; `None` for a pair that is measured by
    /// itself.
    pub radiometry: Option<(RgbRadiometry, SarRadiometry)>,
    /// What was chosen or changed on the way, one sentence each, for the user.
    pub notes: Vec<String>,
}

impl TilePair {
    /// A pair without a place on the ground, of which nothing need be said.
    #[must_use]
    pub fn new(rgb: Rgb8, sar: Rgb8) -> Self {
        Self {
            rgb,
            sar,
            rgb_valid: None,
            sar_valid: None,
            georef: None,
            outlines: [None, None],
            radiometry: None,
            notes: Vec::new(),
        }
    }

    /// Whether each pixel holds a measurement of a sensor that is used, `[h * w]`; `None` when all
    /// do.
    #[must_use]
    pub fn valid(&self, uses_optical: bool, uses_sar: bool) -> Option<Vec<bool>> {
        match (uses_optical, uses_sar) {
            (true, false) => self.rgb_valid.clone(),
            (false, true) => self.sar_valid.clone(),
            _ => {
                let (rgb, sar) = (self.rgb_valid.as_ref()?, self.sar_valid.as_ref()?);
                let either: Vec<bool> = rgb.iter().zip(sar).map(|(a, b)| *a || *b).collect();
                either.contains(&false).then_some(either)
            }
        }
    }

    /// A part, `size` pixels (columns, rows) from `at` on, of the optical tile's holes: white where
    /// it has no data and the SAR tile has. `None` when there are none. Past the tile's edge its
    /// last pixels repeat.
    #[must_use]
    pub fn optical_holes(&self, at: [usize; 2], size: [usize; 2]) -> Option<Rgb8> {
        let rgb = self.rgb_valid.as_ref()?;
        drawn(&self.rgb, at, size, |pixel| {
            !rgb[pixel] && self.sar_valid.as_ref().is_none_or(|sar| sar[pixel])
        })
    }

    /// Like [`TilePair::optical_holes`]: white where the SAR tile has no data.
    #[must_use]
    pub fn sar_gaps(&self, at: [usize; 2], size: [usize; 2]) -> Option<Rgb8> {
        let sar = self.sar_valid.as_ref()?;
        drawn(&self.sar, at, size, |pixel| !sar[pixel])
    }

    /// Length of a pixel's side on the ground in metres (the root of its area in the middle of the
    /// tile), where the place is known.
    #[must_use]
    pub fn pixel_size_m(&self) -> Option<f64> {
        let middle = [self.rgb.width_px, self.rgb.height_px].map(|side| side as f64 / 2.0);
        pixel_area_m2(self.georef.as_ref()?, middle).map(libm::sqrt)
    }

    /// The same ground in another number of pixels.
    #[must_use]
    pub fn resized(&self, width_px: usize, height_px: usize) -> Self {
        let resize = |picture: &Rgb8, valid: &Option<Vec<bool>>| {
            let tile = Tile {
                picture: picture.clone(),
                valid: valid.clone(),
            };
            tile.resized(width_px, height_px)
        };
        let rgb = resize(&self.rgb, &self.rgb_valid);
        let sar = resize(&self.sar, &self.sar_valid);
        let scale = [
            self.rgb.width_px as f64 / width_px as f64,
            self.rgb.height_px as f64 / height_px as f64,
        ];
        Self {
            rgb: rgb.picture,
            sar: sar.picture,
            rgb_valid: rgb.valid,
            sar_valid: sar.valid,
            georef: self
                .georef
                .as_ref()
                .map(|georef| georef.scaled(scale[0], scale[1])),
            outlines: self.outlines.clone(),
            radiometry: self.radiometry.clone(),
            notes: self.notes.clone(),
        }
    }
}

/// A part of a tile, white where `is_hole` says so of a pixel's index; `None` when nowhere.
fn drawn(
    tile: &Rgb8,
    at: [usize; 2],
    size: [usize; 2],
    is_hole: impl Fn(usize) -> bool,
) -> Option<Rgb8> {
    let (w, h) = (tile.width_px, tile.height_px);
    let mask: Vec<u8> = (at[1]..at[1] + size[1])
        .flat_map(|y| (at[0]..at[0] + size[0]).map(move |x| (x, y)))
        .map(|(x, y)| u8::from(is_hole(y.min(h - 1) * w + x.min(w - 1))) * 255)
        .collect();
    mask.contains(&255)
        .then(|| Rgb8::from_grey(size[0], size[1], &mask))
}

/// Decodes an optical file alone, as a pair whose SAR tile holds no measurement.
///
/// # Errors
/// Those of [`decode`] and [`crate::optical_to_rgb`].
pub fn open_optical(rgb: (&[u8], &str), options: &OpticalOptions) -> Result<TilePair, RasterError> {
    let raster = decode(rgb.0, rgb.1)?;
    let rule = OpticalRule::measure(&raster, options)?;
    let tile = rule.apply(&raster);
    let (width_px, height_px) = (tile.picture.width_px, tile.picture.height_px);
    let outline = raster
        .georef
        .as_ref()
        .and_then(|georef| outline_degrees(georef, [width_px, height_px]));
    Ok(TilePair {
        rgb: tile.picture,
        sar: Rgb8::filled(width_px, height_px, 0),
        rgb_valid: tile.valid,
        sar_valid: Some(vec![false; width_px * height_px]),
        georef: raster.georef,
        outlines: [outline, None],
        radiometry: None,
        notes: rule.notes,
    })
}

/// Decodes both files and brings the SAR tile onto the optical grid: by their places on the ground,
/// in any two reference systems that are understood; else by stretching to the optical size. A note
/// tells what was assumed.
///
/// # Errors
/// Those of [`decode`], [`crate::optical_to_rgb`] and [`crate::sar_to_rgb`], and
/// [`RasterError::NoOverlap`].
pub fn open_pair(
    rgb: (&[u8], &str),
    sar: (&[u8], &str),
    optical_options: &OpticalOptions,
    sar_options: &SarOptions,
) -> Result<TilePair, RasterError> {
    // One raster at a time: they may take most of a browser tab's memory.
    let raster = decode(rgb.0, rgb.1)?;
    let rule = OpticalRule::measure(&raster, optical_options)?;
    let rgb_tile = rule.apply(&raster);
    let (rgb_georef, mut notes) = (raster.georef, rule.notes);
    drop(raster.samples);
    let raster = decode(sar.0, sar.1)?;
    let rule = SarRule::measure(&raster, sar_options)?;
    let sar_tile = rule.apply(&raster);
    let sar_georef = raster.georef;
    drop(raster.samples);
    notes.extend(rule.notes);

    let size = |tile: &Tile| [tile.picture.width_px, tile.picture.height_px];
    let (rgb_px, sar_px) = (size(&rgb_tile), size(&sar_tile));
    let rgb_member = Member {
        name: rgb.1,
        size_px: rgb_px,
        georef: rgb_georef.as_ref(),
    };
    let sar_member = Member {
        name: sar.1,
        size_px: sar_px,
        georef: sar_georef.as_ref(),
    };
    let sar_tile = match Placing::find(&rgb_member, &sar_member, &mut notes)? {
        Placing::SameGrid => sar_tile,
        Placing::Stretched => sar_tile.resized(rgb_px[0], rgb_px[1]),
        Placing::Warped(warp) => {
            let warped = warp.apply(&sar_tile, [0, 0], [0, 0], rgb_px);
            let covered = warped.valid.as_ref().map_or(1.0, |valid| {
                valid.iter().filter(|&&v| v).count() as f64 / valid.len() as f64
            });
            notes.push(format!(
                "{}: resampled onto the grid of {} by map coordinates ({}); it covers {:.0} % of it",
                sar.1,
                rgb.1,
                warp.systems(),
                100.0 * covered
            ));
            warped
        }
    };
    let outline = |georef: &Option<GeoRef>, size| outline_degrees(georef.as_ref()?, size);
    let outlines = [outline(&rgb_georef, rgb_px), outline(&sar_georef, sar_px)];
    Ok(TilePair {
        rgb: rgb_tile.picture,
        sar: sar_tile.picture,
        rgb_valid: rgb_tile.valid,
        sar_valid: sar_tile.valid,
        georef: rgb_georef.or(sar_georef.filter(|_| rgb_px == sar_px)),
        outlines,
        radiometry: None,
        notes,
    })
}
