//! Scenes larger than the model's square: which windows are cut from them, and how the windows'
//! probabilities become one label map.
//!
//! Everything is laid out in *cells*, the pixels of the model's output (4g a side). Windows start
//! at whole cells, so that the cells of all windows fall onto one grid of the scene; they are
//! blended there, and only a band of the grid, one window high, is in memory.

use mmovseg_raster::Preprocess;
use serde::{Deserialize, Serialize};

use crate::labels::{Upsampler, axis};

/// How a scene is shown to the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tiling {
    /// In windows when the scene's longer side is more than 1.5 times the model's input, else as a
    /// whole; as a whole in [`Preprocess::Parity`], which repeats the authors' loader.
    #[default]
    Auto,
    /// Squashed to the model's square.
    Whole,
    /// In windows of the model's input size, in pixels of the scene, that overlap their neighbours
    /// by at least this many pixels (at most three quarters of a window). An axis shorter than a
    /// window is squashed to it.
    Windows {
        /// Least overlap.
        overlap_px: usize,
    },
}

/// A scene longer than this many model inputs is cut.
pub(crate) const WHOLE_UP_TO: f64 = 1.5;

/// Overlap of [`Tiling::Auto`], as a share of the window. mIoU hardly depends on it (an earlier
/// nano on four generated scenes of 576 px: 0.416 with a third, a half and two thirds; 0.376 for
/// the scene as a whole), but where the windows lie should not show: with a third up to 5 % of
/// nano's sure labels turn when the grid moves by half a step, at 1.6 times less work.
const AUTO_OVERLAP: f64 = 0.5;

/// Most values of the probability map that a windowed run gives back; above, the map is coarser.
pub(crate) const MAP_VALUES_MAX: usize = 1 << 24;

/// Where the windows of one scene lie.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Plan {
    pub columns: Axis,
    pub rows: Axis,
}

/// The windows along one axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Axis {
    /// Length of the scene.
    pub len_px: usize,
    /// Length of one window in pixels of the scene.
    pub window_px: usize,
    /// Cells of one window.
    pub window: usize,
    /// Cells of the scene.
    pub cells: usize,
    /// First cell of each window, ascending; the first begins with the first cell, the last ends
    /// with the last.
    pub starts: Vec<usize>,
}

impl Axis {
    /// The only window, which holds the whole axis.
    fn whole(len_px: usize, window: usize) -> Self {
        Self {
            len_px,
            window_px: len_px,
            window,
            cells: window,
            starts: vec![0],
        }
    }

    fn cut(
        len_px: usize,
        side_px: usize,
        window: usize,
        overlap_px: usize,
        origin_px: i64,
    ) -> Self {
        // A whole number of pixels a cell: 2 for nano, 4 for B and L.
        let cell_px = (side_px / window).max(1);
        if len_px <= cell_px * window {
            return Self::whole(len_px, window);
        }
        let cells = len_px.div_ceil(cell_px);
        let overlap = (overlap_px / cell_px).min(window * 3 / 4);
        let (span, step) = (cells - window, window - overlap);
        // What is left of the last step before the scene begins.
        let rest_px = (-origin_px).rem_euclid((step * cell_px) as i64) as usize;
        let mut starts = vec![0];
        starts.extend((rest_px / cell_px..span).step_by(step).filter(|&at| at > 0));
        starts.push(span);
        starts.dedup();
        Self {
            len_px,
            window_px: cell_px * window,
            window,
            cells,
            starts,
        }
    }

    /// Pixels a cell is long.
    fn cell_px(&self) -> f64 {
        self.window_px as f64 / self.window as f64
    }

    /// First pixel of a window.
    pub fn start_px(&self, index: usize) -> usize {
        self.starts[index] * self.window_px / self.window
    }
}

