//! A label map as `GeoTIFF`: one band of class numbers with colours, names and the place on the ground.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use tiff::TiffError;
use tiff::encoder::TiffEncoder;
use tiff::tags::Tag;

use super::check;
use crate::{GeoKeys, GeoRef, RasterError};

/// Side of a tile: what GDAL takes by default.
const TILE_PX: usize = 256;

/// Label that means "no class".
const IGNORED: u8 = 255;

const GDAL_METADATA: Tag = Tag::Unknown(42_112);

/// One band of 8 bits, deflate, in tiles of 256 px, with a colour map and the class names as GDAL
/// metadata of the band (`CLASS_0`, `CLASS_1`, …). The transform and the `GeoKeys` of `geo` are written
/// as they were read; a place without keys gets those of its EPSG code. Where 255 occurs and is no
/// class, it is declared no-data.
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
    let mut file = Cursor::new(Vec::new());
    write(
        &mut file,
        labels,
        [width_px, height_px],
        palette,
        names,
        geo,
    )
    .map_err(|error| {
        RasterError::Argument(format!(
            "no GeoTIFF of {width_px} x {height_px} px can be written: {error}"
        ))
    })?;
    Ok(file.into_inner())
}

fn write(
    file: &mut Cursor<Vec<u8>>,
    labels: &[u8],
    [width_px, height_px]: [usize; 2],
    palette: &[[u8; 3]],
    names: &[String],
    geo: Option<&GeoRef>,
) -> Result<(), TiffError> {
    let mut encoder = TiffEncoder::new(file)?;
    let mut out = encoder.image_directory()?;
    let (mut offsets, mut sizes) = (Vec::new(), Vec::new());
    let mut tile = Vec::with_capacity(TILE_PX * TILE_PX);
    for y0 in (0..height_px).step_by(TILE_PX) {
        for x0 in (0..width_px).step_by(TILE_PX) {
            let columns = TILE_PX.min(width_px - x0);
            tile.clear();
            for y in y0..(y0 + TILE_PX).min(height_px) {
                let start = y * width_px + x0;
                tile.extend_from_slice(&labels[start..start + columns]);
                // What lies outside the picture is not shown; zero packs well.
                tile.resize((y - y0 + 1) * TILE_PX, 0);
            }
            tile.resize(TILE_PX * TILE_PX, 0);
            let mut packer = ZlibEncoder::new(Vec::new(), Compression::default());
            packer.write_all(&tile)?;
            let packed = packer.finish()?;
            offsets.push(u32::try_from(out.write_data(packed.as_slice())?)?);
            sizes.push(u32::try_from(packed.len())?);
        }
    }

    const DEFLATE: u16 = 8;
    const PALETTE: u16 = 3;
    let side = TILE_PX as u32;
    out.write_tag(Tag::ImageWidth, u32::try_from(width_px)?)?;
    out.write_tag(Tag::ImageLength, u32::try_from(height_px)?)?;
    out.write_tag(Tag::BitsPerSample, 8_u16)?;
    out.write_tag(Tag::Compression, DEFLATE)?;
    out.write_tag(Tag::PhotometricInterpretation, PALETTE)?;
    out.write_tag(Tag::SamplesPerPixel, 1_u16)?;
    out.write_tag(Tag::PlanarConfiguration, 1_u16)?;
    out.write_tag(Tag::SampleFormat, 1_u16)?;
    out.write_tag(Tag::TileWidth, side)?;
    out.write_tag(Tag::TileLength, side)?;
    out.write_tag(Tag::TileOffsets, offsets.as_slice())?;
    out.write_tag(Tag::TileByteCounts, sizes.as_slice())?;
    out.write_tag(Tag::ColorMap, colour_map(palette).as_slice())?;
    if !names.is_empty() {
        out.write_tag(GDAL_METADATA, metadata(names).as_str())?;
    }
    if names.len() <= usize::from(IGNORED) && labels.contains(&IGNORED) {
        out.write_tag(Tag::GdalNodata, "255")?;
    }
    if let Some(geo) = geo {
        let keys = if geo.keys.directory.is_empty() {
            keys_of(geo.epsg)
        } else {
            geo.keys.clone()
        };
        let mut t = geo.transform;
        if keys.pixel_is_point() {
            // The file speaks of pixel centres, the transform of corners.
            t[2] += (t[0] + t[1]) / 2.0;
            t[5] += (t[3] + t[4]) / 2.0;
        }
        let [a, b, c, d, e, f] = t;
        if b == 0.0 && d == 0.0 && a > 0.0 && e < 0.0 {
            out.write_tag(Tag::ModelPixelScaleTag, [a, -e, 0.0].as_slice())?;
            out.write_tag(Tag::ModelTiepointTag, [0.0, 0.0, 0.0, c, f, 0.0].as_slice())?;
        } else {
            let matrix = [
                a, b, 0.0, c, d, e, 0.0, f, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0,
            ];
            out.write_tag(Tag::ModelTransformationTag, matrix.as_slice())?;
        }
        if !keys.directory.is_empty() {
            out.write_tag(Tag::GeoKeyDirectoryTag, keys.directory.as_slice())?;
        }
        if !keys.doubles.is_empty() {
            out.write_tag(Tag::GeoDoubleParamsTag, keys.doubles.as_slice())?;
        }
        if !keys.ascii.is_empty() {
            // Keys point into this text by position, so every byte stays one byte.
            let ascii: String = keys
                .ascii
                .bytes()
                .map(|byte| {
                    if (1..128).contains(&byte) {
                        byte as char
                    } else {
                        '?'
                    }
                })
                .collect();
            out.write_tag(Tag::GeoAsciiParamsTag, ascii.as_str())?;
        }
    }
    out.finish()
}

/// Three planes of 256 values of 16 bits.
fn colour_map(palette: &[[u8; 3]]) -> Vec<u16> {
    let colour = |i: usize, c: usize| palette.get(i).map_or(0, |colour| colour[c]);
    (0..3)
        .flat_map(|c| (0..256).map(move |i| u16::from(colour(i, c)) * 257))
        .collect()
}

/// GDAL's XML, in ASCII: other characters as numbers.
fn metadata(names: &[String]) -> String {
    let mut xml = String::from("<GDALMetadata>\n");
    for (index, name) in names.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(xml, "  <Item name=\"CLASS_{index}\" sample=\"0\">");
        for c in name.chars() {
            if c.is_ascii_alphanumeric() || " -_.,;:/()".contains(c) {
                xml.push(c);
            } else if !c.is_control() {
                let _ = write!(xml, "&#{};", u32::from(c));
            }
        }
        xml.push_str("</Item>\n");
    }
    xml.push_str("</GDALMetadata>\n");
    xml
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
