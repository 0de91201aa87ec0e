//! (Geo)TIFF: which directories of a file are the picture, its mask and its further bands, and what
//! their tags say.

use super::context::Context;
use super::directory::{self, Directory};
use super::layout::{Kind, Layout, PALETTE, RGB, SEPARATED, WHITE_IS_ZERO, YCBCR};
use super::limits::check_size;
use super::source::ByteSource;
use super::tags::Tags;
use super::{gdal_metadata, geo_tags};
use crate::raster::MAX_DECODED_BYTES;
use crate::{Raster, RasterError, Samples};

/// An open TIFF.
pub(super) struct Tiff<'a> {
    source: Box<dyn ByteSource + 'a>,
    name: String,
    layout: Layout,
    tags: Tags,
    /// Pages of one band that follow the first one.
    pages: Vec<Layout>,
    /// Where there is data, as a picture of the same size.
    mask: Option<Layout>,
    notes: Vec<String>,
}

impl<'a> Tiff<'a> {
    pub fn open(source: Box<dyn ByteSource + 'a>, name: &str) -> Result<Self, RasterError> {
        let context = Context {
            source: &*source,
            name,
        };
        let directories = directory::read_all(&context)?;
        // Bit 0: an overview; bit 2: a transparency mask (TIFF 6.0, NewSubfileType).
        let kind = |directory: &Directory| -> Result<u64, RasterError> {
            Ok(directory.number(&context, 254, 0)? & 0b101)
        };
        let mut first = directories.len() - 1;
        for (i, directory) in directories.iter().enumerate() {
            if kind(directory)? == 0 {
                first = i;
                break;
            }
        }
        let layout = Layout::read(&directories[first], &context)?;
        let tags = Tags::read(&directories[first], &context)?;
        let same_size =
            |other: &Layout| (other.width, other.height) == (layout.width, layout.height);
        let (mut pages, mut others, mut mask) = (Vec::new(), 0, None);
        for directory in &directories[first + 1..] {
            match (kind(directory)?, Layout::read(directory, &context)) {
                (0b100, Ok(other)) if same_size(&other) && other.bands == 1 => mask = Some(other),
                // A mask that cannot be read must not become a picture without one.
                (0b100, Err(error)) => return Err(error),
                (0, Ok(page)) if same_size(&page) && page.is_band_of(&layout) => pages.push(page),
                (0, _) => others += 1,
                _ => {}
            }
        }
        let mut notes = Vec::new();
        if !pages.is_empty() {
            notes.push(format!(
                "{name}: {} pages of one size are read as bands",
                pages.len() + 1
            ));
        }
        if others > 0 {
            notes.push(format!(
                "{name}: {others} further pages of another kind are not read"
            ));
        }
        Ok(Self {
            name: name.into(),
            layout,
            tags,
            pages,
            mask,
            notes,
            source,
        })
    }

    pub fn size_px(&self) -> [usize; 2] {
        [self.layout.width, self.layout.height]
    }

    /// Whether the picture may be read as a whole.
    pub fn check_whole(&self) -> Result<(), RasterError> {
        self.check([self.layout.width, self.layout.height], true)
    }

    fn check(&self, [width, height]: [usize; 2], whole: bool) -> Result<(), RasterError> {
        let bands = (self.layout.bands + self.pages.len()) as u64;
        // A part of a large picture may have any side.
        let sides = if whole { [width, height] } else { [1, 1] };
        let bytes = self.layout.sample_bytes();
        check_size(&self.name, sides[0] as u64, sides[1] as u64, bands, bytes)?;
        let decoded = (width as u64 * height as u64).checked_mul(bands * bytes);
        if decoded.is_none_or(|decoded| decoded > MAX_DECODED_BYTES) {
            return Err(RasterError::TooLarge {
                name: self.name.clone(),
                width_px: width as u64,
                height_px: height as u64,
                bands,
            });
        }
        Ok(())
    }

