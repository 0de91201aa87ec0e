//! One loaded model and what it remembers between runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use mmovseg_model::network::ClipMaps;
use mmovseg_model::{MmOvSeg, Modality, ModelConfig, Precision};
use mmovseg_raster::{Preprocess, TilePair};
use mmovseg_text::Tokenizer;
use mmovseg_weights::{
    Assembler, HostTensor, MANIFEST_FILE, Manifest, Probe, SelfTest, WeightsError, decode_shard,
    parse_manifest, shard_names,
};
use serde::{Deserialize, Serialize};

use crate::device::half_precision;
#[cfg(not(target_arch = "wasm32"))]
use crate::run::Clock;
#[cfg(not(target_arch = "wasm32"))]
use crate::scene::Wants;
use crate::scene::{Heard, Scene};
use crate::{DeviceInfo, EngineError, PackageSource, PrecisionChoice, Tier, Tiling};

/// Width of the towers from which on half precision is worth its rounding: below, a graphics card waits for launches and
/// not for memory (docs/performance.md).
const HALF_FROM_WIDTH: usize = 512;
/// How much further off than in single precision a self-test may be in half precision: eleven bits for each value that
/// passes between operations.
const HALF_SLACK: f64 = 4.0;

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
    /// The windows of a scene larger than the model's input: all stages above but text, and the
    /// labels, one window after another.
    Windows,
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
            Self::Windows => "windows",
            Self::Labels => "labels",
        }
    }
}

/// What a shell is told while it waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Half precision did not pass the self-test: what was seen of it is of no account any more, and the package is read again.
    HalfPrecisionLeft {
        /// What the self-test said.
        reason: String,
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
    /// Whether a large scene is cut into windows.
    #[serde(default)]
    pub tiling: Tiling,
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
    /// Rows and columns of the logits, which cover the scene evenly.
    pub grid_px: [usize; 2],
    /// `[T, h, w]`, before the sigmoid. Of a scene in windows they are the logits of the blended
    /// probabilities, on a grid of at most 2²⁴ values.
    pub logits: Vec<f32>,
    /// Share of pixels of each class, 0 to 1.
    pub share: Vec<f64>,
    /// Stages that ran, each summed over all windows; cached ones are absent.
    pub timings: Vec<StageTiming>,
    /// Windows that the scene was cut into; 1 when it was run as a whole.
    pub windows: usize,
}

/// Stops a run from outside, between two of its stages or windows.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(pub(crate) Arc<AtomicBool>);

impl CancelFlag {
    /// Makes the run that is going on end with [`EngineError::Cancelled`]. Without one, nothing.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
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

/// One loaded model on one device.
pub struct Session {
    pub(crate) manifest: Manifest,
    pub(crate) config: ModelConfig,
    pub(crate) model: MmOvSeg,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) device: Device,
    pub(crate) info: DeviceInfo,
    /// Embeddings by class name.
    pub(crate) text: HashMap<String, Vec<f32>>,
    /// The last scene that ran as a whole, and the last one that ran in windows.
    pub(crate) whole: Option<Scene>,
    pub(crate) windows: Option<Scene>,
    /// What the head has made of the scene as a whole.
    pub(crate) heard: HashMap<Modality, Heard>,
    /// What CLIP gives for a blank tile.
    pub(crate) blank_clip: Option<ClipMaps>,
    pub(crate) cancelled: CancelFlag,
}

impl Session {
    /// Reads a package: manifest, tokenizer, then shard by shard, each checked against its hash,
    /// dequantised, moved to the device and dropped. A file that arrives damaged is read once more
    /// where that may help. Half precision that was not asked for by name has to pass the self-test; where it does not,
    /// the package is read again, in single precision.
    ///
    /// # Errors
    /// When a file is missing or damaged, the tensors are not those of the architecture, or the device has no
    /// half precision and was asked for it.
    pub async fn load<S: PackageSource>(
        source: &S,
        device: (Device, DeviceInfo),
        precision: PrecisionChoice,
        on: &mut dyn FnMut(Event),
    ) -> Result<Self, EngineError> {
        let mut session = Self::open(source, device, on).await?;
        session.info.precision = session.precision(precision)?;
        let seen = session.fill(source, &|_| true, on).await?;
        session.check(&seen)?;
        if precision == PrecisionChoice::Auto && session.info.precision == Precision::F16 {
            session.prove_half(source, on).await?;
        }
        Ok(session)
    }

