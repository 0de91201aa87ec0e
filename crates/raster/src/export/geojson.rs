//! A label map as `GeoJSON` polygons (RFC 7946).

use std::fmt::Write as _;

use super::check;
use super::outline::{Corner, Outline, Ring};
use super::simplify::simplify;
use super::wgs84::System;
use crate::{GeoRef, RasterError};

/// A `FeatureCollection` with one `MultiPolygon` feature for each class that has pixels, with the
/// properties `class` (name), `index`, `colour` (`#rrggbb`) and `share` (of all pixels, 0 to 1, before
/// simplification).
///
/// Coordinates are WGS 84 degrees when `geo` has a known reference system (EPSG:4326, 3857, 326xx,
/// 327xx, 4258, 25828 to 25838). Else they are pixels from the top-left corner, rows downwards, and the
/// collection's foreign member `coordinates` says so. Outer rings run counterclockwise as drawn on axes
/// that point right and up, holes clockwise.
///
/// With `simplify_px` above 0, borders lose corners but move by at most so many pixels; neighbours
/// still share them, and none cross. Labels that have no name are left out.
///
/// # Errors
/// [`RasterError::Argument`] when `labels` does not hold `width_px * height_px` bytes, there are more
/// than 256 names or colours, a side is longer than 65 535 px, or the labels are too detailed (noise).
pub fn geojson(
    labels: &[u8],
    width_px: usize,
    height_px: usize,
    names: &[String],
    palette: &[[u8; 3]],
    geo: Option<&GeoRef>,
    simplify_px: f64,
) -> Result<String, RasterError> {
    check(labels, width_px, height_px, palette.len().max(names.len()))?;
    let mut outline = Outline::trace(labels, width_px, height_px)?;
    simplify(&mut outline, simplify_px);

    let mut pixels = [0_usize; 256];
    for &label in labels {
        pixels[usize::from(label)] += 1;
    }
    let mut by_class = vec![Vec::new(); names.len()];
    for (label, rings) in &outline.regions {
        if let Some(regions) = by_class.get_mut(usize::from(*label)) {
            regions.push(rings);
        }
    }
    let place = Place::of(geo);
    let mut out = String::from("{\"type\":\"FeatureCollection\",");
    if place.system.is_none() {
        let why = match geo.and_then(|geo| geo.epsg) {
            Some(epsg) => format!(" (EPSG:{epsg} is not converted)"),
            None => String::new(),
        };
        // Writing to a string cannot fail, here and below.
        let _ = write!(
            out,
            "\"coordinates\":\"pixels from the top-left corner, rows downwards{why}\","
        );
    }
    out.push_str("\"features\":[");
    let mut first = true;
    for (index, regions) in by_class.iter().enumerate() {
        if regions.is_empty() {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        let [r, g, b] = palette.get(index).copied().unwrap_or_default();
        let share = pixels[index] as f64 / labels.len() as f64;
        out.push_str("\n{\"type\":\"Feature\",\"properties\":{\"class\":");
        string(&mut out, &names[index]);
        let _ = write!(
            out,
            ",\"index\":{index},\"colour\":\"#{r:02x}{g:02x}{b:02x}\",\"share\":{share}}},\"geometry\":{{\"type\":\"MultiPolygon\",\"coordinates\":["
        );
        for (i, rings) in regions.iter().enumerate() {
            out.push_str(if i == 0 { "[" } else { ",[" });
            polygon(&mut out, &outline, rings, &place);
            out.push(']');
        }
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
    system: Option<(&'a GeoRef, System)>,
    /// Whether a way that turns right in pixels turns left in coordinates.
    mirrors: bool,
}

impl<'a> Place<'a> {
    fn of(geo: Option<&'a GeoRef>) -> Self {
        let system = geo.and_then(|geo| Some((geo, System::of(geo.epsg?)?)));
        let mirrors = system.is_some_and(|(geo, _)| {
            let [a, b, _, d, e, _] = geo.transform;
            a * e - b * d < 0.0
        });
        Self { system, mirrors }
    }

    fn write(&self, out: &mut String, [col, row]: Corner) {
        let _ = match self.system {
            None => write!(out, "[{col},{row}]"),
            Some((geo, system)) => {
                let [x, y] = system.degrees(geo.to_map(col.into(), row.into()));
                // A centimetre on the ground.
                write!(out, "[{x:.7},{y:.7}]")
            }
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
