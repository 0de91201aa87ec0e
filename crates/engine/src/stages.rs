//! The stages of a run, each behind the result cache: text, encoders, head.

use burn::tensor::{Tensor, TensorData};
use mmovseg_model::features::sum;
use mmovseg_model::{
    ClassAgnostic, CostVolumes, EncoderId, EncoderMaps, LEFT_OUT, Modality, Observer, Sensor,
    Silent, Trace, most_similar,
};
use mmovseg_text::{TextError, prompt};
use web_time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use crate::api::Event;
use crate::cache::{Cached, Key};
use crate::error::EngineError;
use crate::pixels::upload;
use crate::readback;
use crate::scene::Scene;
use crate::session::Session;
use mmovseg_types::{Stage, StageTiming};

/// What an encoder reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// The window of a tile.
    Tile(Sensor),
    /// Zeros, as CLIP in runs without the optical tile.
    Blank,
}

/// An encoder of a run and what it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encoder {
    pub id: EncoderId,
    pub input: Input,
    /// Whether it is the CLIP tower, whose features guide the others'.
    is_clip: bool,
}

impl Encoder {
    /// The key of its features for an input with this hash.
    fn key(&self, input: u64) -> Key {
        let inputs = (self.id.as_str(), self.input == Input::Blank, input);
        Key::new("encoder", inputs)
    }
}

impl Cached for EncoderMaps {
    fn bytes(&self) -> usize {
        Self::bytes(self)
    }
}

impl Cached for ClassAgnostic {
    fn bytes(&self) -> usize {
        Self::bytes(self)
    }
}

/// Of one class. On the CPU it is a view into the volumes that were computed with it, which stay in
/// memory as long as one of them does; they are used, and leave the cache, together.
impl Cached for CostVolumes {
    fn bytes(&self) -> usize {
        Self::bytes(self)
    }
}

/// What the head reads: CLIP's maps, and the sum of the other encoders' where there are any.
pub(crate) struct Fused {
    pub clip: EncoderMaps,
    pub dense: Option<EncoderMaps>,
}

/// The keys of a window's features, and the pixels that had to be prepared to know them.
pub(crate) struct Inputs {
    keys: Vec<Key>,
    pixels: Vec<(Sensor, Tensor<4>)>,
}

/// Logits off the device.
pub(crate) struct Logits {
    /// `[T, h, w]`, row-major.
    pub values: Vec<f32>,
    pub shape: [usize; 3],
}

impl Session {
    /// The encoders of a run with these sensors, in order. CLIP reads a blank tile where its own is
    /// not used.
    ///
    /// # Errors
    /// When none would read a tile.
    pub(crate) fn encoders(&self, modality: Modality) -> Result<Vec<Encoder>, EngineError> {
        let mut encoders = Vec::new();
        for encoder in self.config.encoders() {
            let is_used = modality.uses(encoder.sensor);
            if is_used || encoder.is_clip() {
                encoders.push(Encoder {
                    id: encoder.id.clone(),
                    input: if is_used {
                        Input::Tile(encoder.sensor)
                    } else {
                        Input::Blank
                    },
                    is_clip: encoder.is_clip(),
                });
            }
        }
        if encoders.iter().all(|e| e.input == Input::Blank) {
            return Err(self.no_encoder(modality));
        }
        Ok(encoders)
    }

    /// That no encoder reads what this run would use.
    pub(crate) fn no_encoder(&self, modality: Modality) -> EngineError {
        EngineError::NoEncoder {
            model: self.config.variant().to_owned(),
            sensor: if modality.uses(Sensor::Optical) {
                "optical"
            } else {
                "SAR"
            },
        }
    }

    /// Marks all that is known of the scene as used, so that a run that is cancelled early does not
    /// let it make room for results of other scenes.
    pub(crate) fn touch(&mut self, scene: &Scene<'_>, encoders: &[Encoder]) {
        for window in 0..scene.plan.count() {
            for encoder in encoders {
                let known = match encoder.input {
                    Input::Blank => Some(BLANK),
                    Input::Tile(sensor) => self.cache.get(scene.pixels_key(sensor, window)),
                };
                if let Some(input) = known {
                    self.cache.touch(encoder.key(input));
                }
            }
        }
    }

