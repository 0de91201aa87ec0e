//! Cloud-optimised `GeoTIFF`s of 8-bit bands: tiles of 512 px, deflate, overviews down to one tile,
//! all directories at the start of the file and the smallest overview's tiles first.

use std::fmt::Write as _;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::ZlibEncoder;

use crate::{GeoKeys, GeoRef};

/// Side of a tile: what GDAL's COG driver takes by default.
const TILE_PX: usize = 512;

/// How an overview's pixel comes from the four below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overview {
    /// The commonest value; of several the one further up and left.
    Majority,
    /// The mean, rounded, of those that are not no-data.
    Mean,
}

/// What a file is to hold beside its pixels.
#[derive(Clone, Debug)]
pub struct CogOptions<'a> {
    /// Columns.
    pub width_px: usize,
    /// Rows.
    pub height_px: usize,
    /// Descriptions of the bands; as many as there are bands.
    pub bands: Vec<String>,
    /// Colours of the only band's values.
    pub palette: Option<&'a [[u8; 3]]>,
    /// Value that means "no data".
    pub nodata: Option<u8>,
    /// Metadata of the first band.
    pub items: Vec<(String, String)>,
    /// Place on the ground.
    pub georef: Option<&'a GeoRef>,
    /// How overviews are made.
    pub overview: Overview,
}

/// Writes a file whose rows come from `row`, one after the other: `row(y, buffer)` fills
/// `[width_px, bands]` bytes. Rows are asked for once, in order.
///
/// Memory: the packed tiles of the whole file, one row of tiles, and a quarter of the pixels for
/// the first overview.
///
/// # Errors
/// Those of `row` and of `out`.
pub fn write_cog(
    out: &mut dyn Write,
    options: &CogOptions<'_>,
    row: &mut dyn FnMut(usize, &mut [u8]) -> io::Result<()>,
) -> io::Result<()> {
    let bands = options.bands.len();
    let mut level = Level::pack(options.width_px, options.height_px, options, row)?;
    let mut levels = Vec::new();
    while level.width_px > TILE_PX || level.height_px > TILE_PX {
        let (width, height) = (level.width_px.div_ceil(2), level.height_px.div_ceil(2));
        let pixels = std::mem::take(&mut level.next);
        levels.push(level);
        let row_bytes = width * bands;
        level = Level::pack(width, height, options, &mut |y, buffer| {
            buffer.copy_from_slice(&pixels[y * row_bytes..(y + 1) * row_bytes]);
            Ok(())
        })?;
    }
    levels.push(level);
    write_levels(out, options, &levels)
}

/// One resolution: its packed tiles, and the pixels of the next coarser one.
struct Level {
    width_px: usize,
    height_px: usize,
    tiles: Vec<Vec<u8>>,
    next: Vec<u8>,
}

impl Level {
    fn pack(
        width_px: usize,
        height_px: usize,
        options: &CogOptions<'_>,
        row: &mut dyn FnMut(usize, &mut [u8]) -> io::Result<()>,
    ) -> io::Result<Self> {
        let bands = options.bands.len();
        let row_bytes = width_px * bands;
        let needs_next = width_px > TILE_PX || height_px > TILE_PX;
        let fill = options.nodata.unwrap_or(0);
        let mut level = Self {
            width_px,
            height_px,
            tiles: Vec::new(),
            next: Vec::new(),
        };
        for y0 in (0..height_px).step_by(TILE_PX) {
            let rows = TILE_PX.min(height_px - y0);
            let mut strip = vec![0; rows * row_bytes];
            for (i, line) in strip.chunks_exact_mut(row_bytes).enumerate() {
                row(y0 + i, line)?;
            }
            for x0 in (0..width_px).step_by(TILE_PX) {
                let columns = TILE_PX.min(width_px - x0);
                let mut tile = vec![fill; TILE_PX * TILE_PX * bands];
                for (i, line) in strip.chunks_exact(row_bytes).enumerate() {
                    let to = i * TILE_PX * bands;
                    tile[to..to + columns * bands]
                        .copy_from_slice(&line[x0 * bands..(x0 + columns) * bands]);
                }
                let mut packer = ZlibEncoder::new(Vec::new(), Compression::default());
                packer.write_all(&tile)?;
                level.tiles.push(packer.finish()?);
            }
            if needs_next {
                halve(&strip, row_bytes, bands, options, &mut level.next);
            }
        }
        Ok(level)
    }
}

