//! A decoded raster as its file holds it: any number of bands, any sample type, still unscaled.

use crate::GeoRef;

/// Longest side of a raster that is decoded as a whole, in pixels. [`crate::RasterFile`] reads
/// parts of larger ones.
pub const MAX_SIDE_PX: usize = 20_000;

/// Most bytes one decoded raster may take: enough for 10 000 × 10 000 px of two float32 bands, and
/// small enough for a browser tab of 32-bit addresses.
pub const MAX_DECODED_BYTES: u64 = 1 << 30;

/// The samples of a raster, pixel-interleaved: `[height_px, width_px, bands]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// Unsigned, up to 8 bits (values of fewer bits are unchanged).
    U8(Vec<u8>),
    /// Signed, 8 bits.
    I8(Vec<i8>),
    /// Unsigned, 9 to 16 bits (values of fewer bits are unchanged).
    U16(Vec<u16>),
    /// Signed, 16 bits.
    I16(Vec<i16>),
    /// Unsigned, 17 to 32 bits (values of fewer bits are unchanged).
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

    /// Samples in another order: sample `i` of the result is sample `from[i]`.
    pub(crate) fn permuted(&self, from: &[usize]) -> Self {
        fn pick<T: Copy>(values: &[T], from: &[usize]) -> Vec<T> {
            from.iter().map(|&i| values[i]).collect()
        }
        match self {
            Self::U8(v) => Self::U8(pick(v, from)),
            Self::I8(v) => Self::I8(pick(v, from)),
            Self::U16(v) => Self::U16(pick(v, from)),
            Self::I16(v) => Self::I16(pick(v, from)),
            Self::U32(v) => Self::U32(pick(v, from)),
            Self::I32(v) => Self::I32(pick(v, from)),
            Self::F32(v) => Self::F32(pick(v, from)),
            Self::F64(v) => Self::F64(pick(v, from)),
        }
    }

    /// Appends samples of the same type; of another type, nothing.
    fn append(&mut self, more: Self) {
        match (self, more) {
            (Self::U8(v), Self::U8(more)) => v.extend(more),
            (Self::I8(v), Self::I8(more)) => v.extend(more),
            (Self::U16(v), Self::U16(more)) => v.extend(more),
            (Self::I16(v), Self::I16(more)) => v.extend(more),
            (Self::U32(v), Self::U32(more)) => v.extend(more),
            (Self::I32(v), Self::I32(more)) => v.extend(more),
            (Self::F32(v), Self::F32(more)) => v.extend(more),
            (Self::F64(v), Self::F64(more)) => v.extend(more),
            _ => {}
        }
    }

    /// The bands of several single-band pages of one type and size, pixel-interleaved; `None` when
    /// they differ.
    pub(crate) fn interleaved(pages: &[Self]) -> Option<Self> {
        macro_rules! interleave {
            ($kind:ident) => {{
                let planes: Option<Vec<_>> = pages
                    .iter()
                    .map(|page| match page {
                        Self::$kind(values) => Some(values),
                        _ => None,
                    })
                    .collect();
                let planes = planes?;
                let len = planes.first()?.len();
                if planes.iter().any(|plane| plane.len() != len) {
                    return None;
                }
                let at = |i: usize| planes.iter().map(move |plane| plane[i]);
                Some(Self::$kind((0..len).flat_map(at).collect()))
            }};
        }
        match pages.first()? {
            Self::U8(_) => interleave!(U8),
            Self::I8(_) => interleave!(I8),
            Self::U16(_) => interleave!(U16),
            Self::I16(_) => interleave!(I16),
            Self::U32(_) => interleave!(U32),
            Self::I32(_) => interleave!(I32),
            Self::F32(_) => interleave!(F32),
            Self::F64(_) => interleave!(F64),
        }
    }
}

/// A colour that a band is said to hold (GDAL's colour interpretation).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BandColour {
    /// Red.
    Red,
    /// Green.
    Green,
    /// Blue.
    Blue,
}

/// What a file says about one band.
#[derive(Clone, Debug, PartialEq)]
pub struct BandInfo {
    /// Its description, such as `B4` or `VV`.
    pub name: Option<String>,
    /// Its colour.
    pub colour: Option<BandColour>,
    /// Physical value = `scale` · sample + `offset`.
    pub scale: f64,
    /// See `scale`.
    pub offset: f64,
}

impl Default for BandInfo {
    fn default() -> Self {
        Self {
            name: None,
            colour: None,
            scale: 1.0,
            offset: 0.0,
        }
    }
}

