//! Where a raster lies on the ground: affine transform or ground control points, and the keys of
//! its reference system.

use serde::{Deserialize, Serialize};

/// A reference system as the `GeoKeys` of a `GeoTIFF` spell it (OGC 19-008r4, section 7.1), to be
/// written again as it was read. Empty when the file is no `GeoTIFF` or the place was made up by
/// the program.
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
    const DOUBLES: u16 = 34_736;

    fn entry(&self, wanted: u16) -> Option<[u16; 4]> {
        let (keys, _) = self.directory.as_chunks::<4>();
        // The first entry is the directory's header.
        keys.iter().skip(1).find(|key| key[0] == wanted).copied()
    }

    /// The short value of a key (OGC 19-008r4, section 7.1.2).
    pub(crate) fn short(&self, wanted: u16) -> Option<u16> {
        let [_, location, _, value] = self.entry(wanted)?;
        (location == 0).then_some(value)
    }

    /// The first double of a key, or its short value as a number.
    pub(crate) fn double(&self, wanted: u16) -> Option<f64> {
        match self.entry(wanted)? {
            [_, 0, _, value] => Some(value.into()),
            [_, Self::DOUBLES, _, at] => self.doubles.get(usize::from(at)).copied(),
            _ => None,
        }
    }

    /// All doubles of a key.
    pub(crate) fn double_list(&self, wanted: u16) -> Option<&[f64]> {
        match self.entry(wanted)? {
            [_, Self::DOUBLES, count, at] => {
                let at = usize::from(at);
                self.doubles.get(at..at + usize::from(count))
            }
            _ => None,
        }
    }

    /// Whether positions are of pixel centres rather than of corners.
    pub(crate) fn pixel_is_point(&self) -> bool {
        const RASTER_TYPE: u16 = 1025;
        self.short(RASTER_TYPE) == Some(2)
    }
}

/// A ground control point: a position in the picture and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ControlPoint {
    /// Column and row in pixels from the top-left corner.
    pub pixel: [f64; 2],
    /// Map coordinates in the raster's reference system.
    pub map: [f64; 2],
}

/// Where a raster lies on the ground.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GeoRef {
    /// `[a, b, c, d, e, f]` with `x = a·col + b·row + c` and `y = d·col + e·row + f`, for pixel
    /// *corners* (col = row = 0 is the top-left corner of the picture). Map units of `epsg`. With
    /// control points it is only the affine transform nearest to them.
    pub transform: [f64; 6],
    /// EPSG code of the reference system; `None` when the file names none or a private one.
    pub epsg: Option<u32>,
    /// What the file itself says about the reference system.
    #[serde(default)]
    pub keys: GeoKeys,
    /// Ground control points of a file that has no transform.
    #[serde(default)]
    pub control_points: Vec<ControlPoint>,
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

    /// The place of a part of the raster whose top-left corner is at a pixel.
    #[must_use]
    pub fn shifted(&self, col_px: f64, row_px: f64) -> Self {
        let [x, y] = self.to_map(col_px, row_px);
        let [a, b, _, d, e, _] = self.transform;
        Self {
            transform: [a, b, x, d, e, y],
            control_points: self
                .control_points
                .iter()
                .map(|point| ControlPoint {
                    pixel: [point.pixel[0] - col_px, point.pixel[1] - row_px],
                    map: point.map,
                })
                .collect(),
            ..self.clone()
        }
    }

    /// The place of the same raster with pixels `x` times as wide and `y` times as high.
    #[must_use]
    pub fn scaled(&self, x: f64, y: f64) -> Self {
        let [a, b, c, d, e, f] = self.transform;
        Self {
            transform: [a * x, b * y, c, d * x, e * y, f],
            control_points: self
                .control_points
                .iter()
                .map(|point| ControlPoint {
                    pixel: [point.pixel[0] / x, point.pixel[1] / y],
                    map: point.map,
                })
                .collect(),
            ..self.clone()
        }
    }
}