    /// The class names' embeddings, in the order of the names.
    pub(crate) async fn encode_text(
        &mut self,
        classes: &[String],
        on: &mut dyn FnMut(Event),
        trace: &mut Option<&mut Trace>,
        clock: &mut Clock,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        let stage = Stage::Text;
        let key = |class: &String| Key::new("text", class);
        let known: Vec<Option<Vec<f32>>> = classes
            .iter()
            .map(|class| self.cache.get(key(class)))
            .collect();
        let mut new: Vec<&String> = Vec::new();
        for (class, known) in classes.iter().zip(&known) {
            // A trace shows the list as it was given.
            if known.is_none() && (trace.is_some() || !new.contains(&class)) {
                new.push(class);
            }
        }
        if new.is_empty() {
            return Ok(known.into_iter().flatten().collect());
        }
        self.breathe().await?;
        let template = &self.manifest.prompt_template;
        let prompts = new
            .iter()
            .map(|class| self.prompt_ids(template, class))
            .collect::<Result<Vec<_>, TextError>>()?;
        let embeddings = {
            let mut observer = Relay {
                stage: stage.clone(),
                on,
                trace: trace.as_deref_mut(),
            };
            self.fused()?.encode_text(&prompts, &mut observer)
        };
        let [count, embed] = embeddings.dims();
        let values = read(embeddings.reshape([count * embed]), &stage).await?;
        let rows: Vec<Vec<f32>> = values.chunks_exact(embed).map(<[f32]>::to_vec).collect();
        for (class, row) in new.iter().zip(&rows) {
            self.cache.insert(key(class), row.clone());
        }
        clock.lap(stage);
        let fresh = |class: &String| {
            let index = new.iter().position(|&name| name == class);
            index.map(|index| rows[index].clone()).unwrap_or_default()
        };
        Ok(classes
            .iter()
            .zip(known)
            .map(|(class, known)| known.unwrap_or_else(|| fresh(class)))
            .collect())
    }

    /// Token ids of a class name or word in a template.
    pub(crate) fn prompt_ids(&self, template: &str, class: &str) -> Result<Vec<u32>, TextError> {
        let text = self.config.text();
        let mut ids = self
            .tokenizer
            .encode(&prompt(template, class), text.context)?;
        fit_ids(&mut ids, self.tokenizer.eot_id(), text.vocab);
        Ok(ids)
    }

    /// Embeddings as the head reads them, `[T, E]`.
    pub(crate) fn text_tensor(&self, rows: &[Vec<f32>]) -> Tensor<2> {
        let shape = [rows.len(), self.config.text().embed];
        Tensor::from_data(TensorData::new(rows.concat(), shape), &self.device)
    }

    /// What the encoders read in a window, by keys. Pixels are prepared where their hash is not
    /// known.
    pub(crate) fn inputs(
        &mut self,
        scene: &Scene<'_>,
        window: usize,
        encoders: &[Encoder],
        on: &mut dyn FnMut(Event),
        clock: &mut Clock,
    ) -> Result<Inputs, EngineError> {
        let mut inputs = Inputs {
            keys: Vec::with_capacity(encoders.len()),
            pixels: Vec::new(),
        };
        for encoder in encoders {
            let input = match encoder.input {
                Input::Blank => BLANK,
                Input::Tile(sensor) => {
                    let key = scene.pixels_key(sensor, window);
                    match self.cache.get(key) {
                        Some(hash) => hash,
                        None => {
                            let planes = scene.pixels(sensor, window, &mut self.cache)?;
                            let hash = xxh3_64(bytemuck::cast_slice(&planes));
                            self.cache.insert(key, hash);
                            let side = self.config.window_px();
                            inputs
                                .pixels
                                .push((sensor, upload(planes, side, &self.device)));
                            clock.lap(Stage::Preprocess);
                            hash
                        }
                    }
                }
            };
            inputs.keys.push(encoder.key(input));
        }
        if !inputs.pixels.is_empty() {
            on(Event::Stage {
                stage: Stage::Preprocess,
                done: 1,
                total: 1,
            });
        }
        Ok(inputs)
    }

