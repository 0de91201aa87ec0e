//! Which pixels of a raster hold a measurement.
//!
//! A pixel is invalid when the file's mask, alpha or colour key says so, or when every band that is
//! used holds no number, the file's no-data value, or a value that marks missing data without being
//! declared.

use crate::Raster;
use crate::raster::Samples;

/// A value that stands for "no data" although the file does not say so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Marker(f64);

/// Least share of pixels that an undeclared value must cover.
const LEAST_SHARE: f64 = 0.001;

/// Values that are written where there is no data. Zero is one in everything but bytes, where black
/// is an ordinary colour.
const MARKERS: [f64; 5] = [
    -9999.0,
    -32_768.0,
    -3.402_823_466_385_288_6e38,
    -99_999.0,
    0.0,
];

impl Marker {
    /// Looks for an undeclared value that fills a margin: in all `bands` of at least one pixel in a
    /// thousand, and of one at the edge of the picture.
    pub fn find(raster: &Raster, bands: &[usize], notes: &mut Vec<String>) -> Option<Self> {
        let bytes = matches!(raster.samples, Samples::U8(_) | Samples::I8(_));
        if raster.nodata.is_some() || bytes || raster.palette.is_some() {
            return None;
        }
        let (w, h) = (raster.width_px, raster.height_px);
        if w == 0 || h == 0 {
            return None;
        }
        let holds = |pixel: usize, value: f64| {
            bands.iter().all(|&band| {
                let sample = raster.samples.get(pixel * raster.bands + band);
                sample == value || (value < -1e30 && sample <= value)
            })
        };
        let at_edge = |value: f64| {
            let sides = (0..h).flat_map(|y| [y * w, y * w + w - 1]);
            let ends = (0..w).chain((h - 1) * w..h * w);
            sides.chain(ends).any(|pixel| holds(pixel, value))
        };
        let found = MARKERS.into_iter().find_map(|value| {
            if !at_edge(value) {
                return None;
            }
            let count = (0..w * h).filter(|&pixel| holds(pixel, value)).count();
            let share = count as f64 / (w * h) as f64;
            (share >= LEAST_SHARE).then_some((value, share))
        });
        let (value, share) = found?;
        notes.push(format!(
            "{}: {value} fills {:.1} % of it and its edge, and is taken as no data although the file does not declare it",
            raster.name,
            100.0 * share
        ));
        Some(Self(value))
    }
}

/// Whether each pixel is valid for these bands, `[height_px * width_px]`; `None` when all are.
pub(crate) fn mask(raster: &Raster, bands: &[usize], marker: Option<Marker>) -> Option<Vec<bool>> {
    let whole_numbers = !matches!(raster.samples, Samples::F32(_) | Samples::F64(_));
    let may_be_empty = !whole_numbers || raster.nodata.is_some() || marker.is_some();
    if raster.mask.is_none() && !may_be_empty {
        return None;
    }
    let empty = |value: f64| {
        raster.is_empty_value(value)
            || marker.is_some_and(|Marker(m)| value == m || (m < -1e30 && value <= m))
    };
    let valid = |pixel: usize| {
        let masked = raster.mask.as_ref().is_some_and(|mask| mask[pixel] == 0);
        let measured = || {
            bands
                .iter()
                .any(|&band| !empty(raster.samples.get(pixel * raster.bands + band)))
        };
        !masked && (!may_be_empty || measured())
    };
    let valid: Vec<bool> = (0..raster.width_px * raster.height_px).map(valid).collect();
    valid.contains(&false).then_some(valid)
}

/// Makes invalid pixels of three channels black, so that no statistic of the picture sees them.
pub(crate) fn blacken(data: &mut [u8], valid: Option<&[bool]>) {
    if let Some(valid) = valid {
        for (pixel, valid) in data.chunks_exact_mut(3).zip(valid) {
            if !valid {
                pixel.fill(0);
            }
        }
    }
}
