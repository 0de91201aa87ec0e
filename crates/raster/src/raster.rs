//! A decoded raster as its file holds it: any number of bands, any sample type, still unscaled.

use serde::{Deserialize, Serialize};

/// Longest side of a raster that is decoded, in pixels.
pub const MAX_SIDE_PX: usize = 10_000;

/// Most bytes one decoded raster may take: enough for 10 000 × 10 000 px of two float32 bands, and
/// small enough for a browser tab of 32-bit addresses.
pub const MAX_DECODED_BYTES: u64 = 1 << 30;

/// A reference system as the `GeoKeys` of a `GeoTIFF` spell it (OGC 19-008r4, section 7.1), to be written
/// again as it was read. Empty when the file is no `GeoTIFF` or the place was made up by the program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GeoKeys {
    /// `GeoKeyDirectoryTag`.
    pub directory: Vec<u16>,
    /// `GeoDoubleParamsTag`.
    pub doubles: Vec<f64>,
    /// `GeoAsciiParamsTag`.
    pub ascii: String,
}

impl GeoKeys {
    /// The short value of a key (OGC 19-008r4, section 7.1.2).
    pub(crate) fn short(&self, wanted: u16) -> Option<u16> {
        let (keys, _) = self.directory.as_chunks::<4>();
        // The first entry is the directory's header.
        let found = keys
            .iter()
            .skip(1)
            .find(|[id, location, ..]| (*id, *location) == (wanted, 0));
        found.map(|[.., value]| *value)
    }

    /// Whether positions are of pixel centres rather than of corners.
    pub(crate) fn pixel_is_point(&self) -> bool {
        const RASTER_TYPE: u16 = 1025;
        self.short(RASTER_TYPE) == Some(2)
    }
}

/// Where a raster lies on the ground.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GeoRef {
    /// `[a, b, c, d, e, f]` with `x = a·col + b·row + c` and `y = d·col + e·row + f`, for pixel
    /// *corners* (col = row = 0 is the top-left corner of the picture). Map units of `epsg`.
    pub transform: [f64; 6],
    /// EPSG code of the reference system; `None` when the file names none or a private one.
    pub epsg: Option<u32>,
    /// What the file itself says about the reference system.
    #[serde(default)]
    pub keys: GeoKeys,
}

impl GeoRef {
    /// Map coordinates of a position in pixels, measured from the top-left corner.
    #[must_use]
    pub fn to_map(&self, col_px: f64, row_px: f64) -> [f64; 2] {
        let [a, b, c, d, e, f] = self.transform;
        [a * col_px + b * row_px + c, d * col_px + e * row_px + f]
    }

    /// Position in pixels of map coordinates; `None` when the transform cannot be inverted.
    #[must_use]
    pub fn to_pixel(&self, x: f64, y: f64) -> Option<[f64; 2]> {
        let [a, b, c, d, e, f] = self.transform;
        let determinant = a * e - b * d;
        if !determinant.is_normal() {
            return None;
        }
        let (dx, dy) = (x - c, y - f);
        Some([
            (e * dx - b * dy) / determinant,
            (a * dy - d * dx) / determinant,
        ])
    }
}

/// The samples of a raster, pixel-interleaved: `[height_px, width_px, bands]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// Unsigned, 8 bits (1-, 2- and 4-bit files are widened, values unchanged).
    U8(Vec<u8>),
    /// Signed, 8 bits.
    I8(Vec<i8>),
    /// Unsigned, 16 bits.
    U16(Vec<u16>),
    /// Signed, 16 bits.
    I16(Vec<i16>),
    /// Unsigned, 32 bits.
    U32(Vec<u32>),
    /// Signed, 32 bits.
    I32(Vec<i32>),
    /// IEEE float, 32 bits (16-bit floats are widened).
    F32(Vec<f32>),
    /// IEEE float, 64 bits.
    F64(Vec<f64>),
}

impl Samples {
    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::U8(v) => v.len(),
            Self::I8(v) => v.len(),
            Self::U16(v) => v.len(),
            Self::I16(v) => v.len(),
            Self::U32(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
        }
    }

    /// Whether there is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sample at `index`, exactly.
    ///
    /// # Panics
    /// When `index` is not below [`Samples::len`]: a bug of the caller, never of input.
    #[must_use]
    pub fn get(&self, index: usize) -> f64 {
        match self {
            Self::U8(v) => v[index].into(),
            Self::I8(v) => v[index].into(),
            Self::U16(v) => v[index].into(),
            Self::I16(v) => v[index].into(),
            Self::U32(v) => v[index].into(),
            Self::I32(v) => v[index].into(),
            Self::F32(v) => v[index].into(),
            Self::F64(v) => v[index],
        }
    }

    /// Name of the sample type as rasterio spells it.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::U8(_) => "uint8",
            Self::I8(_) => "int8",
            Self::U16(_) => "uint16",
            Self::I16(_) => "int16",
            Self::U32(_) => "uint32",
            Self::I32(_) => "int32",
            Self::F32(_) => "float32",
            Self::F64(_) => "float64",
        }
    }
}

/// A decoded file. [`crate::optical_to_rgb`] and [`crate::sar_to_rgb`] turn it into a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Raster {
    /// File name for messages.
    pub name: String,
    /// Columns.
    pub width_px: usize,
    /// Rows.
    pub height_px: usize,
    /// Samples per pixel.
    pub bands: usize,
    /// `[height_px, width_px, bands]`.
    pub samples: Samples,
    /// Value that means "not measured", from the file's own metadata. May be NaN.
    pub nodata: Option<f64>,
    /// Place on the ground, when the file says.
    pub georef: Option<GeoRef>,
    /// Colours of a palette file, whose single band holds indices into it.
    pub palette: Option<Vec<[u8; 3]>>,
}

impl Raster {
    /// The sample of one pixel in one band (0-based).
    ///
    /// # Panics
    /// When the position lies outside the raster: a bug of the caller, never of input.
    #[must_use]
    pub fn sample(&self, x_px: usize, y_px: usize, band: usize) -> f64 {
        self.samples
            .get((y_px * self.width_px + x_px) * self.bands + band)
    }

    /// One band (0-based) as f32 with everything that is not a measurement turned into NaN: NaN,
    /// infinities, the file's no-data value and, with `zero_is_fill`, exact zero. `[height_px * width_px]`.
    pub(crate) fn band_f32(&self, band: usize, zero_is_fill: bool) -> Vec<f32> {
        let nodata = self.nodata;
        (0..self.width_px * self.height_px)
            .map(|pixel| {
                let value = self.samples.get(pixel * self.bands + band);
                let narrow = value as f32;
                // Files often write the no-data value of float32 bands with float64 digits.
                let empty = !narrow.is_finite()
                    || nodata.is_some_and(|n| n == value || n as f32 == narrow)
                    || (zero_is_fill && value == 0.0);
                if empty { f32::NAN } else { narrow }
            })
            .collect()
    }
}
