//! From an optical raster of any depth and band count to the 8-bit colours the model reads.

use serde::{Deserialize, Serialize};

use crate::raster::BandColour;
use crate::stats::{percentiles, stretch_byte};
use crate::validity::{self, Marker};
use crate::{Raster, RasterError, Rgb8, Samples, Tile};

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
    /// Bands for red, green and blue, 0-based. `None`: what the file's band names and colours say;
    /// else the only band as grey; bands 4, 3, 2 of a Sentinel-2 stack in band order (10 to 13
    /// bands); the first three of anything else.
    pub bands: Option<[usize; 3]>,
    /// From sample values to bytes.
    pub stretch: Stretch,
}

/// Makes the 8-bit picture `[height_px, width_px, 3]`, with notes that tell the user what was
/// chosen.
///
/// Palette files give their colours. Pixels without a measurement in any of the bands used become
/// black, do not take part in the stretch and are marked invalid.
///
/// # Errors
/// [`RasterError::NoSuchBand`], and [`RasterError::Empty`] when nothing was measured in data that
/// needs a stretch.
pub fn optical_to_rgb(
    raster: &Raster,
    options: &OpticalOptions,
) -> Result<(Tile, Vec<String>), RasterError> {
    let rule = OpticalRule::measure(raster, options)?;
    Ok((rule.apply(raster), rule.notes))
}

/// How an optical raster becomes a picture: measured once on a raster or a sample of it, and
/// applied to all of it or to a part.
#[derive(Clone, Debug)]
pub struct OpticalRule {
    bands: [usize; 3],
    marker: Option<Marker>,
    /// Physical values that become 0 and 255; `None` for bytes that stay as they are.
    range: Option<[f32; 2]>,
    /// What was chosen, for the user.
    pub notes: Vec<String>,
}

impl OpticalRule {
    /// Chooses bands and stretch.
    ///
    /// # Errors
    /// Those of [`optical_to_rgb`].
    pub fn measure(raster: &Raster, options: &OpticalOptions) -> Result<Self, RasterError> {
        let mut notes = raster.notes.clone();
        let bands = if raster.palette.is_some() {
            [0; 3]
        } else {
            choose(raster, options, &mut notes)?
        };
        let marker = Marker::find(raster, &bands, &mut notes);
        let mut rule = Self {
            bands,
            marker,
            range: None,
            notes,
        };
        let bytes = matches!(raster.samples, Samples::U8(_));
        if raster.palette.is_some() || (bytes && options.stretch == Stretch::Auto) {
            return Ok(rule);
        }
        let valid = validity::mask(raster, &bands, rule.marker);
        let planes = rule.planes(raster);
        let area = raster.width_px * raster.height_px;
        let kept = |pixel: usize| valid.as_ref().is_none_or(|valid| valid[pixel]);
        let measured = || {
            planes.iter().flat_map(|plane| {
                (0..area)
                    .filter(|&pixel| kept(pixel))
                    .map(|pixel| plane[pixel])
            })
        };
        let (low, high) = match options.stretch {
            Stretch::Range { low, high } => (low, high),
            Stretch::Auto => by_percentage(measured(), 2.0, 98.0, &raster.name)?,
            Stretch::Percentile { low, high } => {
                by_percentage(measured(), low, high, &raster.name)?
            }
        };
        rule.range = Some([low, high]);
        rule.notes.push(format!(
            "{}: {} values from {low} to {high} were stretched to 8 bits",
            raster.name,
            raster.samples.type_name()
        ));
        Ok(rule)
    }

    /// The picture of a raster with the bands of the one measured.
    #[must_use]
    pub fn apply(&self, raster: &Raster) -> Tile {
        let (width_px, height_px) = (raster.width_px, raster.height_px);
        let valid = validity::mask(raster, &self.bands, self.marker);
        let mut data = match (&raster.palette, &raster.samples, self.range) {
            (Some(palette), samples, _) => palette_colours(palette, samples, raster.bands),
            (None, Samples::U8(bytes), None) => bytes
                .chunks_exact(raster.bands)
                .flat_map(|pixel| self.bands.map(|b| widen(pixel[b], raster.bits)))
                .collect(),
            (None, _, range) => {
                let [low, high] = range.unwrap_or([0.0, 255.0]);
                let planes = self.planes(raster);
                // One plane stands for all three when the picture is grey.
                let plane = |c: usize| &planes[c.min(planes.len() - 1)];
                (0..width_px * height_px)
                    .flat_map(|pixel| [0, 1, 2].map(|c| stretch_byte(plane(c)[pixel], low, high)))
                    .collect()
            }
        };
        validity::blacken(&mut data, valid.as_deref());
        Tile {
            picture: Rgb8 {
                width_px,
                height_px,
                data,
            },
            valid,
        }
    }

