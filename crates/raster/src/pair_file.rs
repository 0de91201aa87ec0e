//! A pair of files too large to decode at once: measured on a sample, and read part by part.

use crate::optical::OpticalRule;
use crate::placing::{Member, Placing, outline_degrees, pixel_area_m2};
use crate::sar::SarRule;
use crate::{
    GeoRef, OpticalOptions, Raster, RasterError, RasterFile, Rgb8, RgbRadiometry, SarOptions,
    SarRadiometry, Tile, TilePair,
};

/// Side of the patches that a sample is made of, in pixels. Speckle is measured in blocks of 8.
const PATCH_PX: usize = 256;

/// Patches of a sample along each side, the outer ones at the scene's edges.
const PATCHES: usize = 6;

/// An optical and a SAR file of the same ground, open for reading in parts on the optical grid.
pub struct PairFile<'a> {
    rgb: RasterFile<'a>,
    sar: RasterFile<'a>,
    rgb_rule: OpticalRule,
    sar_rule: SarRule,
    placing: Placing,
    georef: Option<GeoRef>,
    outlines: [Option<Vec<[f64; 2]>>; 2],
    radiometry: (RgbRadiometry, SarRadiometry),
    /// What was chosen or assumed, for the user.
    pub notes: Vec<String>,
}

