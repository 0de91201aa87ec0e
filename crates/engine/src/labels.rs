//! From logits on the model's grid to one class index a pixel of the optical tile (docs/network.md
//! §12).

use mmovseg_kernels::{Activation, activate_slice, threads};
use mmovseg_raster::NO_DATA_LABEL;

/// Sigmoid, half-pixel bilinear resize to `width_px × height_px`, argmax with the first class on
/// ties. `logits` is `[T, h, w]`, row-major, at most 255 classes; gives `height_px · width_px`
/// indices.
///
/// The sigmoid comes before the resize, as in the authors' code, and the resized probabilities are
/// never stored: a 10 000 px scene would need gigabytes for them.
#[must_use]
pub fn labels(
    logits: &[f32],
    [classes, h, w]: [usize; 3],
    width_px: usize,
    height_px: usize,
) -> Vec<u8> {
    let mut prob = logits.to_vec();
    activate_slice(&mut prob, Activation::Sigmoid);
    let rows = axis(h, height_px, h as f32 / height_px as f32);
    let is_much = classes * rows.len() * width_px >= SHARED;
    in_strips(&rows, is_much, |rows| {
        let mut out = Vec::with_capacity(rows.len() * width_px);
        let mut upsampler = Upsampler::new(w, width_px, w as f32 / width_px as f32);
        for &between in rows {
            let row = upsampler.row(classes, between, |y, class| {
                &prob[(class * h + y) * w..][..w]
            });
            out.extend_from_slice(row);
        }
        out
    })
}

/// Values to compare above which the cores share them.
const SHARED: usize = 1 << 16;

/// `f` of strips of rows, one after the other; a strip for each core where it `is_much`.
fn in_strips<R: Sync>(
    rows: &[R],
    is_much: bool,
    f: impl Fn(&[R]) -> Vec<u8> + Send + Sync,
) -> Vec<u8> {
    if is_much && threads() > 1 {
        use rayon::prelude::*;
        let strip = rows.len().div_ceil(threads());
        let strips: Vec<Vec<u8>> = rows.par_chunks(strip.max(1)).map(f).collect();
        return strips.concat();
    }
    f(rows)
}

/// Takes the labels off the pixels without a measurement; `None` when all have one.
pub(crate) fn mark_no_data(labels: &mut [u8], valid: Option<&[bool]>) {
    for (label, valid) in labels.iter_mut().zip(valid.unwrap_or_default()) {
        if !valid {
            *label = NO_DATA_LABEL;
        }
    }
}

/// Share of each class in the pixels that have data (a label below 255).
pub(crate) fn shares(labels: &[u8], classes: usize) -> Vec<f64> {
    // Four counts of each: one of a label that comes again would wait for the one before.
    let mut counts = [[0u32; 256]; 4];
    for four in labels.chunks(4) {
        for (counts, &label) in counts.iter_mut().zip(four) {
            counts[usize::from(label)] += 1;
        }
    }
    let of_class = |class: usize| {
        counts
            .iter()
            .map(|counts| f64::from(counts[class]))
            .sum::<f64>()
    };
    let valid = labels.len() as f64 - of_class(usize::from(NO_DATA_LABEL));
    (0..classes)
        .map(|class| of_class(class) / valid.max(1.0))
        .collect()
}

/// Labels one row of pixels at a time, from the two rows of probabilities that enclose it.
pub(crate) struct Upsampler {
    columns: Vec<(usize, usize, f32)>,
    /// The two rows, of all classes and as wide as the pixels, and which they are: the rows of
    /// pixels between them share them.
    enclosing: [Option<(usize, Vec<f32>)>; 2],
    best: Vec<f32>,
    /// As wide as a probability, so that both go through registers together.
    best_class: Vec<u32>,
    labels: Vec<u8>,
}

impl Upsampler {
    /// From rows of `input` values to rows of `output` pixels of `ratio` values each.
    pub fn new(input: usize, output: usize, ratio: f32) -> Self {
        Self {
            columns: axis(input, output, ratio),
            enclosing: [None, None],
            best: vec![0.0; output],
            best_class: vec![0; output],
            labels: vec![0; output],
        }
    }

    /// The labels of a row of pixels between the rows `low` and `high` of probabilities, with
    /// `weight` on `high`; `values` gives a row of a class, always the same for the same two
    /// numbers.
    pub fn row<'a>(
        &mut self,
        classes: usize,
        (low, high, weight): (usize, usize, f32),
        values: impl Fn(usize, usize) -> &'a [f32],
    ) -> &[u8] {
        let is = |row: &Option<(usize, _)>, y| row.as_ref().is_some_and(|&(at, _)| at == y);
        if is(&self.enclosing[1], low) && !is(&self.enclosing[0], low) {
            self.enclosing.swap(0, 1);
        }
        let columns = &self.columns;
        let [upper, lower] = &mut self.enclosing;
        let [upper, lower] = [(upper, low), (lower, high)].map(|(row, y)| {
            if !is(row, y) {
                let mut kept = row.take().map(|(_, kept)| kept).unwrap_or_default();
                kept.clear();
                for class in 0..classes {
                    let values = values(y, class);
                    let wide = columns
                        .iter()
                        .map(|&(x0, x1, fx)| values[x0] * (1.0 - fx) + values[x1] * fx);
                    kept.extend(wide);
                }
                *row = Some((y, kept));
            }
            row.as_ref().map_or(&[][..], |(_, row)| row)
        });
        let width = columns.len().max(1);
        let both = upper.chunks_exact(width).zip(lower.chunks_exact(width));
        self.best.fill(f32::NEG_INFINITY);
        self.best_class.fill(0);
        for (class, (upper, lower)) in (0..).zip(both) {
            let best = self.best.iter_mut().zip(&mut self.best_class);
            for ((upper, lower), (best, best_class)) in upper.iter().zip(lower).zip(best) {
                let value = upper * (1.0 - weight) + lower * weight;
                let is_better = value > *best;
                *best = if is_better { value } else { *best };
                *best_class = if is_better { class } else { *best_class };
            }
        }
        for (label, &class) in self.labels.iter_mut().zip(&self.best_class) {
            *label = class as u8;
        }
        &self.labels
    }
}

/// PyTorch's half-pixel bilinear along one axis: lower index, upper index, weight of the upper.
pub(crate) fn axis(input: usize, output: usize, ratio: f32) -> Vec<(usize, usize, f32)> {
    (0..output)
        .map(|o| {
            let source = ((o as f32 + 0.5) * ratio - 0.5).max(0.0);
            let low = (source as usize).min(input - 1);
            (low, (low + 1).min(input - 1), source - low as f32)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::labels;

    #[test]
    fn ties_go_to_the_first_class() {
        assert_eq!(labels(&[0.0; 8], [2, 2, 2], 3, 3), vec![0; 9]);
    }

    #[test]
    fn each_quarter_keeps_its_class() {
        let mut logits = vec![-5.0; 4 * 4];
        for cell in 0..4 {
            logits[cell * 4 + cell] = 5.0;
        }
        assert_eq!(
            labels(&logits, [4, 2, 2], 4, 4),
            [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3]
        );
    }
}
