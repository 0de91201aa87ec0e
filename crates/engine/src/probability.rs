//! From a run's logits to what is known of each pixel: the probability of its label, of all
//! classes, and their entropy, in 8 bits.

use mmovseg_raster::NO_DATA_LABEL;
use mmovseg_types::class_probabilities;

/// Description of the only band of an entropy raster.
pub const ENTROPY_BAND: &str = "entropy";

/// What to compute beside the labels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// The probability of each pixel's label.
    pub confidence: bool,
    /// The probability of every class.
    pub classes: bool,
    /// The entropy of all classes.
    pub entropy: bool,
}

/// Values of 0 to 254 for 0 to 1, and 255 where there is no data. Empty where it was not wanted.
#[derive(Debug, Default)]
pub struct PixelShares {
    /// `[height_px, width_px]`.
    pub confidence: Vec<u8>,
    /// `[height_px, width_px, T]`.
    pub classes: Vec<u8>,
    /// `[height_px, width_px]`: 1 when all classes are alike likely, 0 when one is certain.
    pub entropy: Vec<u8>,
}

/// Shares of the pixels of a label map from the logits `[T, h, w]` that cover it evenly:
/// probabilities by the package's temperature ([`class_probabilities`]), resized bilinearly as the
/// labels are. For the entropy they are divided by their sum.
pub fn pixel_shares(
    labels: &[u8],
    width_px: usize,
    (logits, [h, w]): (&[f32], [usize; 2]),
    temperature: Option<f32>,
    wanted: Wanted,
) -> PixelShares {
    let mut out = PixelShares::default();
    if h * w == 0 || !(wanted.confidence || wanted.classes || wanted.entropy) {
        return out;
    }
    let classes = logits.len() / (h * w);
    let height_px = labels.len() / width_px.max(1);
    let columns: Vec<_> = (0..width_px).map(|x| taps(x, width_px, w)).collect();
    let probability = class_probabilities(logits, h * w, temperature);
    let mut values = vec![0.0_f32; classes];
    for y in 0..height_px {
        let (above, below, v) = taps(y, height_px, h);
        for (x, &(left, right, u)) in columns.iter().enumerate() {
            let label = labels[y * width_px + x];
            if label == NO_DATA_LABEL {
                out.push(wanted, NO_DATA_LABEL, classes);
                continue;
            }
            for (class, value) in values.iter_mut().enumerate() {
                let [upper, lower] = [above, below].map(|row| {
                    let line = &probability[(class * h + row) * w..];
                    line[left] + (line[right] - line[left]) * u
                });
                *value = upper + (lower - upper) * v;
            }
            if wanted.confidence {
                let value = values.get(usize::from(label)).copied().unwrap_or(0.0);
                out.confidence.push(byte(value));
            }
            if wanted.classes {
                out.classes.extend(values.iter().map(|&value| byte(value)));
            }
            if wanted.entropy {
                let sum: f32 = values.iter().sum::<f32>().max(f32::MIN_POSITIVE);
                let entropy: f32 = values
                    .iter()
                    .map(|value| value / sum)
                    .filter(|p| *p > 0.0)
                    .map(|p| -p * p.ln())
                    .sum();
                let most = (classes as f32).ln();
                out.entropy
                    .push(byte(if most > 0.0 { entropy / most } else { 0.0 }));
            }
        }
    }
    out
}

impl PixelShares {
    fn push(&mut self, wanted: Wanted, value: u8, classes: usize) {
        if wanted.confidence {
            self.confidence.push(value);
        }
        if wanted.classes {
            self.classes.extend(std::iter::repeat_n(value, classes));
        }
        if wanted.entropy {
            self.entropy.push(value);
        }
    }
}

fn byte(share: f32) -> u8 {
    (share.clamp(0.0, 1.0) * 254.0).round() as u8
}

/// The two cells whose centres enclose a pixel's, and the weight of the second.
fn taps(pixel: usize, pixels: usize, cells: usize) -> (usize, usize, f32) {
    let at = (pixel as f32 + 0.5) * cells as f32 / pixels as f32 - 0.5;
    let at = at.clamp(0.0, (cells - 1) as f32);
    let first = at as usize;
    (first, (first + 1).min(cells - 1), at - first as f32)
}

#[cfg(test)]
mod tests {
    use super::{Wanted, pixel_shares};

    #[test]
    fn certain_and_undecided_pixels_have_the_entropy_they_should() {
        // Two classes on one cell each of two: sure on the left, undecided on the right.
        let logits = [20.0, 0.0, -20.0, 0.0];
        let labels = [0, 0, 1, 255];
        let wanted = Wanted {
            confidence: true,
            classes: true,
            entropy: true,
        };
        let shares = pixel_shares(&labels, 4, (&logits, [1, 2]), None, wanted);
        assert_eq!(shares.confidence[0], 254);
        assert_eq!((shares.entropy[0], shares.entropy[3]), (0, 255));
        assert!(shares.entropy[1] > 0 && shares.entropy[2] > shares.entropy[1]);
        assert_eq!(shares.classes.len(), 8);
        assert_eq!(shares.classes[..2], [254, 0]);
        assert_eq!(shares.classes[6..], [255, 255]);
        let undecided = pixel_shares(&[1], 1, (&[0.0, 0.0], [1, 1]), None, wanted);
        assert_eq!((undecided.confidence[0], undecided.entropy[0]), (127, 254));
        // Calibrated, three classes alike likely have a third each.
        let thirds = pixel_shares(&[1], 1, (&[4.0; 3], [1, 1]), Some(1.5), wanted);
        assert_eq!((thirds.confidence[0], thirds.entropy[0]), (85, 254));
    }
}