/// Appends the rows of the next coarser resolution. Rows of tiles are even, so that no pair is cut.
fn halve(
    strip: &[u8],
    row_bytes: usize,
    bands: usize,
    options: &CogOptions<'_>,
    out: &mut Vec<u8>,
) {
    let width = row_bytes / bands;
    let rows = strip.len() / row_bytes;
    for y in (0..rows).step_by(2) {
        for x in (0..width).step_by(2) {
            let (right, down) = ((x + 1).min(width - 1), (y + 1).min(rows - 1));
            for band in 0..bands {
                let at = |x: usize, y: usize| strip[y * row_bytes + x * bands + band];
                let four = [at(x, y), at(right, y), at(x, down), at(right, down)];
                out.push(match options.overview {
                    Overview::Majority => {
                        let count = |v: u8| four.iter().filter(|&&other| other == v).count();
                        let most = four.iter().map(|&v| count(v)).max().unwrap_or(0);
                        four.into_iter()
                            .find(|&v| count(v) == most)
                            .unwrap_or(four[0])
                    }
                    Overview::Mean => {
                        let kept = four.iter().filter(|&&v| Some(v) != options.nodata);
                        let (sum, n) =
                            kept.fold((0, 0), |(sum, n), &v| (sum + u32::from(v), n + 1));
                        match (n, options.nodata) {
                            (0, Some(nodata)) => nodata,
                            // A mean must not fall on the value that means no data.
                            (n, nodata) => {
                                let mean = ((sum + n / 2) / n.max(1)) as u8;
                                if Some(mean) == nodata { mean - 1 } else { mean }
                            }
                        }
                    }
                });
            }
        }
    }
}

/// A tag: number, type, count, value bytes (little-endian).
struct Tag(u16, u16, u64, Vec<u8>);

impl Tag {
    fn shorts(tag: u16, values: &[u16]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self(tag, 3, values.len() as u64, bytes)
    }

