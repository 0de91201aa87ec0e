//! The radiometric normalisation that training and inference of the default model share: tiles of
//! any stretch come out alike.

use crate::Rgb8;
use crate::sar::{LEAST_SPAN_DB, STRETCH, at_least};
use crate::stats::{histogram_percentile, percentiles, stretch_byte};

/// Luminance that the 1 % and 99 % percentiles are brought to.
const RGB_RANGE: [f32; 2] = [16.0, 240.0];

/// Most contrast that [`robust_rgb`] adds, so that a flat tile does not become noise.
const RGB_MOST_GAIN: f32 = 3.0;

/// What becomes of a flat tile's brightness.
const RGB_BRIGHTNESS: f32 = 1.5;

/// Optical tile with one gain and one offset for all channels that bring the 1 % and 99 %
/// percentiles of its luminance to 16 and 240. `[height_px, width_px, 3]`.
///
/// The gain is at most 3. A tile flatter than that leaves room, in which it keeps its brightness
/// (times 1.5): a tile of nothing but forest stays darker than one of nothing but meadow. Black
/// pixels (fill) do not take part and stay black. Colour balance is kept: colour is evidence.
#[must_use]
pub fn robust_rgb(picture: &Rgb8) -> Rgb8 {
    RgbRadiometry::measure(picture).apply(picture)
}

/// The gain and offset of [`robust_rgb`], measured once on a scene so that windows cut from it
/// agree.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RgbRadiometry {
    /// New byte for each byte; `None` when there was nothing to measure.
    table: Option<Box<[u8; 256]>>,
}

impl RgbRadiometry {
    /// Measures a picture.
    #[must_use]
    pub fn measure(picture: &Rgb8) -> Self {
        let mut histogram = [0_u32; 256];
        for pixel in picture.data.chunks_exact(3) {
            if pixel != [0, 0, 0] {
                histogram[usize::from(luminance(pixel))] += 1;
            }
        }
        let (Some(low), Some(high)) = (
            histogram_percentile(&histogram, 0.01),
            histogram_percentile(&histogram, 0.99),
        ) else {
            return Self { table: None };
        };
        let (low, high) = (f32::from(low), f32::from(high));
        let gain = ((RGB_RANGE[1] - RGB_RANGE[0]) / (high - low).max(1.0)).min(RGB_MOST_GAIN);
        let (middle, reach) = (f32::midpoint(low, high), 0.5 * gain * (high - low));
        let [least, most] = [RGB_RANGE[0] + reach, RGB_RANGE[1] - reach];
        // Full contrast leaves one place for the middle, and rounding must not turn the ends about.
        let offset =
            (RGB_BRIGHTNESS * middle).clamp(least.min(most), most.max(least)) - gain * middle;
        let mut table = [0_u8; 256];
        for (byte, out) in table.iter_mut().enumerate() {
            *out = libm::roundf(gain * byte as f32 + offset) as u8;
        }
        Self {
            table: Some(Box::new(table)),
        }
    }

    /// Applies what was measured to a picture or a part of it.
    #[must_use]
    pub fn apply(&self, picture: &Rgb8) -> Rgb8 {
        let mut out = picture.clone();
        if let Some(table) = &self.table {
            for pixel in out.data.chunks_exact_mut(3) {
                if pixel != [0, 0, 0] {
                    for byte in pixel {
                        *byte = table[usize::from(*byte)];
                    }
                }
            }
        }
        out
    }
}

/// ITU-R BT.601 luma with Pillow's integer weights (`convert("L")`).
fn luminance(pixel: &[u8]) -> u8 {
    let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
    ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
}

/// Side of the blocks in which [`is_linear`] measures speckle, in pixels.
const BLOCK_PX: usize = 8;

/// Groups of blocks of like brightness; fewer than four blocks in each do not carry a regression.
const GROUPS: usize = 8;

/// Slopes above this are linear. Of 690 crops (128 to 1024 px) of the Sentinel-1 training tiles, 2
/// linear ones lie below and 3 decibel ones above.
const LINEAR_SLOPE: f32 = 0.63;

/// Least spread (standard deviation of the natural logarithm) of block means for a regression on
/// them.
const LEAST_SPREAD: f32 = 0.1;

/// Least span that [`robust_sar`] widens in tiles that are decibel already, in counts: the usual 25
/// to 30 dB over 8 bits make this about [`LEAST_SPAN_DB`].
const LEAST_SPAN_COUNTS: f32 = 64.0;

/// More black than this is fill, not dark ground.
const FILL_SHARE: f64 = 0.05;

/// SAR tile as grey in decibel, its 1 % and 99 % percentiles brought to 0 and 255.
/// `[height_px, width_px, 3]`.
///
/// Grey is the mean of the three channels. A tile of linear amplitude or power is told by its
/// speckle and taken to decibel first, so that linear and decibel files of the same ground come out
/// alike. At least 8 dB (or 64 counts of a tile in decibel) span the output, so that an even tile
/// does not become noise. Black that covers more than 5 % is fill: it takes no part and stays
/// black.
#[must_use]
pub fn robust_sar(picture: &Rgb8) -> Rgb8 {
    SarRadiometry::measure(picture).apply(picture)
}

/// The scale and range of [`robust_sar`], measured once on a scene so that windows cut from it
/// agree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SarRadiometry {
    /// Values are amplitude or power, not decibel.
    linear: bool,
    /// Black is fill.
    has_fill: bool,
    /// What becomes 0 and 255, in decibel or counts; `None` when there was nothing to measure.
    range: Option<[f32; 2]>,
}

