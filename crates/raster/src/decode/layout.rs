//! How the pixels of one TIFF directory lie in the file, and reading them strip by strip or tile by
//! tile.

use super::codec::{self, Compression};
use super::context::Context;
use super::directory::Directory;
use super::jpeg::{Colours, Failure, decode_picture};
#[cfg(not(target_arch = "wasm32"))]
use super::pictures::{Shape, unpack_lerc, unpack_webp};
use crate::raster::MAX_DECODED_BYTES;
use crate::{RasterError, Samples};

pub(super) const WHITE_IS_ZERO: u16 = 0;
pub(super) const RGB: u16 = 2;
pub(super) const PALETTE: u16 = 3;
pub(super) const SEPARATED: u16 = 5;
pub(super) const YCBCR: u16 = 6;

/// Sample types of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Unsigned,
    Signed,
    Float,
}

/// What a strip or tile holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Codec {
    /// Samples as bytes.
    Bytes(Compression),
    Jpeg,
    /// LERC, compressed once more.
    #[cfg(not(target_arch = "wasm32"))]
    Lerc(Compression),
    #[cfg(not(target_arch = "wasm32"))]
    WebP,
}

/// How the pixels lie in the file.
pub(super) struct Layout {
    pub width: usize,
    pub height: usize,
    pub bands: usize,
    pub bits: usize,
    pub kind: Kind,
    pub photometric: u16,
    planar: bool,
    chunk_width: usize,
    chunk_height: usize,
    tiled: bool,
    big_endian: bool,
    predictor: u16,
    /// Least significant bit first.
    bits_reversed: bool,
    codec: Codec,
    jpeg_tables: Vec<u8>,
    /// Offset and size of each strip or tile, as the file says.
    chunks: Vec<(u64, u64)>,
    /// All offsets in rising order, for chunks whose size is missing or wrong.
    offsets: Vec<u64>,
}

