//! From a SAR raster (decibel, linear power or amplitude, or ready-made bytes) to the 8-bit picture
//! the model reads.

use serde::{Deserialize, Serialize};

use crate::optical::{check_band, palette_colours, widen};
use crate::stats::{percentiles, stretch_byte};
use crate::validity::{self, Marker};
use crate::{Raster, RasterError, Rgb8, Samples, Tile};

/// What the samples of a SAR raster measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SarScale {
    /// 8-bit data as it is; otherwise decibel when values below zero are common, else linear.
    #[default]
    Auto,
    /// Linear: integers as amplitude (the digital numbers of a GRD product), floats as power (sigma
    /// or gamma nought); taken to decibel before the stretch.
    Linear,
    /// Already decibel.
    Decibel,
    /// Already a picture: bytes stay, anything else is only scaled to bytes from its least to its
    /// greatest value.
    AsIs,
}

/// What to show of a SAR raster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SarOptions {
    /// The band to use, 0-based. `None`: the one named VH; else the only one; of two (VV, VH) the
    /// second; of three or more 8-bit bands the first three as they are, of other data the first.
    pub polarisation: Option<usize>,
    /// From sample values to bytes.
    pub scale: SarScale,
}

/// Percentages of the decibel values that become 0 and 255: those of [`crate::robust_sar`], so that
/// its stretch finds nothing left to do.
pub(crate) const STRETCH: [f64; 2] = [0.01, 0.99];

/// Least span that the stretch widens to 0..=255, in decibel: the speckle of even ground alone
/// spans about 10 in a Sentinel-1 GRD tile; anything below is filtered, and not to become noise
/// again.
pub(crate) const LEAST_SPAN_DB: f32 = 8.0;

/// Widens a range about its middle to at least `least`.
pub(crate) fn at_least(low: f32, high: f32, least: f32) -> (f32, f32) {
    let missing = (least - (high - low)).max(0.0) / 2.0;
    (low - missing, high + missing)
}

/// Values below zero are common in a decibel tile; in a linear one only noise removal leaves a few.
const DECIBEL_SHARE: f64 = 0.02;

/// Makes the 8-bit picture `[height_px, width_px, 3]` (three equal channels when one band is used),
/// with notes that tell the user what was chosen.
///
/// Palette files give their colours. Pixels without a measurement become black, do not take part in
/// the stretch and are marked invalid; so do single zeros, and zero or less in linear data, which
/// are black but valid.
///
/// # Errors
/// [`RasterError::NoSuchBand`], and [`RasterError::Empty`] when nothing was measured in data that
/// needs a stretch.
pub fn sar_to_rgb(
    raster: &Raster,
    options: &SarOptions,
) -> Result<(Tile, Vec<String>), RasterError> {
    let rule = SarRule::measure(raster, options)?;
    Ok((rule.apply(raster), rule.notes))
}