    /// The bands used as physical values, one plane when all three are the same.
    fn planes(&self, raster: &Raster) -> Vec<Vec<f32>> {
        let [r, g, b] = self.bands;
        if r == g && g == b {
            return vec![raster.band_values(r)];
        }
        self.bands.map(|band| raster.band_values(band)).into()
    }
}

/// Colours of palette indices.
pub(crate) fn palette_colours(palette: &[[u8; 3]], samples: &Samples, bands: usize) -> Vec<u8> {
    let colour = |index: usize| palette.get(index).copied().unwrap_or([0; 3]);
    (0..samples.len() / bands)
        .flat_map(|pixel| colour(samples.get(pixel * bands) as usize))
        .collect()
}

/// A value of up to 8 bits on the scale of 8 bits.
pub(crate) fn widen(value: u8, bits: usize) -> u8 {
    if bits >= 8 {
        return value;
    }
    let most = (1_u32 << bits) - 1;
    ((u32::from(value).min(most) * 255 + most / 2) / most) as u8
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
    let data = raster.data_bands();
    if let Some(bands) = by_name(raster, &data) {
        if bands != [0, 1, 2] {
            let number = bands.map(|band| band + 1);
            notes.push(format!(
                "{name}: by their names, bands {}, {} and {} are red, green and blue",
                number[0], number[1], number[2]
            ));
        }
        return Ok(bands);
    }
    match *data.as_slice() {
        [] => Err(RasterError::Empty { name: name.clone() }),
        [only] => Ok([only; 3]),
        [first, _] => {
            notes.push(format!("{name}: two bands; the first is shown as grey"));
            Ok([first; 3])
        }
        [r, g, b] => Ok([r, g, b]),
        // Sentinel-2 with all bands (13), without B10 as in L2A (12), or without the 60 m bands'
        // B10 and B09 (11): B01 comes first, so B04, B03, B02 are at 3, 2, 1.
        [_, b, g, r, ..] if (11..=13).contains(&data.len()) => {
            notes.push(format!(
                "{name}: {} bands, taken as Sentinel-2 in band order: red B04, green B03, blue B02",
                data.len()
            ));
            Ok([r, g, b])
        }
        // The ten bands of 10 m and 20 m start with B02.
        [b, g, r, ..] if data.len() == 10 => {
            notes.push(format!(
                "{name}: 10 bands, taken as Sentinel-2's 10 m and 20 m bands in order: red B04, green B03, blue B02"
            ));
            Ok([r, g, b])
        }
        [r, g, b, ..] => {
            notes.push(format!(
                "{name}: {} bands; the first three are taken as red, green, blue",
                data.len()
            ));
            Ok([r, g, b])
        }
    }
}

/// Red, green and blue as the file's band names or colours say; `None` when one of them is not
/// named.
fn by_name(raster: &Raster, data: &[usize]) -> Option<[usize; 3]> {
    let named = |colour: BandColour, names: [&str; 3]| {
        let by = |test: &dyn Fn(usize) -> bool| data.iter().copied().find(|&band| test(band));
        let name_of = |band: usize| {
            let name = raster.info(band).name.unwrap_or_default();
            name.trim().to_ascii_lowercase()
        };
        by(&|band| names.contains(&name_of(band).as_str()))
            .or_else(|| by(&|band| raster.info(band).colour == Some(colour)))
    };
    // Sentinel-2 and Landsat 8 call their red, green and blue bands the same.
    Some([
        named(BandColour::Red, ["b4", "b04", "red"])?,
        named(BandColour::Green, ["b3", "b03", "green"])?,
        named(BandColour::Blue, ["b2", "b02", "blue"])?,
    ])
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
