//! JPEG files, and JPEG data inside TIFF.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::limits::check_size;
use super::{exif, jpeg_restart};
use crate::{Raster, RasterError, Samples};

pub(super) fn decode(bytes: &[u8], name: &str) -> Result<Raster, RasterError> {
    let damaged = |what: &str| RasterError::Damaged {
        name: name.into(),
        format: "JPEG",
        what: what.into(),
    };
    // The decoder paints what is missing from a cut file grey. Within pixel data 0xFF is always
    // followed by 0 or a restart mark, so a whole file has an end mark after its last scan's start.
    let last = |mark: u8| bytes.windows(2).rposition(|pair| pair == [0xff, mark]);
    if last(0xd9) < last(0xda).or(Some(0)) {
        return Err(damaged("it ends early"));
    }
    if let Some(problem) = jpeg_restart::damage(bytes) {
        return Err(damaged(&problem));
    }
    let picture = decode_picture(bytes, Colours::Rgb, |width, height, components| {
        check_size(name, width, height, components, 1)
    })
    .map_err(|error| match error {
        Failure::Refused(error) => error,
        Failure::Damaged(what) => damaged(&what),
    })?;
    let raster = Raster::plain(
        name,
        [picture.width_px, picture.height_px],
        picture.components,
        Samples::U8(picture.data),
    );
    Ok(exif::apply(raster, picture.orientation))
}

/// What to do with the file's colours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    /// Grey stays one component, everything else becomes RGB.
    Rgb,
    /// Components as stored.
    AsStored,
}

/// Decoded components, interleaved: `[height_px, width_px, components]`.
pub(super) struct Picture {
    pub width_px: usize,
    pub height_px: usize,
    pub components: usize,
    pub data: Vec<u8>,
    /// As EXIF numbers it; 1 is upright.
    pub orientation: u8,
}

pub(super) enum Failure {
    /// `accept` said no.
    Refused(RasterError),
    Damaged(String),
}

/// Decodes, after `accept` has agreed to width, height and component count.
pub(super) fn decode_picture(
    bytes: &[u8],
    colours: Colours,
    accept: impl FnOnce(u64, u64, u64) -> Result<(), RasterError>,
) -> Result<Picture, Failure> {
    let damaged = |error: zune_jpeg::errors::DecodeErrors| Failure::Damaged(error.to_string());
    // The side limit of the decoder is left above ours: `check_size` gives the better message.
    let options = DecoderOptions::default()
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(damaged)?;
    let incomplete = || Failure::Damaged("no picture in it".into());
    let info = decoder.info().ok_or_else(incomplete)?;
    let stored = decoder.input_colorspace().ok_or_else(incomplete)?;
    accept(
        info.width.into(),
        info.height.into(),
        info.components.into(),
    )
    .map_err(Failure::Refused)?;
    let wanted = match (colours, stored) {
        (Colours::AsStored, _) | (_, ColorSpace::Luma) => stored,
        (Colours::Rgb, _) => ColorSpace::RGB,
    };
    decoder.set_options(options.jpeg_set_out_colorspace(wanted));
    let data = decoder.decode().map_err(damaged)?;
    let (width_px, height_px) = (usize::from(info.width), usize::from(info.height));
    let components = wanted.num_components();
    if data.len() != width_px * height_px * components {
        return Err(Failure::Damaged("fewer pixels than its header says".into()));
    }
    Ok(Picture {
        width_px,
        height_px,
        components,
        data,
        orientation: decoder.exif().map_or(1, |exif| exif::orientation(exif)),
    })
}
