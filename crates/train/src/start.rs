//! Where the default model starts: weights that already tell colours, textures, neighbours and
//! degrees of likeness apart, so that few steps on little hardware go into finding those again.

use std::f32::consts::PI;

use burn::module::Module;
use mmovseg_model::clip_text::TextTower;
use mmovseg_model::parameters::Part;
use mmovseg_model::{MmOvSeg, params};

use crate::TrainError;
use crate::tensors::{Tensors, values};

/// Amplitude of the position tables beside patch tokens of about unit variance.
const POSITION_AMPLITUDE: f32 = 0.3;
/// Shortest and longest wave of the position tables, in cells.
const WAVES_CELLS: [f32; 2] = [4.0, 96.0];
/// Steepness of the likeness steps, per unit of cosine.
const STEEPNESS: f32 = 12.0;
/// Cosines between which the likeness steps lie.
const COSINES: [f32; 2] = [-0.1, 0.8];
/// How much of the random fusion kernel stays beside the plain mean.
const RANDOM_SHARE: f32 = 0.3;
/// Weight of either correlation in the first fusion.
const FUSION_GAIN: f32 = 3.0;

/// Replaces the random start of the visual towers: patches become spatial frequencies, positions
/// become waves in two directions, and keys start as queries, so that tokens attend to what is like
/// them and near them (after Trockman and Kolter, "Mimetic initialization of self-attention
/// layers", 2023).
///
/// # Errors
/// When the device gives no values.
pub(crate) fn towers(model: MmOvSeg) -> Result<MmOvSeg, TrainError> {
    let table = model.parameters();
    change(model, |tensors| {
        let names: Vec<String> = tensors.keys().cloned().collect();
        for name in names {
            let is_encoder = matches!(table.of(&name).part, Part::Encoder(_));
            let queries = is_encoder
                .then(|| tensors.get(&name.replace("k_proj_weight", "q_proj_weight")))
                .flatten()
                .map(|(_, data)| data.clone());
            let Some((shape, data)) = tensors.get_mut(&name) else {
                continue;
            };
            if name.ends_with("visual.conv1.weight") || name.ends_with("patch_embed.proj.weight") {
                if shape[1] == 3 && shape[2] == shape[3] {
                    *data = frequencies(shape[0], shape[2]);
                }
            } else if name.ends_with("visual.positional_embedding") || name.ends_with("pos_embed") {
                positions(data, shape[shape.len() - 1]);
            } else if let Some(queries) = queries.filter(|_| name.ends_with("k_proj_weight")) {
                *data = queries;
            } else if name.ends_with("attn.qkv.weight") {
                let third = data.len() / 3;
                data.copy_within(0..third, third);
            }
        }
    })
}

/// Replaces the random start of the text tower: the first block sums up what stands before the end
/// mark, the others say little, and the first channels are the embedding, so that a phrase begins
/// as the mean of its words. What no phrase teaches keeps that meaning.
///
/// # Errors
/// When the device gives no values.
pub(crate) fn mean_of_words(tower: TextTower) -> Result<TextTower, TrainError> {
    // Words weigh more than the end mark's own row.
    const WORDS: f32 = 2.0;
    const QUIET: f32 = 0.1;
    change(tower, |tensors| {
        for (name, (shape, data)) in tensors.iter_mut() {
            let mut diagonal = |value: f32| {
                let width = shape[1];
                for (i, row) in data.chunks_exact_mut(width).enumerate() {
                    row.fill(0.0);
                    if let Some(entry) = row.get_mut(i) {
                        *entry = value;
                    }
                }
            };
            match name.as_str() {
                "resblocks.0.attn.v_proj_weight" | "text_projection" => diagonal(1.0),
                "resblocks.0.attn.out_proj.weight" => diagonal(WORDS),
                "resblocks.0.attn.q_proj_weight" | "resblocks.0.attn.k_proj_weight" => {
                    data.iter_mut().for_each(|x| *x *= QUIET);
                }
                _ if name.ends_with("out_proj.weight") || name.ends_with("c_proj.weight") => {
                    data.iter_mut().for_each(|x| *x *= QUIET);
                }
                _ => {}
            }
        }
    })
}

/// Replaces the random start of the correlation: the cost volume's channels become steps of the
/// cosine, and fusion the mean of both correlations.
///
/// # Errors
/// When the device gives no values.
pub(crate) fn correlation(model: MmOvSeg) -> Result<MmOvSeg, TrainError> {
    change(model, |tensors| {
        for (name, (shape, data)) in tensors.iter_mut() {
            let count = shape[0];
            match name.strip_prefix("sem_seg_head.predictor.transformer.") {
                Some("conv1.weight" | "conv2.weight") => *data = blob(shape[3]).repeat(count),
                Some("conv1.bias" | "conv2.bias") => {
                    for (c, bias) in data.iter_mut().enumerate() {
                        let at = c as f32 / (count - 1).max(1) as f32;
                        *bias = -STEEPNESS * (COSINES[0] + (COSINES[1] - COSINES[0]) * at);
                    }
                }
                Some("fusion_corr.weight") => {
                    let area = shape[2] * shape[3];
                    for weight in data.iter_mut() {
                        *weight *= RANDOM_SHARE;
                    }
                    for (c, kernel) in data.chunks_exact_mut(2 * count * area).enumerate() {
                        for source in [c, count + c] {
                            kernel[source * area + area / 2] += FUSION_GAIN;
                        }
                    }
                }
                Some("fusion_corr.bias") => data.fill(-FUSION_GAIN),
                _ => {}
            }
        }
    })
}

