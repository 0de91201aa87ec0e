//! Views into the network: heat maps by stage and class, similar patches across sensors, and
//! cosines of class names.

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;
use mmovseg_model::{Modality, Observer, Sensor};
use serde::{Deserialize, Serialize};

use crate::api::{Event, SegmentRequest};
use crate::error::EngineError;
use crate::scene::Scene;
use crate::session::Session;
use crate::stages::{Clock, Encoder, Fused, Input, fused, read};
use crate::tiles::HashedPair;
use crate::windows::Tiling;
use mmovseg_types::Stage;

/// One stage of the head, as a map for each class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageMap {
    /// `clip-similarity`, `dino-similarity`, `fused-volume`, `windows-1`, `layer-1` and so on for
    /// each layer, `decoder-1`, `decoder-2`, `probability`.
    pub name: String,
    /// Rows and columns, which cover the scene evenly.
    pub side_px: [usize; 2],
    /// `[T, h, w]`, row-major: cosines from −1 to 1, then activations, then probabilities.
    pub values: Vec<f32>,
}

/// How alike one optical patch is to all patches of both tiles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatchSimilarity {
    /// Patches along one side.
    pub grid: usize,
    /// Cosines with the optical patches, `[grid, grid]`.
    pub optical: Vec<f32>,
    /// Cosines with the SAR patches, `[grid, grid]`; empty where no encoder reads them.
    pub sar: Vec<f32>,
}

impl Session {
    /// The head's stages in order, one map a class. The scene is read as a whole, without windows;
    /// encoders whose features are in the cache do not run again.
    ///
    /// The volume and the layers show the mean over their channels: as a detector of its class it
    /// has a ROC area of 0.91 in both layers of nano (12 generated scenes), the norm 0.75 and 0.83.
    /// Decoder channels have no sign in common (area of the mean 0.68 and 0.41), so each counts by
    /// its covariance with the final logits.
    ///
    /// # Errors
    /// Those of [`Session::segment`].
    pub async fn explain(
        &mut self,
        pair: &HashedPair,
        request: &SegmentRequest,
        on: &mut dyn FnMut(Event),
    ) -> Result<Vec<StageMap>, EngineError> {
        let mut clock = Clock::start();
        self.begin(&request.classes)?;
        let whole = SegmentRequest {
            tiling: Tiling::Whole,
            ..request.clone()
        };
        let scene = Scene::new(pair, &whole, self.fused_config()?)?;
        let encoders = self.encoders(request.modality)?;
        let encoders = encoders.as_slice();
        self.touch(&scene, encoders);
        let inputs = self.inputs(&scene, 0, encoders, on, &mut clock)?;
        let rows = self
            .encode_text(&request.classes, on, &mut None, &mut clock)
            .await?;
        let text = self.text_tensor(&rows);
        let features = self
            .encode((&scene, 0), encoders, inputs, on, &mut None, &mut clock)
            .await?;
        let Fused { clip, dense } = fused(encoders, features)?;
        self.begin_head(on).await?;

        let mut watch = Watch {
            classes: request.classes.len(),
            maps: Vec::new(),
            decoded: Vec::new(),
        };
        self.fused()?.head(&clip, dense.as_ref(), text, &mut watch);
        let mut stages = Vec::with_capacity(watch.maps.len());
        for (name, map) in watch.maps {
            let [classes, h, w] = map.dims();
            let values = read(map.reshape([classes * h * w]), &Stage::Head).await?;
            if values.iter().any(|v| !v.is_finite()) {
                return Err(EngineError::NotFinite {
                    device: self.info.name.clone(),
                });
            }
            stages.push(StageMap {
                name,
                side_px: [h, w],
                values,
            });
        }
        on(Event::Stage {
            stage: Stage::Head,
            done: 1,
            total: 1,
        });
        Ok(stages)
    }

    /// Cosines of the embedding (a DINO's where the model has one) of the optical patch under `at`
    /// (column and row as shares of the scene, 0 to 1) with those of all optical and all SAR
    /// patches. Looks at the scene as a whole; the request's classes and modality play no part.
    ///
    /// # Errors
    /// When the pair cannot be used, the run is cancelled or the device fails.
    pub async fn similar_patches(
        &mut self,
        pair: &HashedPair,
        request: &SegmentRequest,
        at: [f64; 2],
        on: &mut dyn FnMut(Event),
    ) -> Result<PatchSimilarity, EngineError> {
        let mut clock = Clock::start();
        self.start();
        let whole = SegmentRequest {
            tiling: Tiling::Whole,
            ..request.clone()
        };
        let scene = Scene::new(pair, &whole, self.fused_config()?)?;
        // Of each sensor the last encoder: a DINO where the model has one.
        let all = self.encoders(Modality::Fused)?;
        let of = |sensor| all.iter().rfind(|e| e.input == Input::Tile(sensor));
        let sensors = [Sensor::Optical, Sensor::Sar];
        let encoders: Vec<Encoder> = sensors.into_iter().filter_map(of).cloned().collect();
        let inputs = self.inputs(&scene, 0, &encoders, on, &mut clock)?;
        let features = self
            .encode((&scene, 0), &encoders, inputs, on, &mut None, &mut clock)
            .await?;
        let grid = self.fused_config()?.head.grid;
        // NaN and what lies outside become a cell of the grid.
        let cell = |share: f64| ((share * grid as f64) as usize).min(grid - 1);
        let mut wanted = Vec::new();
        let mut cosines = Vec::new();
        for (maps, encoder) in features.into_iter().zip(&encoders) {
            let stage = Stage::Encoder(encoder.id.clone());
            let map = maps.embedding.map(grid);
            let [_, embed, h, w] = map.dims();
            let planes = read(map.reshape([embed * h * w]), &stage).await?;
            let patch = |index: usize| -> Vec<f32> {
                let column = planes.iter().skip(index).step_by(h * w).copied();
                unit(column.collect())
            };
            if wanted.is_empty() {
                wanted = patch(cell(at[1]) * w + cell(at[0]));
            }
            let all: Vec<f32> = (0..h * w).map(|i| dot(&wanted, &patch(i))).collect();
            cosines.push((encoder.input, all));
        }
        let mut of = |sensor| {
            let at = cosines
                .iter()
                .position(|(input, _)| *input == Input::Tile(sensor));
            at.map(|at| cosines.swap_remove(at).1).unwrap_or_default()
        };
        let (optical, sar) = (of(Sensor::Optical), of(Sensor::Sar));
        Ok(PatchSimilarity { grid, optical, sar })
    }