impl Layout {
    /// Reads what a directory says of its pixels.
    pub fn read(directory: &Directory, context: &Context<'_>) -> Result<Self, RasterError> {
        let big_endian = directory.format.big_endian;
        let number = |tag: u16, default: u64| directory.number(context, tag, default);
        let list = |tag: u16| directory.numbers(context, tag);
        // Numbers of tags: TIFF 6.0, appendix A.
        let (width, height) = (number(256, 0)?, number(257, 0)?);
        let bands = number(277, 1)?;
        let photometric = number(262, 1)?;
        let planar = number(284, 1)? == 2;
        let compression = number(259, 1)?;
        let predictor = match compression {
            // Only these codecs have predictors (TIFF 6.0, section 14). Elsewhere the tag means
            // nothing, as in libtiff.
            5 | 8 | 32_946 | 50_000 => number(317, 1)?,
            _ => 1,
        };
        let fill_order = number(266, 1)?;
        let rows_per_strip = number(278, u64::MAX)?;
        let (tile_width, tile_height) = (number(322, 0)?, number(323, 0)?);
        let all_bits = list(258)?.unwrap_or_else(|| vec![1]);
        let formats = list(339)?.unwrap_or_else(|| vec![1]);
        // Some writers put the offsets of tiles into the tags of strips.
        let tiled = tile_width > 0 && tile_height > 0;
        let (strips, strip_sizes) = (list(273)?, list(279)?);
        let (offsets, sizes) = match list(324)? {
            Some(tiles) if tiled => (Some(tiles), list(325)?),
            _ => (strips, strip_sizes),
        };
        let jpeg_tables = directory.bytes(context, 347)?;

        let codec = match compression {
            1 => Codec::Bytes(Compression::None),
            5 => Codec::Bytes(Compression::Lzw),
            8 | 32_946 => Codec::Bytes(Compression::Deflate),
            32_773 => Codec::Bytes(Compression::PackBits),
            50_000 => Codec::Bytes(Compression::Zstandard),
            7 => Codec::Jpeg,
            // Version and second compression (Esri, "LERC in TIFF").
            #[cfg(not(target_arch = "wasm32"))]
            34_887 => match list(50_674)?.as_deref() {
                None | Some([_] | [_, 0, ..]) => Codec::Lerc(Compression::None),
                Some([_, 1, ..]) => Codec::Lerc(Compression::Deflate),
                Some([_, 2, ..]) => Codec::Lerc(Compression::Zstandard),
                Some(_) => return Err(context.damaged("an unknown variant of LERC")),
            },
            #[cfg(not(target_arch = "wasm32"))]
            50_001 => Codec::WebP,
            other => {
                let what = match other {
                    2..=4 => "fax compression".to_owned(),
                    6 => "old-style JPEG compression".to_owned(),
                    34_712 | 33_003..=33_005 => "JPEG 2000 compression".to_owned(),
                    34_925 => "LZMA compression".to_owned(),
                    // Left out of the page, whose engine has a budget.
                    34_887 => "LERC compression, which the command alone reads".to_owned(),
                    50_001 => "WebP compression, which the command alone reads".to_owned(),
                    50_002 => "JPEG XL compression".to_owned(),
                    n => format!("TIFF compression number {n}"),
                };
                return Err(context.unsupported(
                    what,
                    "rewrite it with deflate, for example gdal_translate -co COMPRESS=DEFLATE",
                ));
            }
        };
        let one = |values: &[u64], what: &str| match values {
            [first, rest @ ..] if rest.iter().all(|v| v == first) => Ok(*first),
            _ => Err(context.unsupported(
                format!("a TIFF whose bands differ in {what}"),
                "export the bands with one data type",
            )),
        };
        let bits = one(&all_bits, "bits per sample")?;
        let kind = match (one(&formats, "sample format")?, bits) {
            // Of 24 bits GDAL stores the highest byte first in little-endian files, as of all odd
            // depths, but last in big-endian ones, where TIFF says first.
            (1 | 4, 1..=32 | 64) if bits != 24 || !big_endian => Kind::Unsigned,
            (2, 8 | 16 | 32 | 64) => Kind::Signed,
            (3, 16 | 32 | 64) => Kind::Float,
            (5 | 6, _) => {
                return Err(context.unsupported(
                    "complex data (a single-look complex SAR product)",
                    "detect it first: export amplitude, intensity or decibel as float32",
                ));
            }
            (1 | 2 | 4, n) => {
                return Err(
                    context.unsupported(format!("{n}-bit integers"), "export it as float32")
                );
            }
            (3, n) => {
                return Err(context.unsupported(format!("{n}-bit floats"), "export it as float32"));
            }
            (n, _) => {
                return Err(
                    context.unsupported(format!("TIFF sample format {n}"), "export it as float32")
                );
            }
        };
        let unusual = |what: &str| {
            Err(context.unsupported(
                what,
                "rewrite it, for example gdal_translate -co COMPRESS=DEFLATE",
            ))
        };
        match (predictor, kind, bits) {
            (1, ..)
            | (2, Kind::Unsigned | Kind::Signed, 8 | 16 | 32 | 64)
            | (2 | 3, Kind::Float, _) => {}
            _ => return unusual("this combination of TIFF predictor and data type"),
        }
        let colours = match photometric {
            6 if codec != Codec::Jpeg => "YCbCr colour outside JPEG",
            8..=10 => "CIELab colour",
            32_844 | 32_845 => "logarithmic colour (LogL or LogLuv)",
            32_803 => "raw sensor data with a colour filter pattern",
            _ => "",
        };
        if !colours.is_empty() {
            return Err(context.unsupported(
                colours,
                "convert it to RGB or grey, for example gdal_translate -of PNG",
            ));
        }
        let eight_bits = bits == 8 && kind == Kind::Unsigned;
        match codec {
            Codec::Jpeg if !planar && !matches!(bands, 1 | 3 | 4) => {
                return unusual(&format!("JPEG compression of {bands} bands together"));
            }
            Codec::Jpeg if !eight_bits => {
                return unusual("JPEG compression of other than 8-bit data");
            }
            #[cfg(not(target_arch = "wasm32"))]
            Codec::WebP if !eight_bits || planar || !matches!(bands, 3 | 4) => {
                return unusual("WebP compression of other than three or four bands of 8 bits");
            }
            #[cfg(not(target_arch = "wasm32"))]
            Codec::Lerc(_) if !matches!(bits, 8 | 16 | 32) && (kind, bits) != (Kind::Float, 64) => {
                return unusual("LERC compression of this data type");
            }
            _ => {}
        }

        let impossible = |_| context.damaged("impossible strip or tile size");
        let bands = usize::try_from(bands).map_err(impossible)?;
        // Sides are of 32 bits in every TIFF; 2²⁰ leaves sums of positions far from overflow on
        // wasm.
        if width == 0 || height == 0 || bands == 0 || bands > usize::from(u16::MAX) {
            return Err(context.damaged("a picture without pixels"));
        }
        if width.max(height) > 1 << 20 {
            return Err(RasterError::TooLarge {
                name: context.name.into(),
                width_px: width,
                height_px: height,
                bands: bands as u64,
            });
        }
        let (width, height) = (width as usize, height as usize);
        let (chunk_width, chunk_height) = if tiled {
            let [w, h] = [tile_width, tile_height].map(usize::try_from);
            (w.map_err(impossible)?, h.map_err(impossible)?)
        } else {
            (
                width,
                usize::try_from(rows_per_strip)
                    .unwrap_or(height)
                    .min(height),
            )
        };
        let in_chunk = if planar { 1 } else { bands };
        let chunk_bytes = (chunk_width as u64)
            .checked_mul(chunk_height as u64)
            .and_then(|n| n.checked_mul(in_chunk as u64 * bits.div_ceil(8).next_power_of_two()))
            .unwrap_or(u64::MAX);
        if chunk_bytes == 0 || chunk_bytes > MAX_DECODED_BYTES {
            return Err(context.damaged("impossible strip or tile size"));
        }
        let planes = if planar { bands } else { 1 };
        let expected = width.div_ceil(chunk_width) * height.div_ceil(chunk_height) * planes;
        let Some(offsets) = offsets else {
            return Err(context.damaged("no strips and no tiles"));
        };
        if offsets.len() < expected {
            return Err(context.damaged(format!(
                "{} strips or tiles instead of {expected}",
                offsets.len()
            )));
        }
        // Without a table of sizes, or with one that is too short, sizes follow from the offsets.
        let sizes = sizes.unwrap_or_default();
        let sizes = sizes.into_iter().map(Some).chain(std::iter::repeat(None));
        let chunks: Vec<(u64, u64)> = offsets
            .iter()
            .zip(sizes)
            .take(expected)
            .map(|(&offset, size)| (offset, size.unwrap_or(0)))
            .collect();
        let mut offsets: Vec<u64> = chunks.iter().map(|&(offset, _)| offset).collect();
        offsets.sort_unstable();
        Ok(Self {
            width,
            height,
            bands,
            bits: bits as usize,
            kind,
            photometric: photometric as u16,
            planar,
            chunk_width,
            chunk_height,
            tiled,
            big_endian,
            predictor: predictor as u16,
            bits_reversed: fill_order == 2 && matches!(codec, Codec::Bytes(_)),
            codec,
            jpeg_tables,
            chunks,
            offsets,
        })
    }

