//! Label maps and pictures as PNG.

use super::check::check;
use crate::{RasterError, Rgb8};

/// An 8-bit palette PNG whose indices are the labels `[h, w]`.
///
/// Labels past the end of the palette (such as 255 for "ignored") are drawn black.
///
/// # Errors
/// [`RasterError::Argument`] when `labels` does not hold `width_px * height_px` bytes, or the
/// palette more than 256 colours.
pub fn indexed_png(
    labels: &[u8],
    width_px: usize,
    height_px: usize,
    palette: &[[u8; 3]],
) -> Result<Vec<u8>, RasterError> {
    check(labels, width_px, height_px, palette.len())?;
    let highest = labels.iter().max().map_or(0, |&l| usize::from(l));
    let mut colours = palette.to_vec();
    colours.resize(palette.len().max(highest + 1), [0; 3]);
    write_png(
        width_px,
        height_px,
        labels,
        png::ColorType::Indexed,
        Some(colours.concat()),
    )
}

/// An 8-bit RGB PNG of the labels `[h, w]` in their colours; labels past the end of the palette are
/// black.
///
/// # Errors
/// Those of [`indexed_png`].
pub fn colour_png(
    labels: &[u8],
    width_px: usize,
    height_px: usize,
    palette: &[[u8; 3]],
) -> Result<Vec<u8>, RasterError> {
    check(labels, width_px, height_px, palette.len())?;
    let data = labels
        .iter()
        .flat_map(|&label| palette.get(usize::from(label)).copied().unwrap_or_default())
        .collect();
    write_rgb_png(&Rgb8 {
        width_px,
        height_px,
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
