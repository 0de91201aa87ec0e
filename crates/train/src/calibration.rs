//! Calibration of probabilities: the temperature that fits the softmax over classes to labels, and
//! the expected calibration error before and after (Guo et al., "On calibration of modern neural
//! networks", 2017).

use serde::Serialize;

/// Bins of confidence.
const BINS: usize = 15;
/// Range of the search for a temperature.
const TEMPERATURES: [f64; 2] = [0.1, 20.0];

/// A labelled pixel with its logits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pixel {
    /// Place that it belongs to: a fit and its check never share a place.
    pub place: u16,
    /// Its class.
    pub label: usize,
    /// One logit for each class.
    pub logits: Vec<f32>,
}

/// How probabilities compare with the shares of right labels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// The temperature fitted on every other place.
    pub fitted: f64,
    /// Expected calibration error of the softmax of the logits, on the places that the fit did not
    /// use.
    pub error_before: f64,
    /// Expected calibration error there with the fitted temperature.
    pub error_after: f64,
    /// The manifest's temperature, and the expected calibration error there with it.
    pub manifest: Option<(f64, f64)>,
}

/// Fits a temperature on every other place and measures it on the rest; `None` without two places.
pub(crate) fn calibrate(pixels: &[Pixel], manifest: Option<f64>) -> Option<Calibration> {
    let mut places: Vec<u16> = pixels.iter().map(|pixel| pixel.place).collect();
    places.sort_unstable();
    places.dedup();
    let (fit, check): (Vec<&Pixel>, Vec<&Pixel>) = pixels.iter().partition(|pixel| {
        places
            .binary_search(&pixel.place)
            .is_ok_and(|at| at.is_multiple_of(2))
    });
    if fit.is_empty() || check.is_empty() {
        return None;
    }
    let fitted = fit_temperature(&fit);
    Some(Calibration {
        fitted,
        error_before: expected_error(&check, 1.0),
        error_after: expected_error(&check, fitted),
        manifest: manifest.map(|temperature| (temperature, expected_error(&check, temperature))),
    })
}

/// The temperature of least mean negative log-likelihood, by golden-section search over its
/// logarithm.
fn fit_temperature(pixels: &[&Pixel]) -> f64 {
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let [mut low, mut high] = TEMPERATURES.map(f64::ln);
    for _ in 0..40 {
        let reach = golden * (high - low);
        let (a, b) = (high - reach, low + reach);
        if negative_log_likelihood(pixels, a.exp()) < negative_log_likelihood(pixels, b.exp()) {
            high = b;
        } else {
            low = a;
        }
    }
    f64::midpoint(low, high).exp()
}

fn negative_log_likelihood(pixels: &[&Pixel], temperature: f64) -> f64 {
    pixels
        .iter()
        .map(|pixel| {
            -softmax(&pixel.logits, temperature)[pixel.label]
                .max(1e-12)
                .ln()
        })
        .sum::<f64>()
        / pixels.len() as f64
}

/// Mean absolute difference of confidence and accuracy over bins of confidence, weighted by their
/// pixels.
fn expected_error(pixels: &[&Pixel], temperature: f64) -> f64 {
    let mut bins = [[0.0f64; 3]; BINS];
    for pixel in pixels {
        let probabilities = softmax(&pixel.logits, temperature);
        let (class, confidence) =
            probabilities
                .iter()
                .enumerate()
                .fold(
                    (0, 0.0),
                    |best, (class, &p)| if p > best.1 { (class, p) } else { best },
                );
        let bin = ((confidence * BINS as f64) as usize).min(BINS - 1);
        bins[bin][0] += 1.0;
        bins[bin][1] += confidence;
        bins[bin][2] += f64::from(u8::from(class == pixel.label));
    }
    bins.iter()
        .map(|[_, confidence, right]| (confidence - right).abs())
        .sum::<f64>()
        / pixels.len() as f64
}

fn softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
    let scaled: Vec<f64> = logits.iter().map(|&x| f64::from(x) / temperature).collect();
    let most = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exp: Vec<f64> = scaled.iter().map(|x| (x - most).exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.into_iter().map(|x| x / sum).collect()
}

impl std::fmt::Display for Calibration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Calibration on these tiles: expected calibration error {:.3} for the softmax of the logits, {:.3} with the \
             temperature {:.2} fitted on every other place, both measured on the remaining places",
            self.error_before, self.error_after, self.fitted
        )?;
        match self.manifest {
            Some((temperature, error)) => {
                write!(
                    f,
                    "; {error:.3} with the package's temperature {temperature:.2}."
                )
            }
            None => write!(f, "."),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::{Pixel, calibrate};

    #[test]
    fn the_temperature_of_overconfident_logits_is_found() {
        // Three of four pixels have the first class; logits of ±1.0986 / 2 say so, these are four
        // times as large.
        let logit = 4.0 * 3f32.ln() / 2.0;
        let pixels: Vec<Pixel> = (0..400)
            .map(|i| Pixel {
                place: (i / 100) as u16,
                label: usize::from(i % 4 == 3),
                logits: vec![logit, -logit],
            })
            .collect();
        let found = calibrate(&pixels, Some(4.0)).unwrap();
        assert!((found.fitted - 4.0).abs() < 0.01, "{found:?}");
        assert!(
            found.error_before > 0.2 && found.error_after < 0.01,
            "{found:?}"
        );
        assert!(found.manifest.unwrap().1 < 0.01);
        assert!(
            calibrate(&pixels[..100], None).is_none(),
            "one place cannot check itself"
        );
    }
}