    /// Bytes of a decoded sample.
    pub fn sample_bytes(&self) -> u64 {
        match (self.kind, self.bits) {
            (Kind::Float, 16) => 4,
            (_, 64) => 8,
            (_, bits) => codec::whole_bytes(bits) as u64,
        }
    }

    /// The samples of a part; `nodata` fills what a sparse file leaves out.
    pub fn samples(
        &self,
        context: &Context<'_>,
        at: [usize; 2],
        size: [usize; 2],
        nodata: Option<f64>,
    ) -> Result<Samples, RasterError> {
        let fill = nodata.unwrap_or(0.0);
        let part = Part {
            layout: self,
            context,
            at,
            size,
        };
        Ok(match (self.kind, self.bits) {
            (Kind::Unsigned, ..=8) => Samples::U8(part.gather(fill as u8, |b: [u8; 1]| b[0])?),
            (Kind::Unsigned, ..=16) => Samples::U16(part.gather(fill as u16, u16::from_le_bytes)?),
            (Kind::Unsigned, 64) => {
                Samples::F64(part.gather(fill, |b| u64::from_le_bytes(b) as f64)?)
            }
            (Kind::Unsigned, _) => Samples::U32(part.gather(fill as u32, u32::from_le_bytes)?),
            (Kind::Signed, 8) => Samples::I8(part.gather(fill as i8, i8::from_le_bytes)?),
            (Kind::Signed, 16) => Samples::I16(part.gather(fill as i16, i16::from_le_bytes)?),
            (Kind::Signed, 64) => {
                Samples::F64(part.gather(fill, |b| i64::from_le_bytes(b) as f64)?)
            }
            (Kind::Signed, _) => Samples::I32(part.gather(fill as i32, i32::from_le_bytes)?),
            (Kind::Float, 16) => {
                Samples::F32(part.gather(fill as f32, |b| half::f16::from_le_bytes(b).to_f32())?)
            }
            (Kind::Float, 32) => Samples::F32(part.gather(fill as f32, f32::from_le_bytes)?),
            (Kind::Float, _) => Samples::F64(part.gather(fill, f64::from_le_bytes)?),
        })
    }

