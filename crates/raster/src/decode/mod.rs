//! From the bytes of a file to a [`Raster`]; the format is told by content, never by file name.

mod codec;
mod jpeg;
mod png;
mod tiff;

use crate::raster::{MAX_DECODED_BYTES, MAX_SIDE_PX};
use crate::{Raster, RasterError};

/// Decodes a PNG, a JPEG or a (Geo)TIFF.
///
/// - PNG: all kinds; palette files give indices and a palette, alpha is dropped.
/// - JPEG: grey, or anything else as RGB.
/// - TIFF, classic or `BigTIFF`, either byte order, strips or tiles, chunky or planar, any band count: the
///   first full-resolution image (overviews and masks are passed over); 1-, 2-, 4-, 8-, 16-, 32-bit
///   integers, 16-, 32- and 64-bit floats; uncompressed, deflate, LZW, `PackBits`, Zstandard, JPEG;
///   predictors 2 and 3; palettes; place from tie points and scale or a matrix, EPSG code from the
///   `GeoKeys`, no-data from GDAL's tag. Tiles left out of a sparse file hold no-data, or zero.
///
/// At most [`MAX_SIDE_PX`] a side and [`MAX_DECODED_BYTES`] decoded. `name` is used in messages only.
///
/// # Errors
/// [`RasterError::UnknownFormat`], [`RasterError::Damaged`], [`RasterError::TooLarge`], and
/// [`RasterError::Unsupported`] for what valid files may hold besides: complex samples, 64-bit
/// integers, mixed sample types, chroma-subsampled data outside JPEG, and LERC, LZMA, `WebP`, JPEG 2000,
/// fax and old-style JPEG compression.
pub fn decode(bytes: &[u8], name: &str) -> Result<Raster, RasterError> {
    let raster = match bytes {
        [0x89, b'P', b'N', b'G', ..] => png::decode(bytes, name)?,
        [0xff, 0xd8, 0xff, ..] => jpeg::decode(bytes, name)?,
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => tiff::decode(bytes, name)?,
        _ => {
            return Err(RasterError::UnknownFormat {
                name: name.to_owned(),
            });
        }
    };
    debug_assert_eq!(
        raster.samples.len(),
        raster.width_px * raster.height_px * raster.bands
    );
    Ok(raster)
}

/// Refuses what would not fit into memory, before anything is allocated.
fn check_size(
    name: &str,
    width_px: u64,
    height_px: u64,
    bands: u64,
    sample_bytes: u64,
) -> Result<(), RasterError> {
    let side = MAX_SIDE_PX as u64;
    // Sides first: then the product cannot overflow, bands being at most 65 535.
    if width_px > side
        || height_px > side
        || width_px * height_px * bands * sample_bytes > MAX_DECODED_BYTES
    {
        return Err(RasterError::TooLarge {
            name: name.to_owned(),
            width_px,
            height_px,
            bands,
        });
    }
    Ok(())
}