impl Plan {
    /// The windows of a scene for a model of input `side_px` and `window` output cells a side.
    ///
    /// They lie at whole steps from the pixel `origin_px` to the left of and above the scene's
    /// first, so that parts of one scene are seen through the same windows; one more ends with
    /// each edge. Where windows lie decides more than statistics do: of nano's labels of three real
    /// tiles of 768 px, 95.1, 98.0 and 99.6 % stayed when the windows moved by half a step under
    /// the same statistics; 99.5, 99.4 and 100 % in a part of the tile under the same windows with
    /// statistics of its own.
    pub fn new(
        [width_px, height_px]: [usize; 2],
        origin_px: [i64; 2],
        tiling: Tiling,
        preprocess: Preprocess,
        (side_px, window): (usize, usize),
    ) -> Self {
        let large = width_px.max(height_px) as f64 > WHOLE_UP_TO * side_px as f64;
        let overlap_px = match tiling {
            Tiling::Auto if large && preprocess == Preprocess::Aligned => {
                Some((AUTO_OVERLAP * side_px as f64) as usize)
            }
            Tiling::Auto | Tiling::Whole => None,
            Tiling::Windows { overlap_px } => Some(overlap_px),
        };
        let axis = |len_px, origin_px| match overlap_px {
            Some(overlap_px) => Axis::cut(len_px, side_px, window, overlap_px, origin_px),
            None => Axis::whole(len_px, window),
        };
        Self {
            columns: axis(width_px, origin_px[0]),
            rows: axis(height_px, origin_px[1]),
        }
    }

    /// Number of windows.
    pub fn count(&self) -> usize {
        self.columns.starts.len() * self.rows.starts.len()
    }

    /// Column and row of a window; windows are counted row by row.
    pub fn position(&self, index: usize) -> [usize; 2] {
        let across = self.columns.starts.len();
        [index % across, index / across]
    }
}

/// Adds up the windows of a scene, row of windows by row of windows.
pub(crate) struct Blend<'a> {
    plan: &'a Plan,
    classes: usize,
    /// Weight of a window's cells along one axis.
    taper: Vec<f32>,
    /// One over the sum of all windows' weights, by column and by row of the scene's grid.
    scale: [Vec<f32>; 2],
    /// Weighted sums `[rows, T, columns]` from row `top` on.
    band: Vec<f32>,
    top: usize,
    /// Rows below this one are final: probabilities, no longer sums.
    done: usize,
    /// Lower row, upper row and weight of the upper one, for each row of pixels.
    row_taps: Vec<(usize, usize, f32)>,
    upsampler: Upsampler,
    labels: Vec<u8>,
    /// Side of the square of cells that one value of `map` is the mean of.
    coarser: usize,
    /// Sums of probabilities `[T, h, w]`.
    map: Vec<f32>,
}

impl<'a> Blend<'a> {
    pub fn new(plan: &'a Plan, classes: usize) -> Self {
        let window = plan.columns.window;
        let taper: Vec<f32> = (0..window)
            .map(|i| {
                let phase = (i as f32 + 0.5) / window as f32 * std::f32::consts::PI;
                // The scene's own edge has one window only, whose weight must not vanish.
                phase.sin().powi(2) + 1e-4
            })
            .collect();
        let scale = [&plan.columns, &plan.rows].map(|axis| {
            let mut sums = vec![0.0; axis.cells];
            for &start in &axis.starts {
                for (sum, weight) in sums[start..].iter_mut().zip(&taper) {
                    *sum += weight;
                }
            }
            sums.into_iter().map(|sum| 1.0 / sum).collect()
        });
        let side = |axis: &Axis, coarser: usize| axis.cells.div_ceil(coarser);
        let mut coarser = 1;
        while classes * side(&plan.columns, coarser) * side(&plan.rows, coarser) > MAP_VALUES_MAX {
            coarser += 1;
        }
        let map = side(&plan.columns, coarser) * side(&plan.rows, coarser);
        let ratio = |axis: &Axis| (1.0 / axis.cell_px()) as f32;
        let columns = &plan.columns;
        Self {
            plan,
            classes,
            taper,
            scale,
            band: vec![0.0; (window + 1) * classes * columns.cells],
            top: 0,
            done: 0,
            row_taps: axis(plan.rows.cells, plan.rows.len_px, ratio(&plan.rows)),
            upsampler: Upsampler::new(columns.cells, columns.len_px, ratio(columns)),
            labels: Vec::with_capacity(columns.len_px * plan.rows.len_px),
            coarser,
            map: vec![0.0; classes * map],
        }
    }

    /// Adds a window's logits `[T, 4g, 4g]`. Windows must come in order.
    pub fn add(&mut self, index: usize, logits: &[f32]) {
        let plan = self.plan;
        let [column, row] = plan.position(index);
        let (x, y) = (plan.columns.starts[column], plan.rows.starts[row]);
        let (window, width) = (self.taper.len(), plan.columns.cells);
        for class in 0..self.classes {
            for cy in 0..window {
                let from = &logits[(class * window + cy) * window..][..window];
                let to = ((y + cy - self.top) * self.classes + class) * width + x;
                let to = &mut self.band[to..to + window];
                let weight = self.taper[cy];
                for ((sum, &logit), taper) in to.iter_mut().zip(from).zip(&self.taper) {
                    *sum += weight * taper / (1.0 + (-logit).exp());
                }
            }
        }
        if column + 1 == plan.columns.starts.len() {
            let next = plan.rows.starts.get(row + 1);
            self.settle(next.copied().unwrap_or(plan.rows.cells));
        }
    }

