//! Samples of one kind as tensors, with the targets of the losses on the grids of features and
//! logits.

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::data::sample::{Kind, Sample};
use crate::labels::{IGNORE, LabelSet};
use crate::words::Words;

/// Sharpening of a taught sample's labels: the softmax of the teacher's logits over this
/// temperature.
pub(crate) const TEACHER_TEMPERATURE: f64 = 0.5;
/// Least probability of the teacher's first class among the candidates for a pixel to be labelled.
pub(crate) const TEACHER_CONFIDENCE: f64 = 0.6;

/// Class shares and weights of the cells of a grid.
#[derive(Clone)]
pub(crate) struct Targets {
    /// Share of each class, `[N, T, h, w]`.
    pub share: Tensor<4>,
    /// Share of labelled pixels, weighted by class, `[N, 1, h, w]`.
    pub weight: Tensor<4>,
}

/// A batch of samples of one kind on the device.
#[derive(Clone)]
pub(crate) struct Batch {
    /// Clouded optical tiles, `[N, 3, S, S]`.
    pub optical: Tensor<4>,
    /// Optical tiles without clouds, `[N, 3, S, S]`.
    pub clear: Tensor<4>,
    /// SAR tiles, `[N, 3, S, S]`.
    pub sar: Tensor<4>,
    /// What the samples have in common.
    pub kind: Kind,
    /// Targets on the feature grid `g × g`.
    pub cells: Targets,
    /// Targets on the logits' grid `4g × 4g`.
    pub pixels: Targets,
    /// Class of each pixel, or [`IGNORE`], `[N, S, S]`.
    pub labels: Vec<u8>,
    /// 1 for each candidate class of a taught sample, `[N, T, 1, 1]`.
    candidates: Tensor<4>,
    /// `S`.
    pub side_px: usize,
    /// Where the tensors are.
    pub device: Device,
}

impl Batch {
    /// Of samples of one kind; `None` without samples.
    pub fn new(samples: &[Sample], grid: usize, device: &Device) -> Option<Self> {
        let n = samples.len();
        let first = samples.first()?;
        let (kind, side) = (first.kind, first.side_px());
        debug_assert!(samples.iter().all(|s| s.kind == kind));
        let tile = |pick: fn(&Sample) -> &Vec<f32>| {
            let flat: Vec<f32> = samples
                .iter()
                .flat_map(|s| pick(s).iter().copied())
                .collect();
            Tensor::<4>::from_data(TensorData::new(flat, [n, 3, side, side]), device)
        };
        let targets = |grid| {
            let (share, weight) = shares(samples, kind.label_set, grid);
            let classes = kind.label_set.classes();
            let tensor = |flat, channels| {
                Tensor::from_data(TensorData::new(flat, [n, channels, grid, grid]), device)
            };
            Targets {
                share: tensor(share, classes),
                weight: tensor(weight, 1),
            }
        };
        let classes = kind.label_set.classes();
        let candidates: Vec<f32> = samples
            .iter()
            .flat_map(|s| (0..classes).map(|class| f32::from(s.candidates >> class & 1)))
            .collect();
        Some(Self {
            optical: tile(|s| &s.optical),
            clear: tile(|s| &s.clear),
            sar: tile(|s| &s.sar),
            kind,
            cells: targets(grid),
            pixels: targets(4 * grid),
            labels: samples
                .iter()
                .flat_map(|s| s.label.iter().copied())
                .collect(),
            candidates: Tensor::from_data(TensorData::new(candidates, [n, classes, 1, 1]), device),
            side_px: side,
            device: device.clone(),
        })
    }

    /// The batch with labels from a teacher's logits `[N, T, 4g, 4g]`: its sharpened distribution
    /// over the candidate classes where it is confident. No gradient flows into the teacher.
    pub fn taught_by(&self, logits: Tensor<4>) -> Self {
        let sharp = softmax(logits.detach() / TEACHER_TEMPERATURE, 1) * self.candidates.clone();
        let share = sharp.clone() / (sharp.sum_dim(1) + 1e-12);
        let weight = share
            .clone()
            .max_dim(1)
            .greater_elem(TEACHER_CONFIDENCE)
            .float();
        let [n, classes, h, w] = share.dims();
        let pooled = |map: Tensor<4>, channels| {
            let cells = map.reshape([n * channels * h / 4, 4, w / 4, 4]);
            let sums = cells.sum_dim(3).sum_dim(1) / 16.0;
            sums.reshape([n, channels, h / 4, w / 4])
        };
        let cell_weight = pooled(weight.clone(), 1);
        let cell_share =
            pooled(share.clone() * weight.clone(), classes) / cell_weight.clone().clamp_min(1e-12);
        Self {
            cells: Targets {
                share: cell_share,
                weight: cell_weight,
            },
            pixels: Targets { share, weight },
            ..self.clone()
        }
    }

