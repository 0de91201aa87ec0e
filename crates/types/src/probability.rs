//! Class probabilities from logits, for exports and for the page.

/// Probabilities of the classes in each cell, from logits `[T, cells]`, in that layout. With the
/// temperature of a calibrated package they are the softmax over classes of `logit / temperature`
/// (Guo et al., "On calibration of modern neural networks", 2017) and add up to 1; without one they
/// are the sigmoids that labels are made from (docs/network.md section 12), each class for itself.
#[must_use]
pub fn class_probabilities(logits: &[f32], cells: usize, temperature: Option<f32>) -> Vec<f32> {
    let Some(temperature) = temperature else {
        return logits.iter().map(|&logit| sigmoid(logit)).collect();
    };
    let mut highest = vec![f32::NEG_INFINITY; cells];
    for plane in logits.chunks_exact(cells.max(1)) {
        for (most, &logit) in highest.iter_mut().zip(plane) {
            *most = most.max(logit);
        }
    }
    let mut out = Vec::with_capacity(logits.len());
    let mut sums = vec![0.0_f32; cells];
    for plane in logits.chunks_exact(cells.max(1)) {
        for ((&logit, &most), sum) in plane.iter().zip(&highest).zip(&mut sums) {
            let share = ((logit - most) / temperature).exp();
            *sum += share;
            out.push(share);
        }
    }
    for plane in out.chunks_exact_mut(cells.max(1)) {
        for (share, sum) in plane.iter_mut().zip(&sums) {
            *share /= sum;
        }
    }
    out
}

/// The logistic function.
#[must_use]
pub fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

#[cfg(test)]
mod tests {
    use super::class_probabilities;

    #[test]
    fn a_temperature_makes_them_add_up_to_one() {
        // Two classes, two cells.
        let found = class_probabilities(&[2.0, 200.0, 0.0, -200.0], 2, Some(2.0));
        let odds = 1.0_f32.exp();
        assert!((found[0] - odds / (1.0 + odds)).abs() < 1e-6);
        assert!((found[0] + found[2] - 1.0).abs() < 1e-6);
        assert_eq!((found[1], found[3]), (1.0, 0.0));
    }

    #[test]
    fn without_one_each_class_stands_for_itself() {
        assert_eq!(class_probabilities(&[0.0, 0.0], 1, None), [0.5, 0.5]);
        assert!(class_probabilities(&[], 0, Some(1.0)).is_empty());
    }
}
