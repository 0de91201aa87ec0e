//! Label maps and probabilities as cloud-optimised `GeoTIFF`s with colours, names and the place on
//! the ground.

use super::check::check;
use super::cog::{CogOptions, Overview, escape, write_cog};
use crate::label::NO_DATA_LABEL;
use crate::{GeoRef, RasterError};

/// One band of class numbers with a colour map, the class names as GDAL metadata of the band
/// (`CLASS_0`, `CLASS_1`, …), 255 declared as no-data where it is no class, and overviews that hold
/// the commonest class.
///
/// The transform and the `GeoKeys` of `geo` are written as they were read; a place without keys
/// gets those of its EPSG code.
///
/// # Errors
/// [`RasterError::Argument`] when `labels` does not hold `width_px * height_px` bytes, or there are
/// more than 256 names or colours.
pub fn label_geotiff(
    labels: &[u8],
    width_px: usize,
    height_px: usize,
    palette: &[[u8; 3]],
    names: &[String],
    geo: Option<&GeoRef>,
) -> Result<Vec<u8>, RasterError> {
    check(labels, width_px, height_px, palette.len().max(names.len()))?;
    let mut out = Vec::new();
    let options = label_options([width_px, height_px], palette, names, geo);
    write_cog(&mut out, &options, &mut |y, row| {
        row.copy_from_slice(&labels[y * width_px..(y + 1) * width_px]);
        Ok(())
    })
    .map_err(|error| failed(&error))?;
    Ok(out)
}

/// What a label map's file holds beside its pixels, for [`write_cog`].
#[must_use]
pub fn label_options<'a>(
    [width_px, height_px]: [usize; 2],
    palette: &'a [[u8; 3]],
    names: &[String],
    georef: Option<&'a GeoRef>,
) -> CogOptions<'a> {
    let items = names.iter().enumerate();
    CogOptions {
        width_px,
        height_px,
        bands: vec!["class".into()],
        palette: Some(palette),
        nodata: (names.len() <= usize::from(NO_DATA_LABEL)).then_some(NO_DATA_LABEL),
        items: items
            .map(|(i, name)| (format!("CLASS_{i}"), name.clone()))
            .collect(),
        georef,
        overview: Overview::Majority,
    }
}

/// Bands of 8 bits, pixel-interleaved `[height_px, width_px, bands]`: 0 to 254 for 0 to 1, and 255
/// where there is no data. Overviews hold means.
///
/// # Errors
/// [`RasterError::Argument`] when `values` does not fill the picture.
pub fn share_geotiff(
    values: &[u8],
    width_px: usize,
    height_px: usize,
    bands: &[String],
    geo: Option<&GeoRef>,
) -> Result<Vec<u8>, RasterError> {
    let row_bytes = width_px * bands.len();
    if row_bytes == 0 || values.len() != row_bytes * height_px {
        return Err(RasterError::Argument(format!(
            "{} values do not fill {width_px} x {height_px} px of {} bands",
            values.len(),
            bands.len()
        )));
    }
    let mut out = Vec::new();
    let options = share_options([width_px, height_px], bands, geo);
    write_cog(&mut out, &options, &mut |y, row| {
        row.copy_from_slice(&values[y * row_bytes..(y + 1) * row_bytes]);
        Ok(())
    })
    .map_err(|error| failed(&error))?;
    Ok(out)
}

/// What a file of shares holds beside its pixels, for [`write_cog`].
#[must_use]
pub fn share_options<'a>(
    [width_px, height_px]: [usize; 2],
    bands: &[String],
    georef: Option<&'a GeoRef>,
) -> CogOptions<'a> {
    CogOptions {
        width_px,
        height_px,
        bands: bands.to_vec(),
        palette: None,
        nodata: Some(NO_DATA_LABEL),
        items: Vec::new(),
        georef,
        overview: Overview::Mean,
    }
}

/// GDAL's side file of a label map (`NAME.tif.aux.xml`), the one place where GDAL keeps category
/// names of a `GeoTIFF`.
#[must_use]
pub fn category_names_xml(names: &[String]) -> String {
    let names: String = names
        .iter()
        .map(|name| format!("      <Category>{}</Category>\n", escape(name)))
        .collect();
    format!(
        "<PAMDataset>\n  <PAMRasterBand band=\"1\">\n    <CategoryNames>\n{names}    </CategoryNames>\n  </PAMRasterBand>\n</PAMDataset>\n"
    )
}

fn failed(error: &std::io::Error) -> RasterError {
    RasterError::Argument(format!("no GeoTIFF can be written: {error}"))
}
