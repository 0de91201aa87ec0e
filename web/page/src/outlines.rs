//! Outlines of both files on the ground, drawn to scale: where a pair lies, and how far apart two
//! files are that have no ground in common.

use leptos::prelude::*;
use mmovseg_protocol::Outline;

/// Longest side of the drawing and its margin, in units of its own.
const SIDE: f64 = 200.0;
const MARGIN: f64 = 8.0;

/// Longitudes and latitudes as points of the drawing, north up, one kilometre as long in both
/// directions; with the size of the drawing.
fn points(outlines: &[Outline; 2]) -> ([Vec<[f64; 2]>; 2], [f64; 2]) {
    let all = || outlines.iter().flatten();
    let (mut low, mut high) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
    // Files on both sides of the 180th meridian lie beside each other.
    let longest = all().map(|p| p[0]).fold(f64::NEG_INFINITY, f64::max);
    let shortest = all().map(|p| p[0]).fold(f64::INFINITY, f64::min);
    let is_split = longest - shortest > 180.0;
    let middle = all().map(|p| p[1]).sum::<f64>() / all().count().max(1) as f64;
    let scale = middle.to_radians().cos().max(0.01);
    let place = |[longitude, latitude]: [f64; 2]| {
        let east = if is_split && longitude < 0.0 {
            longitude + 360.0
        } else {
            longitude
        };
        [east * scale, -latitude]
    };
    for point in all().map(|p| place(*p)) {
        for axis in [0, 1] {
            low[axis] = low[axis].min(point[axis]);
            high[axis] = high[axis].max(point[axis]);
        }
    }
    let span = [0, 1].map(|axis| high[axis] - low[axis]);
    let unit = SIDE / span[0].max(span[1]).max(1e-9);
    let draw = |outline: &Outline| -> Vec<[f64; 2]> {
        let points = outline.iter().map(|p| place(*p));
        points
            .map(|point| [0, 1].map(|axis| MARGIN + (point[axis] - low[axis]) * unit))
            .collect()
    };
    let [optical, sar] = outlines;
    let size = span.map(|side| side * unit + 2.0 * MARGIN);
    ([draw(optical), draw(sar)], size)
}

/// The drawing with its legend.
#[component]
pub fn OutlineMap(
    /// Of the optical and of the SAR file.
    outlines: [Outline; 2],
) -> impl IntoView {
    let ([optical, sar], [width, height]) = points(&outlines);
    let path = |points: &[[f64; 2]]| {
        let corners: Vec<String> = points
            .iter()
            .map(|[x, y]| format!("{x:.2},{y:.2}"))
            .collect();
        corners.join(" ")
    };
    view! {
        <figure class="outlines" data-testid="outlines">
            <svg viewBox=format!("0 0 {width:.2} {height:.2}") role="img"
                aria-label="Outlines of the optical file and of the SAR file on the ground, north up">
                <polygon class="optical" points=path(&optical) />
                <polygon class="sar" points=path(&sar) />
            </svg>
            <figcaption>"North up. Solid: optical file. Dashed: SAR file."</figcaption>
        </figure>
    }
}

#[cfg(test)]
mod tests {
    use super::{MARGIN, SIDE, points};

    fn square(west: f64, south: f64, side: f64) -> Vec<[f64; 2]> {
        let (east, north) = (west + side, south + side);
        vec![[west, north], [east, north], [east, south], [west, south]]
    }

    #[test]
    fn north_is_up_and_both_files_share_a_scale() {
        let ([a, b], size) = points(&[square(10.0, 0.0, 1.0), square(12.0, 1.0, 1.0)]);
        // The second file is north-east of the first.
        assert!(b[0][0] > a[0][0] && b[0][1] < a[0][1]);
        assert!((size[0] - SIDE - 2.0 * MARGIN).abs() < 1e-6);
        assert!((a[1][0] - a[0][0] - (b[1][0] - b[0][0])).abs() < 1e-6);
    }

    #[test]
    fn files_at_the_180th_meridian_lie_beside_each_other() {
        let ([a, b], _) = points(&[square(179.0, 10.0, 0.5), square(-180.0, 10.0, 0.5)]);
        assert!(b[0][0] > a[1][0]);
        assert!(b[1][0] - a[0][0] <= SIDE + 1e-6);
    }
}
