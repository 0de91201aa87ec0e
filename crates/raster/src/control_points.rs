//! Least-squares fits through ground control points: an affine transform, and polynomials from map
//! coordinates to pixels.

use crate::ControlPoint;

/// The affine transform (pixels to map) nearest to the points; `None` for fewer than three, or
/// points on a line.
pub(crate) fn affine(points: &[ControlPoint]) -> Option<[f64; 6]> {
    let fit = Polynomial::fit(1, points.iter().map(|p| (p.pixel, p.map)))?;
    let origin = fit.at([0.0, 0.0]);
    let (right, down) = (fit.at([1.0, 0.0]), fit.at([0.0, 1.0]));
    Some([
        right[0] - origin[0],
        down[0] - origin[0],
        origin[0],
        right[1] - origin[1],
        down[1] - origin[1],
        origin[1],
    ])
}

/// The polynomial from map coordinates to pixels: order 1 below 6 points, 2 below 20 (as GDAL), 3
/// above, where the points of a Sentinel-1 product leave less than a pixel of error. With the root
/// mean square of its error in pixels.
pub(crate) fn map_to_pixel(points: &[ControlPoint]) -> Option<(Polynomial, f64)> {
    let order = match points.len() {
        0..6 => 1,
        6..20 => 2,
        _ => 3,
    };
    let pairs = || points.iter().map(|p| (p.map, p.pixel));
    // Points in a row or on a grid of two columns do not carry the higher orders.
    let fit = (1..=order)
        .rev()
        .find_map(|n| Polynomial::fit(n, pairs()))?;
    let squares: f64 = pairs()
        .map(|(from, to)| {
            let [x, y] = fit.at(from);
            (x - to[0]).powi(2) + (y - to[1]).powi(2)
        })
        .sum();
    Some((fit, libm::sqrt(squares / points.len() as f64)))
}

/// A polynomial of two variables with two values.
#[derive(Clone, Debug)]
pub(crate) struct Polynomial {
    order: usize,
    centre: [f64; 2],
    scale: [f64; 2],
    coefficients: [Vec<f64>; 2],
}

impl Polynomial {
    /// `None` when the points do not determine it.
    fn fit(
        order: usize,
        pairs: impl Iterator<Item = ([f64; 2], [f64; 2])> + Clone,
    ) -> Option<Self> {
        let (mut low, mut high) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
        for (from, _) in pairs.clone() {
            for axis in [0, 1] {
                low[axis] = low[axis].min(from[axis]);
                high[axis] = high[axis].max(from[axis]);
            }
        }
        let centre = [0, 1].map(|axis| f64::midpoint(low[axis], high[axis]));
        let scale = [0, 1].map(|axis| (high[axis] - low[axis]) / 2.0);
        if !scale.iter().all(|s| s.is_normal()) {
            return None;
        }
        let mut fit = Self {
            order,
            centre,
            scale,
            coefficients: [Vec::new(), Vec::new()],
        };
        let terms = fit.terms([0.0; 2]).len();
        // Normal equations; both right-hand sides in the last columns.
        let mut matrix = vec![vec![0.0; terms + 2]; terms];
        for (from, to) in pairs {
            let row = fit.terms(from);
            for (i, line) in matrix.iter_mut().enumerate() {
                for (sum, value) in line.iter_mut().zip(row.iter().chain(&to)) {
                    *sum += row[i] * value;
                }
            }
        }
        let solved = solve(matrix)?;
        fit.coefficients = [0, 1].map(|axis| solved.iter().map(|values| values[axis]).collect());
        Some(fit)
    }

    fn terms(&self, at: [f64; 2]) -> Vec<f64> {
        let [x, y] = [0, 1].map(|axis| (at[axis] - self.centre[axis]) / self.scale[axis]);
        let powers = |v: f64| [1.0, v, v * v, v * v * v];
        let (x, y) = (powers(x), powers(y));
        let order = self.order;
        (0..=order)
            .flat_map(|i| (0..=order - i).map(move |j| (i, j)))
            .map(|(i, j)| x[i] * y[j])
            .collect()
    }

    /// The values at a position.
    pub fn at(&self, at: [f64; 2]) -> [f64; 2] {
        let terms = self.terms(at);
        [0, 1].map(|axis| {
            let values = terms.iter().zip(&self.coefficients[axis]);
            values.map(|(term, factor)| term * factor).sum()
        })
    }
}

/// Gauss's elimination with the largest pivot; rows end with two right-hand sides.
fn solve(mut rows: Vec<Vec<f64>>) -> Option<Vec<[f64; 2]>> {
    let n = rows.len();
    for column in 0..n {
        let size = |row: &Vec<f64>| row[column].abs();
        let pivot = (column..n).max_by(|&a, &b| size(&rows[a]).total_cmp(&size(&rows[b])))?;
        if size(&rows[pivot]).is_nan() || size(&rows[pivot]) < 1e-9 {
            return None;
        }
        rows.swap(column, pivot);
        let upper = rows[column].clone();
        for (i, row) in rows.iter_mut().enumerate() {
            if i != column {
                let factor = row[column] / upper[column];
                for (value, above) in row.iter_mut().zip(&upper) {
                    *value -= factor * above;
                }
            }
        }
    }
    Some(
        (0..n)
            .map(|i| [n, n + 1].map(|at| rows[i][at] / rows[i][i]))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::{affine, map_to_pixel};
    use crate::ControlPoint;

    fn grid(side: usize, map: impl Fn(f64, f64) -> [f64; 2]) -> Vec<ControlPoint> {
        (0..side * side)
            .map(|i| [(i % side) as f64 * 100.0, (i / side) as f64 * 80.0])
            .map(|pixel| ControlPoint {
                pixel,
                map: map(pixel[0], pixel[1]),
            })
            .collect()
    }

    #[test]
    fn a_flipped_and_rotated_grid_is_met_exactly() {
        let place = |x: f64, y: f64| [11.0 - 1e-4 * x + 2e-5 * y, 48.0 + 3e-5 * x + 9e-5 * y];
        for side in [2, 3, 5] {
            let points = grid(side, place);
            let [a, b, c, d, e, f] = affine(&points).unwrap();
            for (found, wanted) in [a, b, c, d, e, f]
                .iter()
                .zip([-1e-4, 2e-5, 11.0, 3e-5, 9e-5, 48.0])
            {
                assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
            }
            let (fit, error_px) = map_to_pixel(&points).unwrap();
            assert!(error_px < 1e-6);
            let [x, y] = fit.at(place(37.0, 11.0));
            assert!((x - 37.0).abs() < 1e-6 && (y - 11.0).abs() < 1e-6);
        }
    }

    #[test]
    fn points_on_a_line_or_too_few_give_no_place() {
        let line: Vec<_> = grid(3, |x, y| [x, y]).into_iter().take(3).collect();
        assert!(affine(&line).is_none() && map_to_pixel(&line).is_none());
        assert!(affine(&[]).is_none());
    }
}
