//! (Geo)TIFF. The `tiff` crate reads the directory; strips and tiles are unpacked here, because that
//! crate refuses palettes and Zstandard without C code, and drops the bands past the colours.

use std::io::Cursor;

use ::tiff::decoder::ifd::Value;
use ::tiff::decoder::{Decoder, Limits};
use ::tiff::tags::{ByteOrder, Tag};
use ::tiff::{TiffError, TiffResult};

use super::check_size;
use super::codec::{self, Compression};
use super::jpeg::{Colours, Failure, decode_picture};
use crate::raster::MAX_DECODED_BYTES;
use crate::{GeoKeys, GeoRef, Raster, RasterError, Samples};

/// Most bytes of one tag: chunk offsets of 10 000 strips in many planes fit, nonsense does not.
const MAX_TAG_BYTES: usize = 16 << 20;

/// Most directories passed over in search of a full-resolution image.
const MAX_DIRECTORIES: usize = 64;

pub(super) fn decode(bytes: &[u8], name: &str) -> Result<Raster, RasterError> {
    let file = File { bytes, name };
    let failed = |error: TiffError| file.failed(&error);
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(failed)?;
    let mut limits = Limits::default();
    limits.ifd_value_size = MAX_TAG_BYTES;
    decoder = decoder.with_limits(limits);

    // Bit 0: an overview; bit 2: a transparency mask (TIFF 6.0, NewSubfileType).
    for _ in 0..MAX_DIRECTORIES {
        let kind: u32 = decoder
            .find_tag_unsigned(Tag::NewSubfileType)
            .map_err(failed)?
            .unwrap_or(0);
        if kind & 0b101 == 0 || !decoder.more_images() {
            break;
        }
        decoder.next_image().map_err(failed)?;
    }

    let layout = Layout::read(&mut decoder, &file)?;
    let tags = Tags::read(&mut decoder).map_err(failed)?;
    let samples = layout.samples(&file, tags.nodata)?;
    let georef = georef(&tags);
    let palette = tags
        .colours
        .filter(|_| layout.photometric == PALETTE)
        .map(|map| {
            // Three planes of 16-bit values.
            let n = map.len() / 3;
            (0..n)
                .map(|i| [0, 1, 2].map(|c| (map[c * n + i] >> 8) as u8))
                .collect()
        });
    Ok(Raster {
        name: name.into(),
        width_px: layout.width,
        height_px: layout.height,
        bands: layout.bands,
        samples,
        nodata: tags.nodata,
        georef,
        palette,
    })
}

const PALETTE: u16 = 3;
const YCBCR: u16 = 6;

struct File<'a> {
    bytes: &'a [u8],
    name: &'a str,
}

impl File<'_> {
    fn damaged(&self, what: impl Into<String>) -> RasterError {
        RasterError::Damaged {
            name: self.name.into(),
            format: "TIFF",
            what: what.into(),
        }
    }

    fn unsupported(&self, what: impl Into<String>, advice: &str) -> RasterError {
        RasterError::Unsupported {
            name: self.name.into(),
            what: what.into(),
            advice: advice.into(),
        }
    }

    fn failed(&self, error: &TiffError) -> RasterError {
        match error {
            TiffError::UnsupportedError(what) => self.unsupported(
                format!("this kind of TIFF ({what})"),
                "export it as a plain GeoTIFF",
            ),
            TiffError::IoError(_) => self.damaged("it ends early"),
            other => self.damaged(other.to_string()),
        }
    }
}

/// Sample types of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unsigned,
    Signed,
    Float,
}

/// How the pixels lie in the file.
struct Layout {
    width: usize,
    height: usize,
    bands: usize,
    bits: usize,
    kind: Kind,
    photometric: u16,
    planar: bool,
    chunk_width: usize,
    chunk_height: usize,
    tiled: bool,
    big_endian: bool,
    predictor: u16,
    /// `None` for JPEG.
    compression: Option<Compression>,
    jpeg_tables: Vec<u8>,
    /// Offset and size of each strip or tile.
    chunks: Vec<(u64, u64)>,
}