impl BandInfo {
    /// Whether samples are not the physical values themselves.
    pub(crate) fn is_scaled(&self) -> bool {
        self.scale != 1.0 || self.offset != 0.0
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
    /// Samples per pixel, alpha included.
    pub bands: usize,
    /// `[height_px, width_px, bands]`.
    pub samples: Samples,
    /// Bits of a sample that the file uses; 4 for `Samples::U8` of values 0 to 15.
    pub bits: usize,
    /// Value that means "not measured", from the file's own metadata. May be NaN.
    pub nodata: Option<f64>,
    /// 0 where the file's mask, alpha or colour key says that there is no data,
    /// `[height_px, width_px]`.
    pub mask: Option<Vec<u8>>,
    /// The band that holds alpha, 0-based.
    pub alpha_band: Option<usize>,
    /// What the file says about its bands; empty, or one entry a band.
    pub band_info: Vec<BandInfo>,
    /// Place on the ground, when the file says.
    pub georef: Option<GeoRef>,
    /// Colours of a palette file, whose single band holds indices into it.
    pub palette: Option<Vec<[u8; 3]>>,
    /// What was decided while reading, one sentence each, for the user.
    pub notes: Vec<String>,
}

impl Raster {
    /// A raster of which the file says nothing but its samples.
    ///
    /// # Panics
    /// When `samples` does not hold `width_px * height_px * bands` values: a bug of the caller,
    /// never of input.
    #[must_use]
    pub fn plain(
        name: &str,
        [width_px, height_px]: [usize; 2],
        bands: usize,
        samples: Samples,
    ) -> Self {
        assert_eq!(samples.len(), width_px * height_px * bands, "{name}");
        let bits = match samples {
            Samples::U8(_) | Samples::I8(_) => 8,
            Samples::U16(_) | Samples::I16(_) => 16,
            Samples::U32(_) | Samples::I32(_) | Samples::F32(_) => 32,
            Samples::F64(_) => 64,
        };
        Self {
            name: name.into(),
            width_px,
            height_px,
            bands,
            samples,
            bits,
            nodata: None,
            mask: None,
            alpha_band: None,
            band_info: Vec::new(),
            georef: None,
            palette: None,
            notes: Vec::new(),
        }
    }

    /// The sample of one pixel in one band (0-based).
    ///
    /// # Panics
    /// When the position lies outside the raster: a bug of the caller, never of input.
    #[must_use]
    pub fn sample(&self, x_px: usize, y_px: usize, band: usize) -> f64 {
        self.samples
            .get((y_px * self.width_px + x_px) * self.bands + band)
    }

    /// Bands that hold measurements: all but alpha.
    #[must_use]
    pub fn data_bands(&self) -> Vec<usize> {
        (0..self.bands)
            .filter(|&band| Some(band) != self.alpha_band)
            .collect()
    }

    /// The columns from each of `starts` on, `count` of each, side by side.
    pub(crate) fn columns(&self, starts: &[usize], count: usize) -> Self {
        let pixels: Vec<usize> = (0..self.height_px)
            .flat_map(|y| starts.iter().map(move |&x| y * self.width_px + x))
            .flat_map(|first| first..first + count)
            .collect();
        let samples: Vec<usize> = pixels
            .iter()
            .flat_map(|&pixel| pixel * self.bands..(pixel + 1) * self.bands)
            .collect();
        Self {
            name: self.name.clone(),
            width_px: starts.len() * count,
            samples: self.samples.permuted(&samples),
            mask: self
                .mask
                .as_ref()
                .map(|mask| pixels.iter().map(|&pixel| mask[pixel]).collect()),
            band_info: self.band_info.clone(),
            georef: None,
            palette: self.palette.clone(),
            notes: self.notes.clone(),
            ..*self
        }
    }

    /// Adds the rows of a raster of the same file and width.
    pub(crate) fn append_rows(&mut self, more: Self) {
        let area = |raster: &Self| raster.width_px * raster.height_px;
        if self.mask.is_some() || more.mask.is_some() {
            let (above, below) = (area(self), area(&more));
            let mask = self.mask.get_or_insert_with(|| vec![255; above]);
            mask.extend(more.mask.unwrap_or_else(|| vec![255; below]));
        }
        self.height_px += more.height_px;
        self.samples.append(more.samples);
    }

    /// What is known of a band.
    pub(crate) fn info(&self, band: usize) -> BandInfo {
        self.band_info.get(band).cloned().unwrap_or_default()
    }

    /// Whether a sample is the file's no-data value or no number.
    pub(crate) fn is_empty_value(&self, value: f64) -> bool {
        let narrow = value as f32;
        // Files often write the no-data value of float32 bands with float64 digits.
        !narrow.is_finite()
            || self
                .nodata
                .is_some_and(|n| n == value || n as f32 == narrow)
    }

    /// One band (0-based) as physical values, `[height_px * width_px]`; NaN where the sample is no
    /// number.
    pub(crate) fn band_values(&self, band: usize) -> Vec<f32> {
        let BandInfo { scale, offset, .. } = self.info(band);
        (0..self.width_px * self.height_px)
            .map(|pixel| {
                let value = self.samples.get(pixel * self.bands + band);
                let value = (value * scale + offset) as f32;
                if value.is_finite() { value } else { f32::NAN }
            })
            .collect()
    }
}
