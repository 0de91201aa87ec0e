//! One loaded model and what it remembers between runs.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use burn::tensor::{Device, Tensor, TensorData};
use mmovseg_model::network::{ClipMaps, DinoMaps};
use mmovseg_model::{MmOvSeg, Modality, ModelConfig, Observer, Trace};
use mmovseg_raster::{Preprocess, TilePair};
use mmovseg_text::{TextError, Tokenizer, prompt};
use mmovseg_weights::{
    Assembler, HostTensor, MANIFEST_FILE, Manifest, Probe, SelfTest, decode_shard, parse_manifest,
};
use serde::{Deserialize, Serialize};
use web_time::Instant;

use crate::pixels::{model_pixels, upload};
use crate::{DeviceInfo, EngineError, PackageSource, labels};

/// The steps of a run, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Preprocessing on the host.
    Preprocess,
    /// The text tower, for class names not seen before.
    Text,
    /// CLIP's visual tower.
    Clip,
    /// DINO over the optical tile.
    DinoOptical,
    /// DINO over the SAR tile.
    DinoSar,
    /// Correlation, aggregator, decoder.
    Head,
    /// Resize and argmax on the host.
    Labels,
}

impl Stage {
    /// The stage's name as events and reports spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Preprocess => "preprocess",
            Self::Text => "text",
            Self::Clip => "clip",
            Self::DinoOptical => "dino-optical",
            Self::DinoSar => "dino-sar",
            Self::Head => "head",
            Self::Labels => "labels",
        }
    }
}

/// What a shell is told while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Event {
    /// Bytes of the package that have arrived.
    Download {
        /// So far.
        done_bytes: u64,
        /// In all; 0 until the manifest is there.
        total_bytes: u64,
    },
    /// Steps of a stage; `done == total` when its result is there.
    Stage {
        /// Which.
        stage: Stage,
        /// Steps done (transformer blocks in the towers).
        done: usize,
        /// Steps in all.
        total: usize,
    },
}

/// What to segment, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentRequest {
    /// Class names in plain words; labels are positions in this list.
    pub classes: Vec<String>,
    /// Which tiles to listen to.
    pub modality: Modality,
    /// How tiles become the model's square.
    pub preprocess: Preprocess,
}

/// Time of one stage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageTiming {
    /// Which.
    pub stage: Stage,
    /// Wall time with the device's work awaited.
    pub ms: f64,
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segmentation {
    /// Class names, in the order of the labels.
    pub classes: Vec<String>,
    /// Columns of the optical tile.
    pub width_px: usize,
    /// Rows of the optical tile.
    pub height_px: usize,
    /// Class index of each pixel, row-major.
    pub labels: Vec<u8>,
    /// Rows and columns of the logits.
    pub grid_px: [usize; 2],
    /// `[T, h, w]`, before the sigmoid.
    pub logits: Vec<f32>,
    /// Share of pixels of each class, 0 to 1.
    pub share: Vec<f64>,
    /// Stages that ran; cached ones are absent.
    pub timings: Vec<StageTiming>,
}

/// How the golden self-test went on this device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelfTestReport {
    /// Whether every number was within tolerance.
    pub passed: bool,
    /// Largest absolute difference seen.
    pub max_error: f64,
    /// What is allowed.
    pub tolerance: f64,
}

/// Features of the last tile pair, kept so that a changed class list re-runs text and head only.
struct CachedPair {
    key: u64,
    optical_planes: Vec<f32>,
    sar_planes: Vec<f32>,
    clip: Option<ClipMaps>,
    blank_clip: Option<ClipMaps>,
    optical: Option<DinoMaps>,
    sar: Option<DinoMaps>,
}

/// One loaded model on one device.
pub struct Session {
    manifest: Manifest,
    config: ModelConfig,
    model: MmOvSeg,
    tokenizer: Tokenizer,
    device: Device,
    info: DeviceInfo,
    text: HashMap<String, Vec<f32>>,
    pair: Option<CachedPair>,
}

