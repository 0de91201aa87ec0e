//! Two files of the same ground, opened onto one grid: the optical tile's.

use crate::{
    GeoRef, OpticalOptions, Raster, RasterError, Rgb8, SarOptions, decode, optical_to_rgb,
    resize_bilinear, sar_to_rgb,
};

/// An optical and a SAR tile on one grid.
#[derive(Clone, Debug, PartialEq)]
pub struct TilePair {
    /// Optical, `[h, w, 3]`.
    pub rgb: Rgb8,
    /// SAR, of the same size.
    pub sar: Rgb8,
    /// Place of the common grid, when the optical file (or failing that a SAR file of the same size) says.
    pub georef: Option<GeoRef>,
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
            georef: None,
            notes: Vec::new(),
        }
    }
}

/// Grids closer than this are one grid, in optical pixels.
const SAME_GRID_PX: f64 = 0.5;

/// Decodes both files and brings the SAR tile onto the optical grid: by geo-reference where both files
/// name the same EPSG code, else by stretching to the optical size. A note tells which.
///
/// # Errors
/// Those of [`decode`], [`optical_to_rgb`] and [`sar_to_rgb`], and [`RasterError::NoOverlap`].
pub fn open_pair(
    rgb: (&[u8], &str),
    sar: (&[u8], &str),
    optical_options: &OpticalOptions,
    sar_options: &SarOptions,
) -> Result<TilePair, RasterError> {
    // One raster at a time: they may take most of a browser tab's memory.
    let raster = decode(rgb.0, rgb.1)?;
    let (rgb_picture, mut notes) = optical_to_rgb(&raster, optical_options)?;
    let rgb_place = Place::of(&raster);
    drop(raster);
    let raster = decode(sar.0, sar.1)?;
    let (sar_picture, more) = sar_to_rgb(&raster, sar_options)?;
    let sar_place = Place::of(&raster);
    drop(raster);
    notes.extend(more);

    let same_size = (rgb_picture.width_px, rgb_picture.height_px)
        == (sar_picture.width_px, sar_picture.height_px);
    let found = common_system(&rgb_place, &sar_place);
    let sar_picture = match found {
        Some((from, to, epsg)) => {
            if same_size && same_grid(&from, &to, &rgb_picture) {
                sar_picture
            } else {
                let (moved, share) =
                    resample(&sar_picture, &from, &rgb_picture, &to).ok_or_else(|| {
                        RasterError::NoOverlap {
                            rgb: rgb.1.into(),
                            sar: sar.1.into(),
                            epsg,
                        }
                    })?;
                notes.push(format!(
                    "{}: resampled onto the grid of {} by map coordinates (EPSG:{epsg}); it covers {:.0} % of it",
                    sar.1, rgb.1, share * 100.0
                ));
                moved
            }
        }
        None if same_size => {
            if let (Some(a), Some(b)) = (&rgb_place.georef, &sar_place.georef)
                && a.epsg != b.epsg
            {
                notes.push(format!(
                    "{} and {} name different reference systems; taken as aligned because their sizes agree",
                    rgb.1, sar.1
                ));
            }
            sar_picture
        }
        None => {
            notes.push(format!(
                "{}: stretched from {} x {} to {} x {} px to match {}, assuming both show exactly the same ground",
                sar.1, sar_picture.width_px, sar_picture.height_px,
                rgb_picture.width_px, rgb_picture.height_px, rgb.1
            ));
            resize_bilinear(&sar_picture, rgb_picture.width_px, rgb_picture.height_px)
        }
    };
    let georef = rgb_place.georef.or(sar_place.georef.filter(|_| same_size));
    Ok(TilePair {
        rgb: rgb_picture,
        sar: sar_picture,
        georef,
        notes,
    })
}

/// Where a file says it lies.
struct Place {
    georef: Option<GeoRef>,
}

impl Place {
    fn of(raster: &Raster) -> Self {
        Self {
            georef: raster.georef.clone(),
        }
    }
}

