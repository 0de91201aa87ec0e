//! How good a prediction is: the scores of semantic segmentation, from one confusion matrix over
//! all pixels of a data set, as detectron2's evaluator defines them (spec §12).

use serde::{Deserialize, Serialize};

/// Label of a pixel that counts for nothing.
pub const IGNORE: u8 = 255;

/// Pixels by true and by predicted class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: usize,
    /// `[truth, prediction]`.
    pixels: Vec<u64>,
}

/// What keeps an image from being counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetricsError {
    /// Truth and prediction are of different size.
    #[error("{truth} labels but {prediction} predictions; both must cover the same pixels")]
    Length {
        /// Labels of the ground truth.
        truth: usize,
        /// Labels of the prediction.
        prediction: usize,
    },
    /// A label beyond the class list that is not 255.
    #[error("label {label} has no class (the list has {classes}, and 255 means ignored); correct the labels or the list")]
    Label {
        /// The label.
        label: u8,
        /// Length of the list.
        classes: usize,
    },
}

impl ConfusionMatrix {
    /// An empty matrix for `classes` classes.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Self { classes, pixels: vec![0; classes * classes] }
    }

    /// Counts the pixels of one image, `[h, w]` each. Pixels whose truth is [`IGNORE`] are left out.
    ///
    /// # Errors
    /// [`MetricsError`]; nothing is counted then.
    pub fn add(&mut self, truth: &[u8], prediction: &[u8]) -> Result<(), MetricsError> {
        if truth.len() != prediction.len() {
            return Err(MetricsError::Length { truth: truth.len(), prediction: prediction.len() });
        }
        let classes = self.classes;
        let stray = |label: u8| (usize::from(label) >= classes).then_some(MetricsError::Label { label, classes });
        let mut pairs = truth.iter().zip(prediction).filter(|(t, _)| **t != IGNORE);
        if let Some(error) = pairs.clone().find_map(|(&t, &p)| stray(t).or(stray(p))) {
            return Err(error);
        }
        pairs.by_ref().for_each(|(&t, &p)| self.pixels[usize::from(t) * classes + usize::from(p)] += 1);
        Ok(())
    }

    /// Scores of what was counted. `classes` gives each class's name and whether training saw it;
    /// classes past its end are called by their number and count as seen.
    #[must_use]
    pub fn scores(&self, classes: &[(String, bool)]) -> Scores {
        let n = self.classes;
        let at = |truth: usize, prediction: usize| self.pixels[truth * n + prediction];
        let total: u64 = self.pixels.iter().sum();
        let (mut right, mut fwiou) = (0, 0.0);
        let per_class: Vec<ClassScore> = (0..n)
            .map(|c| {
                let hit = at(c, c);
                let truth: u64 = (0..n).map(|p| at(c, p)).sum();
                let predicted: u64 = (0..n).map(|t| at(t, c)).sum();
                right += hit;
                // A class that the ground truth lacks has no score, rather than one of 0.
                let share = |of: u64| (truth > 0).then(|| hit as f64 / of as f64);
                let iou = share(truth + predicted - hit);
                fwiou += iou.unwrap_or(0.0) * truth as f64;
                let (name, seen) = classes.get(c).cloned().unwrap_or_else(|| (c.to_string(), true));
                ClassScore { name, seen, iou, acc: share(truth) }
            })
            .collect();
        let iou = |keep: &dyn Fn(&ClassScore) -> bool| mean(per_class.iter().filter(|c| keep(c)).map(|c| c.iou));
        let (miou_seen, miou_unseen) = (iou(&|c| c.seen), iou(&|c| !c.seen));
        let hiou = miou_seen.zip(miou_unseen).map(|(a, b)| if a + b > 0.0 { 2.0 * a * b / (a + b) } else { 0.0 });
        Scores {
            miou: iou(&|_| true),
            miou_seen,
            miou_unseen,
            hiou,
            macc: mean(per_class.iter().map(|c| c.acc)),
            pacc: (total > 0).then(|| right as f64 / total as f64),
            fwiou: (total > 0).then(|| fwiou / total as f64),
            per_class,
        }
    }
}

/// Mean of what is there.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let (sum, count) = values.flatten().fold((0.0, 0usize), |(sum, n), v| (sum + v, n + 1));
    (count > 0).then(|| sum / count as f64)
}

