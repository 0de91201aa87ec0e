//! How sure the model is at every shown pixel: entropy, margin, and which pixels are below a
//! threshold. The numbers are those of `probe`, for all pixels at once.

use mmovseg_protocol::{Segmented, class_probabilities};

use crate::probe::{axis, entropy, two_highest};

/// Most evaluations (pixels times classes) for one picture: above, every n-th pixel stands for its
/// neighbours, so that the page answers in a few tens of milliseconds.
const EVALUATIONS_MAX: usize = 4_000_000;

/// Maps over the tile, row-major `[rows, columns]`, each value 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Doubt {
    /// Columns of the maps.
    pub columns: usize,
    /// Rows of the maps.
    pub rows: usize,
    /// Pixels of the shown picture along the side of one value.
    pub step_px: usize,
    /// Highest class probability.
    pub best: Vec<f32>,
    /// Entropy of the probabilities brought to a sum of 1, as a part of the highest possible.
    pub entropy: Vec<f32>,
    /// Highest probability less the second highest.
    pub margin: Vec<f32>,
}

/// The maps of a run; `None` when its numbers do not fit together.
#[must_use]
pub fn maps(report: &Segmented, logits: &[f32]) -> Option<Doubt> {
    let [grid_rows, grid_columns] = report.grid_px.map(|side| side as usize);
    let classes = report.classes.len();
    let area = grid_rows * grid_columns;
    if classes == 0 || area == 0 || logits.len() != classes * area {
        return None;
    }
    let (width, height) = (report.width_px as usize, report.height_px as usize);
    let mut step_px = 1;
    while (width / step_px) * (height / step_px) * classes > EVALUATIONS_MAX {
        step_px += 1;
    }
    let (columns, rows) = (width.div_ceil(step_px), height.div_ceil(step_px));
    let probability = class_probabilities(logits, area, report.temperature);
    let across: Vec<(usize, usize, f32)> = (0..columns)
        .map(|column| axis(grid_columns, report.width_px, (column * step_px) as u32))
        .collect();
    let mut doubt = Doubt {
        columns,
        rows,
        step_px,
        best: Vec::with_capacity(columns * rows),
        entropy: Vec::with_capacity(columns * rows),
        margin: Vec::with_capacity(columns * rows),
    };
    let mut values = vec![0.0; classes];
    for row in 0..rows {
        let (y0, y1, fy) = axis(grid_rows, report.height_px, (row * step_px) as u32);
        for &(x0, x1, fx) in &across {
            for (value, plane) in values.iter_mut().zip(probability.chunks_exact(area)) {
                let line = |y: usize| {
                    plane[y * grid_columns + x0] * (1.0 - fx) + plane[y * grid_columns + x1] * fx
                };
                *value = line(y0) * (1.0 - fy) + line(y1) * fy;
            }
            let (best, second) = two_highest(&values);
            doubt.best.push(best);
            doubt.margin.push(best - second);
            doubt.entropy.push(entropy(&values));
        }
    }
    Some(doubt)
}

impl Doubt {
    /// Shown pixels whose highest probability is below `threshold`, and whether the number is
    /// exact.
    #[must_use]
    pub fn count_below(&self, threshold: f32) -> (u64, bool) {
        let count = self.best.iter().filter(|&&best| best < threshold).count();
        let each = (self.step_px * self.step_px) as u64;
        (count as u64 * each, self.step_px == 1)
    }

    /// Whether the pixel at a place of the shown picture is below `threshold`.
    #[must_use]
    pub fn is_below(&self, threshold: f32, x_px: usize, y_px: usize) -> bool {
        let at = (y_px / self.step_px) * self.columns + x_px / self.step_px;
        self.best.get(at).is_some_and(|&best| best < threshold)
    }
}

#[cfg(test)]
mod tests {
    use mmovseg_protocol::{ClassResult, Modality};

    use super::*;
    use crate::probe;

    fn report(classes: usize, grid_px: [u32; 2], side_px: u32) -> Segmented {
        let class = ClassResult {
            name: "x".into(),
            share: 0.0,
            iou: None,
            unknown_words: Vec::new(),
        };
        Segmented {
            id: 0,
            width_px: side_px,
            height_px: side_px,
            grid_px,
            temperature: None,
            resampled: None,
            classes: vec![class; classes],
            timings: Vec::new(),
            modality: Modality::Fused,
            windows: 1,
        }
    }

    #[test]
    fn every_pixel_has_the_numbers_that_the_probe_gives() {
        let report = report(3, [2, 3], 7);
        let logits: Vec<f32> = (0..18).map(|i| (i * 7 % 11) as f32 - 5.0).collect();
        let doubt = maps(&report, &logits).unwrap_or_else(|| panic!("no maps"));
        assert_eq!((doubt.columns, doubt.rows, doubt.step_px), (7, 7, 1));
        for y in 0..7 {
            for x in 0..7 {
                let reading =
                    probe::read(&report, &logits, x, y).unwrap_or_else(|| panic!("no reading"));
                let at = (y * 7 + x) as usize;
                assert!((doubt.entropy[at] - reading.entropy).abs() < 1e-6);
                assert!((doubt.margin[at] - reading.margin).abs() < 1e-6);
                assert!((doubt.best[at] - two_highest(&reading.probability).0).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn pixels_below_a_threshold_are_counted_and_large_pictures_by_every_nth() {
        let small = report(2, [1, 1], 4);
        let doubt = maps(&small, &[0.0, -2.0]).unwrap_or_else(|| panic!("no maps"));
        assert_eq!(doubt.count_below(0.4), (0, true));
        assert_eq!(doubt.count_below(0.6), (16, true));
        assert!(doubt.is_below(0.6, 3, 3) && !doubt.is_below(0.4, 0, 0));
        let large =
            maps(&report(2, [1, 1], 4096), &[0.0, -2.0]).unwrap_or_else(|| panic!("no maps"));
        assert!(large.step_px > 1 && !large.count_below(0.6).1);
        assert_eq!(maps(&small, &[0.0; 3]), None);
    }
}
