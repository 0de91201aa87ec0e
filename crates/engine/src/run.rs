//! One run of a session: a scene as a whole or in windows, from pixels to labels.

use mmovseg_model::{Sensor, Silent, Trace};

use crate::api::{Event, SegmentRequest, Segmentation};
use crate::error::EngineError;
use crate::labels::{labels, mark_no_data, shares};
use crate::scene::Scene;
use crate::session::Session;
use crate::stages::{Clock, Encoder, Input, Inputs, Logits, Relay};
use crate::tiles::HashedPair;
use crate::windows::Blend;
use mmovseg_types::Stage;

/// What is left of a run's result before shares and times are added.
struct Found {
    labels: Vec<u8>,
    grid_px: [usize; 2],
    logits: Vec<f32>,
    windows: usize,
}

impl Session {
    /// Segments a tile pair. Results of stages whose inputs are the same as in an earlier run are
    /// taken from the cache, up to 256 MiB of them; stages that did not run are absent from the
    /// timings. A run that is cancelled, fails or is dropped leaves what its stages have finished.
    ///
    /// A scene in windows reports its progress as [`Stage::Windows`] alone. Memory beyond the pair
    /// and the cache: the labels, `T` planes of a band of rows one window high, and the logits. Of
    /// the windows whose features have no room in the cache, all stages run in every run.
    ///
    /// # Errors
    /// When the request cannot be met, the run is cancelled, or the device fails or gives numbers
    /// that are not finite.
    pub async fn segment(
        &mut self,
        pair: &HashedPair,
        request: &SegmentRequest,
        on: &mut dyn FnMut(Event),
    ) -> Result<Segmentation, EngineError> {
        self.run(pair, request, on, None).await
    }

    /// Segments with an empty cache and records every stage under its name in docs/network.md.
    ///
    /// # Errors
    /// Those of [`Session::segment`].
    pub async fn trace(
        &mut self,
        pair: &HashedPair,
        request: &SegmentRequest,
        trace: &mut Trace,
    ) -> Result<Segmentation, EngineError> {
        self.forget();
        self.run(pair, request, &mut |_| {}, Some(trace)).await
    }

    async fn run(
        &mut self,
        pair: &HashedPair,
        request: &SegmentRequest,
        on: &mut dyn FnMut(Event),
        mut trace: Option<&mut Trace>,
    ) -> Result<Segmentation, EngineError> {
        if self.by_words().is_some() {
            return self.run_by_words(pair, request, on, trace).await;
        }
        let mut clock = Clock::start();
        self.begin(&request.classes)?;
        if request.rule.is_some() {
            return Err(EngineError::NoRule(self.config.variant().to_owned()));
        }
        let scene = Scene::new(pair, request, self.fused_config()?)?;
        let encoders = self.encoders(request.modality)?;
        let encoders = encoders.as_slice();
        self.touch(&scene, encoders);
        let inputs = self.inputs(&scene, 0, encoders, on, &mut clock)?;
        let rows = self
            .encode_text(&request.classes, on, &mut trace, &mut clock)
            .await?;
        let text = (request.classes.as_slice(), rows.as_slice());
        let mut found = if scene.is_cut() {
            self.run_windows(&scene, (encoders, inputs), text, on, &mut clock)
                .await?
        } else {
            self.run_whole(&scene, (encoders, inputs), text, on, trace, &mut clock)
                .await?
        };
        let reads = |sensor| encoders.iter().any(|e| e.input == Input::Tile(sensor));
        let valid = pair.valid(reads(Sensor::Optical), reads(Sensor::Sar));
        mark_no_data(&mut found.labels, valid.as_deref());
        let share = shares(&found.labels, request.classes.len());
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
            labels: found.labels,
            grid_px: found.grid_px,
            logits: found.logits,
            temperature: self.manifest().temperature,
            share,
            timings: clock.timings,
            windows: found.windows,
        })
    }

    async fn run_whole(
        &mut self,
        scene: &Scene<'_>,
        (encoders, inputs): (&[Encoder], Inputs),
        text: (&[String], &[Vec<f32>]),
        on: &mut dyn FnMut(Event),
        mut trace: Option<&mut Trace>,
        clock: &mut Clock,
    ) -> Result<Found, EngineError> {
        let Logits { values, shape } = if trace.is_some() || scene.sar_weights(0)?.is_some() {
            let features = self
                .encode((scene, 0), encoders, inputs, on, &mut trace, clock)
                .await?;
            self.begin_head(on).await?;
            let stage = Stage::Head;
            let mut observer = Relay { stage, on, trace };
            self.window_logits((scene, 0), encoders, features, text.1, &mut observer)
                .await?
        } else {
            self.head(scene, (encoders, inputs), text, on, clock)
                .await?
        };
        clock.lap(Stage::Head);
        on(Event::Stage {
            stage: Stage::Head,
            done: 1,
            total: 1,
        });
        let (width_px, height_px) = (scene.pair.rgb.width_px, scene.pair.rgb.height_px);
        Ok(Found {
            labels: labels(&values, shape, width_px, height_px),
            grid_px: [shape[1], shape[2]],
            logits: values,
            windows: 1,
        })
    }

    async fn run_windows(
        &mut self,
        scene: &Scene<'_>,
        (encoders, inputs): (&[Encoder], Inputs),
        (classes, rows): (&[String], &[Vec<f32>]),
        on: &mut dyn FnMut(Event),
        clock: &mut Clock,
    ) -> Result<Found, EngineError> {
        // One bar that fills, not one for each stage and window.
        let quiet: &mut dyn FnMut(Event) = &mut |_| {};
        let total = scene.plan.count();
        let mut blend = Blend::new(&scene.plan, classes.len());
        let mut first = Some(inputs);
        for window in 0..total {
            on(Event::Stage {
                stage: Stage::Windows,
                done: window,
                total,
            });
            let inputs = match first.take() {
                Some(inputs) => inputs,
                None => self.inputs(scene, window, encoders, quiet, clock)?,
            };
            let features = self
                .encode((scene, window), encoders, inputs, quiet, &mut None, clock)
                .await?;
            let logits = self
                .window_logits((scene, window), encoders, features, rows, &mut Silent)
                .await?;
            clock.lap(Stage::Head);
            blend.add(window, &logits.values);
            clock.lap(Stage::Labels);
        }
        on(Event::Stage {
            stage: Stage::Windows,
            done: total,
            total,
        });
        let (labels, grid_px, logits) = blend.finish();
        Ok(Found {
            labels,
            grid_px,
            logits,
            windows: total,
        })
    }

    /// Starts a run and checks its classes.
    pub(crate) fn begin(&mut self, classes: &[String]) -> Result<(), EngineError> {
        self.start();
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

    /// Starts a run: an earlier one's cancellation does not count for it.
    pub(crate) fn start(&mut self) {
        self.cancelled.reset();
        self.cache.begin_run();
    }
}
