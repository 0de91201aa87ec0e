//! Samples as tensors, and what towers and logits are held against.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use mmovseg_scene::CLASSES;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::data::{IGNORE, Legend, Sample};
use crate::words::Words;

/// Temperature of the dense classification that teaches the towers.
pub(crate) const TEMPERATURE: f64 = 0.07;
/// Weight of a labelled pixel of a road, against 1 for any other: roads are a twenty-fifth of the
/// ground, and without more weight the first trained model never named one. With three, a cell is
/// named a road from a chance of a quarter on, where a class that is found to a third gains most.
const ROAD_WEIGHT: f32 = 3.0;

/// Weight of a labelled pixel of each class.
pub(crate) fn class_weights(legend: Legend) -> Vec<f32> {
    match legend {
        Legend::Scenes => CLASSES
            .iter()
            .map(|class| {
                if class.name == "road" {
                    ROAD_WEIGHT
                } else {
                    1.0
                }
            })
            .collect(),
        Legend::EuroSat => vec![1.0; legend.classes()],
    }
}

/// A batch on the device.
pub(crate) struct Batch {
    /// `[N, 3, S, S]`, clouded.
    pub optical: Tensor<4>,
    /// The same without clouds.
    pub clear: Tensor<4>,
    /// `[N, 3, S, S]`.
    pub sar: Tensor<4>,
    /// 1 where there is a SAR tile, `[N, 1, 1, 1]`.
    pub has_sar: Tensor<4>,
    /// Whether any sample has one.
    pub any_sar: bool,
    /// 1 where both sensors see the ground, `[N]`; `None` where no sample does.
    pub both_see: Option<Tensor<1>>,
    /// Share of each class in each cell of the feature grid, `[N, T, g²]`.
    cells: Tensor<3>,
    /// Share of labelled pixels in each cell, `[N, 1, g²]`.
    cell_weight: Tensor<3>,
    /// The same for the logits' grid, `[N, T, 4g, 4g]` and `[N, 1, 4g, 4g]`.
    pub pixels: Tensor<4>,
    /// Weight of each cell of the logits.
    pub pixel_weight: Tensor<4>,
    /// Class of each pixel, or [`IGNORE`], `[N, S, S]`.
    pub labels: Vec<u8>,
    /// What labels mean; samples of one batch agree in it.
    legend: Legend,
    /// Whether each sample is one labelled tile; they agree in it too.
    pub is_whole: bool,
    /// `S`.
    pub side_px: usize,
    /// Where it lies.
    pub device: Device,
}

impl Batch {
    pub fn new(samples: &[Sample], grid: usize, device: &Device) -> Self {
        let n = samples.len();
        let side = samples.first().map_or(0, Sample::side_px);
        let tile = |pick: fn(&Sample) -> &Vec<f32>| {
            let flat: Vec<f32> = samples
                .iter()
                .flat_map(|s| pick(s).iter().copied())
                .collect();
            Tensor::<4>::from_data(TensorData::new(flat, [n, 3, side, side]), device)
        };
        let flag = |pick: &dyn Fn(&Sample) -> bool| {
            let flat: Vec<f32> = samples
                .iter()
                .map(|s| f32::from(u8::from(pick(s))))
                .collect();
            Tensor::<4>::from_data(TensorData::new(flat, [n, 1, 1, 1]), device)
        };
        let legend = samples.first().map_or(Legend::Scenes, |s| s.legend);
        let is_whole = samples.first().is_some_and(|s| s.is_whole);
        debug_assert!(
            samples
                .iter()
                .all(|s| (s.legend, s.is_whole) == (legend, is_whole))
        );
        let (cells, cell_weight) = shares(samples, legend, grid);
        let (pixels, pixel_weight) = shares(samples, legend, 4 * grid);
        let classes = legend.classes();
        let fine = 4 * grid;
        Self {
            optical: tile(|s| &s.optical),
            clear: tile(|s| &s.clear),
            sar: tile(|s| &s.sar),
            has_sar: flag(&|s| s.has_sar),
            any_sar: samples.iter().any(|s| s.has_sar),
            both_see: samples
                .iter()
                .any(|s| s.has_sar && s.is_clear)
                .then(|| flag(&|s| s.has_sar && s.is_clear).reshape([n])),
            cells: Tensor::from_data(TensorData::new(cells, [n, classes, grid * grid]), device),
            cell_weight: Tensor::from_data(
                TensorData::new(cell_weight, [n, 1, grid * grid]),
                device,
            ),
            pixels: Tensor::from_data(TensorData::new(pixels, [n, classes, fine, fine]), device),
            pixel_weight: Tensor::from_data(
                TensorData::new(pixel_weight, [n, 1, fine, fine]),
                device,
            ),
            labels: samples
                .iter()
                .flat_map(|s| s.label.iter().copied())
                .collect(),
            legend,
            is_whole,
            side_px: side,
            device: device.clone(),
        }
    }

    /// Class and weight of tiles that are of one class each, `[N, T, 1]` and `[N, 1, 1]`.
    fn whole(&self) -> (Tensor<3>, Tensor<3>) {
        (
            self.cells.clone().narrow(2, 0, 1),
            self.cell_weight.clone().narrow(2, 0, 1),
        )
    }

    /// One word for each class of the legend, `[T, E]`, drawn by the step.
    pub fn text(&self, words: &Words, seed: u64, step: usize) -> Tensor<2> {
        let flat = drawn_words(words, self.legend, seed, step);
        Tensor::from_data(
            TensorData::new(flat, [self.legend.classes(), words.width()]),
            &self.device,
        )
    }
}