    /// Reads a part, which must lie in the picture.
    pub fn read(&self, at: [usize; 2], size: [usize; 2]) -> Result<Raster, RasterError> {
        self.check(size, false)?;
        let context = Context {
            source: &*self.source,
            name: &self.name,
        };
        let (layout, nodata) = (&self.layout, self.tags.nodata);
        let mut samples = layout.samples(&context, at, size, nodata)?;
        let mut bands = layout.bands;
        if !self.pages.is_empty() {
            let mut planes = vec![samples];
            for page in &self.pages {
                planes.push(page.samples(&context, at, size, nodata)?);
            }
            bands = planes.len();
            samples = Samples::interleaved(&planes)
                .ok_or_else(|| context.damaged("pages of several types"))?;
        }
        let mut mask = match &self.mask {
            Some(mask) => match mask.samples(&context, at, size, None)? {
                Samples::U8(values) => Some(values),
                _ => return Err(context.damaged("a mask of more than 8 bits")),
            },
            None => None,
        };
        let mut raster = Raster {
            bits: layout.bits,
            nodata,
            georef: geo_tags::georef(&self.tags),
            band_info: match &self.tags.metadata {
                Some(xml) => gdal_metadata::band_info(xml, bands),
                None => Vec::new(),
            },
            notes: self.notes.clone(),
            ..Raster::plain(&self.name, size, bands, samples)
        };
        if let Some(georef) = &raster.georef {
            raster.georef = Some(georef.shifted(at[0] as f64, at[1] as f64));
        }
        self.apply_colours(&context, &mut raster)?;
        if let Some(alpha) = raster.alpha_band {
            let area = size[0] * size[1];
            let opaque = |pixel: usize| raster.samples.get(pixel * raster.bands + alpha) != 0.0;
            let alpha: Vec<bool> = (0..area).map(opaque).collect();
            if alpha.iter().any(|&opaque| opaque) {
                let mask = mask.get_or_insert_with(|| vec![255; area]);
                for (value, opaque) in mask.iter_mut().zip(alpha) {
                    *value *= u8::from(opaque);
                }
            } else if size == self.size_px() {
                raster.notes.push(format!(
                    "{}: its alpha is zero everywhere and is not used",
                    self.name
                ));
            }
        }
        raster.mask = mask.filter(|mask| mask.contains(&0));
        Ok(raster)
    }

    /// Applies what the colours of the file mean: white as zero, palettes, inks; finds alpha.
    fn apply_colours(&self, context: &Context<'_>, raster: &mut Raster) -> Result<(), RasterError> {
        let layout = &self.layout;
        match layout.photometric {
            WHITE_IS_ZERO if layout.kind == Kind::Unsigned => invert(raster),
            PALETTE => {
                let map = self.tags.colours.as_deref().unwrap_or_default();
                raster.palette = Some(palette(map)).filter(|colours| !colours.is_empty());
            }
            SEPARATED => {
                let eight = matches!(raster.samples, Samples::U8(_)) && layout.bits == 8;
                if !eight || layout.bands < 4 || self.tags.ink_set != 1 {
                    return Err(context
                        .unsupported("inks other than 8-bit CMYK", "convert it to RGB first"));
                }
                cmyk_to_rgb(raster);
                return Ok(());
            }
            _ => {}
        }
        let colours = match layout.photometric {
            RGB | YCBCR => 3,
            _ => 1,
        };
        const ALPHA: [u64; 2] = [1, 2];
        raster.alpha_band = self
            .tags
            .extra_samples
            .iter()
            .position(|kind| ALPHA.contains(kind))
            .map(|position| colours + position)
            .filter(|&band| band < layout.bands);
        Ok(())
    }
}

impl Layout {
    /// Whether a page holds a further band of a picture.
    fn is_band_of(&self, first: &Self) -> bool {
        self.bands == 1
            && first.bands == 1
            && (self.kind, self.bits, self.photometric)
                == (first.kind, first.bits, first.photometric)
    }
}

/// Makes black zero.
fn invert(raster: &mut Raster) {
    let most = (1_u64 << raster.bits.min(32)) - 1;
    match &mut raster.samples {
        Samples::U8(values) => values.iter_mut().for_each(|v| *v = most as u8 - *v),
        Samples::U16(values) => values.iter_mut().for_each(|v| *v = most as u16 - *v),
        Samples::U32(values) => values.iter_mut().for_each(|v| *v = most as u32 - *v),
        _ => return,
    }
    // No-data is a value as stored.
    raster.nodata = raster.nodata.map(|value| most as f64 - value);
}

/// Colours from three planes of 16-bit values, or of 8-bit values as some writers store them.
fn palette(map: &[u16]) -> Vec<[u8; 3]> {
    let n = map.len() / 3;
    let shift = if map.iter().all(|&v| v < 256) { 0 } else { 8 };
    (0..n)
        .map(|i| [0, 1, 2].map(|c| (map[c * n + i] >> shift) as u8))
        .collect()
}

/// Each colour is what its ink and black leave, as in libtiff and Pillow.
fn cmyk_to_rgb(raster: &mut Raster) {
    if let Samples::U8(values) = &raster.samples {
        let pixels = values.chunks_exact(raster.bands).flat_map(|pixel| {
            let left = 255 - u32::from(pixel[3]);
            [0, 1, 2].map(|c| ((left * (255 - u32::from(pixel[c])) + 127) / 255) as u8)
        });
        raster.samples = Samples::U8(pixels.collect());
        raster.bands = 3;
        raster.band_info.clear();
    }
}