impl SarRadiometry {
    /// Measures a picture.
    #[must_use]
    pub fn measure(picture: &Rgb8) -> Self {
        let black = picture.data.chunks_exact(3).map(grey).filter(|&v| v == 0.0);
        let has_fill = black.count() as f64 > FILL_SHARE * (picture.data.len() / 3) as f64;
        Self::measure_with(picture, has_fill)
    }

    /// Measures a picture of which black is known to be fill.
    #[must_use]
    pub fn measure_masked(picture: &Rgb8) -> Self {
        Self::measure_with(picture, true)
    }

    fn measure_with(picture: &Rgb8, has_fill: bool) -> Self {
        let grey = || picture.data.chunks_exact(3).map(grey);
        let linear = is_linear(picture);
        let mut measured = Self {
            linear,
            has_fill,
            range: None,
        };
        let least = if linear {
            LEAST_SPAN_DB
        } else {
            LEAST_SPAN_COUNTS
        };
        measured.range =
            percentiles(grey().map(|v| measured.value(v)), STRETCH).map(|[low, high]| {
                let (low, high) = at_least(low, high, least);
                [low, high]
            });
        measured
    }

    /// Numbers that tell one measurement from another.
    #[must_use]
    pub fn bits(&self) -> [u32; 4] {
        let [low, high] = self.range.unwrap_or([f32::NAN; 2]).map(f32::to_bits);
        [self.linear.into(), self.has_fill.into(), low, high]
    }

    /// A grey value in the unit of the range; NaN where it is fill.
    fn value(&self, grey: f32) -> f32 {
        if self.has_fill && grey == 0.0 {
            f32::NAN
        } else if self.linear {
            // Half a count stands for what was rounded to zero.
            20.0 * libm::log10f(grey.max(0.5))
        } else {
            grey
        }
    }

    /// Applies what was measured to a picture or a part of it.
    #[must_use]
    pub fn apply(&self, picture: &Rgb8) -> Rgb8 {
        let (w, h) = (picture.width_px, picture.height_px);
        let Some([low, high]) = self.range else {
            return Rgb8::filled(w, h, 0);
        };
        let bytes: Vec<u8> = picture
            .data
            .chunks_exact(3)
            .map(|pixel| stretch_byte(self.value(grey(pixel)), low, high))
            .collect();
        Rgb8::from_grey(w, h, &bytes)
    }
}

/// Mean of the three channels.
fn grey(pixel: &[u8]) -> f32 {
    pixel.iter().map(|&b| f32::from(b)).sum::<f32>() / 3.0
}

/// Whether a SAR picture is linear rather than decibel.
///
/// Speckle is multiplicative: in linear data its strength grows with the brightness, in decibel it
/// does not. So the slope of log(standard deviation) over log(mean) of small even blocks is about 1
/// or about 0. (The shape of the histogram, the common test, depends on how much of the tile is
/// water.) Without enough different brightness the skew decides, which is right for speckle alone.
fn is_linear(picture: &Rgb8) -> bool {
    let width_px = picture.width_px;
    if width_px == 0 {
        return false;
    }
    let mut points = Vec::new();
    for band in picture.data.chunks_exact(3 * width_px * BLOCK_PX) {
        let band: Vec<f32> = band.chunks_exact(3).map(grey).collect();
        for x in (0..(width_px / BLOCK_PX) * BLOCK_PX).step_by(BLOCK_PX) {
            let block = || {
                band.chunks_exact(width_px)
                    .flat_map(|row| &row[x..x + BLOCK_PX])
            };
            let n = (BLOCK_PX * BLOCK_PX) as f32;
            let clipped = block().filter(|&&v| v == 0.0 || v >= 254.0).count();
            let mean = block().sum::<f32>() / n;
            let deviation = libm::sqrtf(block().map(|v| (v - mean) * (v - mean)).sum::<f32>() / n);
            // Clipping takes speckle away; below half a count it is rounding.
            if clipped * 16 <= BLOCK_PX * BLOCK_PX && deviation > 0.5 {
                points.push((libm::logf(mean), libm::logf(deviation)));
            }
        }
    }
    if let Some(slope) = slope(points) {
        return slope > LINEAR_SLOPE;
    }
    let lit = picture.data.chunks_exact(3).map(grey).filter(|&v| v > 0.0);
    let skew = percentiles(lit, [0.01, 0.5, 0.99]);
    skew.is_some_and(|[low, median, high]| median < f32::midpoint(low, high))
}

/// Slope of the second value over the first, through the even blocks (lower quartile of the second
/// value) of each group of like first value: edges and texture only ever add to speckle. `None`
/// when there are too few points or they are too alike.
fn slope(mut points: Vec<(f32, f32)>) -> Option<f32> {
    let size = points.len() / GROUPS;
    if size < 4 {
        return None;
    }
    points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let groups: Vec<(f32, f32)> = points
        .chunks_exact_mut(size)
        .map(|group| {
            let mean = group.iter().map(|p| p.0).sum::<f32>() / size as f32;
            let (_, even, _) = group.select_nth_unstable_by(size / 4, |a, b| a.1.total_cmp(&b.1));
            (mean, even.1)
        })
        .collect();
    let n = groups.len() as f32;
    let mx = groups.iter().map(|p| p.0).sum::<f32>() / n;
    let my = groups.iter().map(|p| p.1).sum::<f32>() / n;
    let variance = groups.iter().map(|p| (p.0 - mx) * (p.0 - mx)).sum::<f32>() / n;
    let covariance = groups.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum::<f32>() / n;
    (variance > LEAST_SPREAD * LEAST_SPREAD).then(|| covariance / variance)
}