    /// Cosines of the class names' embeddings with one another, `[T, T]`.
    ///
    /// # Errors
    /// When a name cannot be tokenized, or the device fails.
    pub async fn vocabulary(
        &mut self,
        classes: &[String],
        on: &mut dyn FnMut(Event),
    ) -> Result<Vec<f32>, EngineError> {
        self.begin(classes)?;
        let rows = self
            .encode_text(classes, on, &mut None, &mut Clock::start())
            .await?;
        let rows: Vec<Vec<f32>> = rows.into_iter().map(unit).collect();
        Ok(rows
            .iter()
            .flat_map(|a| rows.iter().map(|b| dot(a, b)))
            .collect())
    }
}

fn unit(mut values: Vec<f32>) -> Vec<f32> {
    let norm = dot(&values, &values).sqrt().max(f32::MIN_POSITIVE);
    for value in &mut values {
        *value /= norm;
    }
    values
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Keeps what [`StageMap`]s are made of, one number a class and cell, still on the device.
struct Watch {
    classes: usize,
    maps: Vec<(String, Tensor<3>)>,
    /// Decoder stages `[T, C, h, w]`, which wait for the logits.
    decoded: Vec<(String, Tensor<4>)>,
}

impl Observer for Watch {
    fn wants_tensors(&self) -> bool {
        true
    }

    fn tensor(&mut self, name: &str, shape: &[usize], flat: Tensor<1>) {
        let [.., h, w] = *shape else { return };
        let classes = self.classes;
        let map = match name {
            "corr.clip" => ("clip-similarity".into(), flat.reshape([classes, h, w])),
            "corr.dino" => ("dino-similarity".into(), flat.reshape([classes, h, w])),
            "logits" => {
                let logits = flat.reshape([classes, h, w]);
                for (name, channels) in self.decoded.drain(..) {
                    let map = along(channels, logits.clone());
                    self.maps.push((name, map));
                }
                ("probability".into(), sigmoid(logits))
            }
            // The authors keep the volume as [N, C, T, h, w].
            "corr.embed" => ("fused-volume".into(), volume_mean(flat, classes, h, w)),
            // The decoder treats classes as a batch, [N·T, C, h, w].
            "dec1.out" | "dec2.out" => {
                let stage = if name == "dec1.out" { 1 } else { 2 };
                let channels = flat.dims()[0] / (classes * h * w);
                let volume = flat.reshape([classes, channels, h, w]);
                self.decoded.push((format!("decoder-{stage}"), volume));
                return;
            }
            _ => {
                // After window attention a layer shows "swin", after class attention "out".
                let Some((layer, part)) = name.strip_prefix("agg").and_then(|n| n.split_once('.'))
                else {
                    return;
                };
                let stage = match part {
                    "swin" => "windows",
                    "out" => "layer",
                    _ => return,
                };
                let Ok(layer) = layer.parse::<usize>() else {
                    return;
                };
                let map = volume_mean(flat, classes, h, w);
                (format!("{stage}-{}", layer + 1), map)
            }
        };
        self.maps.push(map);
    }
}

fn volume_mean(flat: Tensor<1>, classes: usize, h: usize, w: usize) -> Tensor<3> {
    let channels = flat.dims()[0] / (classes * h * w);
    flat.reshape([channels, classes * h * w])
        .mean_dim(0)
        .reshape([classes, h, w])
}

/// Channels `[T, C, h, w]` weighed by their covariance with logits `[T, H, W]`, `[T, h, w]`.
fn along(channels: Tensor<4>, logits: Tensor<3>) -> Tensor<3> {
    let [classes, count, h, w] = channels.dims();
    let [_, rows, columns] = logits.dims();
    let (down, across) = (rows / h, columns / w);
    let logits = logits
        .reshape([classes * h, down, w, across])
        .mean_dim(1)
        .mean_dim(3)
        .reshape([classes, 1, h * w]);
    let logits = logits.clone() - logits.mean().reshape([1, 1, 1]);
    let channels = channels.reshape([classes, count, h * w]);
    let weights = (channels.clone() * logits).mean_dim(2).mean_dim(0);
    let norm = weights.clone().square().sum_dim(1).sqrt() + f32::MIN_POSITIVE;
    (channels * (weights / norm))
        .sum_dim(1)
        .reshape([classes, h, w])
}
