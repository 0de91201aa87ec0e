//! `tiff-reader` and `geotiff-core`, used as this project would: the first full picture, further
//! pages of its kind as bands, an internal mask, alpha, colours decoded where samples are no RGB.

use geotiff_core::tags::{
    TAG_GDAL_NODATA, TAG_GEO_ASCII_PARAMS, TAG_GEO_DOUBLE_PARAMS, TAG_GEO_KEY_DIRECTORY,
    TAG_MODEL_PIXEL_SCALE, TAG_MODEL_TIEPOINT, TAG_MODEL_TRANSFORMATION, TAG_NEW_SUBFILE_TYPE,
};
use geotiff_core::{CrsInfo, GeoKeyDirectory, GeoTransform};
use tiff_reader::{ExtraSample, Ifd, RasterLayout, TagValue, TiffFile};

use crate::truth::Found;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Bits of `NewSubfileType` for overviews and masks.
fn kind(ifd: &Ifd) -> u64 {
    let number = |value: &TagValue| {
        value
            .as_u64_vec()
            .and_then(|values| values.first().copied())
    };
    let value = ifd
        .tag(TAG_NEW_SUBFILE_TYPE)
        .and_then(|tag| number(&tag.value));
    value.unwrap_or(0) & 0b101
}

pub fn read(bytes: &[u8]) -> Result<Found, String> {
    let file = TiffFile::from_bytes(bytes.to_vec()).map_err(text)?;
    let ifds = file.ifds();
    let first = ifds.iter().position(|ifd| kind(ifd) == 0).unwrap_or(0);
    let ifd = ifds.get(first).ok_or("no picture")?;
    let (layout, mut samples) = pixels_of(&file, ifd)?;
    let size = [layout.width, layout.height];
    let mut bands = layout.samples_per_pixel;
    let mut planes = vec![];
    let mut valid: Option<Vec<bool>> = None;
    for other in &ifds[first + 1..] {
        let same = [other.width() as usize, other.height() as usize] == size;
        let alike = other.samples_per_pixel() == 1
            && bands == 1
            && other.bits_per_sample().ok() == ifd.bits_per_sample().ok()
            && other.sample_format().ok() == ifd.sample_format().ok();
        match kind(other) {
            0b100 if same => {
                let (_, mask) = pixels_of(&file, other)?;
                valid = Some(mask.iter().map(|&value| value != 0.0).collect());
            }
            0 if same && alike => planes.push(pixels_of(&file, other)?.1),
            _ => {}
        }
    }
    if !planes.is_empty() {
        planes.insert(0, samples);
        bands = planes.len();
        samples = (0..size[0] * size[1])
            .flat_map(|i| planes.iter().map(move |plane| plane[i]))
            .collect();
    }
    let extra = ifd.extra_samples().unwrap_or_default();
    let is_alpha = |kind: &ExtraSample| {
        matches!(
            kind,
            ExtraSample::AssociatedAlpha | ExtraSample::UnassociatedAlpha
        )
    };
    if let Some(position) = extra.iter().position(is_alpha) {
        let alpha = bands - extra.len() + position;
        let values = samples.iter().skip(alpha).step_by(bands);
        valid.get_or_insert_with(|| values.map(|&value| value != 0.0).collect());
    }
    let mut found = Found {
        size,
        bands,
        samples,
        nodata: match ifd.tag(TAG_GDAL_NODATA).map(|tag| &tag.value) {
            Some(TagValue::Ascii(value)) => value.trim().parse().ok(),
            _ => None,
        },
        valid,
        ..Found::default()
    };
    place(ifd, &mut found);
    Ok(found)
}