impl Session {
    /// Reads a package: manifest, tokenizer, then shard by shard, each checked against its hash,
    /// dequantised, moved to the device and dropped.
    ///
    /// # Errors
    /// When a file is missing or damaged, or the tensors are not those of the architecture.
    pub async fn load<S: PackageSource>(
        source: &S,
        (device, info): (Device, DeviceInfo),
        on: &mut dyn FnMut(Event),
    ) -> Result<Self, EngineError> {
        let manifest = parse_manifest(&source.read(MANIFEST_FILE, &mut |_| {}).await?)?;
        let config: ModelConfig = serde_json::from_value(manifest.architecture.clone())
            .map_err(|error| EngineError::Architecture(error.to_string()))?;
        let total_bytes = manifest.total_bytes();
        let mut before = 0;
        let arrived = |on: &mut dyn FnMut(Event), bytes: u64| {
            on(Event::Download {
                done_bytes: bytes,
                total_bytes,
            });
        };
        arrived(on, 0);

        let file = &manifest.tokenizer.file;
        let bytes = source.read(file, &mut |bytes| arrived(on, bytes)).await?;
        manifest.tokenizer.check(&bytes)?;
        before += manifest.tokenizer.bytes;
        let tokenizer = Tokenizer::from_json(&bytes)?;

        let mut model = MmOvSeg::new(&config, &device)?;
        let wanted = model.parameter_shapes();
        let mut assembler = Assembler::new();
        let mut seen: Vec<(String, Vec<usize>)> = Vec::new();
        for shard in &manifest.shards {
            let bytes = source
                .read(&shard.file, &mut |bytes| arrived(on, before + bytes))
                .await?;
            let mut ready = BTreeMap::new();
            for part in decode_shard(&bytes, shard)? {
                if let Some(HostTensor { name, shape, data }) = assembler.push(part)? {
                    seen.push((name.clone(), shape.clone()));
                    if wanted.get(&name) == Some(&shape) {
                        ready.insert(name, (shape, data));
                    }
                }
            }
            model = model.load(&mut ready, &device);
            before += shard.bytes;
            arrived(on, before);
        }
        assembler.finish()?;
        let mismatch = model.compare(
            seen.iter()
                .map(|(name, shape)| (name.as_str(), shape.as_slice())),
        );
        if !mismatch.is_empty() {
            return Err(EngineError::Mismatch(mismatch.to_string()));
        }
        Ok(Self::assemble(
            manifest,
            config,
            model,
            tokenizer,
            (device, info),
        ))
    }

    /// A session around a model that is already in memory, for training's evaluation.
    #[must_use]
    pub fn assemble(
        manifest: Manifest,
        config: ModelConfig,
        model: MmOvSeg,
        tokenizer: Tokenizer,
        (device, info): (Device, DeviceInfo),
    ) -> Self {
        Self {
            manifest,
            config,
            model,
            tokenizer,
            device,
            info,
            text: HashMap::new(),
            pair: None,
        }
    }

    /// The package's manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What the session runs on.
    #[must_use]
    pub fn device_info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Segments a tile pair. Features of the last pair and embeddings of known class names are
    /// reused; stages that did not run are absent from the timings.
    ///
    /// # Errors
    /// When the request cannot be met, or the device fails or gives numbers that are not finite.
    pub async fn segment(
        &mut self,
        pair: &TilePair,
        request: &SegmentRequest,
        on: &mut dyn FnMut(Event),
    ) -> Result<Segmentation, EngineError> {
        self.run(pair, request, on, None).await
    }

    /// Segments without any cache and keeps every stage under its golden name (spec §20).
    ///
    /// # Errors
    /// Those of [`Session::segment`].
    pub async fn trace(
        &mut self,
        pair: &TilePair,
        request: &SegmentRequest,
        trace: &mut Trace,
    ) -> Result<Segmentation, EngineError> {
        self.forget();
        self.run(pair, request, &mut |_| {}, Some(trace)).await
    }