impl Layout {
    fn read(decoder: &mut Decoder<Cursor<&[u8]>>, file: &File) -> Result<Self, RasterError> {
        let failed = |error: TiffError| file.failed(&error);
        let big_endian = decoder.byte_order() == ByteOrder::BigEndian;
        let (width, height) = decoder.dimensions().map_err(failed)?;
        let mut number = |tag: Tag, default: u64| -> Result<u64, RasterError> {
            Ok(decoder
                .find_tag_unsigned(tag)
                .map_err(failed)?
                .unwrap_or(default))
        };
        let bands = number(Tag::SamplesPerPixel, 1)?;
        let photometric = number(Tag::PhotometricInterpretation, 1)?;
        let planar = number(Tag::PlanarConfiguration, 1)? == 2;
        let predictor = number(Tag::Predictor, 1)?;
        let compression = number(Tag::Compression, 1)?;
        let rows_per_strip = number(Tag::RowsPerStrip, u64::MAX)?;
        let tile_width = number(Tag::TileWidth, 0)?;
        let tile_height = number(Tag::TileLength, 0)?;

        let mut list = |tag: Tag| -> Result<Option<Vec<u64>>, RasterError> {
            decoder.find_tag_unsigned_vec(tag).map_err(failed)
        };
        let all_bits = list(Tag::BitsPerSample)?.unwrap_or_else(|| vec![1]);
        let formats = list(Tag::SampleFormat)?.unwrap_or_else(|| vec![1]);
        let tiled = list(Tag::TileOffsets)?.is_some();
        let (offsets, sizes) = if tiled {
            (list(Tag::TileOffsets)?, list(Tag::TileByteCounts)?)
        } else {
            (list(Tag::StripOffsets)?, list(Tag::StripByteCounts)?)
        };
        let jpeg_tables = match decoder.find_tag(Tag::JPEGTables).map_err(failed)? {
            Some(tables) => tables.into_u8_vec().map_err(failed)?,
            None => Vec::new(),
        };

        let compression = match compression {
            1 => Some(Compression::None),
            5 => Some(Compression::Lzw),
            8 | 32_946 => Some(Compression::Deflate),
            32_773 => Some(Compression::PackBits),
            50_000 => Some(Compression::Zstandard),
            7 => None,
            other => {
                let what = match other {
                    2..=4 => "fax compression".to_owned(),
                    6 => "old-style JPEG compression".to_owned(),
                    34_712 | 33_003..=33_005 => "JPEG 2000 compression".to_owned(),
                    34_887 => "LERC compression".to_owned(),
                    34_925 => "LZMA compression".to_owned(),
                    50_001 => "WebP compression".to_owned(),
                    50_002 => "JPEG XL compression".to_owned(),
                    n => format!("TIFF compression number {n}"),
                };
                return Err(file.unsupported(
                    what,
                    "rewrite it with deflate, for example gdal_translate -co COMPRESS=DEFLATE",
                ));
            }
        };
        let one = |values: &[u64], what: &str| match values {
            [first, rest @ ..] if rest.iter().all(|v| v == first) => Ok(*first),
            _ => Err(file.unsupported(
                format!("a TIFF whose bands differ in {what}"),
                "export the bands with one data type",
            )),
        };
        let bits = one(&all_bits, "bits per sample")?;
        let kind = match (one(&formats, "sample format")?, bits) {
            (1 | 4, 1 | 2 | 4 | 8 | 16 | 32) => Kind::Unsigned,
            (2, 8 | 16 | 32) => Kind::Signed,
            (3, 16 | 32 | 64) => Kind::Float,
            (5 | 6, _) => {
                return Err(file.unsupported(
                    "complex data (a single-look complex SAR product)",
                    "detect it first: export amplitude, intensity or decibel as float32",
                ));
            }
            (1 | 2 | 4, n) => {
                return Err(file.unsupported(format!("{n}-bit integers"), "export it as float32"));
            }
            (3, n) => {
                return Err(file.unsupported(format!("{n}-bit floats"), "export it as float32"));
            }
            (n, _) => {
                return Err(
                    file.unsupported(format!("TIFF sample format {n}"), "export it as float32")
                );
            }
        };
        let bytes = match (kind, bits) {
            (Kind::Float, 16) => 4,
            _ => bits.div_ceil(8),
        };
        check_size(file.name, width.into(), height.into(), bands, bytes)?;
        let unusual = |what: &str| {
            Err(file.unsupported(
                what,
                "rewrite it, for example gdal_translate -co COMPRESS=DEFLATE",
            ))
        };
        match (predictor, kind, bits) {
            (1, ..) | (2, Kind::Unsigned | Kind::Signed, 8..) | (2, Kind::Float, _) => {}
            (3, Kind::Float, _) => {}
            _ => return unusual("this combination of TIFF predictor and data type"),
        }
        if photometric == u64::from(YCBCR) && compression.is_some() {
            return unusual("YCbCr colour outside JPEG");
        }
        if compression.is_none() && (bits != 8 || predictor != 1 || kind != Kind::Unsigned) {
            return unusual("JPEG compression of other than 8-bit data");
        }

        let impossible = |_| file.damaged("impossible strip or tile size");
        let (width, height) = (width as usize, height as usize);
        let bands = usize::try_from(bands).map_err(impossible)?;
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
            .and_then(|n| n.checked_mul(in_chunk as u64 * bytes))
            .unwrap_or(u64::MAX);
        if bands == 0 || chunk_bytes == 0 || chunk_bytes > MAX_DECODED_BYTES {
            return Err(file.damaged("impossible strip or tile size"));
        }
        let planes = if planar { bands } else { 1 };
        let expected = width.div_ceil(chunk_width) * height.div_ceil(chunk_height) * planes;
        let (Some(offsets), Some(sizes)) = (offsets, sizes) else {
            return Err(file.damaged("no strips and no tiles"));
        };
        if offsets.len() != expected || sizes.len() != expected {
            return Err(file.damaged(format!(
                "{} strips or tiles instead of {expected}",
                offsets.len()
            )));
        }
        let chunks: Vec<_> = offsets.into_iter().zip(sizes).collect();
        let length = file.bytes.len() as u64;
        if chunks
            .iter()
            .any(|&(at, size)| at.checked_add(size).is_none_or(|end| end > length))
        {
            return Err(file.damaged("it ends early"));
        }
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
            compression,
            jpeg_tables,
            chunks,
        })
    }

    fn samples(&self, file: &File, nodata: Option<f64>) -> Result<Samples, RasterError> {
        let fill = nodata.unwrap_or(0.0);
        Ok(match (self.kind, self.bits) {
            (Kind::Unsigned, ..=8) => {
                Samples::U8(self.gather(file, fill as u8, |b: [u8; 1]| b[0])?)
            }
            (Kind::Unsigned, 16) => {
                Samples::U16(self.gather(file, fill as u16, u16::from_le_bytes)?)
            }
            (Kind::Unsigned, _) => {
                Samples::U32(self.gather(file, fill as u32, u32::from_le_bytes)?)
            }
            (Kind::Signed, 8) => Samples::I8(self.gather(file, fill as i8, i8::from_le_bytes)?),
            (Kind::Signed, 16) => {
                Samples::I16(self.gather(file, fill as i16, i16::from_le_bytes)?)
            }
            (Kind::Signed, _) => {
                Samples::I32(self.gather(file, fill as i32, i32::from_le_bytes)?)
            }
            (Kind::Float, 16) => Samples::F32(
                self.gather(file, fill as f32, |b| half::f16::from_le_bytes(b).to_f32())?,
            ),
            (Kind::Float, 32) => {
                Samples::F32(self.gather(file, fill as f32, f32::from_le_bytes)?)
            }
            (Kind::Float, _) => Samples::F64(self.gather(file, fill, f64::from_le_bytes)?),
        })
    }

    /// Unpacks every chunk and puts its samples in their places, pixel-interleaved.
    fn gather<T: Copy, const N: usize>(
        &self,
        file: &File,
        fill: T,
        read: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>, RasterError> {
        let mut out = vec![fill; self.width * self.height * self.bands];
        let across = self.width.div_ceil(self.chunk_width);
        let per_plane = across * self.height.div_ceil(self.chunk_height);
        let in_chunk = if self.planar { 1 } else { self.bands };
        for (index, &(offset, size)) in self.chunks.iter().enumerate() {
            if size == 0 {
                // GDAL leaves empty tiles out of sparse files.
                continue;
            }
            let plane = index / per_plane;
            let x0 = index % per_plane % across * self.chunk_width;
            let y0 = index % per_plane / across * self.chunk_height;
            let columns = self.chunk_width.min(self.width - x0);
            let rows = self.chunk_height.min(self.height - y0);
            // Within the file: checked when the layout was read.
            let packed = &file.bytes[offset as usize..(offset + size) as usize];
            let data = self.unpack(
                file,
                packed,
                in_chunk,
                if self.tiled { self.chunk_height } else { rows },
            )?;
            let (values, _) = data.as_chunks::<N>();
            for (row, values) in values
                .chunks_exact(self.chunk_width * in_chunk)
                .take(rows)
                .enumerate()
            {
                let start = ((y0 + row) * self.width + x0) * self.bands;
                if in_chunk == self.bands {
                    let out = &mut out[start..start + columns * self.bands];
                    for (out, &value) in out.iter_mut().zip(values) {
                        *out = read(value);
                    }
                } else {
                    let out = out[start + plane..].iter_mut().step_by(self.bands);
                    for (out, &value) in out.zip(&values[..columns]) {
                        *out = read(value);
                    }
                }
            }
        }
        Ok(out)
    }

    /// One chunk of `rows` rows as little-endian samples, one byte each when they have fewer bits.
    fn unpack(
        &self,
        file: &File,
        packed: &[u8],
        in_chunk: usize,
        rows: usize,
    ) -> Result<Vec<u8>, RasterError> {
        let row_samples = self.chunk_width * in_chunk;
        let Some(compression) = self.compression else {
            return self.unpack_jpeg(file, packed, in_chunk, rows);
        };
        let row_bytes = (row_samples * self.bits).div_ceil(8);
        let mut data = codec::decompress(compression, packed, row_bytes * rows)
            .map_err(|what| file.damaged(what))?;
        if self.bits < 8 {
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
        file: &File,
        packed: &[u8],
        in_chunk: usize,
        rows: usize,
    ) -> Result<Vec<u8>, RasterError> {
        // The tables are a JPEG of their own: its end mark and the chunk's start mark are taken out.
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
        let unfit = || file.damaged("a JPEG strip or tile of another size than the file's");
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
            Failure::Damaged(what) => file.damaged(what),
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

/// Metadata beside the pixels.
struct Tags {
    nodata: Option<f64>,
    colours: Option<Vec<u16>>,
    scale: Vec<f64>,
    tie_points: Vec<f64>,
    matrix: Vec<f64>,
    geo_keys: GeoKeys,
}

impl Tags {
    fn read(decoder: &mut Decoder<Cursor<&[u8]>>) -> TiffResult<Self> {
        let nodata = match decoder.find_tag(Tag::GdalNodata)? {
            Some(Value::Ascii(text)) => text.trim().trim_end_matches('\0').parse().ok(),
            _ => None,
        };
        let colours = match decoder.find_tag(Tag::ColorMap)? {
            Some(map) => Some(map.into_u16_vec()?),
            None => None,
        };
        let directory = match decoder.find_tag(Tag::GeoKeyDirectoryTag)? {
            Some(keys) => keys.into_u16_vec()?,
            None => Vec::new(),
        };
        let ascii = match decoder.find_tag(Tag::GeoAsciiParamsTag) {
            Ok(Some(Value::Ascii(text))) => text,
            // Names only: a damaged one is no reason to refuse the file.
            _ => String::new(),
        };
        let mut reals = |tag: Tag| match decoder.find_tag(tag)? {
            Some(values) => values.into_f64_vec(),
            None => Ok(Vec::new()),
        };
        Ok(Self {
            nodata,
            colours,
            scale: reals(Tag::ModelPixelScaleTag)?,
            tie_points: reals(Tag::ModelTiepointTag)?,
            matrix: reals(Tag::ModelTransformationTag)?,
            geo_keys: GeoKeys {
                directory,
                doubles: reals(Tag::GeoDoubleParamsTag)?,
                ascii,
            },
        })
    }
}

/// Place on the ground from `GeoTIFF` tags; `None` when the file has none.
fn georef(tags: &Tags) -> Option<GeoRef> {
    let mut transform = match (
        tags.matrix.as_slice(),
        tags.scale.as_slice(),
        tags.tie_points.as_slice(),
    ) {
        // A rotated grid comes as the upper rows of a 4 × 4 matrix.
        ([a, b, _, c, d, e, _, f, ..], _, _) => [*a, *b, *c, *d, *e, *f],
        (_, [sx, sy, ..], [i, j, _, x, y, ..]) => [*sx, 0.0, x - i * sx, 0.0, -sy, y + j * sy],
        _ => return None,
    };
    if transform.iter().any(|v| !v.is_finite()) {
        return None;
    }
    const GEOGRAPHIC: u16 = 2048;
    const PROJECTED: u16 = 3072;
    const USER_DEFINED: u16 = 32_767;
    if tags.geo_keys.pixel_is_point() {
        // "Pixel is point": positions are of pixel centres.
        let [a, b, c, d, e, f] = transform;
        transform = [a, b, c - (a + b) / 2.0, d, e, f - (d + e) / 2.0];
    }
    let keys = tags.geo_keys.clone();
    let code = keys.short(PROJECTED).or_else(|| keys.short(GEOGRAPHIC));
    let epsg = code
        .filter(|&code| code != 0 && code != USER_DEFINED)
        .map(u32::from);
    Some(GeoRef {
        transform,
        epsg,
        keys,
    })
}
