//! A label map as `GeoJSON` polygons (RFC 7946).

use std::fmt::Write as _;

use super::check::check;
use super::outline::{Corner, Outline, Ring};
use super::regions::Regions;
use super::simplify::simplify;
use crate::crs::Crs;
use crate::placing::pixel_area_m2;
use crate::{GeoRef, RasterError};

/// What polygons say beside their class.
#[derive(Clone, Copy, Debug, Default)]
pub struct GeoJsonOptions<'a> {
    /// Place on the ground.
    pub georef: Option<&'a GeoRef>,
    /// Most that borders may move, in pixels; 0 keeps every corner.
    pub simplify_px: f64,
    /// Probability of each pixel's label, 0 to 254 for 0 to 1, 255 where it is not known.
    pub confidence: Option<&'a [u8]>,
    /// Further properties of every polygon: source file, model, time.
    pub properties: &'a [(&'a str, String)],
}

/// A `FeatureCollection` with one `Polygon` feature for each region of pixels of one class that
/// touch by their edges. Its properties: `class` (name), `index`, `colour` (`#rrggbb`), `area_m2`
/// (on the ellipsoid, before simplification; where the place is known), `area_px`, `probability`
/// (mean over its pixels, where it is known), and those of the options.
///
/// Coordinates are WGS 84 degrees when the reference system is understood. Else they are pixels
/// from the top-left corner, rows downwards, and the collection's foreign member `coordinates` says
/// so. Outer rings run counterclockwise as drawn on axes that point right and up, holes clockwise.
///
/// With `simplify_px` above 0, borders lose corners but move by at most so many pixels; neighbours
/// still share them, and none cross. Labels that have no name are left out.
///
/// # Errors
/// [`RasterError::Argument`] when `labels` does not hold `width_px * height_px` bytes, there are
/// more than 256 names or colours, a side is longer than 65 535 px, or the labels are too detailed
/// (noise).
pub fn geojson(
    labels: &[u8],
    width_px: usize,
    height_px: usize,
    names: &[String],
    palette: &[[u8; 3]],
    options: &GeoJsonOptions<'_>,
) -> Result<String, RasterError> {
    check(labels, width_px, height_px, palette.len().max(names.len()))?;
    let mut outline = Outline::trace(labels, width_px, height_px)?;
    let regions = Regions::find(labels, width_px, options.confidence);
    // The first pixel of a region has its top-left corner on the outer ring, and no corner of it
    // comes before that one in rows from the top.
    let measures: Vec<_> = outline
        .regions
        .iter()
        .map(|(_, rings)| {
            let corners = rings.iter().flat_map(|ring| ring_corners(&outline, ring));
            let first = corners.min_by_key(|&[col, row]| (row, col));
            let [col, row] = first.unwrap_or_default().map(usize::from);
            regions.of_pixel(col, row)
        })
        .collect();
    drop(regions);
    simplify(&mut outline, options.simplify_px);

    let place = Place::of(options.georef);
    let mut out = String::from("{\"type\":\"FeatureCollection\",");
    if place.system.is_none() {
        let why = options.georef.map_or(String::new(), |georef| {
            Crs::of(georef)
                .err()
                .map_or(String::new(), |why| format!(" ({why})"))
        });
        out.push_str("\"coordinates\":");
        let text = format!("pixels from the top-left corner, rows downwards{why}");
        string(&mut out, &text);
        out.push(',');
    }
    out.push_str("\"features\":[");
    let mut features: Vec<_> = outline
        .regions
        .iter()
        .zip(measures)
        .filter(|((label, _), _)| usize::from(*label) < names.len())
        .collect();
    features.sort_by_key(|((label, _), _)| *label);
    for (i, ((label, rings), measure)) in features.into_iter().enumerate() {
        let index = usize::from(*label);
        let [r, g, b] = palette.get(index).copied().unwrap_or_default();
        out.push_str(if i == 0 { "\n" } else { ",\n" });
        out.push_str("{\"type\":\"Feature\",\"properties\":{\"class\":");
        string(&mut out, &names[index]);
        // Writing to a string cannot fail, here and below.
        let _ = write!(
            out,
            ",\"index\":{index},\"colour\":\"#{r:02x}{g:02x}{b:02x}\",\"area_px\":{}",
            measure.pixels
        );
        let area = options
            .georef
            .and_then(|georef| pixel_area_m2(georef, measure.centre()));
        if let Some(area) = area {
            let _ = write!(out, ",\"area_m2\":{:.1}", area * measure.pixels as f64);
        }
        if let Some(probability) = measure.confidence() {
            let _ = write!(out, ",\"probability\":{probability:.3}");
        }
        for (name, value) in options.properties {
            out.push(',');
            string(&mut out, name);
            out.push(':');
            string(&mut out, value);
        }
        out.push_str("},\"geometry\":{\"type\":\"Polygon\",\"coordinates\":[");
        polygon(&mut out, &outline, rings, &place);
        out.push_str("]}}");
    }
    out.push_str("\n]}\n");
    Ok(out)
}