    /// Drops what is remembered of tiles and class names, so that the next run computes every stage.
    pub fn forget(&mut self) {
        self.pair = None;
        self.text.clear();
    }

    async fn run(
        &mut self,
        pair: &TilePair,
        request: &SegmentRequest,
        on: &mut dyn FnMut(Event),
        mut trace: Option<&mut Trace>,
    ) -> Result<Segmentation, EngineError> {
        let count = request.classes.len();
        if count == 0 || count > 255 {
            return Err(EngineError::ClassCount(count));
        }
        if let Some(position) = request.classes.iter().position(|c| c.trim().is_empty()) {
            return Err(EngineError::EmptyClass {
                position: position + 1,
            });
        }
        let mut clock = Clock {
            started: Instant::now(),
            timings: Vec::new(),
        };

        self.prepare(pair, request.preprocess, on, &mut clock)?;
        self.encode_text(&request.classes, on, &mut trace, &mut clock)
            .await?;
        self.encode_tiles(request.modality, on, &mut trace, &mut clock)
            .await?;

        let embed = self.config.clip.embed;
        let text: Vec<f32> = request
            .classes
            .iter()
            .flat_map(|class| self.text[class].iter().copied())
            .collect();
        let text = Tensor::<2>::from_data(TensorData::new(text, [count, embed]), &self.device);
        let stage = Stage::Head;
        on(Event::Stage {
            stage,
            done: 0,
            total: 1,
        });
        // `encode_tiles` has just filled what the modality needs.
        let cached = self
            .pair
            .as_ref()
            .ok_or(device_error(stage, "features are missing"))?;
        let clip = match request.modality {
            Modality::Sar => cached.blank_clip.as_ref(),
            Modality::Fused | Modality::Optical => cached.clip.as_ref(),
        };
        let dino = match (request.modality, cached.optical.clone(), cached.sar.clone()) {
            (Modality::Fused, Some(optical), Some(sar)) => Some(optical.plus(sar)),
            (Modality::Optical, optical, _) => optical,
            (Modality::Sar, _, sar) => sar,
            (Modality::Fused, ..) => None,
        };
        let (Some(clip), Some(dino)) = (clip, dino) else {
            return Err(device_error(stage, "features are missing"));
        };
        let logits = {
            let mut observer = Relay { stage, on, trace };
            self.model.head(clip, &dino, text, &mut observer)
        };
        let [_, _, h, w] = logits.dims();
        let logits = read(logits.reshape([count * h * w]), stage).await?;
        if logits.iter().any(|v| !v.is_finite()) {
            return Err(EngineError::NotFinite {
                device: self.info.name.clone(),
            });
        }
        clock.lap(stage);
        on(Event::Stage {
            stage,
            done: 1,
            total: 1,
        });

        let stage = Stage::Labels;
        let (width_px, height_px) = (pair.rgb.width_px, pair.rgb.height_px);
        let labels = labels(&logits, [count, h, w], width_px, height_px);
        let mut pixels = vec![0usize; count];
        for &label in &labels {
            pixels[usize::from(label)] += 1;
        }
        let share = pixels
            .iter()
            .map(|&n| n as f64 / labels.len().max(1) as f64)
            .collect();
        clock.lap(stage);
        on(Event::Stage {
            stage,
            done: 1,
            total: 1,
        });
        Ok(Segmentation {
            classes: request.classes.clone(),
            width_px,
            height_px,
            labels,
            grid_px: [h, w],
            logits,
            share,
            timings: clock.timings,
        })
    }

