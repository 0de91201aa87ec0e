//! Where the SAR tile lies on the optical grid, and warping it there.

use crate::control_points::{Polynomial, map_to_pixel};
use crate::crs::Crs;
use crate::{GeoRef, RasterError, Rgb8, Tile};

/// Grids closer than this are one grid, in optical pixels.
const SAME_GRID_PX: f64 = 0.5;

/// Distance between the positions that are converted exactly, in optical pixels; between them the
/// conversion is linear. At 10 m a pixel that is less than a thousandth of a pixel off for UTM, and
/// a hundredth for degrees.
const LATTICE_PX: usize = 16;

/// One file of a pair.
pub(crate) struct Member<'a> {
    pub name: &'a str,
    pub size_px: [usize; 2],
    pub georef: Option<&'a GeoRef>,
}

/// How the SAR tile comes onto the optical grid.
pub(crate) enum Placing {
    /// It is on it.
    SameGrid,
    /// It is stretched to the optical size.
    Stretched,
    /// It is resampled by map coordinates.
    Warped(Box<Warp>),
}

impl Placing {
    /// Decides by what both files say of their place. What is assumed goes into `notes`.
    ///
    /// # Errors
    /// [`RasterError::NoOverlap`].
    pub fn find(
        rgb: &Member<'_>,
        sar: &Member<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Self, RasterError> {
        let warp = match (rgb.georef, sar.georef) {
            (Some(to), Some(from)) => Warp::new(to, from),
            (None, None) => return Ok(Self::without_place(rgb, sar, None, notes)),
            (None, _) => Err(format!("{} has no place on the ground", rgb.name)),
            (_, None) => Err(format!("{} has no place on the ground", sar.name)),
        };
        let warp = match warp {
            Ok(warp) => warp,
            Err(why) => return Ok(Self::without_place(rgb, sar, Some(&why), notes)),
        };
        if rgb.size_px == sar.size_px && warp.is_same_grid(rgb.size_px) {
            return Ok(Self::SameGrid);
        }
        if !warp.overlaps(rgb.size_px, sar.size_px) {
            return Err(RasterError::NoOverlap {
                rgb: rgb.name.into(),
                sar: sar.name.into(),
                rgb_extent: extent(rgb),
                sar_extent: extent(sar),
                outlines: Box::new([rgb, sar].map(|member| {
                    member
                        .georef
                        .and_then(|georef| outline_degrees(georef, member.size_px))
                })),
            });
        }
        if let Some(georef) = sar
            .georef
            .filter(|georef| !georef.control_points.is_empty())
        {
            notes.push(format!(
                "{}: placed by its {} ground control points, which its fit meets within {:.1} px",
                sar.name,
                georef.control_points.len(),
                warp.fit_error_px
            ));
        }
        Ok(Self::Warped(Box::new(warp)))
    }

    fn without_place(
        rgb: &Member<'_>,
        sar: &Member<'_>,
        why: Option<&str>,
        notes: &mut Vec<String>,
    ) -> Self {
        let because = why.map_or(String::new(), |why| format!(" ({why})"));
        if rgb.size_px == sar.size_px {
            // Two plain pictures of one size need no word.
            if !because.is_empty() {
                notes.push(format!(
                    "{} and {}: taken as aligned pixel by pixel, which their sizes suggest but nothing shows{because}; check that they show the same ground",
                    rgb.name, sar.name
                ));
            }
            return Self::SameGrid;
        }
        notes.push(format!(
            "{}: stretched from {} x {} to {} x {} px to match {}, assuming both show exactly the same ground{because}",
            sar.name, sar.size_px[0], sar.size_px[1], rgb.size_px[0], rgb.size_px[1], rgb.name
        ));
        Self::Stretched
    }
}

/// The corners of a picture in degrees (or in map units, when its reference system is not
/// understood).
fn extent(member: &Member<'_>) -> String {
    let Some(georef) = member.georef else {
        return "unknown".into();
    };
    if let Some(outline) = outline_degrees(georef, member.size_px) {
        let range = |axis: usize| {
            let values = outline.iter().map(|point| point[axis]);
            let low = values.clone().fold(f64::INFINITY, f64::min);
            format!(
                "{low:.4} to {:.4}",
                values.fold(f64::NEG_INFINITY, f64::max)
            )
        };
        return format!("longitude {}, latitude {}", range(0), range(1));
    }
    let [w, h] = member.size_px.map(|side| side as f64);
    let ([x0, y0], [x1, y1]) = (georef.to_map(0.0, 0.0), georef.to_map(w, h));
    format!("x {x0:.1} to {x1:.1}, y {y0:.1} to {y1:.1}")
}

/// The outline of a picture as WGS 84 longitudes and latitudes, eight points a side; `None` when
/// its reference system is not understood.
pub(crate) fn outline_degrees(georef: &GeoRef, size_px: [usize; 2]) -> Option<Vec<[f64; 2]>> {
    let (crs, degrees) = (Crs::of(georef).ok()?, Crs::wgs84()?);
    let [w, h] = size_px.map(|side| side as f64);
    (0..32)
        .map(|i| {
            let part = f64::from(i % 8) / 8.0;
            let [x, y] = match i / 8 {
                0 => [part, 0.0],
                1 => [1.0, part],
                2 => [1.0 - part, 1.0],
                _ => [0.0, 1.0 - part],
            };
            crs.convert(georef.to_map(x * w, y * h), &degrees)
        })
        .collect()
}

/// Area of the pixel at a position (measured from the top-left corner) on the WGS 84 ellipsoid, in
/// square metres. `None` when the reference system is not understood.
pub(crate) fn pixel_area_m2(georef: &GeoRef, [col, row]: [f64; 2]) -> Option<f64> {
    const SEMI_MAJOR_M: f64 = 6_378_137.0;
    const ECCENTRICITY_2: f64 = 0.006_694_379_990_14;
    let (crs, degrees) = (Crs::of(georef).ok()?, Crs::wgs84()?);
    let at = |x, y| crs.convert(georef.to_map(x, y), &degrees);
    let middle = at(col, row)?;
    let (sine, cosine) = libm::sincos(middle[1].to_radians());
    let w2 = 1.0 - ECCENTRICITY_2 * sine * sine;
    // Radii of curvature along the parallel and the meridian.
    let across = SEMI_MAJOR_M / libm::sqrt(w2) * cosine;
    let along = SEMI_MAJOR_M * (1.0 - ECCENTRICITY_2) / (w2 * libm::sqrt(w2));
    let step = |to: [f64; 2]| {
        let east = (to[0] - middle[0]).to_radians() * across;
        [east, (to[1] - middle[1]).to_radians() * along]
    };
    let ([a, b], [c, d]) = (step(at(col + 1.0, row)?), step(at(col, row + 1.0)?));
    let area = (a * d - b * c).abs();
    area.is_normal().then_some(area)
}

/// From pixels of one grid to pixels of another.
pub(crate) struct Warp {
    to: GeoRef,
    from: GeoRef,
    /// `None` when both are in one reference system.
    systems: Option<[Crs; 2]>,
    /// From map coordinates to pixels, where the source is placed by control points.
    fit: Option<Polynomial>,
    fit_error_px: f64,
}

impl Warp {
    /// From pixels of `to` to those of `from`; a sentence when one of the places is not understood.
    fn new(to: &GeoRef, from: &GeoRef) -> Result<Self, String> {
        let same = if to.epsg.is_some() || from.epsg.is_some() {
            to.epsg == from.epsg
        } else {
            !to.keys.directory.is_empty() && to.keys == from.keys
        };
        let systems = if same {
            None
        } else {
            let of = |georef, which: &str| {
                Crs::of(georef).map_err(|why| {
                    format!("the {which} tile's reference system is not understood: {why}")
                })
            };
            Some([of(to, "optical")?, of(from, "SAR")?])
        };
        let (fit, fit_error_px) = if from.control_points.is_empty() {
            (None, 0.0)
        } else {
            let fit = map_to_pixel(&from.control_points);
            let (fit, error) =
                fit.ok_or("the SAR tile's control points do not determine its place")?;
            (Some(fit), error)
        };
        let warp = Self {
            to: to.clone(),
            from: from.clone(),
            systems,
            fit,
            fit_error_px,
        };
        if to.to_pixel(0.0, 0.0).is_none() || from.to_pixel(0.0, 0.0).is_none() {
            return Err("a tile's place on the ground makes its pixels a line".into());
        }
        Ok(warp)
    }