    fn longs(tag: u16, values: &[u32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self(tag, 4, values.len() as u64, bytes)
    }

    fn doubles(tag: u16, values: &[f64]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self(tag, 12, values.len() as u64, bytes)
    }

    fn ascii(tag: u16, text: &str) -> Self {
        // Keys point into texts by position, so every character is one byte.
        let mut bytes: Vec<u8> = text
            .chars()
            .map(|c| {
                if ('\u{1}'..'\u{80}').contains(&c) {
                    c as u8
                } else {
                    b'?'
                }
            })
            .collect();
        bytes.push(0);
        Self(tag, 2, bytes.len() as u64, bytes)
    }
}

/// Writes header, directories and tiles.
fn write_levels(out: &mut dyn Write, options: &CogOptions<'_>, levels: &[Level]) -> io::Result<()> {
    let data: u64 = levels
        .iter()
        .flat_map(|level| &level.tiles)
        .map(|tile| tile.len() as u64)
        .sum();
    // Directories and their values are far below the 64 MiB left to them here.
    let big = data > u64::from(u32::MAX) - (64 << 20);
    let offset_bytes: u64 = if big { 8 } else { 4 };
    let entry_bytes: u64 = if big { 20 } else { 12 };
    let head_bytes: u64 = if big { 16 } else { 8 };

    // Sizes first: tile offsets follow from them.
    let mut directories: Vec<Vec<Tag>> = levels
        .iter()
        .enumerate()
        .map(|(i, level)| tags(options, level, i > 0, big))
        .collect();
    let directory_bytes = |tags: &[Tag]| -> u64 {
        let values: u64 = tags
            .iter()
            .map(|tag| tag.3.len() as u64)
            .filter(|&bytes| bytes > offset_bytes)
            .map(|bytes| bytes.next_multiple_of(8))
            .sum();
        let count_bytes = if big { 8 } else { 2 };
        (count_bytes + tags.len() as u64 * entry_bytes + offset_bytes).next_multiple_of(8) + values
    };
    let mut starts = vec![head_bytes];
    for tags in &directories {
        let last = starts[starts.len() - 1];
        starts.push(last + directory_bytes(tags));
    }
    let mut at = starts[levels.len()];
    for (level, tags) in levels.iter().zip(&mut directories).rev() {
        let mut offsets = Vec::new();
        for tile in &level.tiles {
            offsets.push(at);
            at += tile.len() as u64;
        }
        let bytes: Vec<u8> = offsets
            .iter()
            .flat_map(|offset| offset.to_le_bytes()[..offset_bytes as usize].to_vec())
            .collect();
        if let Some(tag) = tags.iter_mut().find(|tag| tag.0 == 324) {
            tag.3 = bytes;
        }
    }

    let number = |value: u64, bytes: u64| value.to_le_bytes()[..bytes as usize].to_vec();
    out.write_all(if big {
        b"II\x2b\0\x08\0\0\0"
    } else {
        b"II\x2a\0"
    })?;
    out.write_all(&number(head_bytes, offset_bytes))?;
    for (i, tags) in directories.iter().enumerate() {
        let start = starts[i];
        let count_bytes = if big { 8 } else { 2 };
        let table = count_bytes + tags.len() as u64 * entry_bytes + offset_bytes;
        let mut values_at = start + table.next_multiple_of(8);
        let mut directory = number(tags.len() as u64, count_bytes);
        let mut values = Vec::new();
        for Tag(tag, kind, count, bytes) in tags {
            directory.extend(tag.to_le_bytes());
            directory.extend(kind.to_le_bytes());
            directory.extend(number(*count, offset_bytes));
            if bytes.len() as u64 <= offset_bytes {
                directory.extend(bytes);
                directory.resize(directory.len() + offset_bytes as usize - bytes.len(), 0);
            } else {
                directory.extend(number(values_at, offset_bytes));
                values_at += (bytes.len() as u64).next_multiple_of(8);
                values.extend(bytes);
                values.resize(values.len().next_multiple_of(8), 0);
            }
        }
        let next = if i + 1 < directories.len() {
            starts[i + 1]
        } else {
            0
        };
        directory.extend(number(next, offset_bytes));
        directory.resize(directory.len().next_multiple_of(8), 0);
        out.write_all(&directory)?;
        out.write_all(&values)?;
    }
    for level in levels.iter().rev() {
        for tile in &level.tiles {
            out.write_all(tile)?;
        }
    }
    out.flush()
}

/// The tags of one directory, ascending; tile offsets are filled in later.
fn tags(options: &CogOptions<'_>, level: &Level, is_overview: bool, big: bool) -> Vec<Tag> {
    const DEFLATE: u16 = 8;
    let bands = options.bands.len();
    let tiles = level.tiles.len();
    let photometric = if options.palette.is_some() { 3 } else { 1 };
    let sizes: Vec<u32> = level.tiles.iter().map(|tile| tile.len() as u32).collect();
    let offsets = if big {
        Tag(324, 16, tiles as u64, vec![0; 8 * tiles])
    } else {
        Tag(324, 4, tiles as u64, vec![0; 4 * tiles])
    };
    let mut tags = vec![
        Tag::longs(254, &[u32::from(is_overview)]),
        Tag::longs(256, &[level.width_px as u32]),
        Tag::longs(257, &[level.height_px as u32]),
        Tag::shorts(258, &vec![8; bands]),
        Tag::shorts(259, &[DEFLATE]),
        Tag::shorts(262, &[photometric]),
        Tag::shorts(277, &[bands as u16]),
        Tag::shorts(284, &[1]),
        Tag::shorts(322, &[TILE_PX as u16]),
        Tag::shorts(323, &[TILE_PX as u16]),
        offsets,
        Tag::longs(325, &sizes),
        Tag::shorts(339, &vec![1; bands]),
    ];
    if let Some(palette) = options.palette {
        tags.push(Tag::shorts(320, &colour_map(palette)));
    }
    if bands > 1 {
        // Further bands are data of their own, not opacity.
        tags.push(Tag::shorts(338, &vec![0; bands - 1]));
    }
    if let Some(nodata) = options.nodata {
        tags.push(Tag::ascii(42_113, &nodata.to_string()));
    }
    if !is_overview {
        tags.push(Tag::ascii(42_112, &metadata(options)));
        if let Some(georef) = options.georef {
            tags.extend(geo_tags(georef));
        }
    }
    tags.sort_by_key(|tag| tag.0);
    tags
}

/// Three planes of 256 values of 16 bits.
fn colour_map(palette: &[[u8; 3]]) -> Vec<u16> {
    let colour = |i: usize, c: usize| palette.get(i).map_or(0, |colour| colour[c]);
    (0..3)
        .flat_map(|c| (0..256).map(move |i| u16::from(colour(i, c)) * 257))
        .collect()
}

/// GDAL's XML, in ASCII: other characters as numbers.
fn metadata(options: &CogOptions<'_>) -> String {
    let mut xml = String::from("<GDALMetadata>\n");
    for (name, text) in &options.items {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            xml,
            "  <Item name=\"{}\" sample=\"0\">{}</Item>",
            escape(name),
            escape(text)
        );
    }
    for (band, name) in options.bands.iter().enumerate() {
        if !name.is_empty() {
            let _ = writeln!(
                xml,
                "  <Item name=\"DESCRIPTION\" sample=\"{band}\" role=\"description\">{}</Item>",
                escape(name)
            );
        }
    }
    xml.push_str("</GDALMetadata>\n");
    xml
}

