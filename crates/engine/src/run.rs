//! One run of a session: which stages are missing, and what becomes of their results.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use burn::tensor::{Tensor, TensorData};
use mmovseg_model::network::{ClipMaps, DinoMaps, Volumes};
use mmovseg_model::{Modality, Observer, Trace};
use mmovseg_raster::{RasterError, TilePair};
use mmovseg_text::{TextError, prompt};
use web_time::Instant;

use crate::EngineError;
use crate::labels::{labels, shares};
use crate::pixels::upload;
use crate::scene::{self, Features, Heard, Scene, Wants};
use crate::session::{Event, SegmentRequest, Segmentation, Session, Stage, StageTiming};
use crate::windows::{Blend, Plan};

impl Session {
    /// Segments a tile pair. Features of the last pair and embeddings of known class names are
    /// reused; stages that did not run are absent from the timings.
    ///
    /// A scene in windows tells its progress as [`Stage::Windows`] alone. Memory beyond the pair:
    /// the labels, `T` planes of a band of rows one window high, the logits, and up to 256 MiB of
    /// features; of the windows whose features have no room there, all stages run in every run.
    ///
    /// # Errors
    /// When the request cannot be met, the run is cancelled, or the device fails or gives numbers
    /// that are not finite.
    pub async fn segment(
        &mut self,
        pair: &TilePair,
        request: &SegmentRequest,
        on: &mut dyn FnMut(Event),
    ) -> Result<Segmentation, EngineError> {
        self.run(pair, request, on, None).await
    }

    /// Segments without any cache and keeps every stage under its golden name (docs/network.md §13.1).
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

    async fn run(
        &mut self,
        pair: &TilePair,
        request: &SegmentRequest,
        on: &mut dyn FnMut(Event),
        mut trace: Option<&mut Trace>,
    ) -> Result<Segmentation, EngineError> {
        let mut clock = Clock::start();
        self.begin(&request.classes)?;
        let cut = self.open_scene(pair, request, on, &mut clock)?;
        self.encode_text(&request.classes, on, &mut trace, &mut clock)
            .await?;
        let text = self.text_rows(&request.classes);
        let (labels, grid_px, logits, windows) = if cut {
            self.run_windows(pair, request, text, on, &mut clock)
                .await?
        } else {
            self.run_whole(pair, request, text, on, trace, &mut clock)
                .await?
        };
        let share = shares(&labels, request.classes.len());
        clock.lap(Stage::Labels);
        on(Event::Stage {
            stage: Stage::Labels,
            done: 1,
            total: 1,
        });
        Ok(Segmentation {
            classes: request.classes.clone(),
            width_px: pair.rgb.width_px,
            height_px: pair.rgb.height_px,
            labels,
            grid_px,
            logits,
            share,
            timings: clock.timings,
            windows,
        })
    }

    async fn run_whole(
        &mut self,
        pair: &TilePair,
        request: &SegmentRequest,
        text: Tensor<2>,
        on: &mut dyn FnMut(Event),
        mut trace: Option<&mut Trace>,
        clock: &mut Clock,
    ) -> Result<(Vec<u8>, [usize; 2], Vec<f32>, usize), EngineError> {
        let logits = if trace.is_some() {
            let of = (pair, false, 0);
            let (clip, dino) = self
                .encode_maps(of, request.modality, on, &mut trace, clock)
                .await?;
            self.begin_head(on).await?;
            let stage = Stage::Head;
            let mut observer = Relay { stage, on, trace };
            self.model.head(&clip, &dino, text, &mut observer)
        } else {
            self.hear(pair, request, text, on, clock).await?
        };
        let [_, count, h, w] = logits.dims();
        let logits = self.read_logits(logits).await?;
        clock.lap(Stage::Head);
        on(Event::Stage {
            stage: Stage::Head,
            done: 1,
            total: 1,
        });
        let (width_px, height_px) = (pair.rgb.width_px, pair.rgb.height_px);
        let labels = labels(&logits, [count, h, w], width_px, height_px);
        Ok((labels, [h, w], logits, 1))
    }