    /// The source pixel of a target pixel, both measured from the top-left corner; `None` where it
    /// has none, and where a damaged transform leads beyond all numbers.
    fn source_px(&self, [col, row]: [f64; 2]) -> Option<[f64; 2]> {
        let mut at = self.to.to_map(col, row);
        if let Some([to, from]) = &self.systems {
            at = to.convert(at, from)?;
        }
        let found = match &self.fit {
            Some(fit) => fit.at(at),
            None => self.from.to_pixel(at[0], at[1])?,
        };
        found.iter().all(|value| value.is_finite()).then_some(found)
    }

    /// The reference systems by their codes, for the user.
    pub fn systems(&self) -> String {
        let name = |georef: &GeoRef| {
            georef
                .epsg
                .map_or("a private system".into(), |code| format!("EPSG:{code}"))
        };
        if self.systems.is_some() {
            format!("from {} to {}", name(&self.from), name(&self.to))
        } else {
            name(&self.to)
        }
    }

    /// Whether all four corners of the target fall within half a pixel on either grid.
    fn is_same_grid(&self, size_px: [usize; 2]) -> bool {
        let [w, h] = size_px.map(|side| side as f64);
        [[0.0, 0.0], [w, 0.0], [0.0, h], [w, h]]
            .into_iter()
            .all(|[col, row]| {
                self.source_px([col, row]).is_some_and(|[c, r]| {
                    (c - col).abs() < SAME_GRID_PX && (r - row).abs() < SAME_GRID_PX
                })
            })
    }

