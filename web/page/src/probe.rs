//! What the model believes at one pixel, from the logits of a run.

use mmovseg_protocol::{Segmented, class_probabilities};

/// Numbers at a pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Probability of each class, 0 to 1: with the package's temperature they add up to 1, without
    /// one each class stands for itself.
    pub probability: Vec<f32>,
    /// The class that the mask has here: the highest sigmoid, the first on ties. Between the cells
    /// of two classes its probability can be slightly below the highest.
    pub best: usize,
    /// Entropy of the probabilities brought to a sum of 1, as a part of the highest possible: 0 is
    /// certain, 1 is no idea.
    pub entropy: f32,
    /// Highest probability less the second highest.
    pub margin: f32,
}

/// Reads `logits` (`[classes, rows, columns]`) at a pixel of the mask: probabilities of the four
/// cells around it, then half-pixel bilinear, as the mask itself is made. `None` when the numbers
/// do not fit together.
#[must_use]
pub fn read(report: &Segmented, logits: &[f32], x_px: u32, y_px: u32) -> Option<Reading> {
    let [rows, columns] = report.grid_px.map(|side| side as usize);
    let classes = report.classes.len();
    if classes == 0 || rows * columns == 0 || logits.len() != classes * rows * columns {
        return None;
    }
    let (x0, x1, fx) = axis(columns, report.width_px, x_px);
    let (y0, y1, fy) = axis(rows, report.height_px, y_px);
    let around: Vec<f32> = logits
        .chunks_exact(rows * columns)
        .flat_map(|plane| {
            [(x0, y0), (x1, y0), (x0, y1), (x1, y1)].map(|(x, y)| plane[y * columns + x])
        })
        .collect();
    let between = |temperature: Option<f32>| -> Vec<f32> {
        class_probabilities(&around, 4, temperature)
            .chunks_exact(4)
            .map(|cells| {
                let upper = cells[0] * (1.0 - fx) + cells[1] * fx;
                let lower = cells[2] * (1.0 - fx) + cells[3] * fx;
                upper * (1.0 - fy) + lower * fy
            })
            .collect()
    };
    let compared = between(None);
    let best = (0..classes).fold(0, |best, class| {
        if compared[class] > compared[best] {
            class
        } else {
            best
        }
    });
    let probability = between(report.temperature);
    let (highest, second) = two_highest(&probability);
    Some(Reading {
        margin: highest - second,
        entropy: entropy(&probability),
        best,
        probability,
    })
}

/// The highest value and the second highest; 0 for one that is not there.
#[must_use]
pub fn two_highest(values: &[f32]) -> (f32, f32) {
    values.iter().fold((0.0, 0.0), |(best, second), &value| {
        if value > best {
            (value, best)
        } else {
            (best, f32::max(second, value))
        }
    })
}

/// Lower cell, upper cell, weight of the upper: half-pixel bilinear sampling of `cells` values at
/// pixel `at_px` of `size_px`.
#[must_use]
pub fn axis(cells: usize, size_px: u32, at_px: u32) -> (usize, usize, f32) {
    let ratio = cells as f32 / size_px.max(1) as f32;
    let source = ((at_px as f32 + 0.5) * ratio - 0.5).max(0.0);
    let low = (source as usize).min(cells - 1);
    (low, (low + 1).min(cells - 1), source - low as f32)
}

/// Entropy of values brought to a sum of 1, as a part of the highest possible.
#[must_use]
pub fn entropy(values: &[f32]) -> f32 {
    let sum: f32 = values.iter().sum();
    if values.len() < 2 || sum <= 0.0 {
        return 0.0;
    }
    let bits = values
        .iter()
        .map(|value| value / sum)
        .filter(|share| *share > 0.0)
        .map(|share| -share * share.ln())
        .sum::<f32>();
    (bits / (values.len() as f32).ln()).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use mmovseg_protocol::{ClassResult, Modality};

    use super::*;

    fn report(classes: usize, grid_px: [u32; 2], width_px: u32, height_px: u32) -> Segmented {
        let class = ClassResult {
            name: "x".into(),
            share: 0.0,
            iou: None,
            unknown_words: Vec::new(),
        };
        Segmented {
            id: 0,
            width_px,
            height_px,
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
    fn corners_read_their_own_cell_and_the_middle_reads_between() {
        // Class 0 rises to the right, class 1 is even.
        let logits = [-4.0, 4.0, 0.0, 0.0];
        let report = report(2, [1, 2], 4, 4);
        let left = read(&report, &logits, 0, 0).unwrap_or_else(|| panic!("no reading"));
        let right = read(&report, &logits, 3, 3).unwrap_or_else(|| panic!("no reading"));
        assert_eq!((left.best, right.best), (1, 0));
        assert!((right.probability[0] - 0.982).abs() < 1e-3);
        assert!((right.margin - 0.482).abs() < 1e-3);
        let middle = read(&report, &logits, 1, 0).unwrap_or_else(|| panic!("no reading"));
        assert!(middle.probability[0] > left.probability[0]);
    }

    #[test]
    fn a_calibrated_package_gives_shares_that_add_up_to_one() {
        let report = Segmented {
            temperature: Some(2.0),
            ..report(3, [1, 1], 2, 2)
        };
        let reading = read(&report, &[4.0, 2.0, 2.0], 0, 0).unwrap_or_else(|| panic!("no reading"));
        assert!((reading.probability.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((reading.probability[0] - 0.576_1).abs() < 1e-3);
        assert_eq!(reading.best, 0);
    }

    #[test]
    fn equal_classes_have_full_entropy_and_no_margin() {
        let reading = read(&report(3, [1, 1], 2, 2), &[0.5; 3], 1, 1);
        let reading = reading.unwrap_or_else(|| panic!("no reading"));
        assert!((reading.entropy - 1.0).abs() < 1e-5);
        assert!(reading.margin.abs() < 1e-6);
        assert_eq!(reading.best, 0);
    }

    #[test]
    fn numbers_that_do_not_fit_give_nothing() {
        assert_eq!(read(&report(2, [2, 2], 4, 4), &[0.0; 7], 0, 0), None);
        assert_eq!(read(&report(0, [2, 2], 4, 4), &[], 0, 0), None);
    }
}