    /// Goes back to single precision where the self-test does not pass in half precision.
    async fn prove_half<S: PackageSource>(
        &mut self,
        source: &S,
        on: &mut dyn FnMut(Event),
    ) -> Result<(), EngineError> {
        // A value beyond what half precision holds ends the test with an error.
        let tested = self.self_test().await;
        self.forget();
        let reason = match tested {
            Ok(report) if report.passed => return Ok(()),
            Ok(report) => format!(
                "the self-test is off by {:.1e}, where {:.1e} is allowed",
                report.max_error, report.tolerance
            ),
            Err(error) => error.to_string(),
        };
        on(Event::HalfPrecisionLeft { reason });
        self.info.precision = Precision::F32;
        self.fill(source, &|_| true, on).await?;
        Ok(())
    }

    /// What the towers are computed in, for what was asked.
    fn precision(&self, choice: PrecisionChoice) -> Result<Precision, EngineError> {
        let half = half_precision(&self.device, &self.info);
        match choice {
            PrecisionChoice::F32 => Ok(Precision::F32),
            PrecisionChoice::F16 => half,
            PrecisionChoice::Auto => {
                let gains =
                    self.info.tier == Tier::Gpu && self.config.dino.width >= HALF_FROM_WIDTH;
                let can_prove = self.manifest.self_test.is_some();
                Ok(half.ok().filter(|_| gains && can_prove).unwrap_or_default())
            }
        }
    }

    /// A session without weights: manifest and tokenizer only.
    async fn open<S: PackageSource>(
        source: &S,
        (device, info): (Device, DeviceInfo),
        on: &mut dyn FnMut(Event),
    ) -> Result<Self, EngineError> {
        let manifest = parse_manifest(&source.read(MANIFEST_FILE, &mut |_| {}).await?)?;
        let config: ModelConfig = serde_json::from_value(manifest.architecture.clone())
            .map_err(|error| EngineError::Architecture(error.to_string()))?;
        let file = &manifest.tokenizer;
        let mut arrived = download(0, &manifest, on);
        arrived(0);
        let check = |bytes: &[u8]| file.check(bytes).map(|()| bytes.to_vec());
        let tokenizer = read_sound(source, &file.file, &mut arrived, check).await?;
        drop(arrived);
        let tokenizer = Tokenizer::from_json(&tokenizer)?;
        let model = MmOvSeg::new(&config, &device)?;
        Ok(Self::assemble(
            manifest,
            config,
            model,
            tokenizer,
            (device, info),
        ))
    }

    /// Replaces the weights by those whose names `wants` accepts, and gives every name and shape
    /// read. Nothing of the old weights is in memory while the new ones arrive.
    async fn fill<S: PackageSource>(
        &mut self,
        source: &S,
        wants: &dyn Fn(&str) -> bool,
        on: &mut dyn FnMut(Event),
    ) -> Result<Vec<(String, Vec<usize>)>, EngineError> {
        let empty = || MmOvSeg::new(&self.config, &self.device);
        let mut model = empty()?;
        self.model = empty()?;
        let wanted = model.parameter_shapes();
        let mut before = self.manifest.tokenizer.bytes;
        let mut assembler = Assembler::new();
        let mut seen = Vec::new();
        for shard in &self.manifest.shards {
            let decode = |bytes: &[u8]| match shard_names(bytes, shard) {
                // A shard of nothing wanted is neither checked nor decoded.
                Ok(names) if !names.iter().any(|name| wants(name)) => Ok(Vec::new()),
                _ => decode_shard(bytes, shard),
            };
            let mut arrived = download(before, &self.manifest, on);
            let parts = read_sound(source, &shard.file, &mut arrived, decode).await?;
            drop(arrived);
            let mut ready = BTreeMap::new();
            for part in parts.into_iter().filter(|part| wants(&part.name)) {
                if let Some(HostTensor { name, shape, data }) = assembler.push(part)? {
                    seen.push((name.clone(), shape.clone()));
                    if wanted.get(&name) == Some(&shape) {
                        ready.insert(name, (shape, data));
                    }
                }
            }
            model = model.load_as(&mut ready, self.info.precision);
            before += shard.bytes;
            download(before, &self.manifest, on)(0);
        }
        assembler.finish()?;
        self.model = model;
        Ok(seen)
    }

