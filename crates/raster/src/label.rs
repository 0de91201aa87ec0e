//! Class colours, and pictures written to and label maps read from PNG.

use crate::{RasterError, Rgb8, Samples, decode};

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

/// Writes an 8-bit palette PNG whose indices are the labels `[h, w]`.
///
/// Labels past the end of the palette (such as 255 for "ignored") are drawn black.
///
/// # Errors
/// [`RasterError::Argument`] when `labels` does not hold `w * h` bytes, or the palette more than 256 colours.
pub fn write_label_png(
    labels: &[u8],
    w: usize,
    h: usize,
    palette: &[[u8; 3]],
) -> Result<Vec<u8>, RasterError> {
    if labels.len() != w * h || palette.len() > 256 {
        return Err(RasterError::Argument(format!(
            "{} labels and {} colours do not make a {w} x {h} px label map of at most 256 classes",
            labels.len(),
            palette.len()
        )));
    }
    let highest = labels.iter().max().map_or(0, |&l| usize::from(l));
    let mut colours = palette.to_vec();
    colours.resize(palette.len().max(highest + 1), [0; 3]);
    write_png(
        w,
        h,
        labels,
        png::ColorType::Indexed,
        Some(colours.concat()),
    )
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

/// Writes an 8-bit RGB PNG.
///
/// # Errors
/// [`RasterError::Argument`] for a picture without pixels.
pub fn write_rgb_png(picture: &Rgb8) -> Result<Vec<u8>, RasterError> {
    write_png(
        picture.width_px,
        picture.height_px,
        &picture.data,
        png::ColorType::Rgb,
        None,
    )
}

fn write_png(
    width_px: usize,
    height_px: usize,
    data: &[u8],
    colour: png::ColorType,
    palette: Option<Vec<u8>>,
) -> Result<Vec<u8>, RasterError> {
    let impossible = |what: String| {
        RasterError::Argument(format!(
            "no PNG of {width_px} x {height_px} px can be written: {what}"
        ))
    };
    let side = |px: usize| u32::try_from(px).map_err(|e| impossible(e.to_string()));
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, side(width_px)?, side(height_px)?);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    if let Some(palette) = palette {
        encoder.set_palette(palette);
    }
    let write = |e: png::EncodingError| impossible(e.to_string());
    let mut writer = encoder.write_header().map_err(write)?;
    writer.write_image_data(data).map_err(write)?;
    writer.finish().map_err(write)?;
    Ok(out)
}
