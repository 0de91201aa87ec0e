//! From logits on the model's grid to one class index a pixel of the optical tile (spec §12).

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
    let prob: Vec<f32> = logits.iter().map(|&x| 1.0 / (1.0 + (-x).exp())).collect();
    let mut out = Vec::with_capacity(width_px * height_px);
    let mut upsampler = Upsampler::new(w, width_px, w as f32 / width_px as f32);
    for (low, high, weight) in axis(h, height_px, h as f32 / height_px as f32) {
        let row = upsampler.row(classes, weight, |class| {
            [low, high].map(|y| &prob[(class * h + y) * w..][..w])
        });
        out.extend_from_slice(row);
    }
    out
}

/// Labels one row of pixels at a time, from the two rows of probabilities that enclose it.
pub(crate) struct Upsampler {
    columns: Vec<(usize, usize, f32)>,
    best: Vec<f32>,
    index: Vec<u8>,
}

impl Upsampler {
    /// From rows of `input` values to rows of `output` pixels of `ratio` values each.
    pub fn new(input: usize, output: usize, ratio: f32) -> Self {
        Self {
            columns: axis(input, output, ratio),
            best: vec![0.0; output],
            index: vec![0; output],
        }
    }

    /// The labels of a row that lies between the rows `[lower, upper]` that `rows` gives for each
    /// class, with `weight` on the upper one.
    pub fn row<'a>(
        &mut self,
        classes: usize,
        weight: f32,
        rows: impl Fn(usize) -> [&'a [f32]; 2],
    ) -> &[u8] {
        for class in 0..classes {
            let [top, bottom] = rows(class);
            for (x, &(x0, x1, fx)) in self.columns.iter().enumerate() {
                let upper = top[x0] * (1.0 - fx) + top[x1] * fx;
                let lower = bottom[x0] * (1.0 - fx) + bottom[x1] * fx;
                let value = upper * (1.0 - weight) + lower * weight;
                if class == 0 || value > self.best[x] {
                    self.best[x] = value;
                    self.index[x] = class as u8;
                }
            }
        }
        &self.index
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
