//! From an optical raster of any depth and band count to the 8-bit colours the model reads.

use serde::{Deserialize, Serialize};

use crate::stats::{percentiles, stretch_byte};
use crate::{Raster, RasterError, Rgb8, Samples};

/// How sample values become bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stretch {
    /// 8-bit data as it is, anything else as [`Stretch::Percentile`] from 2 to 98 %.
    #[default]
    Auto,
    /// The values at these two percentages, taken jointly over the three bands so that colours keep
    /// their balance, become 0 and 255.
    Percentile {
        /// Percentage that becomes 0.
        low: f32,
        /// Percentage that becomes 255.
        high: f32,
    },
    /// These two sample values become 0 and 255.
    Range {
        /// Sample value that becomes 0.
        low: f32,
        /// Sample value that becomes 255.
        high: f32,
    },
}

/// What to show of an optical raster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OpticalOptions {
    /// Bands for red, green and blue, 0-based. `None`: the only band as grey; bands 4, 3, 2 of a
    /// Sentinel-2 stack in band order (10 to 13 bands); the first three of anything else.
    pub bands: Option<[usize; 3]>,
    /// From sample values to bytes.
    pub stretch: Stretch,
}

/// Makes the 8-bit picture `[height_px, width_px, 3]`, with notes that tell the user what was chosen.
///
/// Palette files give their colours. Pixels without a measurement (no-data, NaN, and zero in all three
/// bands) become black and do not take part in the stretch.
///
/// # Errors
/// [`RasterError::NoSuchBand`], and [`RasterError::Empty`] when nothing was measured in data that
/// needs a stretch.
pub fn optical_to_rgb(
    raster: &Raster,
    options: &OpticalOptions,
) -> Result<(Rgb8, Vec<String>), RasterError> {
    let mut notes = Vec::new();
    let (width_px, height_px) = (raster.width_px, raster.height_px);
    if let (Some(palette), Samples::U8(indices), 1) =
        (&raster.palette, &raster.samples, raster.bands)
    {
        let colour = |&i: &u8| palette.get(usize::from(i)).copied().unwrap_or([0; 3]);
        let data = indices.iter().flat_map(colour).collect();
        return Ok((
            Rgb8 {
                width_px,
                height_px,
                data,
            },
            notes,
        ));
    }
    let bands = choose(raster, options, &mut notes)?;
    if let (Samples::U8(bytes), Stretch::Auto) = (&raster.samples, options.stretch) {
        let data = bytes
            .chunks_exact(raster.bands)
            .flat_map(|pixel| bands.map(|b| pixel[b]))
            .collect();
        return Ok((
            Rgb8 {
                width_px,
                height_px,
                data,
            },
            notes,
        ));
    }

    let planes = planes(raster, bands);
    let measured = || planes.iter().flat_map(|p| p.iter().copied());
    let (low, high) = match options.stretch {
        Stretch::Range { low, high } => (low, high),
        Stretch::Auto => by_percentage(measured(), 2.0, 98.0, &raster.name)?,
        Stretch::Percentile { low, high } => by_percentage(measured(), low, high, &raster.name)?,
    };
    notes.push(format!(
        "{}: {} values from {low} to {high} were stretched to 8 bits",
        raster.name,
        raster.samples.type_name()
    ));
    let mut data = Vec::with_capacity(width_px * height_px * 3);
    for pixel in 0..width_px * height_px {
        for plane in [0, 1, 2] {
            // One plane stands for all three when the picture is grey.
            let plane = &planes[plane.min(planes.len() - 1)];
            data.push(stretch_byte(plane[pixel], low, high));
        }
    }
    Ok((
        Rgb8 {
            width_px,
            height_px,
            data,
        },
        notes,
    ))
}

fn choose(
    raster: &Raster,
    options: &OpticalOptions,
    notes: &mut Vec<String>,
) -> Result<[usize; 3], RasterError> {
    if let Some(bands) = options.bands {
        for band in bands {
            check_band(raster, band)?;
        }
        return Ok(bands);
    }
    let name = &raster.name;
    match raster.bands {
        0 => Err(RasterError::Empty { name: name.clone() }),
        1 => Ok([0; 3]),
        2 => {
            notes.push(format!("{name}: two bands; the first is shown as grey"));
            Ok([0; 3])
        }
        3 => Ok([0, 1, 2]),
        // Sentinel-2 with all bands (13), without B10 as in L2A (12), or without the 60 m bands' B10
        // and B09 (11): B01 comes first, so B04, B03, B02 are at 3, 2, 1.
        11..=13 => {
            notes.push(format!(
                "{name}: {} bands, taken as Sentinel-2 in band order: red B04, green B03, blue B02",
                raster.bands
            ));
            Ok([3, 2, 1])
        }
        // The ten bands of 10 m and 20 m start with B02.
        10 => {
            notes.push(format!(
                "{name}: 10 bands, taken as Sentinel-2's 10 m and 20 m bands in order: red B04, green B03, blue B02"
            ));
            Ok([2, 1, 0])
        }
        n => {
            notes.push(format!(
                "{name}: {n} bands; the first three are taken as red, green, blue"
            ));
            Ok([0, 1, 2])
        }
    }
}

pub(crate) fn check_band(raster: &Raster, band: usize) -> Result<(), RasterError> {
    if band < raster.bands {
        return Ok(());
    }
    Err(RasterError::NoSuchBand {
        name: raster.name.clone(),
        band,
        bands: raster.bands,
    })
}

/// The wanted bands as f32, one plane when all three are the same; NaN where nothing was measured.
fn planes(raster: &Raster, bands: [usize; 3]) -> Vec<Vec<f32>> {
    if bands[0] == bands[1] && bands[1] == bands[2] {
        return vec![raster.band_f32(bands[0], true)];
    }
    let mut planes = bands.map(|band| raster.band_f32(band, false));
    for pixel in 0..planes[0].len() {
        let values = [planes[0][pixel], planes[1][pixel], planes[2][pixel]];
        // Scene borders are filled with zero in every band; a single zero may be a dark measurement.
        let fill = values.iter().all(|&v| v == 0.0) || values.iter().any(|v| v.is_nan());
        if fill {
            for plane in &mut planes {
                plane[pixel] = f32::NAN;
            }
        }
    }
    planes.into()
}

fn by_percentage(
    values: impl Iterator<Item = f32> + Clone,
    low: f32,
    high: f32,
    name: &str,
) -> Result<(f32, f32), RasterError> {
    let ordered = (0.0..=100.0).contains(&low) && (0.0..=100.0).contains(&high) && low < high;
    if !ordered {
        return Err(RasterError::Argument(format!(
            "a stretch from {low} % to {high} % is not possible; give two percentages in rising order"
        )));
    }
    let [low, high] = percentiles(values, [f64::from(low) / 100.0, f64::from(high) / 100.0])
        .ok_or_else(|| RasterError::Empty {
            name: name.to_owned(),
        })?;
    // A picture of one value becomes mid-grey instead of black.
    Ok(if high > low {
        (low, high)
    } else {
        (low - 1.0, high + 1.0)
    })
}
