//! LERC and `WebP`, the codecs whose strips and tiles are pictures of their own beside JPEG.

use std::io::Cursor;

use image_webp::WebPDecoder;
use lerc_core::PixelData;

/// What a strip or tile must hold.
pub(super) struct Shape {
    pub width: usize,
    pub rows: usize,
    /// Samples of a pixel in it.
    pub samples: usize,
    /// Bytes of a sample.
    pub bytes: usize,
}

impl Shape {
    fn samples_in_all(&self) -> usize {
        self.width * self.rows * self.samples
    }

    /// Most bytes of a LERC picture before its second compression: samples as they are, a mask, and
    /// a header for each band.
    pub fn lerc_bytes(&self) -> usize {
        self.samples_in_all() * self.bytes * 2 + 1024 * (self.samples + 1)
    }
}

/// Little-endian, pixel-interleaved samples of one LERC strip or tile. Floats that its mask leaves
/// out are NaN, as in libtiff; an alpha that libtiff moved into the mask is put back.
pub(super) fn unpack_lerc(packed: &[u8], shape: &Shape) -> Result<Vec<u8>, String> {
    let unfit = || "a LERC strip or tile of another size than the file's".to_owned();
    let bands = lerc_bands(packed, shape).ok_or_else(unfit)?;
    let decoded = lerc_reader::decode_band_set(packed).map_err(|error| error.to_string())?;
    let area = shape.width * shape.rows;
    let (_, pictures, masks) = decoded.into_parts();
    let mut out = vec![0; shape.samples_in_all() * shape.bytes];
    let mut first = 0;
    for (picture, mask) in pictures.iter().zip(&masks) {
        let depth = picture.len() / area;
        if first + depth > shape.samples {
            return Err(unfit());
        }
        let invalid = |pixel: usize| mask.as_ref().is_some_and(|mask| mask[pixel] == 0);
        macro_rules! place {
            ($values:expr, $type:ty, $empty:expr) => {{
                if size_of::<$type>() != shape.bytes {
                    return Err("LERC samples of another type than the file's".into());
                }
                for (pixel, values) in $values.chunks_exact(depth).enumerate() {
                    let empty: Option<$type> = if invalid(pixel) { $empty } else { None };
                    for (band, &value) in values.iter().enumerate() {
                        let at = (pixel * shape.samples + first + band) * shape.bytes;
                        let value = empty.unwrap_or(value);
                        out[at..at + shape.bytes].copy_from_slice(&value.to_le_bytes());
                    }
                }
            }};
        }
        match picture {
            PixelData::U8(values) => place!(values, u8, None),
            PixelData::I8(values) => place!(values, i8, None),
            PixelData::U16(values) => place!(values, u16, None),
            PixelData::I16(values) => place!(values, i16, None),
            PixelData::U32(values) => place!(values, u32, None),
            PixelData::I32(values) => place!(values, i32, None),
            PixelData::F32(values) => place!(values, f32, Some(f32::NAN)),
            PixelData::F64(values) => place!(values, f64, Some(f64::NAN)),
        }
        first += depth;
    }
    if bands == 1 && shape.bytes == 1 && first + 1 == shape.samples {
        for pixel in 0..area {
            let masked = masks[0].as_ref().is_some_and(|mask| mask[pixel] == 0);
            out[pixel * shape.samples + first] = if masked { 0 } else { 255 };
        }
        first += 1;
    }
    if first == shape.samples {
        Ok(out)
    } else {
        Err(unfit())
    }
}

/// Number of LERC pictures one behind the other, after their headers were checked: a header decides
/// how much memory decoding takes.
fn lerc_bands(packed: &[u8], shape: &Shape) -> Option<usize> {
    let mut rest = packed;
    let mut bands = 0;
    while !rest.is_empty() && bands < shape.samples {
        let number = |at: usize| {
            let bytes = rest.get(at..)?.first_chunk::<4>()?;
            usize::try_from(i32::from_le_bytes(*bytes)).ok()
        };
        // "Lerc2 ", version, a checksum from version 3 on, rows, columns, samples of a pixel from
        // version 4 on, valid pixels, size of micro-blocks, bytes of the picture.
        let version = number(6).filter(|version| (2..=6).contains(version))?;
        let size = if version >= 3 { 14 } else { 10 };
        let (depth, length) = if version >= 4 {
            (number(size + 8)?, number(size + 20)?)
        } else {
            (1, number(size + 16)?)
        };
        let fits = rest.starts_with(b"Lerc2 ")
            && number(size) == Some(shape.rows)
            && number(size + 4) == Some(shape.width)
            && (1..=shape.samples).contains(&depth);
        if !fits {
            return None;
        }
        rest = rest.get(length.max(1)..)?;
        bands += 1;
    }
    (rest.is_empty() && bands > 0).then_some(bands)
}

/// Interleaved samples of one `WebP` strip or tile of three or four bands.
pub(super) fn unpack_webp(packed: &[u8], shape: &Shape) -> Result<Vec<u8>, String> {
    let mut decoder = WebPDecoder::new(Cursor::new(packed)).map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions();
    if (width as usize, height as usize) != (shape.width, shape.rows) || decoder.is_animated() {
        return Err("a WebP strip or tile of another size than the file's".into());
    }
    let stored = if decoder.has_alpha() { 4 } else { 3 };
    let mut pixels = vec![0; shape.width * shape.rows * stored];
    decoder
        .read_image(&mut pixels)
        .map_err(|error| error.to_string())?;
    if stored == shape.samples {
        return Ok(pixels);
    }
    // An alpha that is opaque everywhere is left out by encoders.
    Ok(pixels
        .chunks_exact(stored)
        .flat_map(|pixel| (0..shape.samples).map(|band| pixel.get(band).copied().unwrap_or(255)))
        .collect())
}