impl<'a> PairFile<'a> {
    /// Reads the headers of both files and a sample of their pixels, on which bands, stretches and
    /// the model's radiometry are decided.
    ///
    /// # Errors
    /// Those of [`crate::open_pair`]; [`RasterError::TooLarge`] for tiles without a common place
    /// that would have to be stretched.
    pub fn open(
        rgb: (RasterFile<'a>, &str),
        sar: (RasterFile<'a>, &str),
        optical_options: &OpticalOptions,
        sar_options: &SarOptions,
    ) -> Result<Self, RasterError> {
        let ((rgb, rgb_name), (sar, sar_name)) = (rgb, sar);
        let (rgb_px, sar_px) = (rgb.size_px(), sar.size_px());
        let sample = sample(&rgb)?;
        let rgb_rule = OpticalRule::measure(&sample, optical_options)?;
        drop(sample);
        let sample = self::sample(&sar)?;
        let sar_rule = SarRule::measure(&sample, sar_options)?;
        drop(sample);
        let place = |file: &RasterFile<'_>| -> Result<Option<GeoRef>, RasterError> {
            Ok(file.read([0, 0], [1, 1])?.georef)
        };
        let (rgb_georef, sar_georef) = (place(&rgb)?, place(&sar)?);
        let mut notes = [rgb_rule.notes.clone(), sar_rule.notes.clone()].concat();
        let rgb_member = Member {
            name: rgb_name,
            size_px: rgb_px,
            georef: rgb_georef.as_ref(),
        };
        let sar_member = Member {
            name: sar_name,
            size_px: sar_px,
            georef: sar_georef.as_ref(),
        };
        let placing = Placing::find(&rgb_member, &sar_member, &mut notes)?;
        match &placing {
            Placing::SameGrid => {}
            Placing::Warped(warp) => notes.push(format!(
                "{sar_name}: resampled onto the grid of {rgb_name} by map coordinates ({})",
                warp.systems()
            )),
            Placing::Stretched => {
                return Err(RasterError::TooLarge {
                    name: format!(
                        "{sar_name}, which has no place on the ground in common with {rgb_name},"
                    ),
                    width_px: rgb_px[0] as u64,
                    height_px: rgb_px[1] as u64,
                    bands: 1,
                });
            }
        }
        let outline = |georef: &Option<GeoRef>, size| outline_degrees(georef.as_ref()?, size);
        let mut pair = Self {
            outlines: [outline(&rgb_georef, rgb_px), outline(&sar_georef, sar_px)],
            georef: rgb_georef.or(sar_georef.filter(|_| rgb_px == sar_px)),
            rgb,
            sar,
            rgb_rule,
            sar_rule,
            placing,
            radiometry: (
                RgbRadiometry::measure(&Rgb8::filled(0, 0, 0)),
                SarRadiometry::measure(&Rgb8::filled(0, 0, 0)),
            ),
            notes,
        };
        pair.radiometry = pair.measure()?;
        Ok(pair)
    }

    /// Columns and rows of the optical grid.
    #[must_use]
    pub fn size_px(&self) -> [usize; 2] {
        self.rgb.size_px()
    }

    /// Place of the whole optical grid.
    #[must_use]
    pub fn georef(&self) -> Option<&GeoRef> {
        self.georef.as_ref()
    }

    /// Length of a pixel's side on the ground in metres in the middle of the scene, where its place
    /// is known.
    #[must_use]
    pub fn pixel_size_m(&self) -> Option<f64> {
        let middle = self.size_px().map(|side| side as f64 / 2.0);
        pixel_area_m2(self.georef()?, middle).map(libm::sqrt)
    }

    /// Reads a part of the scene: `size` pixels (columns, rows) from `at` on.
    ///
    /// # Errors
    /// Those of [`RasterFile::read`].
    pub fn read(&self, at: [usize; 2], size: [usize; 2]) -> Result<TilePair, RasterError> {
        let rgb = self.rgb_rule.apply(&self.rgb.read(at, size)?);
        let sar = match &self.placing {
            Placing::Warped(warp) => match warp.source_bounds(at, size, self.sar.size_px()) {
                Some((first, count)) => {
                    let source = self.sar_rule.apply(&self.sar.read(first, count)?);
                    warp.apply(&source, first, at, size)
                }
                None => Tile {
                    picture: Rgb8::filled(size[0], size[1], 0),
                    valid: Some(vec![false; size[0] * size[1]]),
                },
            },
            _ => self.sar_rule.apply(&self.sar.read(at, size)?),
        };
        Ok(TilePair {
            rgb: rgb.picture,
            sar: sar.picture,
            rgb_valid: rgb.valid,
            sar_valid: sar.valid,
            georef: self
                .georef
                .as_ref()
                .map(|georef| georef.shifted(at[0] as f64, at[1] as f64)),
            outlines: self.outlines.clone(),
            radiometry: Some(self.radiometry.clone()),
            notes: Vec::new(),
        })
    }

    /// The model's radiometry of the whole scene, from patches of it.
    fn measure(&self) -> Result<(RgbRadiometry, SarRadiometry), RasterError> {
        let [columns, rows] = self.size_px().map(patches);
        let side = PATCH_PX;
        let (mut rgb, mut sar) = (Vec::new(), Vec::new());
        for &y in &rows {
            for &x in &columns {
                let [w, h] = self.size_px();
                let part = self.read([x, y], [side.min(w), side.min(h)])?;
                // One patch under the other; patches of one scene have one width.
                rgb.extend(part.rgb.data);
                sar.extend(part.sar.data);
            }
        }
        let width_px = side.min(self.size_px()[0]);
        let picture = |data: Vec<u8>| Rgb8 {
            width_px,
            height_px: data.len() / (3 * width_px),
            data,
        };
        Ok((
            RgbRadiometry::measure(&picture(rgb)),
            SarRadiometry::measure(&picture(sar)),
        ))
    }
}

/// Where the patches of a sample begin along an axis.
fn patches(len_px: usize) -> Vec<usize> {
    let last = len_px.saturating_sub(PATCH_PX);
    let mut starts: Vec<usize> = (0..PATCHES).map(|i| i * last / (PATCHES - 1)).collect();
    starts.dedup();
    starts
}

/// Patches of a file as one raster, or all of a small file.
fn sample(file: &RasterFile<'_>) -> Result<Raster, RasterError> {
    let [width, height] = file.size_px();
    if width.min(height) <= PATCH_PX * PATCHES {
        let rows = (1_usize << 22).div_ceil(width).clamp(1, height);
        return file.read([0, 0], [width, rows]);
    }
    let columns = patches(width);
    let mut whole: Option<Raster> = None;
    for y in patches(height) {
        let band = file.read([0, y], [width, PATCH_PX])?;
        let part = band.columns(&columns, PATCH_PX);
        match &mut whole {
            Some(whole) => whole.append_rows(part),
            None => whole = Some(part),
        }
    }
    whole.ok_or_else(|| RasterError::Argument("a scene without pixels".into()))
}