/// The SAR and the optical place when both name one EPSG code and can be inverted.
fn common_system(rgb: &Place, sar: &Place) -> Option<(GeoRef, GeoRef, u32)> {
    let (to, from) = (rgb.georef.clone()?, sar.georef.clone()?);
    let epsg = to.epsg.filter(|_| to.epsg == from.epsg)?;
    from.to_pixel(0.0, 0.0).and(to.to_pixel(0.0, 0.0))?;
    Some((from, to, epsg))
}

/// Whether all four corners of the picture fall within half a pixel on either grid.
fn same_grid(from: &GeoRef, to: &GeoRef, picture: &Rgb8) -> bool {
    let (w, h) = (picture.width_px as f64, picture.height_px as f64);
    [[0.0, 0.0], [w, 0.0], [0.0, h], [w, h]]
        .iter()
        .all(|&[col, row]| {
            let [x, y] = to.to_map(col, row);
            from.to_pixel(x, y).is_some_and(|[c, r]| {
                (c - col).abs() < SAME_GRID_PX && (r - row).abs() < SAME_GRID_PX
            })
        })
}

/// `picture` at the pixel centres of the grid `to` of `target`'s size, bilinear, black outside; and the
/// share of the target it covers. `None` when that is nothing.
fn resample(picture: &Rgb8, from: &GeoRef, target: &Rgb8, to: &GeoRef) -> Option<(Rgb8, f64)> {
    // Where the source is much finer, it is shrunk first (with antialiasing) to about the target's
    // pixel size, since bilinear sampling alone would pick single speckles.
    let (source, from) = shrink_to(picture, from, to)?;
    let (w, h) = (source.width_px, source.height_px);
    let mut out = Rgb8::filled(target.width_px, target.height_px, 0);
    let mut covered = 0_usize;
    for (index, pixel) in out.data.chunks_exact_mut(3).enumerate() {
        let (col, row) = (index % target.width_px, index / target.width_px);
        let [x, y] = to.to_map(col as f64 + 0.5, row as f64 + 0.5);
        let [c, r] = from.to_pixel(x, y)?;
        let inside = c >= 0.0 && r >= 0.0 && c < w as f64 && r < h as f64;
        if !inside {
            continue;
        }
        covered += 1;
        let (x0, x1, u) = neighbours(c, w);
        let (y0, y1, v) = neighbours(r, h);
        let corners = [(x0, y0), (x1, y0), (x0, y1), (x1, y1)].map(|(x, y)| source.pixel(x, y));
        for (channel, byte) in pixel.iter_mut().enumerate() {
            let [a, b, c, d] = corners.map(|p| f64::from(p[channel]));
            let upper = a + (b - a) * u;
            let lower = c + (d - c) * u;
            *byte = libm::round(upper + (lower - upper) * v) as u8;
        }
    }
    let share = covered as f64 / (target.width_px * target.height_px) as f64;
    (covered > 0).then_some((out, share))
}

/// The two pixels whose centres enclose a position, and the second one's weight; edges repeat.
fn neighbours(at: f64, size: usize) -> (usize, usize, f64) {
    let centre = (at - 0.5).max(0.0);
    let first = (centre as usize).min(size - 1);
    (first, (first + 1).min(size - 1), centre - first as f64)
}

fn shrink_to(picture: &Rgb8, from: &GeoRef, to: &GeoRef) -> Option<(Rgb8, GeoRef)> {
    let length = |x: f64, y: f64| libm::sqrt(x * x + y * y);
    let [a, b, _, d, e, _] = to.transform;
    let target = libm::sqrt((a * e - b * d).abs());
    let [a, b, c, d, e, f] = from.transform;
    let shrunk = |side: usize, step: f64| {
        let factor = target / step;
        if factor > 1.0 {
            (libm::round(side as f64 / factor) as usize).max(1)
        } else {
            side
        }
    };
    let w = shrunk(picture.width_px, length(a, d));
    let h = shrunk(picture.height_px, length(b, e));
    let (sx, sy) = (
        picture.width_px as f64 / w as f64,
        picture.height_px as f64 / h as f64,
    );
    let transform = [a * sx, b * sy, c, d * sx, e * sy, f];
    let georef = GeoRef {
        transform,
        ..from.clone()
    };
    georef.to_pixel(0.0, 0.0)?;
    Some((resize_bilinear(picture, w, h), georef))
}