    /// No window will touch the rows below `end` any more: labels are taken from them.
    fn settle(&mut self, end: usize) {
        let width = self.plan.columns.cells;
        let row_values = self.classes * width;
        let map_width = width.div_ceil(self.coarser);
        let map_area = self.map.len() / self.classes;
        for y in self.done..end {
            let row = &mut self.band[(y - self.top) * row_values..][..row_values];
            for (class, values) in row.chunks_exact_mut(width).enumerate() {
                let map = class * map_area + y / self.coarser * map_width;
                for (x, (value, scale)) in values.iter_mut().zip(&self.scale[0]).enumerate() {
                    *value *= scale * self.scale[1][y];
                    self.map[map + x / self.coarser] += *value;
                }
            }
        }
        self.done = end;
        let width_px = self.plan.columns.len_px;
        while let Some(&between) = self.row_taps.get(self.labels.len() / width_px) {
            if between.1 >= end {
                break;
            }
            let (band, top) = (&self.band, self.top);
            let label_row = self.upsampler.row(self.classes, between, |y, class| {
                &band[(y - top) * row_values + class * width..][..width]
            });
            self.labels.extend_from_slice(label_row);
        }
        // The last final row is still needed, between itself and the next.
        let keep = end.saturating_sub(1);
        self.band.copy_within((keep - self.top) * row_values.., 0);
        let rows = self.band.len() / row_values;
        let filled = (self.top + rows - keep) * row_values;
        self.band[filled..].fill(0.0);
        self.top = keep;
    }

    /// Labels of all pixels, and the logits of the blended probabilities: rows and columns, and
    /// `[T, h, w]`.
    pub fn finish(self) -> (Vec<u8>, [usize; 2], Vec<f32>) {
        let k = self.coarser;
        let (cols, rows) = (self.plan.columns.cells, self.plan.rows.cells);
        let (w, h) = (cols.div_ceil(k), rows.div_ceil(k));
        let mut map = self.map;
        for (i, value) in map.iter_mut().enumerate() {
            let (x, y) = (i % w, i / w % h);
            let cells = k.min(cols - x * k) * k.min(rows - y * k);
            *value = map_logit(*value / cells as f32);
        }
        (self.labels, [h, w], map)
    }
}

/// The logit of a probability, short of infinity.
pub(crate) fn map_logit(probability: f32) -> f32 {
    let p = probability.clamp(1e-6, 1.0 - 1e-6);
    (p / (1.0 - p)).ln()
}

#[cfg(test)]
mod tests {
    use mmovseg_raster::Preprocess;

    use super::{Blend, Plan, Tiling};
    use crate::labels;

    /// A model of 24 px input and 12 output cells: 2 px a cell.
    fn plan(width_px: usize, height_px: usize, overlap_px: usize) -> Plan {
        let tiling = Tiling::Windows { overlap_px };
        plan_from([0, 0], [width_px, height_px], tiling)
    }

    fn plan_from(origin_px: [i64; 2], size_px: [usize; 2], tiling: Tiling) -> Plan {
        Plan::new(size_px, origin_px, tiling, Preprocess::Aligned, (24, 12))
    }

    #[test]
    fn parts_of_a_scene_were_cut_at_other_places_than_the_scene() {
        let tiling = Tiling::Windows { overlap_px: 12 };
        let whole = plan_from([700, -31], [200, 180], tiling);
        for at in [[2, 4], [10, 14], [38, 50]] {
            let part = plan_from([700 + at[0], -31 + at[1]], [120, 110], tiling);
            for (whole, part, at) in [
                (&whole.columns, &part.columns, at[0] as usize / 2),
                (&whole.rows, &part.rows, at[1] as usize / 2),
            ] {
                // All but the first and the last, which lie at the part's edges.
                for start in &part.starts[1..part.starts.len() - 1] {
                    assert!(whole.starts.contains(&(start + at)), "{whole:?} {part:?}");
                }
            }
        }
    }

