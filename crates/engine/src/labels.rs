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
    let columns = axis(w, width_px);
    let mut out = Vec::with_capacity(width_px * height_px);
    let mut best = vec![0.0f32; width_px];
    let mut index = vec![0u8; width_px];
    for (y0, y1, fy) in axis(h, height_px) {
        for class in 0..classes {
            let plane = &prob[class * h * w..(class + 1) * h * w];
            let (top, bottom) = (&plane[y0 * w..(y0 + 1) * w], &plane[y1 * w..(y1 + 1) * w]);
            for (x, &(x0, x1, fx)) in columns.iter().enumerate() {
                let upper = top[x0] * (1.0 - fx) + top[x1] * fx;
                let lower = bottom[x0] * (1.0 - fx) + bottom[x1] * fx;
                let value = upper * (1.0 - fy) + lower * fy;
                if class == 0 || value > best[x] {
                    best[x] = value;
                    index[x] = class as u8;
                }
            }
        }
        out.extend_from_slice(&index);
    }
    out
}

/// PyTorch's half-pixel bilinear along one axis: lower index, upper index, weight of the upper.
fn axis(input: usize, output: usize) -> Vec<(usize, usize, f32)> {
    let ratio = input as f32 / output as f32;
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