    /// Whether any of 64 × 64 places of the target, or of the source's pixels seen from it, is on
    /// both.
    fn overlaps(&self, target_px: [usize; 2], source_px: [usize; 2]) -> bool {
        self.source_bounds([0, 0], target_px, source_px).is_some()
    }

    /// The part of the source (first column and row, size) that a part of the target needs, with a
    /// margin; `None` when they do not meet.
    pub fn source_bounds(
        &self,
        at: [usize; 2],
        size: [usize; 2],
        source_px: [usize; 2],
    ) -> Option<([usize; 2], [usize; 2])> {
        const STEPS: usize = 64;
        let (mut low, mut high) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
        for i in 0..=STEPS {
            for j in 0..=STEPS {
                let part = |axis: usize, k: usize| {
                    at[axis] as f64 + (size[axis] * k) as f64 / STEPS as f64
                };
                if let Some(found) = self.source_px([part(0, i), part(1, j)]) {
                    for axis in [0, 1] {
                        low[axis] = low[axis].min(found[axis]);
                        high[axis] = high[axis].max(found[axis]);
                    }
                }
            }
        }
        // The curvature between the places looked at, and the neighbours of a pixel.
        let factor = self.source_px_per_pixel(at, size);
        let mut first = [0; 2];
        let mut count = [0; 2];
        for axis in [0, 1] {
            let margin = 4.0 + 4.0 * factor[axis];
            let end = source_px[axis] as f64;
            if low[axis] > high[axis] || low[axis] >= end || high[axis] <= 0.0 {
                return None;
            }
            let from = libm::floor(low[axis] - margin).clamp(0.0, end - 1.0);
            let to = libm::ceil(high[axis] + margin).clamp(from + 1.0, end);
            (first[axis], count[axis]) = (from as usize, (to - from) as usize);
        }
        Some((first, count))
    }

    /// Columns and rows of the source that one pixel of the target spans in its middle.
    fn source_px_per_pixel(&self, at: [usize; 2], size: [usize; 2]) -> [f64; 2] {
        let middle = [0, 1].map(|axis| at[axis] as f64 + size[axis] as f64 / 2.0);
        let step = |dx: f64, dy: f64| self.source_px([middle[0] + dx, middle[1] + dy]);
        let (Some(from), Some(right), Some(down)) =
            (step(0.0, 0.0), step(1.0, 0.0), step(0.0, 1.0))
        else {
            return [1.0, 1.0];
        };
        [0, 1].map(|axis| libm::hypot(right[axis] - from[axis], down[axis] - from[axis]))
    }