    /// Preprocesses a pair unless it is the one that is cached.
    fn prepare(
        &mut self,
        pair: &TilePair,
        preprocess: Preprocess,
        on: &mut dyn FnMut(Event),
        clock: &mut Clock,
    ) -> Result<(), EngineError> {
        let mut hasher = DefaultHasher::new();
        (preprocess == Preprocess::Parity).hash(&mut hasher);
        for tile in [&pair.rgb, &pair.sar] {
            (tile.width_px, tile.height_px, &tile.data).hash(&mut hasher);
        }
        let key = hasher.finish();
        if self.pair.as_ref().is_some_and(|cached| cached.key == key) {
            return Ok(());
        }
        let (optical_planes, sar_planes) =
            model_pixels(&pair.rgb, &pair.sar, preprocess, &self.config)?;
        // A SAR tile that stays the same keeps its features: pulling a cloud over the optical tile
        // re-runs only what sees it.
        let old = self.pair.take();
        let same = |planes: &dyn Fn(&CachedPair) -> bool| old.as_ref().is_some_and(planes);
        let same_sar = same(&|c| c.sar_planes == sar_planes);
        let same_optical = same(&|c| c.optical_planes == optical_planes);
        let old = old.unwrap_or_else(|| CachedPair::empty(0));
        self.pair = Some(CachedPair {
            key,
            clip: old.clip.filter(|_| same_optical),
            optical: old.optical.filter(|_| same_optical),
            sar: old.sar.filter(|_| same_sar),
            blank_clip: old.blank_clip,
            optical_planes,
            sar_planes,
        });
        clock.lap(Stage::Preprocess);
        on(Event::Stage {
            stage: Stage::Preprocess,
            done: 1,
            total: 1,
        });
        Ok(())
    }

    /// Embeds the class names that are not known yet.
    async fn encode_text(
        &mut self,
        classes: &[String],
        on: &mut dyn FnMut(Event),
        trace: &mut Option<&mut Trace>,
        clock: &mut Clock,
    ) -> Result<(), EngineError> {
        let mut new: Vec<&String> = classes
            .iter()
            .filter(|class| !self.text.contains_key(*class))
            .collect();
        new.sort();
        new.dedup();
        if trace.is_some() {
            // A trace shows the list as it was given.
            new = classes.iter().collect();
        }
        if new.is_empty() {
            return Ok(());
        }
        let stage = Stage::Text;
        let context = self.config.text.context;
        let template = &self.manifest.prompt_template;
        let prompts = new
            .iter()
            .map(|class| {
                let mut ids = self.tokenizer.encode(&prompt(template, class), context)?;
                fit_ids(&mut ids, self.tokenizer.eot_id(), self.config.text.vocab);
                Ok(ids)
            })
            .collect::<Result<Vec<_>, TextError>>()?;
        let embeddings = {
            let mut observer = Relay {
                stage,
                on,
                trace: trace.as_deref_mut(),
            };
            self.model.encode_text(&prompts, &mut observer)
        };
        let [count, embed] = embeddings.dims();
        let values = read(embeddings.reshape([count * embed]), stage).await?;
        for (class, row) in new.into_iter().zip(values.chunks_exact(embed)) {
            self.text.insert(class.clone(), row.to_vec());
        }
        clock.lap(stage);
        Ok(())
    }