/// Samples as stored; colours decoded for inks and `YCbCr`.
fn pixels_of(file: &TiffFile, ifd: &Ifd) -> Result<(RasterLayout, Vec<f64>), String> {
    const COLOURS: [u16; 3] = [5, 6, 8];
    let decoded = ifd
        .photometric_interpretation()
        .is_some_and(|number| COLOURS.contains(&number));
    let (layout, bytes) = if decoded {
        (
            ifd.decoded_raster_layout().map_err(text)?,
            file.read_decoded_image_bytes_from_ifd(ifd).map_err(text)?,
        )
    } else {
        (
            ifd.raster_layout().map_err(text)?,
            file.read_image_bytes_from_ifd(ifd).map_err(text)?,
        )
    };
    macro_rules! numbers {
        ($type:ty) => {
            bytes
                .as_chunks::<{ size_of::<$type>() }>()
                .0
                .iter()
                .map(|&bytes| <$type>::from_ne_bytes(bytes) as f64)
                .collect()
        };
    }
    let samples = match (layout.sample_format, layout.bytes_per_sample) {
        (1, 1) => numbers!(u8),
        (1, 2) => numbers!(u16),
        (1, 4) => numbers!(u32),
        (1, 8) => numbers!(u64),
        (2, 1) => numbers!(i8),
        (2, 2) => numbers!(i16),
        (2, 4) => numbers!(i32),
        (2, 8) => numbers!(i64),
        (3, 2) => bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&bytes| half::f16::from_ne_bytes(bytes).to_f64())
            .collect(),
        (3, 4) => numbers!(f32),
        (3, 8) => numbers!(f64),
        other => return Err(format!("samples of kind {other:?}")),
    };
    Ok((layout, samples))
}

/// The place by `geotiff-core`, in the order of `geotiff-reader`: scale and tie point, then matrix.
fn place(ifd: &Ifd, found: &mut Found) {
    let doubles = |tag: u16| match ifd.tag(tag).map(|tag| &tag.value) {
        Some(TagValue::Double(values)) => values.clone(),
        _ => Vec::new(),
    };
    let words = match ifd.tag(TAG_GEO_KEY_DIRECTORY).map(|tag| &tag.value) {
        Some(TagValue::Short(values)) => values.clone(),
        _ => Vec::new(),
    };
    let ascii = match ifd.tag(TAG_GEO_ASCII_PARAMS).map(|tag| &tag.value) {
        Some(TagValue::Ascii(value)) => value.clone(),
        _ => String::new(),
    };
    let keys =
        GeoKeyDirectory::parse(&words, &doubles(TAG_GEO_DOUBLE_PARAMS), &ascii).unwrap_or_default();
    let crs = CrsInfo::from_geokeys(&keys);
    found.epsg = crs.epsg();
    let (scale, ties, matrix) = (
        doubles(TAG_MODEL_PIXEL_SCALE),
        doubles(TAG_MODEL_TIEPOINT),
        doubles(TAG_MODEL_TRANSFORMATION),
    );
    let tie: Option<[f64; 6]> = ties.first_chunk().copied();
    let transform = match (scale.as_slice(), tie, matrix.first_chunk::<16>()) {
        ([x, y, rest @ ..], Some(tie), _) if *x != 0.0 && *y != 0.0 => {
            let scale = [*x, *y, rest.first().copied().unwrap_or(0.0)];
            Some(GeoTransform::from_tiepoint_and_scale_with_raster_type(
                &tie,
                &scale,
                crs.raster_type_enum(),
            ))
        }
        (_, _, Some(matrix)) => Some(GeoTransform::from_transformation_matrix_with_raster_type(
            matrix,
            crs.raster_type_enum(),
        )),
        _ => None,
    };
    found.transform = transform.map(|t| {
        [
            t.pixel_width,
            t.skew_x,
            t.origin_x,
            t.skew_y,
            t.pixel_height,
            t.origin_y,
        ]
    });
    if transform.is_none() {
        found.control_points = ties.len() / 6;
    }
}

/// Reads all pixels; returns their number.
pub fn pixels(bytes: &[u8]) -> usize {
    let read = || -> Result<usize, tiff_reader::error::Error> {
        let file = TiffFile::from_bytes(bytes.to_vec())?;
        Ok(file.read_image_bytes(0)?.len())
    };
    read().unwrap_or(0)
}