    /// One chunk of `rows` rows as little-endian samples of whole bytes.
    fn chunk(
        &self,
        context: &Context<'_>,
        index: usize,
        rows: usize,
    ) -> Result<Option<Vec<u8>>, RasterError> {
        let (offset, size) = self.chunks[index];
        if offset == 0 || (size == 0 && self.is_sparse(index)) {
            // GDAL leaves empty tiles out of sparse files.
            return Ok(None);
        }
        let gap = self.gap(context, offset);
        let needed = self.needed(rows);
        let size = match self.codec {
            // Of plain bytes as many are read as are needed, whatever the table says.
            Codec::Bytes(Compression::None) => {
                needed.min(context.source.len().saturating_sub(offset))
            }
            _ if size == 0 || size > context.source.len().saturating_sub(offset) => gap,
            _ => size,
        };
        match self.unpack(context, offset, size, rows) {
            // A size that is too small: all bytes up to the next chunk are tried.
            Err(_) if matches!(self.codec, Codec::Bytes(_)) && gap > size => {
                self.unpack(context, offset, gap, rows)
            }
            other => other,
        }
        .map(Some)
    }

    /// Whether a chunk of size 0 is left out on purpose: others of the file have a size.
    fn is_sparse(&self, index: usize) -> bool {
        let offset = self.chunks[index].0;
        self.chunks.iter().any(|&(_, size)| size > 0)
            && self
                .offsets
                .iter()
                .filter(|&&other| other == offset)
                .count()
                > 1
    }

    /// Bytes from an offset to the next chunk, or to the end of the file.
    fn gap(&self, context: &Context<'_>, offset: u64) -> u64 {
        let next = self.offsets.partition_point(|&other| other <= offset);
        let end = self.offsets.get(next).copied().unwrap_or(u64::MAX);
        end.min(context.source.len()).saturating_sub(offset)
    }

    /// Bytes of `rows` unpacked rows as the file holds them.
    fn needed(&self, rows: usize) -> u64 {
        let in_chunk = if self.planar { 1 } else { self.bands };
        ((self.chunk_width * in_chunk * self.bits).div_ceil(8) * rows) as u64
    }

    fn unpack(
        &self,
        context: &Context<'_>,
        offset: u64,
        size: u64,
        rows: usize,
    ) -> Result<Vec<u8>, RasterError> {
        let mut packed = context.bytes(offset, size)?;
        let in_chunk = if self.planar { 1 } else { self.bands };
        let row_samples = self.chunk_width * in_chunk;
        #[cfg(not(target_arch = "wasm32"))]
        let shape = Shape {
            width: self.chunk_width,
            rows,
            samples: in_chunk,
            bytes: self.bits / 8,
        };
        let compression = match self.codec {
            Codec::Bytes(compression) => compression,
            Codec::Jpeg => return self.unpack_jpeg(context, &packed, in_chunk, rows),
            #[cfg(not(target_arch = "wasm32"))]
            Codec::Lerc(compression) => {
                return codec::decompress_at_most(compression, &packed, shape.lerc_bytes())
                    .and_then(|blob| unpack_lerc(&blob, &shape))
                    .map_err(|what| context.damaged(what));
            }
            #[cfg(not(target_arch = "wasm32"))]
            Codec::WebP => {
                return unpack_webp(&packed, &shape).map_err(|what| context.damaged(what));
            }
        };
        if self.bits_reversed {
            for byte in &mut packed {
                *byte = byte.reverse_bits();
            }
        }
        let row_bytes = (row_samples * self.bits).div_ceil(8);
        let ends_early = offset.saturating_add(size) >= context.source.len();
        let mut data =
            codec::decompress(compression, &packed, row_bytes * rows).map_err(|what| {
                context.damaged(if ends_early {
                    format!("it ends early: {what}")
                } else {
                    what
                })
            })?;
        // 24 bits too: GDAL writes them in the order of bits, not of bytes.
        if !matches!(self.bits, 8 | 16 | 32 | 64) {
            return Ok(codec::unpack_bits(&data, row_samples, self.bits));
        }
        let bytes = self.bits / 8;
        if self.predictor == 3 {
            codec::undo_float_differences(&mut data, row_bytes, in_chunk, bytes);
            return Ok(data);
        }
        if self.big_endian {
            codec::swap_bytes(&mut data, bytes);
        }
        if self.predictor == 2 {
            codec::undo_differences(&mut data, row_bytes, in_chunk, bytes);
        }
        Ok(data)
    }

