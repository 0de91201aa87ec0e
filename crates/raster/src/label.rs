//! Class colours, and label maps read from files.

use crate::{RasterError, Samples, decode};

/// Okabe and Ito's colours for all kinds of colour vision ("Color Universal Design", 2008), without
/// black, followed by Paul Tol's "muted" scheme: distinct under deuteranopia and protanopia.
/// Ordered so that the first classes of a land-cover list differ most.
const COLOURS: [[u8; 3]; 16] = [
    [0, 114, 178],
    [0, 158, 115],
    [213, 94, 0],
    [240, 228, 66],
    [204, 121, 167],
    [86, 180, 233],
    [230, 159, 0],
    [136, 34, 85],
    [221, 221, 221],
    [51, 34, 136],
    [153, 153, 51],
    [136, 204, 238],
    [17, 119, 51],
    [204, 102, 119],
    [68, 170, 153],
    [170, 68, 153],
];

/// Label of pixels without data: no class has this number.
pub const NO_DATA_LABEL: u8 = 255;

/// A map of class numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// Columns.
    pub width_px: usize,
    /// Rows.
    pub height_px: usize,
    /// `[height_px, width_px]`: position in the class list; 255 means "ignored" where the file's owner says so.
    pub data: Vec<u8>,
}

/// `n` colours to draw classes with: the first 16 are told apart by all kinds of colour vision; from
/// there on the same hues return lighter and darker, since no more hues can be told apart.
#[must_use]
pub fn default_palette(n: usize) -> Vec<[u8; 3]> {
    (0..n)
        .map(|i| {
            let colour = COLOURS[i % COLOURS.len()];
            let round = i / COLOURS.len();
            // Odd rounds mix with white, even ones with black, each time further.
            let share = (40 + 25 * (round as u32 / 2)).min(85) * u32::from(round > 0);
            let towards = if round % 2 == 1 { 255 } else { 0 };
            colour.map(|c| ((u32::from(c) * (100 - share) + towards * share) / 100) as u8)
        })
        .collect()
}

/// Reads a label map: a palette PNG (indices, not colours) or any other single-band 8- or 16-bit file
/// that [`decode`] reads, with values up to 255.
///
/// # Errors
/// Those of [`decode`], and [`RasterError::Unsupported`] when the file holds something else than labels.
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
