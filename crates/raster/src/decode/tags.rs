//! What the tags of a TIFF directory say beside the layout of its pixels.

use super::context::Context;
use super::directory::Directory;
use crate::{GeoKeys, RasterError};

/// Metadata beside the pixels.
pub(super) struct Tags {
    pub nodata: Option<f64>,
    pub colours: Option<Vec<u16>>,
    pub extra_samples: Vec<u64>,
    pub ink_set: u64,
    pub metadata: Option<String>,
    pub scale: Vec<f64>,
    pub tie_points: Vec<f64>,
    pub matrix: Vec<f64>,
    pub geo_keys: GeoKeys,
}

impl Tags {
    pub fn read(directory: &Directory, context: &Context<'_>) -> Result<Self, RasterError> {
        const COLOR_MAP: u16 = 320;
        const INK_SET: u16 = 332;
        const EXTRA_SAMPLES: u16 = 338;
        const PIXEL_SCALE: u16 = 33_550;
        const TIE_POINTS: u16 = 33_922;
        const MATRIX: u16 = 34_264;
        const GEO_KEY_DIRECTORY: u16 = 34_735;
        const GEO_DOUBLES: u16 = 34_736;
        const GEO_ASCII: u16 = 34_737;
        const GDAL_METADATA: u16 = 42_112;
        const GDAL_NODATA: u16 = 42_113;
        let words = |tag: u16| -> Result<Option<Vec<u16>>, RasterError> {
            let values = directory.numbers(context, tag)?;
            Ok(values.map(|values| values.into_iter().map(|v| v as u16).collect()))
        };
        // Names only: a damaged text is no reason to refuse the file.
        let text = |tag: u16| directory.text(context, tag).ok().flatten();
        let nodata = directory.text(context, GDAL_NODATA)?;
        Ok(Self {
            nodata: nodata.and_then(|text| number(&text)),
            colours: words(COLOR_MAP)?,
            extra_samples: directory
                .numbers(context, EXTRA_SAMPLES)?
                .unwrap_or_default(),
            ink_set: directory.number(context, INK_SET, 1)?,
            metadata: text(GDAL_METADATA),
            scale: directory.reals(context, PIXEL_SCALE)?,
            tie_points: directory.reals(context, TIE_POINTS)?,
            matrix: directory.reals(context, MATRIX)?,
            geo_keys: GeoKeys {
                directory: words(GEO_KEY_DIRECTORY)?.unwrap_or_default(),
                doubles: directory.reals(context, GEO_DOUBLES)?,
                ascii: text(GEO_ASCII).unwrap_or_default(),
            },
        })
    }
}

/// A number as GDAL and others write it, with a decimal comma too.
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    text.parse()
        .or_else(|_| text.replace(',', ".").parse())
        .ok()
}