    /// `source`, whose top-left pixel is `source_at` of the whole SAR raster, on a part of the
    /// target, bilinear; black and invalid where it has no valid pixel.
    pub fn apply(
        &self,
        source: &Tile,
        source_at: [usize; 2],
        at: [usize; 2],
        size: [usize; 2],
    ) -> Tile {
        // Where the source is much finer, it is shrunk first (with antialiasing) to about the
        // target's pixel size, since bilinear sampling alone would pick single speckles.
        let factor = self.source_px_per_pixel(at, size);
        let whole = [source.picture.width_px, source.picture.height_px];
        let shrunk = [0, 1].map(|axis| {
            if factor[axis] > 1.0 {
                (libm::round(whole[axis] as f64 / factor[axis]) as usize).max(1)
            } else {
                whole[axis]
            }
        });
        let resized;
        let source = if shrunk == whole {
            source
        } else {
            resized = source.resized(shrunk[0], shrunk[1]);
            &resized
        };
        let scale = [0, 1].map(|axis| shrunk[axis] as f64 / whole[axis] as f64);
        let local = |place: Option<[f64; 2]>| {
            place.map(|p| [0, 1].map(|axis| (p[axis] - source_at[axis] as f64) * scale[axis]))
        };

        let mut picture = Rgb8::filled(size[0], size[1], 0);
        let mut valid = vec![false; size[0] * size[1]];
        for y0 in (0..size[1]).step_by(LATTICE_PX) {
            let rows = LATTICE_PX.min(size[1] - y0);
            for x0 in (0..size[0]).step_by(LATTICE_PX) {
                let columns = LATTICE_PX.min(size[0] - x0);
                let corner = |dx: usize, dy: usize| {
                    let col = at[0] + x0 + dx * LATTICE_PX;
                    let row = at[1] + y0 + dy * LATTICE_PX;
                    local(self.source_px([col as f64, row as f64]))
                };
                let corners = [corner(0, 0), corner(1, 0), corner(0, 1), corner(1, 1)];
                for y in 0..rows {
                    for x in 0..columns {
                        let place = match corners {
                            [Some(a), Some(b), Some(c), Some(d)] => {
                                let [u, v] = [x, y].map(|k| (k as f64 + 0.5) / LATTICE_PX as f64);
                                Some([0, 1].map(|axis| {
                                    let upper = a[axis] + (b[axis] - a[axis]) * u;
                                    let lower = c[axis] + (d[axis] - c[axis]) * u;
                                    upper + (lower - upper) * v
                                }))
                            }
                            // At the edge of where a projection is defined.
                            _ => local(self.source_px([
                                (at[0] + x0 + x) as f64 + 0.5,
                                (at[1] + y0 + y) as f64 + 0.5,
                            ])),
                        };
                        let Some(colour) = place.and_then(|place| sample(source, place)) else {
                            continue;
                        };
                        let pixel = (y0 + y) * size[0] + x0 + x;
                        valid[pixel] = true;
                        picture.data[3 * pixel..3 * pixel + 3].copy_from_slice(&colour);
                    }
                }
            }
        }
        let valid = valid.contains(&false).then_some(valid);
        Tile { picture, valid }
    }
}

/// The colour at a position, bilinear between the valid ones of its four neighbours; `None` outside
/// and where the pixel that holds the position is invalid.
fn sample(source: &Tile, [col, row]: [f64; 2]) -> Option<[u8; 3]> {
    let (w, h) = (source.picture.width_px, source.picture.height_px);
    let inside = col >= 0.0 && row >= 0.0 && col < w as f64 && row < h as f64;
    if !inside || !source.is_valid(col as usize, row as usize) {
        return None;
    }
    let (x0, x1, u) = neighbours(col, w);
    let (y0, y1, v) = neighbours(row, h);
    let mut sums = [0.0; 3];
    let mut weights = 0.0;
    for (x, y, weight) in [
        (x0, y0, (1.0 - u) * (1.0 - v)),
        (x1, y0, u * (1.0 - v)),
        (x0, y1, (1.0 - u) * v),
        (x1, y1, u * v),
    ] {
        if source.is_valid(x, y) {
            weights += weight;
            for (sum, byte) in sums.iter_mut().zip(source.picture.pixel(x, y)) {
                *sum += weight * f64::from(byte);
            }
        }
    }
    (weights > 0.0).then(|| sums.map(|sum| libm::round(sum / weights) as u8))
}

/// The two pixels whose centres enclose a position, and the second one's weight; edges repeat.
fn neighbours(at: f64, size: usize) -> (usize, usize, f64) {
    let centre = (at - 0.5).max(0.0);
    let first = (centre as usize).min(size - 1);
    (first, (first + 1).min(size - 1), centre - first as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::Warp;
    use crate::{GeoKeys, GeoRef};

    fn placed(transform: [f64; 6]) -> GeoRef {
        GeoRef {
            transform,
            epsg: Some(32_611),
            keys: GeoKeys::default(),
            control_points: Vec::new(),
        }
    }

    #[test]
    fn transforms_that_overflow_lead_nowhere() {
        let to = placed([1e307, 0.0, 0.0, 0.0, -1.0, 0.0]);
        let from = placed([0.05, 0.0, 0.0, 0.0, -20.0, 0.0]);
        let warp = Warp::new(&to, &from).expect("both have a place");
        assert!(warp.source_px([0.0, 0.0]).is_some());
        assert!(warp.source_px([8.0, 0.0]).is_none());
        assert!(warp.source_bounds([0, 0], [64, 64], [27, 27]).is_none());
    }
}