/// How a SAR raster becomes a picture: measured once on a raster or a sample of it, and applied to
/// all of it or to a part.
#[derive(Clone, Debug)]
pub struct SarRule {
    /// One band, or three as they are.
    bands: Vec<usize>,
    marker: Option<Marker>,
    stretch: Option<SarStretch>,
    /// What was chosen, for the user.
    pub notes: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
struct SarStretch {
    scale: SarScale,
    /// Decibel for a value ten times as large.
    per_decade_db: f32,
    low: f32,
    high: f32,
}

impl SarRule {
    /// Chooses band, scale and stretch.
    ///
    /// # Errors
    /// Those of [`sar_to_rgb`].
    pub fn measure(raster: &Raster, options: &SarOptions) -> Result<Self, RasterError> {
        let mut notes = raster.notes.clone();
        let name = &raster.name;
        let untouched = matches!(options.scale, SarScale::Auto | SarScale::AsIs);
        let bytes = matches!(raster.samples, Samples::U8(_));
        let data = raster.data_bands();
        let bands = if raster.palette.is_some() {
            vec![0]
        } else if bytes && untouched && options.polarisation.is_none() && data.len() >= 3 {
            data[..3].to_vec()
        } else {
            vec![choose(raster, options, &data, &mut notes)?]
        };
        let marker = Marker::find(raster, &bands, &mut notes);
        let mut rule = Self {
            bands,
            marker,
            stretch: None,
            notes,
        };
        let scaled = raster.info(rule.bands[0]).is_scaled();
        if raster.palette.is_some() || (bytes && untouched && !scaled) {
            return Ok(rule);
        }
        let valid = validity::mask(raster, &rule.bands, rule.marker);
        let mut values = raster.band_values(rule.bands[0]);
        for (pixel, value) in values.iter_mut().enumerate() {
            let kept = valid.as_ref().is_none_or(|valid| valid[pixel]);
            // Single zeros are no measurement either, but no hole in the tile.
            let zero = raster.samples.get(pixel * raster.bands + rule.bands[0]) == 0.0;
            if !kept || (zero && !scaled) {
                *value = f32::NAN;
            }
        }
        let measured = values.iter().filter(|v| v.is_finite()).count();
        let negative = values.iter().filter(|v| **v < 0.0).count();
        let scale = match options.scale {
            SarScale::Auto if negative as f64 > DECIBEL_SHARE * measured as f64 => {
                SarScale::Decibel
            }
            SarScale::Auto => SarScale::Linear,
            chosen => chosen,
        };
        let amplitude = !scaled && !matches!(raster.samples, Samples::F32(_) | Samples::F64(_));
        let mut stretch = SarStretch {
            scale,
            per_decade_db: if amplitude { 20.0 } else { 10.0 },
            low: 0.0,
            high: 0.0,
        };
        let what = match (scale, amplitude) {
            (SarScale::Linear, true) => "linear amplitude, taken to decibel",
            (SarScale::Linear, false) => "linear power, taken to decibel",
            (SarScale::Decibel, _) => "decibel",
            (SarScale::AsIs | SarScale::Auto, _) => "as it is",
        };
        for value in &mut values {
            *value = stretch.value(*value);
        }
        // A picture of one value becomes mid-grey instead of black.
        let (range, least) = if scale == SarScale::AsIs {
            ([0.0, 1.0], f32::EPSILON)
        } else {
            (STRETCH, LEAST_SPAN_DB)
        };
        let [low, high] = percentiles(values.iter().copied(), range)
            .ok_or_else(|| RasterError::Empty { name: name.clone() })?;
        (stretch.low, stretch.high) = at_least(low, high, least);
        rule.notes.push(format!(
            "{name}: {} SAR values read as {what}; {:.2} to {:.2} were stretched to 8 bits",
            raster.samples.type_name(),
            stretch.low,
            stretch.high
        ));
        rule.stretch = Some(stretch);
        Ok(rule)
    }

    /// The picture of a raster with the bands of the one measured.
    #[must_use]
    pub fn apply(&self, raster: &Raster) -> Tile {
        let (width_px, height_px) = (raster.width_px, raster.height_px);
        let valid = validity::mask(raster, &self.bands, self.marker);
        let grey = |values: Vec<u8>| values.into_iter().flat_map(|v| [v, v, v]).collect();
        let mut data: Vec<u8> = match (&raster.palette, &raster.samples, self.stretch) {
            (Some(palette), samples, _) => palette_colours(palette, samples, raster.bands),
            (None, Samples::U8(bytes), None) => bytes
                .chunks_exact(raster.bands)
                .flat_map(|pixel| {
                    let at = |c: usize| self.bands.get(c).or(self.bands.first());
                    [0, 1, 2].map(|c| at(c).map_or(0, |&band| widen(pixel[band], raster.bits)))
                })
                .collect(),
            (None, _, stretch) => {
                let values = raster.band_values(self.bands[0]);
                let byte = |value: f32| {
                    stretch.map_or(0, |stretch| {
                        stretch_byte(stretch.value(value), stretch.low, stretch.high)
                    })
                };
                let scaled = raster.info(self.bands[0]).is_scaled();
                let bytes = values.into_iter().map(|value| {
                    if value == 0.0 && !scaled {
                        0
                    } else {
                        byte(value)
                    }
                });
                grey(bytes.collect())
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
}

impl SarStretch {
    /// A physical value on the scale that is stretched; NaN where it has none.
    fn value(&self, value: f32) -> f32 {
        match self.scale {
            SarScale::Linear if value > 0.0 => self.per_decade_db * libm::log10f(value),
            SarScale::Linear => f32::NAN,
            _ => value,
        }
    }
}

fn choose(
    raster: &Raster,
    options: &SarOptions,
    data: &[usize],
    notes: &mut Vec<String>,
) -> Result<usize, RasterError> {
    if let Some(band) = options.polarisation {
        check_band(raster, band)?;
        return Ok(band);
    }
    let name = &raster.name;
    let vh = data.iter().copied().find(|&band| {
        let name = raster.info(band).name.unwrap_or_default();
        name.to_ascii_lowercase()
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| word == "vh")
    });
    match (data, vh) {
        ([], _) => Err(RasterError::Empty { name: name.clone() }),
        (&[only], _) => Ok(only),
        (_, Some(band)) => {
            notes.push(format!("{name}: band {}, named VH, is used", band + 1));
            Ok(band)
        }
        (&[_, second], None) => {
            notes.push(format!(
                "{name}: two bands, taken as VV and VH; VH (the second) is used"
            ));
            Ok(second)
        }
        (&[first, ..], None) => {
            notes.push(format!("{name}: {} bands; the first is used", data.len()));
            Ok(first)
        }
    }
}