    /// Blends windows whose logits `logit` gives by class and place on the scene's grid.
    fn blend(
        plan: &Plan,
        classes: usize,
        logit: impl Fn(usize, usize, [usize; 2]) -> f32,
    ) -> (Vec<u8>, [usize; 2], Vec<f32>) {
        let mut blend = Blend::new(plan, classes);
        for window in 0..plan.count() {
            let [column, row] = plan.position(window);
            let (x0, y0) = (plan.columns.starts[column], plan.rows.starts[row]);
            let logits: Vec<f32> = (0..classes * 144)
                .map(|i| logit(window, i / 144, [x0 + i % 12, y0 + i / 12 % 12]))
                .collect();
            blend.add(window, &logits);
        }
        blend.finish()
    }

    #[test]
    fn windows_cover_the_scene_and_overlap_as_asked() {
        for len_px in [25, 26, 36, 47, 48, 100, 101, 333] {
            for overlap_px in [0, 1, 5, 8, 12, 18, 23, 1000] {
                let axis = plan(len_px, 24, overlap_px).columns;
                let wanted = (overlap_px / 2).min(9);
                assert_eq!(axis.starts[0], 0);
                assert_eq!(axis.starts[axis.starts.len() - 1] + 12, axis.cells);
                assert_eq!(axis.cells, len_px.div_ceil(2));
                for pair in axis.starts.windows(2) {
                    assert!(
                        pair[0] < pair[1] && pair[1] + wanted <= pair[0] + 12,
                        "{axis:?}"
                    );
                }
            }
        }
        let squashed = plan(100, 7, 8);
        assert_eq!(
            (squashed.rows.starts.len(), squashed.rows.window_px),
            (1, 7)
        );
        assert_eq!(plan(24, 24, 8).count(), 1);
    }

    #[test]
    fn windows_that_agree_are_one_scene_wherever_the_grid_lies() {
        let pattern = |_: usize, class: usize, [x, y]: [usize; 2]| {
            let (x, y) = (x as f32, y as f32);
            4.0 * (0.31 * x + 1.7 * class as f32).sin() * (0.23 * y - class as f32).cos()
        };
        for (w, h) in [(100, 60), (26, 150), (64, 64)] {
            let (cols, rows) = (w / 2, h / 2);
            let whole: Vec<f32> = (0..3 * rows * cols)
                .map(|i| pattern(0, i / (rows * cols), [i % cols, i / cols % rows]))
                .collect();
            let expected = labels(&whole, [3, rows, cols], w, h);
            for overlap_px in [0, 6, 12, 18] {
                let (found, grid, logits) = blend(&plan(w, h, overlap_px), 3, pattern);
                assert_eq!(grid, [rows, cols]);
                for (a, b) in logits.iter().zip(&whole) {
                    assert!((a - b).abs() < 1e-3, "{a} {b}");
                }
                let wrong = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
                assert!(wrong * 1000 <= w * h, "{wrong} of {} differ", w * h);
            }
        }
    }

    #[test]
    fn windows_that_disagree_fade_into_one_another() {
        let checkered = plan(96, 96, 12);
        let across = checkered.columns.starts.len();
        let (_, [h, w], logits) = blend(&checkered, 1, |window, _, _| {
            if (window % across + window / across).is_multiple_of(2) {
                9.0
            } else {
                -9.0
            }
        });
        let p: Vec<f32> = logits.iter().map(|&x| 1.0 / (1.0 + (-x).exp())).collect();
        let steps = (0..h * w).flat_map(|i| {
            let right = (i % w + 1 < w).then(|| (p[i] - p[i + 1]).abs());
            let below = (i + w < h * w).then(|| (p[i] - p[i + w]).abs());
            [right, below].into_iter().flatten()
        });
        // A hard seam would be a step of 1; over six cells of overlap a raised cosine has at most
        // a quarter of π.
        let steepest = steps.fold(0.0, f32::max);
        assert!(steepest < 0.3, "{steepest}");
    }

    #[test]
    fn a_scene_of_8192_px_and_7_classes_needs_little_memory() {
        let aligned = Preprocess::Aligned;
        let plan = Plan::new([8192, 8192], [0, 0], Tiling::Auto, aligned, (192, 96));
        let blend = Blend::new(&plan, 7);
        let floats = blend.band.len() + blend.map.len();
        let bytes = 4 * floats + blend.labels.capacity();
        assert!(bytes < 160 << 20, "{} MiB", bytes >> 20);
    }
}
