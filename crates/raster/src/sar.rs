//! From a SAR raster (decibel, linear power or amplitude, or ready-made bytes) to the 8-bit picture
//! the model reads.

use serde::{Deserialize, Serialize};

use crate::optical::check_band;
use crate::stats::{percentiles, stretch_byte};
use crate::{Raster, RasterError, Rgb8, Samples};

/// What the samples of a SAR raster measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SarScale {
    /// 8-bit data as it is; otherwise decibel when values below zero are common, else linear.
    #[default]
    Auto,
    /// Linear: integers as amplitude (the digital numbers of a GRD product), floats as power (sigma or
    /// gamma nought); taken to decibel before the stretch.
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
    /// The band to use, 0-based. `None`: the only one; of two (VV, VH) the second; of three or more
    /// 8-bit bands the first three as they are (docs/network.md §3.1), of other data the first.
    pub polarisation: Option<usize>,
    /// From sample values to bytes.
    pub scale: SarScale,
}

/// Percentages of the decibel values that become 0 and 255: those of [`crate::robust_sar`], so that
/// its stretch finds nothing left to do.
pub(crate) const STRETCH: [f64; 2] = [0.01, 0.99];

/// Least span that the stretch widens to 0..=255, in decibel: the speckle of even ground alone spans
/// about 10 in a Sentinel-1 GRD tile; anything below is filtered, and not to become noise again.
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
/// Pixels without a measurement (no-data, NaN, infinities, zero fill, and zero or less in linear data)
/// become black and do not take part in the stretch.
///
/// # Errors
/// [`RasterError::NoSuchBand`], and [`RasterError::Empty`] when nothing was measured in data that
/// needs a stretch.
pub fn sar_to_rgb(
    raster: &Raster,
    options: &SarOptions,
) -> Result<(Rgb8, Vec<String>), RasterError> {
    let mut notes = Vec::new();
    let name = &raster.name;
    let (width_px, height_px) = (raster.width_px, raster.height_px);
    let untouched = matches!(options.scale, SarScale::Auto | SarScale::AsIs);
    if let (Samples::U8(bytes), true) = (&raster.samples, untouched) {
        if options.polarisation.is_none() && raster.bands >= 3 {
            let data = bytes
                .chunks_exact(raster.bands)
                .flat_map(|p| [p[0], p[1], p[2]])
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
        let band = choose(raster, options, &mut notes)?;
        let grey: Vec<u8> = bytes
            .iter()
            .skip(band)
            .step_by(raster.bands)
            .copied()
            .collect();
        return Ok((Rgb8::from_grey(width_px, height_px, &grey), notes));
    }

    let band = choose(raster, options, &mut notes)?;
    let mut values = raster.band_f32(band, true);
    let empty = || RasterError::Empty { name: name.clone() };
    let measured = values.iter().filter(|v| v.is_finite()).count();
    let negative = values.iter().filter(|v| **v < 0.0).count();
    let scale = match options.scale {
        SarScale::Auto if negative as f64 > DECIBEL_SHARE * measured as f64 => SarScale::Decibel,
        SarScale::Auto => SarScale::Linear,
        chosen => chosen,
    };
    let what = match scale {
        SarScale::Linear => {
            let (factor, what) = match raster.samples {
                Samples::F32(_) | Samples::F64(_) => (10.0, "linear power, taken to decibel"),
                _ => (20.0, "linear amplitude, taken to decibel"),
            };
            for value in &mut values {
                *value = if *value > 0.0 {
                    factor * libm::log10f(*value)
                } else {
                    f32::NAN
                };
            }
            what
        }
        SarScale::Decibel => "decibel",
        SarScale::AsIs | SarScale::Auto => "as it is",
    };
    let range = if scale == SarScale::AsIs {
        [0.0, 1.0]
    } else {
        STRETCH
    };
    let [low, high] = percentiles(values.iter().copied(), range).ok_or_else(empty)?;
    // A picture of one value becomes mid-grey instead of black.
    let least = if scale == SarScale::AsIs {
        f32::EPSILON
    } else {
        LEAST_SPAN_DB
    };
    let (low, high) = at_least(low, high, least);
    notes.push(format!(
        "{name}: {} SAR values read as {what}; {low:.2} to {high:.2} were stretched to 8 bits",
        raster.samples.type_name()
    ));
    let grey: Vec<u8> = values.iter().map(|&v| stretch_byte(v, low, high)).collect();
    Ok((Rgb8::from_grey(width_px, height_px, &grey), notes))
}

fn choose(
    raster: &Raster,
    options: &SarOptions,
    notes: &mut Vec<String>,
) -> Result<usize, RasterError> {
    if let Some(band) = options.polarisation {
        check_band(raster, band)?;
        return Ok(band);
    }
    let name = &raster.name;
    match raster.bands {
        0 => Err(RasterError::Empty { name: name.clone() }),
        1 => Ok(0),
        2 => {
            notes.push(format!(
                "{name}: two bands, taken as VV and VH; VH (the second) is used"
            ));
            Ok(1)
        }
        n => {
            notes.push(format!("{name}: {n} bands; the first is used"));
            Ok(0)
        }
    }
}