    fn unpack_jpeg(
        &self,
        context: &Context<'_>,
        packed: &[u8],
        in_chunk: usize,
        rows: usize,
    ) -> Result<Vec<u8>, RasterError> {
        // The tables are a JPEG of their own: its end mark and the chunk's start mark are taken
        // out.
        let joined;
        let whole = match (self.jpeg_tables.as_slice(), packed) {
            ([tables @ .., _, _], [_, _, rest @ ..]) => {
                joined = [tables, rest].concat();
                &joined
            }
            _ => packed,
        };
        let colours = if self.photometric == YCBCR {
            Colours::Rgb
        } else {
            Colours::AsStored
        };
        let (wide, high) = (self.chunk_width as u64, rows as u64);
        let unfit = || context.damaged("a JPEG strip or tile of another size than the file's");
        let picture = decode_picture(whole, colours, |w, h, components| {
            // Encoders may pad the last strip to a full one.
            let fits = w == wide && h >= high && h <= self.chunk_height as u64;
            if fits && components == in_chunk as u64 {
                Ok(())
            } else {
                Err(unfit())
            }
        })
        .map_err(|error| match error {
            Failure::Refused(error) => error,
            Failure::Damaged(what) => context.damaged(what),
        })?;
        if picture.components != in_chunk
            || picture.width_px != self.chunk_width
            || picture.height_px < rows
        {
            return Err(unfit());
        }
        Ok(picture.data)
    }
}

/// A part of a picture to be read.
struct Part<'a> {
    layout: &'a Layout,
    context: &'a Context<'a>,
    /// Top-left pixel.
    at: [usize; 2],
    size: [usize; 2],
}

impl Part<'_> {
    /// Unpacks every chunk that the part touches and puts its samples in their places,
    /// pixel-interleaved.
    fn gather<T: Copy, const N: usize>(
        &self,
        fill: T,
        read: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>, RasterError> {
        let layout = self.layout;
        let ([left, top], [width, height]) = (self.at, self.size);
        let mut out = vec![fill; width * height * layout.bands];
        let across = layout.width.div_ceil(layout.chunk_width);
        let per_plane = across * layout.height.div_ceil(layout.chunk_height);
        let in_chunk = if layout.planar { 1 } else { layout.bands };
        let columns = left / layout.chunk_width..(left + width).div_ceil(layout.chunk_width);
        let rows = top / layout.chunk_height..(top + height).div_ceil(layout.chunk_height);
        for plane in 0..layout.bands / in_chunk {
            for row in rows.clone() {
                for column in columns.clone() {
                    let index = plane * per_plane + row * across + column;
                    let (x0, y0) = (column * layout.chunk_width, row * layout.chunk_height);
                    let stored = if layout.tiled {
                        layout.chunk_height
                    } else {
                        layout.chunk_height.min(layout.height - y0)
                    };
                    let Some(data) = layout.chunk(self.context, index, stored)? else {
                        continue;
                    };
                    let (values, _) = data.as_chunks::<N>();
                    let lines = values.chunks_exact(layout.chunk_width * in_chunk);
                    let (from, to) = (
                        x0.max(left),
                        (x0 + layout.chunk_width)
                            .min(left + width)
                            .min(layout.width),
                    );
                    for (line, y) in lines.zip(y0..(y0 + stored).min(top + height)) {
                        if y < top {
                            continue;
                        }
                        let start = ((y - top) * width + from - left) * layout.bands;
                        let line = &line[(from - x0) * in_chunk..(to - x0) * in_chunk];
                        if in_chunk == layout.bands {
                            let out = &mut out[start..start + line.len()];
                            for (out, &value) in out.iter_mut().zip(line) {
                                *out = read(value);
                            }
                        } else {
                            let out = out[start + plane..].iter_mut().step_by(layout.bands);
                            for (out, &value) in out.zip(line) {
                                *out = read(value);
                            }
                        }
                    }
                }
            }
        }
        Ok(out)
    }
}