    /// The features of a window, as the head reads them: `of` is the pair, whether the scene is cut, and which window.
    /// What is not known is encoded and kept.
    pub(crate) async fn encode_maps(
        &mut self,
        (pair, cut, window): (&TilePair, bool, usize),
        modality: Modality,
        on: &mut dyn FnMut(Event),
        trace: &mut Option<&mut Trace>,
        clock: &mut Clock,
    ) -> Result<(ClipMaps, DinoMaps), EngineError> {
        self.encode_blank(modality, on, trace, clock).await?;
        let wants = Wants::of(modality);
        let features = self
            .encode_window(pair, (cut, window), wants, on, trace, clock)
            .await?;
        let maps = self.maps(&features, modality);
        self.keep(cut, window, features);
        maps
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

    /// Logits `[1, T, h, w]` of the scene as a whole. What no word touches, and what each class is before the
    /// classes see one another, is computed where it is not known from the run before.
    async fn hear(
        &mut self,
        pair: &TilePair,
        request: &SegmentRequest,
        text: Tensor<2>,
        on: &mut dyn FnMut(Event),
        clock: &mut Clock,
    ) -> Result<Tensor<4>, EngineError> {
        let silent = &mut mmovseg_model::Silent;
        let key = self.scene(false)?.key;
        self.heard.retain(|_, heard| heard.key == key);
        let fresh = if self.heard.contains_key(&request.modality) {
            None
        } else {
            let of = (pair, false, 0);
            let maps = self
                .encode_maps(of, request.modality, on, &mut None, clock)
                .await?;
            Some(maps)
        };
        // A run that is cancelled here leaves what was heard before.
        self.begin_head(on).await?;
        if let Some((clip, dino)) = fresh {
            let heard = Heard {
                key,
                ground: self.model.ground(&clip, &dino, silent),
                volumes: HashMap::new(),
            };
            self.heard.insert(request.modality, heard);
        }
        let mut heard = self
            .heard
            .remove(&request.modality)
            .ok_or(device_error(Stage::Head, "the scene is missing"))?;
        let mut new: Vec<&String> = request
            .classes
            .iter()
            .filter(|class| !heard.volumes.contains_key(*class))
            .collect();
        new.sort();
        new.dedup();
        if !new.is_empty() {
            let rows = self.text_rows(&new);
            let volumes = self.model.volumes(&heard.ground, rows, silent);
            for (i, class) in new.into_iter().enumerate() {
                heard.volumes.insert(class.clone(), volumes.class(i));
            }
        }
        heard
            .volumes
            .retain(|class, _| request.classes.contains(class));
        let of_class = |class| heard.volumes[class].clone();
        let volumes = Volumes::join(request.classes.iter().map(of_class).collect())
            .ok_or(device_error(Stage::Head, "there are no classes"))?;
        let logits = self.model.decode(&heard.ground, volumes, text, silent);
        self.heard.insert(request.modality, heard);
        Ok(logits)
    }

    async fn run_windows(
        &mut self,
        pair: &TilePair,
        request: &SegmentRequest,
        text: Tensor<2>,
        on: &mut dyn FnMut(Event),
        clock: &mut Clock,
    ) -> Result<(Vec<u8>, [usize; 2], Vec<f32>, usize), EngineError> {
        let stage = Stage::Windows;
        // One bar that fills, not one a stage and window.
        let quiet: &mut dyn FnMut(Event) = &mut |_| {};
        let plan = self.scene(true)?.plan.clone();
        let total = plan.count();
        let mut blend = Blend::new(&plan, request.classes.len());
        for window in 0..total {
            on(Event::Stage {
                stage,
                done: window,
                total,
            });
            let of = (pair, true, window);
            let (clip, dino) = self
                .encode_maps(of, request.modality, quiet, &mut None, clock)
                .await?;
            self.breathe().await?;
            let silent = &mut mmovseg_model::Silent;
            let logits = self.model.head(&clip, &dino, text.clone(), silent);
            let logits = self.read_logits(logits).await?;
            clock.lap(Stage::Head);
            blend.add(window, &logits);
            clock.lap(Stage::Labels);
        }
        on(Event::Stage {
            stage,
            done: total,
            total,
        });
        let (labels, grid_px, logits) = blend.finish();
        Ok((labels, grid_px, logits, total))
    }

    /// Starts a run and checks its classes.
    pub(crate) fn begin(&mut self, classes: &[String]) -> Result<(), EngineError> {
        self.uncancel();
        let count = classes.len();
        if count == 0 || count > 255 {
            return Err(EngineError::ClassCount(count));
        }
        match classes.iter().position(|c| c.trim().is_empty()) {
            Some(position) => Err(EngineError::EmptyClass {
                position: position + 1,
            }),
            None => Ok(()),
        }
    }

    /// Forgets that an earlier run was cancelled.
    pub(crate) fn uncancel(&self) {
        self.cancelled.0.store(false, Ordering::Relaxed);
    }

    /// Lets a browser's Worker read its messages, one of which may be that the run is cancelled.
    pub(crate) async fn breathe(&self) -> Result<(), EngineError> {
        #[cfg(target_arch = "wasm32")]
        gloo_timers::future::TimeoutFuture::new(0).await;
        if self.cancelled.0.load(Ordering::Relaxed) {
            return Err(EngineError::Cancelled);
        }
        Ok(())
    }

    /// Makes the pair the scene that is remembered, unless it is, and tells whether it is cut into
    /// windows.
    pub(crate) fn open_scene(
        &mut self,
        pair: &TilePair,
        request: &SegmentRequest,
        on: &mut dyn FnMut(Event),
        clock: &mut Clock,
    ) -> Result<bool, EngineError> {
        let (width_px, height_px) = (pair.rgb.width_px, pair.rgb.height_px);
        if width_px == 0 || height_px == 0 {
            return Err(RasterError::Argument(
                "a tile without pixels cannot be segmented; choose another tile".into(),
            )
            .into());
        }
        let plan = Plan::new(
            [width_px, height_px],
            request.tiling,
            request.preprocess,
            self.config.input_px,
            4 * self.config.head.grid,
        );
        let cut = plan.count() > 1;
        let key = scene::key(pair, request.preprocess);
        let slot = if cut {
            &mut self.windows
        } else {
            &mut self.whole
        };
        if slot
            .as_ref()
            .is_some_and(|known| known.key == key && known.plan == plan)
        {
            return Ok(cut);
        }
        let older = slot.take();
        *slot = Some(Scene::new(
            pair,
            key,
            plan,
            request.preprocess,
            &self.config,
            older,
        )?);
        clock.lap(Stage::Preprocess);
        on(Event::Stage {
            stage: Stage::Preprocess,
            done: 1,
            total: 1,
        });
        Ok(cut)
    }

    /// The scene that [`Session::open_scene`] has opened.
    fn scene(&mut self, cut: bool) -> Result<&mut Scene, EngineError> {
        let slot = if cut {
            &mut self.windows
        } else {
            &mut self.whole
        };
        slot.as_mut()
            .ok_or(device_error(Stage::Preprocess, "the scene is missing"))
    }

    /// Puts a window's features back where [`Session::encode_window`] took them.
    pub(crate) fn keep(&mut self, cut: bool, window: usize, features: Features) {
        if let Ok(scene) = self.scene(cut) {
            scene.keep(window, features);
        }
    }

    /// The class names' embeddings, `[T, E]`, once [`Session::encode_text`] knows them.
    pub(crate) fn text_rows(&self, classes: &[impl AsRef<str>]) -> Tensor<2> {
        let embed = self.config.clip.embed;
        let rows: Vec<f32> = classes
            .iter()
            .flat_map(|class| self.text[class.as_ref()].iter().copied())
            .collect();
        Tensor::from_data(TensorData::new(rows, [classes.len(), embed]), &self.device)
    }

    /// What the head reads for a modality.
    fn maps(
        &self,
        features: &Features,
        modality: Modality,
    ) -> Result<(ClipMaps, DinoMaps), EngineError> {
        let clip = match modality {
            Modality::Sar => &self.blank_clip,
            Modality::Fused | Modality::Optical => &features.clip,
        };
        let dino = match (modality, &features.optical, &features.sar) {
            (Modality::Fused, Some(optical), Some(sar)) => Some(optical.clone().plus(sar.clone())),
            (Modality::Optical, optical, _) => optical.clone(),
            (Modality::Sar, _, sar) => sar.clone(),
            (Modality::Fused, ..) => None,
        };
        match (clip.clone(), dino) {
            (Some(clip), Some(dino)) => Ok((clip, dino)),
            _ => Err(device_error(Stage::Head, "features are missing")),
        }
    }

    /// Logits `[1, T, h, w]` off the device, checked.
    async fn read_logits(&self, logits: Tensor<4>) -> Result<Vec<f32>, EngineError> {
        let len = logits.dims().iter().product::<usize>();
        let logits = read(logits.reshape([len]), Stage::Head).await?;
        if logits.iter().any(|v| !v.is_finite()) {
            return Err(EngineError::NotFinite {
                device: self.info.name.clone(),
            });
        }
        Ok(logits)
    }

    /// Embeds the class names that are not known yet.
    pub(crate) async fn encode_text(
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

    /// CLIP's visual tower over a blank tile, for runs without the optical one.
    async fn encode_blank(
        &mut self,
        modality: Modality,
        on: &mut dyn FnMut(Event),
        trace: &mut Option<&mut Trace>,
        clock: &mut Clock,
    ) -> Result<(), EngineError> {
        if modality == Modality::Sar && self.blank_clip.is_none() {
            let side = self.config.input_px;
            let pixels = Tensor::zeros([1, 3, side, side], &self.device);
            self.blank_clip = Some(self.encode_clip(pixels, on, trace, clock).await?);
        }
        Ok(())
    }

    /// Takes a window's features (`of` is whether the scene is cut, and which window) and runs
    /// the towers that are wanted and whose results are not among them.
    pub(crate) async fn encode_window(
        &mut self,
        pair: &TilePair,
        of: (bool, usize),
        wants: Wants,
        on: &mut dyn FnMut(Event),
        trace: &mut Option<&mut Trace>,
        clock: &mut Clock,
    ) -> Result<Features, EngineError> {
        let config = self.config.clone();
        let (mut features, pixels) = self.scene(of.0)?.take(of.1, wants, pair, &config)?;
        let Some(pixels) = pixels else {
            return Ok(features);
        };
        clock.lap(Stage::Preprocess);
        let optical = || upload(pixels.optical.clone(), config.input_px, &self.device);
        if wants.clip && features.clip.is_none() {
            features.clip = Some(self.encode_clip(optical(), on, trace, clock).await?);
        }
        if wants.optical && features.optical.is_none() {
            let maps = self.encode_dino(optical(), false, on, trace, clock).await?;
            features.optical = Some(maps);
        }
        if wants.sar && features.sar.is_none() {
            let sar = upload(pixels.sar, config.input_px, &self.device);
            features.sar = Some(self.encode_dino(sar, true, on, trace, clock).await?);
        }
        Ok(features)
    }

    async fn encode_clip(
        &self,
        pixels: Tensor<4>,
        on: &mut dyn FnMut(Event),
        trace: &mut Option<&mut Trace>,
        clock: &mut Clock,
    ) -> Result<ClipMaps, EngineError> {
        self.breathe().await?;
        let stage = Stage::Clip;
        let trace = trace.as_deref_mut();
        let mut observer = Relay { stage, on, trace };
        let maps = self.model.encode_clip(pixels, &mut observer);
        await_map(&maps.fine, stage).await?;
        clock.lap(stage);
        Ok(maps)
    }

    async fn encode_dino(
        &self,
        pixels: Tensor<4>,
        sar: bool,
        on: &mut dyn FnMut(Event),
        trace: &mut Option<&mut Trace>,
        clock: &mut Clock,
    ) -> Result<DinoMaps, EngineError> {
        self.breathe().await?;
        let stage = if sar {
            Stage::DinoSar
        } else {
            Stage::DinoOptical
        };
        let trace = trace.as_deref_mut();
        let mut observer = Relay { stage, on, trace };
        let maps = self.model.encode_dino(pixels, sar, &mut observer);
        await_map(&maps.down, stage).await?;
        clock.lap(stage);
        Ok(maps)
    }
}

/// Measures stages one after another.
pub(crate) struct Clock {
    started: Instant,
    timings: Vec<StageTiming>,
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

pub(crate) fn device_error(stage: Stage, reason: impl ToString) -> EngineError {
    EngineError::Device {
        stage: stage.name(),
        reason: reason.to_string(),
    }
}

pub(crate) async fn read(flat: Tensor<1>, stage: Stage) -> Result<Vec<f32>, EngineError> {
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