/// Writes the rings of one region, the outer one first.
fn polygon(out: &mut String, outline: &Outline, rings: &[Ring], place: &Place<'_>) {
    let mut rings: Vec<(i64, Vec<Corner>)> = rings
        .iter()
        .map(|ring| {
            let corners = ring_corners(outline, ring);
            (Outline::double_area(&corners), corners)
        })
        .collect();
    // The outer ring is the one that runs clockwise on the screen, where rows go down.
    rings.sort_by_key(|(area, _)| *area <= 0);
    for (i, (_, corners)) in rings.iter_mut().enumerate() {
        if place.mirrors {
            corners.reverse();
        }
        out.push_str(if i == 0 { "[" } else { ",[" });
        let closing = corners.first().copied();
        for (j, corner) in corners.iter().copied().chain(closing).enumerate() {
            if j > 0 {
                out.push(',');
            }
            place.write(out, corner);
        }
        out.push(']');
    }
}

/// The corners of a ring, each once.
fn ring_corners(outline: &Outline, ring: &Ring) -> Vec<Corner> {
    let mut corners = Vec::new();
    for &half in ring {
        let arc = &outline.corners[outline.arcs[half as usize / 2].clone()];
        // The end of each is the start of the next.
        if half % 2 == 0 {
            corners.extend_from_slice(&arc[..arc.len() - 1]);
        } else {
            corners.extend(arc[1..].iter().rev());
        }
    }
    corners
}

/// From corners to coordinates.
struct Place<'a> {
    /// The place, its reference system, and WGS 84.
    system: Option<(&'a GeoRef, Crs, Crs)>,
    /// Whether a way that turns right in pixels turns left in coordinates.
    mirrors: bool,
}

impl<'a> Place<'a> {
    fn of(georef: Option<&'a GeoRef>) -> Self {
        let system = georef.and_then(|georef| Some((georef, Crs::of(georef).ok()?, Crs::wgs84()?)));
        let mirrors = system.as_ref().is_some_and(|(georef, ..)| {
            let [a, b, _, d, e, _] = georef.transform;
            a * e - b * d < 0.0
        });
        Self { system, mirrors }
    }

    fn write(&self, out: &mut String, [col, row]: Corner) {
        let degrees = self.system.as_ref().and_then(|(georef, crs, wgs84)| {
            crs.convert(georef.to_map(col.into(), row.into()), wgs84)
        });
        let _ = match (degrees, &self.system) {
            // A centimetre on the ground.
            (Some([x, y]), _) => write!(out, "[{x:.7},{y:.7}]"),
            (None, None) => write!(out, "[{col},{row}]"),
            // Beyond where the projection is defined: no place on Earth.
            (None, Some(_)) => write!(out, "[0,90]"),
        };
    }
}

/// Writes a JSON string.
fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
