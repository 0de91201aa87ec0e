//! PNG files.

use std::io::Cursor;

use ::png::{BitDepth, ColorType, Decoder, Transformations};

use super::limits::check_size;
use super::{codec, exif};
use crate::{Raster, RasterError, Samples};

pub(super) fn decode(bytes: &[u8], name: &str) -> Result<Raster, RasterError> {
    let damaged = |what: String| RasterError::Damaged {
        name: name.into(),
        format: "PNG",
        what,
    };
    let failed = |error: ::png::DecodingError| damaged(error.to_string());

    let mut decoder = Decoder::new(Cursor::new(bytes));
    let header = decoder.read_header_info().map_err(failed)?;
    let indexed = header.color_type == ColorType::Indexed;
    let (width, height) = header.size();
    check_size(name, width.into(), height.into(), 4, 2)?;
    // Indices are data (label maps); everything else is widened to whole bytes, a colour key to
    // alpha.
    decoder.set_transformations(if indexed {
        Transformations::IDENTITY
    } else {
        Transformations::EXPAND
    });
    let mut reader = decoder.read_info().map_err(failed)?;
    let palette = reader
        .info()
        .palette
        .as_ref()
        .map(|p| p.as_chunks::<3>().0.to_vec());
    let opacity_of_colours = reader.info().trns.as_ref().map(|alpha| alpha.to_vec());
    let size = reader
        .output_buffer_size()
        .ok_or_else(|| damaged("impossible size".into()))?;
    let mut buffer = vec![0; size];
    let frame = reader.next_frame(&mut buffer).map_err(failed)?;
    buffer.truncate(frame.buffer_size());
    let orientation = reader
        .info()
        .exif_metadata
        .as_ref()
        .map_or(1, |exif| exif::orientation(exif));

    let (width_px, height_px) = (frame.width as usize, frame.height as usize);
    let (stored, bands) = match frame.color_type {
        ColorType::Indexed | ColorType::Grayscale => (1, 1),
        ColorType::GrayscaleAlpha => (2, 1),
        ColorType::Rgb => (3, 3),
        ColorType::Rgba => (4, 3),
    };
    let alpha = stored > bands;
    let mut mask: Option<Vec<u8>> = None;
    let samples = match frame.bit_depth {
        BitDepth::Sixteen => {
            let (words, _) = buffer.as_chunks::<2>();
            if alpha {
                let opaque = |pixel: &[[u8; 2]]| u8::from(pixel[bands] != [0, 0]) * 255;
                mask = Some(words.chunks_exact(stored).map(opaque).collect());
            }
            Samples::U16(
                words
                    .chunks_exact(stored)
                    .flat_map(|pixel| pixel[..bands].iter().map(|&b| u16::from_be_bytes(b)))
                    .collect(),
            )
        }
        BitDepth::Eight => {
            if alpha {
                mask = Some(buffer.chunks_exact(stored).map(|p| p[bands]).collect());
            }
            Samples::U8(
                buffer
                    .chunks_exact(stored)
                    .flat_map(|p| &p[..bands])
                    .copied()
                    .collect(),
            )
        }
        depth => Samples::U8(codec::unpack_bits(
            &buffer,
            width_px * stored,
            depth as usize,
        )),
    };
    if samples.len() != width_px * height_px * bands {
        return Err(damaged("fewer pixels than its header says".into()));
    }
    if let (true, Some(opacity), Samples::U8(indices)) = (indexed, &opacity_of_colours, &samples) {
        // Colours past the end of the list are opaque.
        let opaque = |&i: &u8| opacity.get(usize::from(i)).copied().unwrap_or(255);
        mask = Some(indices.iter().map(opaque).collect());
    }
    let raster = Raster {
        // A file that is transparent as a whole has its alpha wrong.
        mask: mask.filter(|mask| mask.contains(&0) && mask.iter().any(|&v| v != 0)),
        palette: palette.filter(|_| indexed),
        ..Raster::plain(name, [width_px, height_px], bands, samples)
    };
    Ok(exif::apply(raster, orientation))
}