    /// Runs the towers that the modality needs and that are not cached.
    async fn encode_tiles(
        &mut self,
        modality: Modality,
        on: &mut dyn FnMut(Event),
        trace: &mut Option<&mut Trace>,
        clock: &mut Clock,
    ) -> Result<(), EngineError> {
        let side = self.config.input_px;
        let Some(cached) = self.pair.as_mut() else {
            return Ok(());
        };
        let optical = || upload(cached.optical_planes.clone(), side, &self.device);
        let needs_optical = modality != Modality::Sar;
        let needs_sar = modality != Modality::Optical;

        let (stage, blank) = (Stage::Clip, modality == Modality::Sar);
        let slot = if blank {
            cached.blank_clip.is_none()
        } else {
            cached.clip.is_none()
        };
        if slot {
            let pixels = if blank {
                Tensor::zeros([1, 3, side, side], &self.device)
            } else {
                optical()
            };
            let maps = {
                let mut observer = Relay {
                    stage,
                    on,
                    trace: trace.as_deref_mut(),
                };
                self.model.encode_clip(pixels, &mut observer)
            };
            await_map(&maps.fine, stage).await?;
            if blank {
                cached.blank_clip = Some(maps);
            } else {
                cached.clip = Some(maps);
            }
            clock.lap(stage);
        }
        if needs_optical && cached.optical.is_none() {
            let stage = Stage::DinoOptical;
            let pixels = upload(cached.optical_planes.clone(), side, &self.device);
            let maps = {
                let mut observer = Relay {
                    stage,
                    on,
                    trace: trace.as_deref_mut(),
                };
                self.model.encode_dino(pixels, false, &mut observer)
            };
            await_map(&maps.down, stage).await?;
            cached.optical = Some(maps);
            clock.lap(stage);
        }
        if needs_sar && cached.sar.is_none() {
            let stage = Stage::DinoSar;
            let pixels = upload(cached.sar_planes.clone(), side, &self.device);
            let maps = {
                let mut observer = Relay {
                    stage,
                    on,
                    trace: trace.as_deref_mut(),
                };
                self.model.encode_dino(pixels, true, &mut observer)
            };
            await_map(&maps.down, stage).await?;
            cached.sar = Some(maps);
            clock.lap(stage);
        }
        Ok(())
    }

    /// Runs the package's golden self-test on this device: a generated pair whose logits are known.
    ///
    /// # Errors
    /// When the package carries none, or the device fails.
    pub async fn self_test(&mut self) -> Result<SelfTestReport, EngineError> {
        let test = self
            .manifest
            .self_test
            .clone()
            .ok_or(EngineError::NoSelfTest)?;
        let now = self
            .measure_self_test(test.seed, &test.classes, test.tolerance)
            .await?;
        let mut max_error = (now.logit_mean - test.logit_mean)
            .abs()
            .max((now.logit_std - test.logit_std).abs());
        for probe in &test.probes {
            let found = now.probes.iter().find(|p| p.index == probe.index);
            // A probe outside the output is as wrong as a number can be.
            max_error =
                max_error.max(found.map_or(f64::INFINITY, |p| (p.value - probe.value).abs()));
        }
        Ok(SelfTestReport {
            passed: max_error <= test.tolerance,
            max_error,
            tolerance: test.tolerance,
        })
    }

    /// Measures what [`Session::self_test`] later compares with: mean, deviation and 32 spread
    /// logits of a generated scene.
    ///
    /// # Errors
    /// When the device fails.
    pub async fn measure_self_test(
        &mut self,
        seed: u64,
        classes: &[String],
        tolerance: f64,
    ) -> Result<SelfTest, EngineError> {
        let scene = mmovseg_scene::generate(seed, self.config.input_px);
        let pair = TilePair {
            rgb: scene.rgb,
            sar: scene.sar,
            georef: None,
            notes: Vec::new(),
        };
        let request = SegmentRequest {
            classes: classes.to_vec(),
            modality: Modality::Fused,
            preprocess: Preprocess::Aligned,
        };
        // The test must compute, not remember.
        self.forget();
        let logits = self.segment(&pair, &request, &mut |_| {}).await?.logits;
        let count = logits.len() as f64;
        let mean = logits.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let variance = logits
            .iter()
            .map(|&v| (f64::from(v) - mean).powi(2))
            .sum::<f64>()
            / count;
        let step = (logits.len() / 32).max(1);
        let probes = (0..logits.len())
            .step_by(step)
            .map(|index| Probe {
                index,
                value: f64::from(logits[index]),
            })
            .collect();
        Ok(SelfTest {
            seed,
            classes: classes.to_vec(),
            logit_mean: mean,
            logit_std: variance.sqrt(),
            probes,
            tolerance,
        })
    }
}