    /// Whether these are the tensors of the architecture.
    fn check(&self, seen: &[(String, Vec<usize>)]) -> Result<(), EngineError> {
        let seen = seen
            .iter()
            .map(|(name, shape)| (name.as_str(), shape.as_slice()));
        let mismatch = self.model.compare(seen);
        if !mismatch.is_empty() {
            return Err(EngineError::Mismatch(mismatch.to_string()));
        }
        Ok(())
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
            whole: None,
            windows: None,
            heard: HashMap::new(),
            blank_clip: None,
            cancelled: CancelFlag::default(),
        }
    }

    /// The network, for what is measured of its towers.
    #[must_use]
    pub fn model(&self) -> &MmOvSeg {
        &self.model
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

    /// Drops what is remembered of tiles and class names, so that the next run computes every stage.
    pub fn forget(&mut self) {
        (self.whole, self.windows, self.blank_clip) = (None, None, None);
        self.text.clear();
        self.heard.clear();
    }

    /// What stops this session's runs.
    #[must_use]
    pub fn cancel_flag(&self) -> CancelFlag {
        self.cancelled.clone()
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
        let tolerance = match self.info.precision {
            Precision::F32 => test.tolerance,
            Precision::F16 => HALF_SLACK * test.tolerance,
        };
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
            passed: max_error <= tolerance,
            max_error,
            tolerance,
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
        // The test must compute, not remember.
        self.forget();
        let (pair, request) = self.self_test_input(seed, classes);
        self.measure(&pair, &request, seed, tolerance).await
    }

    /// [`Session::measure_self_test`] of a package, one part of the model in memory at a time: a
    /// checkpoint of 4 GB is converted on a machine that could not hold it.
    ///
    /// # Errors
    /// Those of [`Session::load`] and [`Session::measure_self_test`].
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) async fn measure_by_parts<S: PackageSource>(
        source: &S,
        device: (Device, DeviceInfo),
        seed: u64,
        classes: &[String],
    ) -> Result<SelfTest, EngineError> {
        let on: &mut dyn FnMut(Event) = &mut |_| {};
        let mut session = Self::open(source, device, on).await?;
        let (pair, request) = session.self_test_input(seed, classes);
        let mut clock = Clock::start();
        let (clock, trace) = (&mut clock, &mut None);
        session.open_scene(&pair, &request, on, clock)?;
        let mut seen = Vec::new();
        for part in Part::IN_ORDER {
            let wants = |name: &str| Part::of(name) == part;
            seen.extend(session.fill(source, &wants, on).await?);
            if part == Part::Text {
                session.encode_text(classes, on, trace, clock).await?;
            }
            let wants = Wants {
                clip: part == Part::Clip,
                optical: part == Part::DinoOptical,
                sar: part == Part::DinoSar,
            };
            // All stays remembered for the run below, which needs the head's weights alone.
            let features = session
                .encode_window(&pair, (false, 0), wants, on, trace, clock)
                .await?;
            session.keep(false, 0, features);
        }
        session.check(&seen)?;
        session.measure(&pair, &request, seed, 0.0).await
    }

    /// The self-test's generated pair.
    fn self_test_input(&self, seed: u64, classes: &[String]) -> (TilePair, SegmentRequest) {
        let scene = mmovseg_scene::generate(seed, self.config.input_px);
        let pair = TilePair::new(scene.rgb, scene.sar);
        let request = SegmentRequest {
            classes: classes.to_vec(),
            modality: Modality::Fused,
            preprocess: Preprocess::Aligned,
            tiling: Tiling::Whole,
        };
        (pair, request)
    }

    async fn measure(
        &mut self,
        pair: &TilePair,
        request: &SegmentRequest,
        seed: u64,
        tolerance: f64,
    ) -> Result<SelfTest, EngineError> {
        let logits = self.segment(pair, request, &mut |_| {}).await?.logits;
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
            classes: request.classes.clone(),
            logit_mean: mean,
            logit_std: variance.sqrt(),
            probes,
            tolerance,
        })
    }
}

