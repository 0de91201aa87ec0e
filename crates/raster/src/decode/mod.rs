//! From the bytes of a file to a [`Raster`]; the format is told by content, never by file name.

mod codec;
mod context;
mod directory;
mod exif;
mod gdal_metadata;
mod geo_tags;
mod jpeg;
mod jpeg_restart;
mod layout;
mod limits;
#[cfg(not(target_arch = "wasm32"))]
mod pictures;
mod png;
mod source;
mod tags;
mod tiff;

use std::io;

pub use source::ByteSource;

use crate::raster::MAX_DECODED_BYTES;
use crate::{Raster, RasterError};

/// A file that is open for reading in parts. A TIFF is read strip by strip or tile by tile; a PNG
/// or JPEG, whose pixels can only be read in order, is decoded once as a whole.
pub struct RasterFile<'a> {
    content: Content<'a>,
}

enum Content<'a> {
    Tiff(Box<tiff::Tiff<'a>>),
    Whole(Box<Raster>),
}

impl<'a> RasterFile<'a> {
    /// Reads the header of a PNG, a JPEG or a (Geo)TIFF.
    ///
    /// # Errors
    /// Those of [`decode`], but for a TIFF those of its pixels, and it may have any size.
    pub fn open(source: Box<dyn ByteSource + 'a>, name: &str) -> Result<Self, RasterError> {
        let damaged = |error: io::Error| RasterError::Damaged {
            name: name.to_owned(),
            format: "file",
            what: error.to_string(),
        };
        let mut head = [0; 4];
        let head_bytes = source.len().min(4) as usize;
        source
            .read_at(0, &mut head[..head_bytes])
            .map_err(damaged)?;
        if matches!(head, [b'I', b'I', 42 | 43, 0] | [b'M', b'M', 0, 42 | 43]) {
            let tiff = tiff::Tiff::open(source, name)?;
            return Ok(Self {
                content: Content::Tiff(Box::new(tiff)),
            });
        }
        if source.len() > MAX_DECODED_BYTES {
            return Err(RasterError::UnknownFormat {
                name: name.to_owned(),
            });
        }
        let mut bytes = vec![0; source.len() as usize];
        source.read_at(0, &mut bytes).map_err(damaged)?;
        Ok(Self {
            content: Content::Whole(Box::new(decode(&bytes, name)?)),
        })
    }

    /// Columns and rows.
    #[must_use]
    pub fn size_px(&self) -> [usize; 2] {
        match &self.content {
            Content::Tiff(tiff) => tiff.size_px(),
            Content::Whole(raster) => [raster.width_px, raster.height_px],
        }
    }

    /// Reads the part of `size` pixels (columns, rows) whose top-left corner is at `at`; its place
    /// on the ground is that of the part.
    ///
    /// # Errors
    /// [`RasterError::Argument`] when the part does not lie in the raster,
    /// [`RasterError::TooLarge`], and those of the strips or tiles that it touches.
    pub fn read(&self, at: [usize; 2], size: [usize; 2]) -> Result<Raster, RasterError> {
        let whole = self.size_px();
        let inside = |axis: usize| {
            at[axis]
                .checked_add(size[axis])
                .is_some_and(|end| size[axis] > 0 && end <= whole[axis])
        };
        if !inside(0) || !inside(1) {
            return Err(RasterError::Argument(format!(
                "a part of {} x {} px at {}, {} does not lie in a raster of {} x {} px",
                size[0], size[1], at[0], at[1], whole[0], whole[1]
            )));
        }
        match &self.content {
            Content::Tiff(tiff) => tiff.read(at, size),
            Content::Whole(raster) => Ok(cut(raster, at, size)),
        }
    }
}

/// A part of a decoded raster.
fn cut(raster: &Raster, at: [usize; 2], size: [usize; 2]) -> Raster {
    let pixels: Vec<usize> = (at[1]..at[1] + size[1])
        .flat_map(|y| (at[0]..at[0] + size[0]).map(move |x| y * raster.width_px + x))
        .collect();
    let samples: Vec<usize> = pixels
        .iter()
        .flat_map(|&pixel| (0..raster.bands).map(move |band| pixel * raster.bands + band))
        .collect();
    Raster {
        name: raster.name.clone(),
        width_px: size[0],
        height_px: size[1],
        samples: raster.samples.permuted(&samples),
        mask: raster
            .mask
            .as_ref()
            .map(|mask| pixels.iter().map(|&pixel| mask[pixel]).collect()),
        georef: raster
            .georef
            .as_ref()
            .map(|georef| georef.shifted(at[0] as f64, at[1] as f64)),
        band_info: raster.band_info.clone(),
        palette: raster.palette.clone(),
        notes: raster.notes.clone(),
        ..*raster
    }
}

/// Decodes a PNG, a JPEG or a (Geo)TIFF.
///
/// - PNG: all kinds; palette files give indices and a palette; alpha and a colour key give the
///   mask; an orientation in its EXIF data is applied.
/// - JPEG: grey, or anything else as RGB; orientation as for PNG. A scan with lost restart markers
///   is refused.
/// - TIFF, classic or `BigTIFF`, either byte order, strips or tiles, chunky or planar, any band
///   count: the first full-resolution image. Further pages of its size and type with one band each
///   are further bands; overviews are passed over; an internal mask and alpha give the mask.
///   Unsigned integers of 1 to 32 bits, other integers of 8, 16, 32 and 64 bits (the last as
///   floats), floats of 16, 32 and 64 bits; uncompressed, deflate, LZW, `PackBits`, Zstandard,
///   JPEG, LERC, `WebP`; predictors 2 and 3; either bit order; grey (also with white as zero), RGB,
///   palettes, CMYK; place from tie points and scale, a matrix or control points, reference system
///   from the `GeoKeys`; no-data, band names, scale and offset from GDAL's tags. Tiles left out of
///   a sparse file hold no-data, or zero.
///
/// At most [`crate::MAX_SIDE_PX`] a side and [`MAX_DECODED_BYTES`] decoded. `name` is used in
/// messages only.
///
/// # Errors
/// [`RasterError::UnknownFormat`], [`RasterError::Damaged`], [`RasterError::TooLarge`], and
/// [`RasterError::Unsupported`] for what valid files may hold besides: complex samples, mixed
/// sample types, CIELab and logarithmic colours, `YCbCr` outside JPEG, and LZMA, JPEG 2000, fax and
/// old-style JPEG compression.
pub fn decode(bytes: &[u8], name: &str) -> Result<Raster, RasterError> {
    let raster = match bytes {
        [0x89, b'P', b'N', b'G', ..] => png::decode(bytes, name)?,
        [0xff, 0xd8, 0xff, ..] => jpeg::decode(bytes, name)?,
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => {
            let tiff = tiff::Tiff::open(Box::new(bytes), name)?;
            tiff.check_whole()?;
            tiff.read([0, 0], tiff.size_px())?
        }
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
