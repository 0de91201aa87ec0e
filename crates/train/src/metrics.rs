//! The figures of semantic segmentation, from one confusion matrix (docs/network.md §12).

use serde::{Deserialize, Serialize};

/// Pixels of the ground truth that count for nothing.
pub const IGNORE: u8 = 255;

/// Counts of true against predicted classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: usize,
    /// `[truth][prediction]`, flat.
    counts: Vec<u64>,
}

/// One class's figures; `None` where the class never occurs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassFigures {
    /// Name.
    pub name: String,
    /// Whether training used the name as a label.
    pub seen: bool,
    /// Intersection over union; `None` when the class is in neither truth nor prediction.
    pub iou: Option<f64>,
    /// Share of the class's pixels that were found; `None` when the truth has none.
    pub acc: Option<f64>,
}

/// All figures of an evaluation, each between 0 and 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Mean IoU.
    pub miou: f64,
    /// Mean IoU of the seen classes; `None` when there are none.
    pub miou_seen: Option<f64>,
    /// Mean IoU of the unseen classes; `None` when there are none.
    pub miou_unseen: Option<f64>,
    /// Harmonic mean of the two; `None` without both.
    pub hiou: Option<f64>,
    /// Mean accuracy over classes.
    pub macc: f64,
    /// Accuracy over pixels.
    pub pacc: f64,
    /// IoU weighted by the classes' share of the truth.
    pub fwiou: f64,
    /// By class.
    pub per_class: Vec<ClassFigures>,
    /// Images that were counted.
    pub images: usize,
}

impl ConfusionMatrix {
    /// An empty matrix.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            counts: vec![0; classes * classes],
        }
    }

    /// Counts one image. Pixels whose truth is [`IGNORE`] or no class are passed over, and so are
    /// predictions that are no class.
    pub fn add(&mut self, truth: &[u8], prediction: &[u8]) {
        for (&t, &p) in truth.iter().zip(prediction) {
            let (t, p) = (usize::from(t), usize::from(p));
            if t < self.classes && p < self.classes {
                self.counts[t * self.classes + p] += 1;
            }
        }
    }

    /// The figures; `names` and `seen` one a class.
    #[must_use]
    pub fn figures(&self, names: &[(String, bool)], images: usize) -> Figures {
        let n = self.classes;
        let hits = |c: usize| self.counts[c * n + c];
        let truth = |c: usize| self.counts[c * n..(c + 1) * n].iter().sum::<u64>();
        let found = |c: usize| (0..n).map(|t| self.counts[t * n + c]).sum::<u64>();
        let ratio = |a: u64, b: u64| (b > 0).then(|| a as f64 / b as f64);
        let per_class: Vec<ClassFigures> = (0..n)
            .map(|c| ClassFigures {
                name: names
                    .get(c)
                    .map_or_else(String::new, |(name, _)| name.clone()),
                seen: names.get(c).is_none_or(|(_, seen)| *seen),
                iou: ratio(hits(c), truth(c) + found(c) - hits(c)),
                acc: ratio(hits(c), truth(c)),
            })
            .collect();
        let mean = |values: Vec<f64>| {
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let iou_of = |pick: &dyn Fn(&ClassFigures) -> bool| {
            mean(
                per_class
                    .iter()
                    .filter(|c| pick(c))
                    .filter_map(|c| c.iou)
                    .collect(),
            )
        };
        let miou_seen = iou_of(&|c| c.seen);
        let miou_unseen = iou_of(&|c| !c.seen);
        let hiou = match (miou_seen, miou_unseen) {
            (Some(s), Some(u)) if s + u > 0.0 => Some(2.0 * s * u / (s + u)),
            (Some(_), Some(_)) => Some(0.0),
            _ => None,
        };
        let total: u64 = self.counts.iter().sum();
        let weighted = per_class
            .iter()
            .enumerate()
            .filter_map(|(c, figures)| figures.iou.map(|iou| iou * truth(c) as f64))
            .sum::<f64>();
        Figures {
            miou: iou_of(&|_| true).unwrap_or(0.0),
            miou_seen,
            miou_unseen,
            hiou,
            macc: mean(per_class.iter().filter_map(|c| c.acc).collect()).unwrap_or(0.0),
            pacc: ratio((0..n).map(hits).sum(), total).unwrap_or(0.0),
            fwiou: if total > 0 {
                weighted / total as f64
            } else {
                0.0
            },
            per_class,
            images,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ConfusionMatrix, IGNORE};

    fn names(seen: &[bool]) -> Vec<(String, bool)> {
        seen.iter()
            .enumerate()
            .map(|(i, &s)| (format!("c{i}"), s))
            .collect()
    }

    #[test]
    fn figures_by_hand() {
        // Truth 0: two right, one taken for 1. Truth 1: one right. One pixel ignored.
        let mut matrix = ConfusionMatrix::new(3);
        matrix.add(&[0, 0, 0, 1, IGNORE], &[0, 0, 1, 1, 0]);
        let figures = matrix.figures(&names(&[true, false, true]), 1);
        assert_eq!(figures.per_class[0].iou, Some(2.0 / 3.0));
        assert_eq!(figures.per_class[1].iou, Some(0.5));
        assert_eq!(figures.per_class[2].iou, None);
        assert!((figures.miou - (2.0 / 3.0 + 0.5) / 2.0).abs() < 1e-12);
        assert_eq!(figures.miou_seen, Some(2.0 / 3.0));
        assert_eq!(figures.miou_unseen, Some(0.5));
        assert!(
            (figures.hiou.unwrap_or(0.0) - 2.0 * (1.0 / 3.0) / (2.0 / 3.0 + 0.5)).abs() < 1e-12
        );
        assert!((figures.pacc - 0.75).abs() < 1e-12);
        assert!((figures.macc - (2.0 / 3.0 + 1.0) / 2.0).abs() < 1e-12);
        assert!((figures.fwiou - (0.75 * 2.0 / 3.0 + 0.25 * 0.5)).abs() < 1e-12);
    }

    #[test]
    fn an_empty_evaluation_is_zero_and_not_nan() {
        let figures = ConfusionMatrix::new(2).figures(&names(&[true, true]), 0);
        assert_eq!((figures.miou, figures.pacc, figures.fwiou), (0.0, 0.0, 0.0));
        assert_eq!(figures.hiou, None);
    }
}