/// A part of the model that runs by itself once what it reads is there, by its parameters' names.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Text,
    Clip,
    DinoOptical,
    DinoSar,
    Head,
}

#[cfg(not(target_arch = "wasm32"))]
impl Part {
    const IN_ORDER: [Self; 5] = [
        Self::Text,
        Self::Clip,
        Self::DinoOptical,
        Self::DinoSar,
        Self::Head,
    ];

    fn of(name: &str) -> Self {
        if name.contains("clip_model.visual.") || name.starts_with("upsample") {
            Self::Clip
        } else if name.contains("clip_model.") {
            Self::Text
        } else if name.starts_with("dino_sar") {
            Self::DinoSar
        } else if name.starts_with("dino_") {
            Self::DinoOptical
        } else {
            Self::Head
        }
    }
}

/// Turns the bytes of the file that is arriving into the progress of the whole package.
fn download<'a>(
    before: u64,
    manifest: &Manifest,
    on: &'a mut dyn FnMut(Event),
) -> impl FnMut(u64) + use<'a> {
    let total_bytes = manifest.total_bytes();
    move |bytes| {
        on(Event::Download {
            done_bytes: before + bytes,
            total_bytes,
        });
    }
}

/// Reads a file that `decode` finds sound, a second time when the first was damaged on its way.
async fn read_sound<S: PackageSource, T>(
    source: &S,
    file: &str,
    arrived: &mut dyn FnMut(u64),
    decode: impl Fn(&[u8]) -> Result<T, WeightsError>,
) -> Result<T, EngineError> {
    let damaged = match decode(&source.read(file, arrived).await?) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if !source.discard(file).await {
        return Err(damaged.into());
    }
    let again = decode(&source.read(file, arrived).await?);
    if again.is_err() {
        // A damaged copy must not be what the next attempt finds.
        source.discard(file).await;
    }
    Ok(again?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use std::cell::{Cell, RefCell};

    use super::{Part, Session};
    use crate::run::fit_ids;
    use crate::{
        DeviceChoice, EngineError, Event, FolderSource, PackageSource, Precision, PrecisionChoice,
        Tier, open_device,
    };

    fn nano() -> FolderSource {
        let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
        FolderSource(std::path::Path::new(&own).join("../../models/nano"))
    }

    /// Damages the first `damaged` arrivals of every shard.
    struct BadLine {
        folder: FolderSource,
        damaged: usize,
        reads: RefCell<Vec<String>>,
        discarded: Cell<usize>,
    }

    impl PackageSource for BadLine {
        async fn read(
            &self,
            file: &str,
            on_bytes: &mut dyn FnMut(u64),
        ) -> Result<Vec<u8>, EngineError> {
            let mut bytes = self.folder.read(file, on_bytes).await?;
            let before = self.reads.borrow().iter().filter(|f| *f == file).count();
            if file.ends_with(".safetensors") && before < self.damaged {
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
            }
            self.reads.borrow_mut().push(file.to_owned());
            Ok(bytes)
        }

        async fn discard(&self, _file: &str) -> bool {
            self.discarded.set(self.discarded.get() + 1);
            true
        }
    }

    fn load_over(damaged: usize) -> (BadLine, Result<Session, EngineError>) {
        let line = BadLine {
            folder: nano(),
            damaged,
            reads: RefCell::default(),
            discarded: Cell::new(0),
        };
        let device = pollster::block_on(open_device(DeviceChoice::Cpu)).unwrap();
        let loaded = pollster::block_on(Session::load(
            &line,
            device,
            PrecisionChoice::Auto,
            &mut |_| {},
        ));
        (line, loaded)
    }

    #[test]
    fn a_damaged_shard_is_read_once_more_and_then_refused_by_name() {
        let (line, loaded) = load_over(1);
        let shards = loaded.unwrap().manifest().shards.len();
        assert_eq!(line.reads.borrow().len(), 2 + 2 * shards);
        assert_eq!(line.discarded.get(), shards);

        let (line, loaded) = load_over(2);
        let message = loaded.err().unwrap().to_string();
        let first = line.reads.borrow()[2].clone();
        assert!(message.contains(&first), "{message} does not name {first}");
        assert_eq!(line.reads.borrow().len(), 4);
        assert_eq!(line.discarded.get(), 2, "no damaged copy is left behind");
    }

    #[test]
    fn a_self_test_by_parts_is_that_of_the_whole_model() {
        let device = || pollster::block_on(open_device(DeviceChoice::Cpu)).unwrap();
        let mut whole = pollster::block_on(Session::load(
            &nano(),
            device(),
            PrecisionChoice::Auto,
            &mut |_| {},
        ))
        .unwrap();
        let classes = whole.manifest().default_classes.clone();
        let by_parts =
            pollster::block_on(Session::measure_by_parts(&nano(), device(), 7, &classes)).unwrap();
        let at_once = pollster::block_on(whole.measure_self_test(7, &classes, 0.0)).unwrap();
        assert_eq!(by_parts.probes.len(), at_once.probes.len());
        assert!(at_once.logit_std > 0.1);
        for (a, b) in by_parts.probes.iter().zip(&at_once.probes) {
            assert_eq!(a.index, b.index);
            assert!((a.value - b.value).abs() < 1e-5, "{a:?} {b:?}");
        }
        // Every part has parameters, and a part without its own would have run on random ones.
        for part in Part::IN_ORDER {
            let names = whole.model.parameter_shapes();
            assert!(names.keys().any(|name| Part::of(name) == part), "{part:?}");
        }
    }

    #[test]
    fn half_precision_is_chosen_for_wide_towers_on_hardware_that_can_prove_it() {
        let device = pollster::block_on(open_device(DeviceChoice::Cpu)).unwrap();
        let mut session = pollster::block_on(Session::open(&nano(), device, &mut |_| {})).unwrap();
        let refused = session.precision(PrecisionChoice::F16);
        assert!(matches!(refused, Err(EngineError::NoHalfPrecision(_))));
        let auto = |session: &Session| session.precision(PrecisionChoice::Auto).unwrap();
        assert_eq!(auto(&session), Precision::F32, "a CPU");
        // The CPU's backend knows such numbers, and stands for a graphics card.
        session.info.tier = Tier::Gpu;
        assert_eq!(auto(&session), Precision::F32, "narrow towers");
        session.config.dino.width = 768;
        assert_eq!(auto(&session), Precision::F16);
        session.info.tier = Tier::SoftwareGpu;
        assert_eq!(auto(&session), Precision::F32, "an emulated card");
        session.info.tier = Tier::Gpu;
        let single = session.precision(PrecisionChoice::F32).unwrap();
        assert_eq!(single, Precision::F32, "asked for by name");
        session.manifest.self_test = None;
        assert_eq!(auto(&session), Precision::F32, "nothing to prove it with");
    }

    #[test]
    fn half_precision_that_does_not_pass_the_self_test_is_left() {
        let device = pollster::block_on(open_device(DeviceChoice::Cpu)).unwrap();
        let (source, on) = (nano(), &mut |_| {});
        let loading = Session::load(&source, device, PrecisionChoice::F32, on);
        let mut session = pollster::block_on(loading).unwrap();
        let mut prove = |error: f64| {
            session.info.precision = Precision::F16;
            let test = session.manifest.self_test.as_mut().unwrap();
            test.probes[0].value += error;
            let slack = test.tolerance;
            let mut told = 0;
            let on =
                &mut |event| told += i32::from(matches!(event, Event::HalfPrecisionLeft { .. }));
            pollster::block_on(session.prove_half(&source, on)).unwrap();
            (session.info.precision, told, slack)
        };
        let (stays, told, slack) = prove(0.0);
        assert_eq!((stays, told), (Precision::F16, 0));
        // Within what half precision may be off, and beyond.
        assert_eq!(prove(2.0 * slack).0, Precision::F16);
        let (left, told, _) = prove(3.0 * slack);
        assert_eq!((left, told), (Precision::F32, 1));
        assert!(session.text.is_empty() && session.whole.is_none());
    }

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
