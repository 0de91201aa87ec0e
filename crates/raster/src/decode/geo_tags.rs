//! Place on the ground from the tags of a `GeoTIFF` (OGC 19-008r4).

use super::tags::Tags;
use crate::{ControlPoint, GeoRef, control_points};

/// The place that a file gives; `None` when it gives none. Scale and tie point win over a matrix,
/// and both over control points, as in GDAL.
pub(super) fn georef(tags: &Tags) -> Option<GeoRef> {
    let keys = tags.geo_keys.clone();
    let half_px = if keys.pixel_is_point() { 0.5 } else { 0.0 };
    let epsg = crate::crs::epsg_code(&keys);
    let mut control_points = Vec::new();
    let mut transform = match (
        tags.scale.as_slice(),
        tags.tie_points.as_slice(),
        tags.matrix.as_slice(),
    ) {
        ([sx, sy, ..], [i, j, _, x, y, ..], _) if *sx != 0.0 && *sy != 0.0 => {
            let sy = -sy.abs();
            [*sx, 0.0, x - i * sx, 0.0, sy, y - j * sy]
        }
        // A rotated grid comes as the upper rows of a 4 × 4 matrix.
        (_, _, [a, b, _, c, d, e, _, f, ..]) => [*a, *b, *c, *d, *e, *f],
        (_, tie_points, _) => {
            let (points, _) = tie_points.as_chunks::<6>();
            control_points = points
                .iter()
                .filter(|point| point.iter().all(|v| v.is_finite()))
                .map(|&[i, j, _, x, y, _]| ControlPoint {
                    pixel: [i + half_px, j + half_px],
                    map: [x, y],
                })
                .collect();
            control_points::affine(&control_points)?
        }
    };
    if transform.iter().any(|v| !v.is_finite()) {
        return None;
    }
    if control_points.is_empty() && half_px > 0.0 {
        // "Pixel is point": positions are of pixel centres.
        let [a, b, c, d, e, f] = transform;
        transform = [a, b, c - (a + b) / 2.0, d, e, f - (d + e) / 2.0];
    }
    Some(GeoRef {
        transform,
        epsg,
        keys,
        control_points,
    })
}