/// A model with the weights of another wherever name and shape agree.
///
/// # Errors
/// When the device gives no values.
pub(crate) fn take_over(model: MmOvSeg, from: MmOvSeg) -> Result<MmOvSeg, TrainError> {
    let wanted = model.parameter_shapes();
    let mut tensors = values(&from)?;
    tensors.retain(|name, (shape, _)| wanted.get(name) == Some(shape));
    Ok(model.load(&mut tensors))
}

/// The model with its values as `edit` leaves them; names that `edit` adds replace what they name.
///
/// # Errors
/// When the device gives no values.
pub(crate) fn change<M: Module>(
    model: M,
    edit: impl FnOnce(&mut Tensors),
) -> Result<M, TrainError> {
    let mut tensors = values(&model)?;
    edit(&mut tensors);
    Ok(params::load(model, &mut tensors))
}

/// `count` cosine patterns over `3 × side × side` pixels, flat, slow ones first: all of luminance,
/// then the slowest of two colour differences. Pictures hold less of the fast ones, so those are
/// enlarged to let every channel vary about alike.
fn frequencies(count: usize, side: usize) -> Vec<f32> {
    const LUMINANCE: [f32; 3] = [0.58, 0.58, 0.58];
    const DIFFERENCES: [[f32; 3]; 2] = [[1.4, 0.0, -1.4], [0.8, -1.6, 0.8]];
    let mut order: Vec<(usize, usize)> = (0..side * side).map(|i| (i / side, i % side)).collect();
    order.sort_by_key(|(v, u)| (v * v + u * u, *v));
    let colours = (count.saturating_sub(order.len()) / 2).min(order.len());
    let patterns = order.iter().map(|at| (LUMINANCE, *at)).chain(
        DIFFERENCES
            .into_iter()
            .flat_map(|colour| order[..colours].iter().map(move |at| (colour, *at))),
    );
    let mut out = vec![0.0f32; count * 3 * side * side];
    for (kernel, (colour, (v, u))) in out.chunks_exact_mut(3 * side * side).zip(patterns) {
        let wave = |k: usize, x: usize| (PI * k as f32 * (x as f32 + 0.5) / side as f32).cos();
        let gain = (1.0 + ((v * v + u * u) as f32).sqrt()) / (side * side) as f32;
        for (plane, share) in kernel.chunks_exact_mut(side * side).zip(colour) {
            for (i, weight) in plane.iter_mut().enumerate() {
                *weight = gain * share * wave(v, i / side) * wave(u, i % side);
            }
        }
    }
    out
}

/// Fills a table of `1 + g²` rows: sines and cosines of row and column, slow to fast; the first row
/// belongs to no place and stays.
fn positions(table: &mut [f32], width: usize) {
    let cells = table.len() / width - 1;
    let grid = (cells as f64).sqrt() as usize;
    let waves = (width / 4).max(1);
    for (cell, row) in table[width..].chunks_exact_mut(width).enumerate() {
        let place = [cell / grid.max(1), cell % grid.max(1)];
        for (i, value) in row.iter_mut().enumerate() {
            let (axis, sine, k) = (i / (2 * waves), (i / waves).is_multiple_of(2), i % waves);
            let at = k as f32 / (waves - 1).max(1) as f32;
            let length = WAVES_CELLS[1] * (WAVES_CELLS[0] / WAVES_CELLS[1]).powf(at);
            let angle = 2.0 * PI * place[axis.min(1)] as f32 / length;
            *value = POSITION_AMPLITUDE * if sine { angle.sin() } else { angle.cos() };
        }
    }
}

/// A kernel of sum [`STEEPNESS`]: mostly its centre, a little of the eight around it.
fn blob(side: usize) -> Vec<f32> {
    let middle = (side / 2) as i32;
    (0..side * side)
        .map(|i| {
            let (y, x) = ((i / side) as i32 - middle, (i % side) as i32 - middle);
            STEEPNESS
                * match (y.abs().max(x.abs()), side) {
                    (0, 1) => 1.0,
                    (0, _) => 0.6,
                    (1, _) => 0.05,
                    _ => 0.0,
                }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{STEEPNESS, blob, frequencies, positions};

    #[test]
    fn patterns_are_orthogonal_and_colour_comes_last() {
        let kernels = frequencies(96, 8);
        let rows: Vec<&[f32]> = kernels.chunks_exact(192).collect();
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate() {
                let dot: f32 = a.iter().zip(*b).map(|(x, y)| x * y).sum();
                assert!((dot.abs() > 1e-4) == (i == j), "{i} {j}: {dot}");
            }
        }
        // A colour difference of a grey patch is nothing.
        assert!(rows[64].iter().sum::<f32>().abs() < 1e-5);
    }

    #[test]
    fn near_places_are_more_alike_than_far_ones() {
        let mut table = vec![0.0f32; 577 * 96];
        positions(&mut table, 96);
        let row = |cell: usize| &table[(1 + cell) * 96..(2 + cell) * 96];
        let like =
            |a: usize, b: usize| -> f32 { row(a).iter().zip(row(b)).map(|(x, y)| x * y).sum() };
        let here = 12 * 24 + 12;
        assert!(like(here, here + 1) > like(here, here + 3));
        assert!(like(here, here + 24) > like(here, here + 72));
        assert!((like(here, here + 1) - like(here, here + 24)).abs() < 1e-3);
        assert_eq!(table[..96], [0.0; 96]);
    }

    #[test]
    fn a_blob_keeps_its_sum() {
        for side in [1, 3, 7] {
            assert!((blob(side).iter().sum::<f32>() - STEEPNESS).abs() < 1e-4);
        }
    }
}
