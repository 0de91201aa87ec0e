//! How well the student's meanings agree with the teacher's.

use serde::{Deserialize, Serialize};

/// Cosine of two unit vectors.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Similarities of all pairs `i < j` of unit vectors `[N, width]`.
fn pair_similarities(vectors: &[f32], width: usize) -> Vec<f32> {
    let rows: Vec<&[f32]> = vectors.chunks_exact(width).collect();
    let mut out = Vec::with_capacity(rows.len() * rows.len() / 2);
    for (i, a) in rows.iter().enumerate() {
        out.extend(rows[i + 1..].iter().map(|b| dot(a, b)));
    }
    out
}

/// Spearman's rank correlation of the pairwise similarities of two sets of unit vectors of the
/// same phrases, `[N, width_a]` and `[N, width_b]`. 0 for fewer than three phrases.
pub(super) fn spearman(a: &[f32], width_a: usize, b: &[f32], width_b: usize) -> f64 {
    let a = ranks(&pair_similarities(a, width_a));
    let b = ranks(&pair_similarities(b, width_b));
    if a.len() < 3 {
        return 0.0;
    }
    let middle = (a.len() as f64 - 1.0) / 2.0;
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(&b) {
        let (x, y) = (x - middle, y - middle);
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    ab / (aa * bb).sqrt().max(f64::MIN_POSITIVE)
}

/// Ranks from 0; equal values share the mean of their ranks.
fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let same = order[start..]
            .iter()
            .take_while(|&&i| values[i] == values[order[start]])
            .count()
            .max(1);
        for &i in &order[start..start + same] {
            ranks[i] = start as f64 + (same as f64 - 1.0) / 2.0;
        }
        start += same;
    }
    ranks
}

/// Words whose nearest class was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Nearest {
    /// Words asked.
    pub words: usize,
    /// Words whose nearest class is the expected one.
    pub right: usize,
    /// The others: word, expected class, nearest class.
    pub misses: Vec<(String, String, String)>,
}

impl Nearest {
    /// Share of right answers, 0 to 1.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        self.right as f64 / self.words.max(1) as f64
    }

    /// Adds one word: its unit vector, the expected class, and `[classes, width]` unit vectors.
    pub(super) fn ask(
        &mut self,
        word: &str,
        vector: &[f32],
        expected: usize,
        classes: &[&str],
        vectors: &[f32],
    ) {
        let similarity = vectors
            .chunks_exact(vector.len())
            .map(|class| dot(class, vector));
        let nearest = similarity
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map_or(0, |(i, _)| i);
        self.words += 1;
        if nearest == expected {
            self.right += 1;
        } else {
            self.misses.push((
                word.to_owned(),
                classes[expected].to_owned(),
                classes[nearest].to_owned(),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_correlation_of_known_orders() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [2.5, 0.0, 2.5, 1.0]);
        let angle = |t: f32| [t.cos(), t.sin()];
        let a: Vec<f32> = [0.0, 0.1, 0.5, 1.5].into_iter().flat_map(angle).collect();
        assert!((spearman(&a, 2, &a, 2) - 1.0).abs() < 1e-12);
        let scaled: Vec<f32> = [0.0, 0.2, 1.0, 3.0].into_iter().flat_map(angle).collect();
        assert!(
            (spearman(&a, 2, &scaled, 2) - 1.0).abs() < 1e-12,
            "only the order counts"
        );
        assert_eq!(spearman(&a[..4], 2, &a[..4], 2), 0.0);
    }

    #[test]
    fn nearest_class_is_counted() {
        let mut nearest = Nearest::default();
        nearest.ask(
            "lake",
            &[1.0, 0.0],
            0,
            &["water", "road"],
            &[0.9, 0.1, 0.0, 1.0],
        );
        nearest.ask(
            "street",
            &[1.0, 0.0],
            1,
            &["water", "road"],
            &[0.9, 0.1, 0.0, 1.0],
        );
        assert_eq!((nearest.words, nearest.right), (2, 1));
        assert_eq!(
            nearest.misses,
            [("street".into(), "road".into(), "water".into())]
        );
    }
}
