//! PNG files.

use std::io::Cursor;

use ::png::{BitDepth, ColorType, Decoder, Transformations};

use super::check_size;
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
    // Indices are data (label maps); everything else is widened to whole bytes.
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
    let size = reader
        .output_buffer_size()
        .ok_or_else(|| damaged("impossible size".into()))?;
    let mut buffer = vec![0; size];
    let frame = reader.next_frame(&mut buffer).map_err(failed)?;
    buffer.truncate(frame.buffer_size());

    let (width_px, height_px) = (frame.width as usize, frame.height as usize);
    let (stored, bands) = match frame.color_type {
        ColorType::Indexed | ColorType::Grayscale => (1, 1),
        ColorType::GrayscaleAlpha => (2, 1),
        ColorType::Rgb => (3, 3),
        ColorType::Rgba => (4, 3),
    };
    let samples = match frame.bit_depth {
        BitDepth::Sixteen => Samples::U16(
            buffer
                .as_chunks::<2>()
                .0
                .chunks_exact(stored)
                .flat_map(|pixel| pixel[..bands].iter().map(|&b| u16::from_be_bytes(b)))
                .collect(),
        ),
        BitDepth::Eight => Samples::U8(
            buffer
                .chunks_exact(stored)
                .flat_map(|p| &p[..bands])
                .copied()
                .collect(),
        ),
        depth => Samples::U8(super::codec::unpack_bits(
            &buffer,
            width_px * stored,
            depth as usize,
        )),
    };
    if samples.len() != width_px * height_px * bands {
        return Err(damaged("fewer pixels than its header says".into()));
    }
    Ok(Raster {
        name: name.into(),
        width_px,
        height_px,
        bands,
        samples,
        nodata: None,
        georef: None,
        palette: palette.filter(|_| indexed),
    })
}