/// Scores of a data set, 0 to 1. A score is absent (`null`) when no pixel could tell it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean intersection over union of all classes that the ground truth has.
    pub miou: Option<f64>,
    /// The same over classes seen in training.
    pub miou_seen: Option<f64>,
    /// The same over classes not seen in training.
    pub miou_unseen: Option<f64>,
    /// Harmonic mean of the two: the score of open-vocabulary benchmarks.
    pub hiou: Option<f64>,
    /// Mean share of each class's pixels that are right.
    pub macc: Option<f64>,
    /// Share of all pixels that are right.
    pub pacc: Option<f64>,
    /// Intersection over union weighted by each class's share of the ground truth.
    pub fwiou: Option<f64>,
    /// Class by class, in the order of the labels.
    pub per_class: Vec<ClassScore>,
}

/// Scores of one class, 0 to 1; absent when the ground truth has no pixel of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    /// The class.
    pub name: String,
    /// Whether training saw it.
    pub seen: bool,
    /// Intersection over union.
    pub iou: Option<f64>,
    /// Share of its pixels that are right.
    pub acc: Option<f64>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn close(value: Option<f64>, want: f64) {
        assert!((value.unwrap() - want).abs() < 1e-12, "{value:?} is not {want}");
    }

    #[test]
    fn scores_of_a_matrix_worked_out_by_hand() {
        let mut matrix = ConfusionMatrix::new(3);
        // Truth 0: 3 right, 1 taken for 1. Truth 1: 2 right, 2 taken for 0. Class 2 is only predicted.
        matrix.add(&[0, 0, 0, 0, 1, 1, 1, 1, IGNORE, IGNORE], &[0, 0, 0, 1, 1, 1, 0, 0, 2, 0]).unwrap();
        matrix.add(&[0, 1], &[2, 1]).unwrap();
        let scores = matrix.scores(&[("a".into(), true), ("b".into(), false), ("c".into(), true)]);
        let (a, b) = (3.0 / 7.0, 3.0 / 6.0);
        close(scores.per_class[0].iou, a);
        close(scores.per_class[1].iou, b);
        assert_eq!((scores.per_class[2].iou, scores.per_class[2].acc), (None, None));
        close(scores.per_class[0].acc, 3.0 / 5.0);
        close(scores.per_class[1].acc, 3.0 / 5.0);
        close(scores.miou, (a + b) / 2.0);
        close(scores.miou_seen, a);
        close(scores.miou_unseen, b);
        close(scores.hiou, 2.0 * a * b / (a + b));
        close(scores.macc, 0.6);
        close(scores.pacc, 0.6);
        close(scores.fwiou, (a + b) / 2.0);
    }

    #[test]
    fn weights_by_frequency_and_survives_a_total_miss() {
        let mut matrix = ConfusionMatrix::new(2);
        matrix.add(&[0, 0, 0, 1], &[0, 0, 0, 0]).unwrap();
        let scores = matrix.scores(&[("a".into(), true), ("b".into(), false)]);
        close(scores.fwiou, 0.75 * 0.75);
        close(scores.hiou, 0.0);
        let all_wrong = |truth: &[u8], prediction: &[u8]| {
            let mut matrix = ConfusionMatrix::new(2);
            matrix.add(truth, prediction).unwrap();
            matrix.scores(&[("a".into(), true), ("b".into(), false)])
        };
        close(all_wrong(&[0, 1], &[1, 0]).hiou, 0.0);
        assert_eq!(all_wrong(&[IGNORE], &[0]).pacc, None, "nothing to tell it by");
    }

    #[test]
    fn refuses_what_does_not_fit_and_counts_none_of_it() {
        let mut matrix = ConfusionMatrix::new(2);
        assert_eq!(matrix.add(&[0], &[0, 1]), Err(MetricsError::Length { truth: 1, prediction: 2 }));
        assert_eq!(matrix.add(&[0, 2], &[0, 1]), Err(MetricsError::Label { label: 2, classes: 2 }));
        assert_eq!(matrix.add(&[0, 1], &[0, 255]), Err(MetricsError::Label { label: 255, classes: 2 }));
        assert_eq!(matrix, ConfusionMatrix::new(2));
    }
}