    /// The features of a window, one of each encoder. Those that are not known are computed, and
    /// kept as each encoder is done.
    pub(crate) async fn encode(
        &mut self,
        (scene, window): (&Scene<'_>, usize),
        encoders: &[Encoder],
        mut inputs: Inputs,
        on: &mut dyn FnMut(Event),
        trace: &mut Option<&mut Trace>,
        clock: &mut Clock,
    ) -> Result<Vec<EncoderMaps>, EngineError> {
        // Look up everything first: an insertion may evict what this run has not used yet.
        let known: Vec<Option<EncoderMaps>> =
            inputs.keys.iter().map(|&key| self.cache.get(key)).collect();
        let mut all = Vec::with_capacity(encoders.len());
        for ((encoder, known), key) in encoders.iter().zip(known).zip(inputs.keys) {
            if let Some(features) = known {
                all.push(features);
                continue;
            }
            let side = self.config.window_px();
            let pixels = match encoder.input {
                Input::Blank => Tensor::zeros([1, 3, side, side], &self.device),
                Input::Tile(sensor) => match inputs.pixels.iter().find(|(of, _)| *of == sensor) {
                    Some((_, pixels)) => pixels.clone(),
                    None => {
                        let planes = scene.pixels(sensor, window, &mut self.cache)?;
                        let pixels = upload(planes, side, &self.device);
                        inputs.pixels.push((sensor, pixels.clone()));
                        clock.lap(Stage::Preprocess);
                        pixels
                    }
                },
            };
            self.breathe().await?;
            let stage = Stage::Encoder(encoder.id.clone());
            let features = {
                let trace = trace.as_deref_mut();
                let mut observer = Relay {
                    stage: stage.clone(),
                    on,
                    trace,
                };
                self.fused()?
                    .encode(encoder.id.as_str(), pixels, &mut observer)
            };
            await_map(&features.fine, &stage).await?;
            self.cache.insert(key, features.clone());
            clock.lap(stage);
            all.push(features);
        }
        Ok(all)
    }

    /// The head over the scene as a whole. Its class-agnostic features and the cost volumes of
    /// classes are computed where they are not known, and kept once the logits are found finite.
    pub(crate) async fn head(
        &mut self,
        scene: &Scene<'_>,
        (encoders, inputs): (&[Encoder], Inputs),
        (classes, rows): (&[String], &[Vec<f32>]),
        on: &mut dyn FnMut(Event),
        clock: &mut Clock,
    ) -> Result<Logits, EngineError> {
        let silent = &mut Silent;
        let features_key = Key::new("class-agnostic", &inputs.keys);
        let known: Option<ClassAgnostic> = self.cache.get(features_key);
        let fresh = match known {
            Some(_) => None,
            None => Some(
                self.encode((scene, 0), encoders, inputs, on, &mut None, clock)
                    .await?,
            ),
        };
        self.begin_head(on).await?;
        let features = match (known, fresh) {
            (Some(features), _) => features,
            (None, fresh) => {
                let Fused { clip, dense } = fused(encoders, fresh.unwrap_or_default())?;
                self.fused()?.class_agnostic(&clip, dense.as_ref(), silent)
            }
        };
        let chosen = self.chosen(&features, rows).await?;
        let total = classes.len();
        let (some_classes, some_rows);
        let (classes, rows) = match &chosen {
            Some(chosen) => {
                some_classes = pick(classes, chosen);
                some_rows = pick(rows, chosen);
                (some_classes.as_slice(), some_rows.as_slice())
            }
            None => (classes, rows),
        };
        let key = |class: &String| Key::new("cost-volume", (features_key, class));
        let mut volumes: Vec<(&String, Option<CostVolumes>)> = Vec::new();
        for class in classes {
            volumes.push((class, self.cache.get(key(class))));
        }
        let mut new: Vec<usize> = Vec::new();
        for (index, (class, known)) in volumes.iter().enumerate() {
            if known.is_none() && !new.iter().any(|&i| volumes[i].0 == *class) {
                new.push(index);
            }
        }
        let mut computed: Vec<(Key, CostVolumes)> = Vec::new();
        if !new.is_empty() {
            let some: Vec<Vec<f32>> = new.iter().map(|&index| rows[index].clone()).collect();
            let all = self
                .fused()?
                .cost_volumes(&features, self.text_tensor(&some), silent);
            for (i, &index) in new.iter().enumerate() {
                computed.push((key(volumes[index].0), all.class(i)));
            }
        }
        let of_class = |(class, known): (&String, Option<CostVolumes>)| {
            known.or_else(|| {
                let key = key(class);
                computed
                    .iter()
                    .find(|(of, _)| *of == key)
                    .map(|(_, volume)| volume.clone())
            })
        };
        let joined = CostVolumes::join(volumes.into_iter().filter_map(of_class).collect())
            .ok_or_else(|| device_error(&Stage::Head, "there are no classes"))?;
        let logits = self
            .fused()?
            .decode(&features, joined, self.text_tensor(rows), silent);
        let logits = self.read_logits(logits).await?;
        let logits = with_left_out(logits, chosen.as_deref(), total);
        self.cache.insert(features_key, features);
        for (key, volume) in computed {
            self.cache.insert(key, volume);
        }
        Ok(logits)
    }

    /// The head over a window without its cache. Where SAR has no data, the logits are those of
    /// the optical tile alone.
    pub(crate) async fn window_logits(
        &self,
        (scene, window): (&Scene<'_>, usize),
        encoders: &[Encoder],
        features: Vec<EncoderMaps>,
        rows: &[Vec<f32>],
        observer: &mut dyn Observer,
    ) -> Result<Logits, EngineError> {
        let weights = scene.sar_weights(window)?;
        let alone = match &weights {
            None => None,
            Some(_) => {
                let (encoders, features) = encoders
                    .iter()
                    .cloned()
                    .zip(features.iter().cloned())
                    .filter(|(encoder, _)| encoder.input != Input::Tile(Sensor::Sar))
                    .unzip::<_, _, Vec<_>, Vec<_>>();
                let fused = fused(&encoders, features)?;
                Some(self.head_once(&fused, rows, &mut Silent).await?)
            }
        };
        let fused = fused(encoders, features)?;
        self.breathe().await?;
        let mut logits = self.head_once(&fused, rows, observer).await?;
        if let Some((alone, weights)) = alone.zip(weights) {
            let values = logits.values.iter_mut().zip(alone.values);
            for ((value, alone), weight) in values.zip(weights.iter().cycle()) {
                *value = *value * weight + alone * (1.0 - weight);
            }
        }
        Ok(logits)
    }

    /// The head over features that are not kept.
    pub(crate) async fn head_once(
        &self,
        Fused { clip, dense }: &Fused,
        rows: &[Vec<f32>],
        observer: &mut dyn Observer,
    ) -> Result<Logits, EngineError> {
        let features = self.fused()?.class_agnostic(clip, dense.as_ref(), observer);
        let chosen = self.chosen(&features, rows).await?;
        let text = match &chosen {
            Some(chosen) => self.text_tensor(&pick(rows, chosen)),
            None => self.text_tensor(rows),
        };
        let volumes = self
            .fused()?
            .cost_volumes(&features, text.clone(), observer);
        let logits = self.fused()?.decode(&features, volumes, text, observer);
        let logits = self.read_logits(logits).await?;
        Ok(with_left_out(logits, chosen.as_deref(), rows.len()))
    }

    /// The classes that the head reads, where there are more than it takes.
    async fn chosen(
        &self,
        features: &ClassAgnostic,
        rows: &[Vec<f32>],
    ) -> Result<Option<Vec<usize>>, EngineError> {
        let Some(most) = self
            .fused_config()?
            .head
            .max_classes
            .filter(|&most| rows.len() > most)
        else {
            return Ok(None);
        };
        let Some(peaks) = self.fused()?.class_peaks(features, self.text_tensor(rows)) else {
            return Ok(None);
        };
        let peaks = read(peaks.reshape([rows.len()]), &Stage::Head).await?;
        Ok(Some(most_similar(&peaks, most)))
    }

    /// Tells that the head begins, unless the run was cancelled.
    pub(crate) async fn begin_head(&self, on: &mut dyn FnMut(Event)) -> Result<(), EngineError> {
        self.breathe().await?;
        on(Event::Stage {
            stage: Stage::Head,
            done: 0,
            total: 1,
        });
        Ok(())
    }

    /// Logits `[1, T, h, w]` off the device, checked.
    pub(crate) async fn read_logits(&self, logits: Tensor<4>) -> Result<Logits, EngineError> {
        let [_, classes, h, w] = logits.dims();
        let values = read(logits.reshape([classes * h * w]), &Stage::Head).await?;
        if values.iter().any(|v| !v.is_finite()) {
            return Err(EngineError::NotFinite {
                device: self.info.name.clone(),
            });
        }
        Ok(Logits {
            values,
            shape: [classes, h, w],
        })
    }

    /// Lets a browser's Worker read its messages, one of which may be that the run is cancelled.
    pub(crate) async fn breathe(&self) -> Result<(), EngineError> {
        #[cfg(target_arch = "wasm32")]
        gloo_timers::future::TimeoutFuture::new(0).await;
        if self.cancelled.is_set() {
            return Err(EngineError::Cancelled);
        }
        Ok(())
    }
}

/// The entries at these places.
fn pick<T: Clone>(all: &[T], places: &[usize]) -> Vec<T> {
    places.iter().filter_map(|&i| all.get(i).cloned()).collect()
}

/// Logits of all classes: those that the head did not read have one that is never the largest.
fn with_left_out(logits: Logits, chosen: Option<&[usize]>, classes: usize) -> Logits {
    let Some(chosen) = chosen else {
        return logits;
    };
    let [_, h, w] = logits.shape;
    let mut values = vec![LEFT_OUT; classes * h * w];
    for (&class, map) in chosen.iter().zip(logits.values.chunks_exact(h * w)) {
        values[class * h * w..][..h * w].copy_from_slice(map);
    }
    Logits {
        values,
        shape: [classes, h, w],
    }
}

/// Stands for the hash of a blank tile's pixels.
const BLANK: u64 = 0;

/// Adds up what the encoders beside CLIP give.
pub(crate) fn fused(encoders: &[Encoder], maps: Vec<EncoderMaps>) -> Result<Fused, EngineError> {
    let (clip, dense): (Vec<_>, Vec<_>) = encoders
        .iter()
        .zip(maps)
        .partition(|(encoder, _)| encoder.is_clip);
    let clip = clip.into_iter().next();
    let (_, clip) =
        clip.ok_or_else(|| device_error(&Stage::Head, "CLIP's features are missing"))?;
    Ok(Fused {
        clip,
        dense: sum(dense.into_iter().map(|(_, maps)| maps)),
    })
}

/// Measures stages one after another.
pub(crate) struct Clock {
    started: Instant,
    pub timings: Vec<StageTiming>,
}

impl Clock {
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
            timings: Vec::new(),
        }
    }