impl CachedPair {
    fn empty(key: u64) -> Self {
        Self {
            key,
            optical_planes: Vec::new(),
            sar_planes: Vec::new(),
            clip: None,
            blank_clip: None,
            optical: None,
            sar: None,
        }
    }
}

/// Measures stages one after another.
struct Clock {
    started: Instant,
    timings: Vec<StageTiming>,
}

impl Clock {
    fn lap(&mut self, stage: Stage) {
        let now = Instant::now();
        let ms = now.duration_since(self.started).as_secs_f64() * 1e3;
        self.timings.push(StageTiming { stage, ms });
        self.started = now;
    }
}

/// Passes blocks on as events and tensors on to a trace.
struct Relay<'a, 'b> {
    stage: Stage,
    on: &'a mut dyn FnMut(Event),
    trace: Option<&'b mut Trace>,
}

impl Observer for Relay<'_, '_> {
    fn wants_tensors(&self) -> bool {
        self.trace.is_some()
    }

    fn tensor(&mut self, name: &str, shape: &[usize], flat: Tensor<1>) {
        if let Some(trace) = self.trace.as_deref_mut() {
            trace.tensor(name, shape, flat);
        }
    }

    fn block(&mut self, done: usize, total: usize) {
        (self.on)(Event::Stage {
            stage: self.stage,
            done,
            total,
        });
    }
}

/// Maps token ids into a token table of `vocab` rows that is smaller than the tokenizer's, as those of
/// test checkpoints are: the end mark becomes the last row (the tower finds it as the largest id),
/// the start mark the row before it, any other id its remainder by `vocab − 2`. A table that holds
/// every id leaves them as they are.
fn fit_ids(ids: &mut [u32], end_id: u32, vocab: usize) {
    let Ok(rows) = u32::try_from(vocab) else {
        return;
    };
    if end_id < rows {
        return;
    }
    for id in ids {
        *id = match end_id - (*id).min(end_id) {
            0 => rows.saturating_sub(1),
            1 => rows.saturating_sub(2),
            _ => *id % rows.saturating_sub(2).max(1),
        };
    }
}

fn device_error(stage: Stage, reason: impl ToString) -> EngineError {
    EngineError::Device {
        stage: stage.name(),
        reason: reason.to_string(),
    }
}

async fn read(flat: Tensor<1>, stage: Stage) -> Result<Vec<f32>, EngineError> {
    let data = flat
        .into_data_async()
        .await
        .map_err(|error| device_error(stage, format!("{error:?}")))?;
    data.try_into_vec::<f32>()
        .map_err(|error| device_error(stage, format!("{error:?}")))
}

/// Waits until a map is computed by reading one value of it, so that stage times are true and a
/// failing device is noticed at the stage where it fails.
async fn await_map(map: &Tensor<4>, stage: Stage) -> Result<(), EngineError> {
    read(
        map.clone().slice([0..1, 0..1, 0..1, 0..1]).reshape([1]),
        stage,
    )
    .await
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::fit_ids;

    #[test]
    fn ids_fit_a_smaller_table_and_stay_in_one_that_is_large_enough() {
        let clip = [49406, 320, 1125, 49405, 49407];
        let mut ids = clip;
        fit_ids(&mut ids, 49407, 49408);
        assert_eq!(ids, clip);
        fit_ids(&mut ids, 49407, 512);
        assert_eq!(ids, [510, 320, 105, 445, 511]);
        // A damaged package may claim a table of any size.
        for vocab in 0..4 {
            let mut ids = clip;
            fit_ids(&mut ids, 49407, vocab);
            assert!(
                ids.iter().all(|&id| (id as usize) < vocab.max(1)),
                "{ids:?}"
            );
        }
    }
}
