//! Label maps read from files.

use crate::{RasterError, Samples, decode};

/// Label of pixels without data: no class has this number.
pub const NO_DATA_LABEL: u8 = 255;

/// A map of class numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// Columns.
    pub width_px: usize,
    /// Rows.
    pub height_px: usize,
    /// `[height_px, width_px]`: position in the class list; 255 means "ignored" where the file's
    /// owner says so.
    pub data: Vec<u8>,
}

/// Reads a label map: a palette PNG (indices, not colours) or any other single-band 8- or 16-bit
/// file that [`decode`] reads, with values up to 255.
///
/// # Errors
/// Those of [`decode`], and [`RasterError::Unsupported`] when the file holds something else than
/// labels.
pub fn read_label_png(bytes: &[u8], name: &str) -> Result<Labels, RasterError> {
    let raster = decode(bytes, name)?;
    let data = match raster.samples {
        Samples::U8(bytes) if raster.bands == 1 => Some(bytes),
        Samples::U16(words) if raster.bands == 1 => {
            words.into_iter().map(|w| u8::try_from(w).ok()).collect()
        }
        _ => None,
    };
    let data = data.ok_or_else(|| RasterError::Unsupported {
        name: name.to_owned(),
        what: "a label map of several bands or of values above 255".into(),
        advice: "save the class numbers as one band of 8 bits".into(),
    })?;
    Ok(Labels {
        width_px: raster.width_px,
        height_px: raster.height_px,
        data,
    })
}