    /// Ends a stage, or adds to it when it ran for another window before.
    pub fn lap(&mut self, stage: Stage) {
        let now = Instant::now();
        let ms = now.duration_since(self.started).as_secs_f64() * 1e3;
        match self.timings.iter_mut().find(|known| known.stage == stage) {
            Some(known) => known.ms += ms,
            None => self.timings.push(StageTiming { stage, ms }),
        }
        self.started = now;
    }
}

/// Passes blocks on as events and tensors on to a trace.
pub(crate) struct Relay<'a, 'b> {
    pub stage: Stage,
    pub on: &'a mut dyn FnMut(Event),
    pub trace: Option<&'b mut Trace>,
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
            stage: self.stage.clone(),
            done,
            total,
        });
    }
}

/// Maps token ids into a token table of `vocab` rows that is smaller than the tokenizer's, as those
/// of test checkpoints are: the end mark becomes the last row (the tower finds it as the largest
/// id), the start mark the row before it, any other id its remainder by `vocab − 2`. A table that
/// holds every id leaves them as they are.
pub(crate) fn fit_ids(ids: &mut [u32], end_id: u32, vocab: usize) {
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

pub(crate) fn device_error(stage: &Stage, reason: impl ToString) -> EngineError {
    EngineError::Device {
        stage: stage.name().to_owned(),
        reason: reason.to_string(),
    }
}

/// Values of a tensor of `stage`.
pub(crate) async fn read(flat: Tensor<1>, stage: &Stage) -> Result<Vec<f32>, EngineError> {
    readback::read(flat)
        .await
        .map_err(|reason| device_error(stage, reason))
}

/// Waits until a map is computed by reading one value of it, so that stage times are true and a
/// failing device is noticed at the stage where it fails.
async fn await_map(map: &Tensor<4>, stage: &Stage) -> Result<(), EngineError> {
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