/// Text for XML; control characters are left out.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || " -_.,;:/()".contains(c) {
            out.push(c);
        } else if !c.is_control() {
            let _ = write!(out, "&#{};", u32::from(c));
        }
    }
    out
}

fn geo_tags(georef: &GeoRef) -> Vec<Tag> {
    let keys = if georef.keys.directory.is_empty() {
        keys_of(georef.epsg)
    } else {
        georef.keys.clone()
    };
    let mut tags = Vec::new();
    let mut t = georef.transform;
    if keys.pixel_is_point() {
        // The file speaks of pixel centres, the transform of corners.
        t[2] += (t[0] + t[1]) / 2.0;
        t[5] += (t[3] + t[4]) / 2.0;
    }
    let [a, b, c, d, e, f] = t;
    if b == 0.0 && d == 0.0 && a > 0.0 && e < 0.0 {
        tags.push(Tag::doubles(33_550, &[a, -e, 0.0]));
        tags.push(Tag::doubles(33_922, &[0.0, 0.0, 0.0, c, f, 0.0]));
    } else {
        let matrix = [
            a, b, 0.0, c, d, e, 0.0, f, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0,
        ];
        tags.push(Tag::doubles(34_264, &matrix));
    }
    if !keys.directory.is_empty() {
        tags.push(Tag::shorts(34_735, &keys.directory));
    }
    if !keys.doubles.is_empty() {
        tags.push(Tag::doubles(34_736, &keys.doubles));
    }
    if !keys.ascii.is_empty() {
        tags.push(Tag::ascii(34_737, &keys.ascii));
    }
    tags
}

/// The keys of a bare EPSG code: geographic systems are numbered from 4001 to 4999.
fn keys_of(epsg: Option<u32>) -> GeoKeys {
    const MODEL_TYPE: u16 = 1024;
    const RASTER_TYPE: u16 = 1025;
    let Some(code) = epsg.and_then(|code| u16::try_from(code).ok()) else {
        return GeoKeys::default();
    };
    let (model, key) = if (4001..5000).contains(&code) {
        (2, 2048)
    } else {
        (1, 3072)
    };
    GeoKeys {
        directory: vec![
            1,
            1,
            0,
            3,
            MODEL_TYPE,
            0,
            1,
            model,
            RASTER_TYPE,
            0,
            1,
            1,
            key,
            0,
            1,
            code,
        ],
        ..GeoKeys::default()
    }
}