/// The words that a step draws for a legend, `[T, E]` flat.
pub(crate) fn drawn_words(words: &Words, legend: Legend, seed: u64, step: usize) -> Vec<f32> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed ^ 0x7E87 ^ (step as u64) << 16);
    words.draw(legend, &mut dice)
}

/// Share of each class, `[N, T, grid²]`, and of labelled pixels weighted by class, `[N, 1, grid²]`,
/// a cell.
fn shares(samples: &[Sample], legend: Legend, grid: usize) -> (Vec<f32>, Vec<f32>) {
    let side = samples.first().map_or(0, Sample::side_px);
    let cell_px = (side / grid).max(1);
    let area = grid * grid;
    let classes = legend.classes();
    let class_weights = class_weights(legend);
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

/// How badly each SAR embedding finds the optical one of its own place among all of its tile,
/// `[N, L, E]` each, mean over the tiles that `weight` counts, `[N]` in any shape. The optical ones stay as
/// they are: SAR is unified with them.
pub(crate) fn place_loss<const D: usize>(
    sar: Tensor<3>,
    optical: Tensor<3>,
    weight: Tensor<D>,
) -> Tensor<1> {
    let [n, places, _] = sar.dims();
    let unit = |map: Tensor<3>| {
        let norm = map.clone().square().sum_dim(2).clamp_min(1e-24).sqrt();
        map / norm
    };
    let likeness = unit(sar).matmul(unit(optical).detach().swap_dims(1, 2));
    let log = log_softmax(likeness / TEMPERATURE, 2);
    let here: Tensor<3> = Tensor::<2>::eye(places, &log.device()).unsqueeze();
    let each = -(log * here).sum_dim(2).mean_dim(1).reshape([n]);
    let weight = weight.reshape([n]);
    (each * weight.clone()).sum() / (weight.sum() + 1e-6)
}

/// Cross-entropy of cells against their class shares; `cosines [N, T, g²]`. Of tiles that are judged as a whole, any
/// cells will do, `[N, T, L]`.
pub(crate) fn dense_loss(cosines: Tensor<3>, batch: &Batch) -> Tensor<1> {
    let scores = cosines / TEMPERATURE;
    let cells = scores.dims()[2];
    let (shares, weight) = if batch.is_whole {
        let (share, weight) = batch.whole();
        (share.repeat_dim(2, cells), weight.repeat_dim(2, cells))
    } else {
        (batch.cells.clone(), batch.cell_weight.clone())
    };
    let each = cross_entropy(scores.clone(), shares, weight);
    with_the_whole(each, scores, batch)
}

/// The same for logits `[N, T, 4g, 4g]` on their own grid, with weights `[N, 1, 4g, 4g]`.
pub(crate) fn logits_loss(logits: Tensor<4>, batch: &Batch, weight: &Tensor<4>) -> Tensor<1> {
    let [n, classes, h, w] = logits.dims();
    let scores = logits.reshape([n, classes, h * w]);
    let shares = batch.pixels.clone().reshape([n, classes, h * w]);
    let each = cross_entropy(
        scores.clone(),
        shares,
        weight.clone().reshape([n, 1, h * w]),
    );
    with_the_whole(each, scores, batch)
}

/// A loss of each cell, half of it that of their mean where tiles are judged as a whole: a tile of a river is
/// mostly fields, but named as a whole.
fn with_the_whole(each: Tensor<1>, scores: Tensor<3>, batch: &Batch) -> Tensor<1> {
    if !batch.is_whole {
        return each;
    }
    let (share, weight) = batch.whole();
    (each + cross_entropy(scores.mean_dim(2), share, weight)) / 2.0
}

/// Cross-entropy of cosines `[N, T, 16 g²]` against shares `[N, T, 4g, 4g]` with weights `[N, 1, 4g, 4g]`.
pub(crate) fn pixel_loss(cosines: Tensor<3>, shares: &Tensor<4>, weight: &Tensor<4>) -> Tensor<1> {
    let [n, classes, cells] = cosines.dims();
    let shares = shares.clone().reshape([n, classes, cells]);
    cross_entropy(
        cosines / TEMPERATURE,
        shares,
        weight.clone().reshape([n, 1, cells]),
    )
}

/// Mean over cells by `weight [N, 1, L]`; scores and shares `[N, T, L]`.
fn cross_entropy(scores: Tensor<3>, shares: Tensor<3>, weight: Tensor<3>) -> Tensor<1> {
    let each = -(shares * log_softmax(scores, 1)).sum_dim(1) * weight.clone();
    each.sum() / (weight.sum() + 1e-6)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::place_loss;
    use burn::tensor::{Device, Distribution, Tensor};

    #[test]
    fn places_are_found_by_their_own_embeddings_and_only_counted_tiles_count() {
        let device = Device::flex();
        device.seed(7);
        let optical = Tensor::<3>::random([2, 16, 32], Distribution::Normal(0.0, 1.0), &device);
        let other = Tensor::<3>::random([2, 16, 32], Distribution::Normal(0.0, 1.0), &device);
        let loss = |sar: &Tensor<3>, weight: [f32; 2]| -> f32 {
            place_loss(
                sar.clone(),
                optical.clone(),
                Tensor::<1>::from_data(weight, &device),
            )
            .into_scalar()
        };
        assert!(loss(&optical, [1.0, 1.0]) < 0.01);
        assert!(loss(&other, [1.0, 1.0]) > 16f32.ln());
        let mixed = Tensor::cat(
            vec![optical.clone().narrow(0, 0, 1), other.narrow(0, 1, 1)],
            0,
        );
        assert!(loss(&mixed, [1.0, 0.0]) < 0.01);
        assert!(loss(&mixed, [0.0, 1.0]) > 16f32.ln());
    }
}