    /// One word for each class of the label set, `[T, E]`, drawn by the step.
    pub fn text(&self, words: &Words, seed: u64, step: usize) -> Tensor<2> {
        let flat = drawn_words(words, self.kind.label_set, seed, step);
        Tensor::from_data(
            TensorData::new(flat, [self.kind.label_set.classes(), words.width()]),
            &self.device,
        )
    }
}

/// The words that a step draws for a label set, `[T, E]` flat.
pub(crate) fn drawn_words(words: &Words, set: LabelSet, seed: u64, step: usize) -> Vec<f32> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed ^ 0x7E87 ^ (step as u64) << 16);
    words.draw(set, &mut dice)
}

/// Share of each class, `[N, T, grid²]`, and of labelled pixels weighted by class, `[N, 1, grid²]`,
/// in each cell.
fn shares(samples: &[Sample], set: LabelSet, grid: usize) -> (Vec<f32>, Vec<f32>) {
    let side = samples.first().map_or(0, Sample::side_px);
    let cell_px = (side / grid).max(1);
    let area = grid * grid;
    let classes = set.classes();
    let class_weights = set.class_weights();
    let mut share = vec![0.0f32; samples.len() * classes * area];
    let mut weight = vec![0.0f32; samples.len() * area];
    let unit = 1.0 / (cell_px * cell_px) as f32;
    for (n, sample) in samples.iter().enumerate() {
        for (i, &label) in sample.label.iter().enumerate() {
            if label == IGNORE {
                continue;
            }
            let cell = i / side / cell_px * grid + i % side / cell_px;
            share[(n * classes + usize::from(label)) * area + cell] += unit;
            weight[n * area + cell] += unit;
        }
        for cell in 0..area {
            let labelled = weight[n * area + cell];
            if labelled > 0.0 {
                let mut weighted = 0.0;
                for (class, class_weight) in class_weights.iter().enumerate() {
                    let share = &mut share[(n * classes + class) * area + cell];
                    weighted += *share * class_weight;
                    *share /= labelled;
                }
                weight[n * area + cell] = weighted;
            }
        }
    }
    (share, weight)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::Batch;
    use crate::data::sample::{Kind, Sample};
    use crate::labels::{IGNORE, LabelSet};
    use burn::tensor::{Device, Tensor};

    #[test]
    fn a_teacher_labels_confident_pixels_with_candidate_classes() {
        const SIDE: usize = 16;
        let tile = vec![0.0; 3 * SIDE * SIDE];
        let sample = Sample {
            optical: tile.clone(),
            clear: tile.clone(),
            sar: tile,
            kind: Kind {
                label_set: LabelSet::Scenes,
                has_optical: true,
                has_sar: true,
                is_whole: false,
                is_taught: true,
            },
            label: vec![IGNORE; SIDE * SIDE],
            candidates: 0b10_0001,
        };
        let device = Device::flex();
        let batch = Batch::new(&[sample], 2, &device).unwrap();
        // The teacher prefers class 2 everywhere, which is no candidate; then 5 on the left half,
        // and 0 as much as 5 on the right one.
        let mut logits = vec![-9.0f32; 7 * 64];
        for i in 0..64 {
            logits[2 * 64 + i] = 9.0;
            logits[5 * 64 + i] = 3.0;
            logits[i] = if i % 8 < 4 { 0.0 } else { 3.0 };
        }
        let logits = Tensor::<1>::from_data(logits.as_slice(), &device).reshape([1, 7, 8, 8]);
        let taught = batch.taught_by(logits);
        let weight: Vec<f32> = taught.pixels.weight.into_data().try_into_vec().unwrap();
        assert_eq!(weight[..8], [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        let cells: Vec<f32> = taught.cells.weight.into_data().try_into_vec().unwrap();
        assert_eq!(cells, [1.0, 0.0, 1.0, 0.0]);
        let share: Vec<f32> = taught.cells.share.into_data().try_into_vec().unwrap();
        assert!(share[5 * 4] > 0.99 && share[2 * 4] == 0.0);
    }
}
