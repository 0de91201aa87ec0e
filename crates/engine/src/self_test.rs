//! The golden self-test: measured on a new package as it is stored, and compared on every device
//! that loads it.

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;

#[cfg(not(target_arch = "wasm32"))]
use burn::tensor::Device;
#[cfg(not(target_arch = "wasm32"))]
use mmovseg_model::NetworkConfig;
#[cfg(not(target_arch = "wasm32"))]
use mmovseg_model::parameters::Part;
use mmovseg_model::{Modality, Precision};
use mmovseg_raster::{Preprocess, TilePair};
#[cfg(not(target_arch = "wasm32"))]
use mmovseg_weights::Manifest;
use mmovseg_weights::{Probe, SelfTest};

#[cfg(not(target_arch = "wasm32"))]
use crate::api::Event;
use crate::api::{SegmentRequest, SelfTestReport};
#[cfg(not(target_arch = "wasm32"))]
use crate::device::{DeviceInfo, open_device};
use crate::error::EngineError;
#[cfg(not(target_arch = "wasm32"))]
use crate::package::{FolderSource, PackageSource};
#[cfg(not(target_arch = "wasm32"))]
use crate::scene::Scene;
use crate::session::Session;
#[cfg(not(target_arch = "wasm32"))]
use crate::stages::{Clock, Encoder};
use crate::tiles::HashedPair;
use crate::windows::Tiling;
#[cfg(not(target_arch = "wasm32"))]
use mmovseg_types::DeviceChoice;

/// How much further off than in single precision a self-test may be in half precision: eleven bits
/// for each value that passes between operations.
const HALF_SLACK: f64 = 4.0;

impl Session {
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
        // Results from the cache would test nothing.
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
        if session.by_words().is_some() {
            let seen = session.fill(source, &|_| true, on).await?;
            session.check(&seen)?;
            return session.measure(&pair, &request, seed, 0.0).await;
        }
        let scene = Scene::new(&pair, &request, session.fused_config()?)?;
        let mut clock = Clock::start();
        let (clock, trace) = (&mut clock, &mut None);
        let table = session.network.parameters();
        let encoders = session.encoders(request.modality)?;
        let mut seen = Vec::new();
        for part in parts(&session.config) {
            let wants = |name: &str| table.of(name).part == part;
            seen.extend(session.fill(source, &wants, on).await?);
            match &part {
                Part::Text => {
                    session.encode_text(classes, on, trace, clock).await?;
                }
                Part::Encoder(id) => {
                    let encoder: Vec<Encoder> =
                        encoders.iter().filter(|e| e.id == *id).cloned().collect();
                    let inputs = session.inputs(&scene, 0, &encoder, on, clock)?;
                    // All stays in the cache for the run below, which needs the head's weights
                    // alone.
                    session
                        .encode((&scene, 0), &encoder, inputs, on, trace, clock)
                        .await?;
                }
                Part::Head => {}
            }
        }
        session.check(&seen)?;
        session.measure(&pair, &request, seed, 0.0).await
    }

    /// The self-test's generated pair.
    fn self_test_input(&self, seed: u64, classes: &[String]) -> (HashedPair, SegmentRequest) {
        let scene = mmovseg_scene::generate(seed, self.config.window_px());
        let pair = HashedPair::new(TilePair::new(scene.rgb, scene.sar));
        let request = SegmentRequest {
            classes: classes.to_vec(),
            modality: Modality::Fused,
            preprocess: Preprocess::Aligned,
            // One window, also where a scene as a whole would be enlarged and cut.
            tiling: match self.by_words() {
                Some(_) => Tiling::Windows { overlap_px: 0 },
                None => Tiling::Whole,
            },
            rule: None,
        };
        (pair, request)
    }

    async fn measure(
        &mut self,
        pair: &HashedPair,
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

/// The parts of a model, each after those whose results it reads.
#[cfg(not(target_arch = "wasm32"))]
fn parts(config: &NetworkConfig) -> Vec<Part> {
    let encoders = config.encoders().iter();
    let encoders = encoders.map(|encoder| Part::Encoder(encoder.id.clone()));
    std::iter::once(Part::Text)
        .chain(encoders)
        .chain([Part::Head])
        .collect()
}

/// Classes of the self-test of a package with many templates.
#[cfg(not(target_arch = "wasm32"))]
const FEW_CLASSES: usize = 3;
/// Seed of the generated pair.
#[cfg(not(target_arch = "wasm32"))]
const SEED: u64 = 7;
/// What devices may differ by, against the deviation of the logits: a device that computes wrongly
/// is off by about all of it, one that rounds or sums in another order by some 1e-4.
#[cfg(not(target_arch = "wasm32"))]
const TOLERANCE: f64 = 5e-3;

/// Measures the logits of the package in `folder` on a generated pair with its default classes, on
/// the CPU and with one part of the model in memory at a time, and puts the self-test into
/// `manifest`; writing that is the caller's, as the last step of
/// `mmovseg_weights::write_package_then`.
///
/// # Errors
/// When the package cannot be loaded, has no default classes, or gives numbers that are not finite.
#[cfg(not(target_arch = "wasm32"))]
pub async fn add_self_test(folder: &Path, manifest: &mut Manifest) -> Result<(), EngineError> {
    let device = open_device(DeviceChoice::Cpu).await?;
    let source = FolderSource(folder.to_owned());
    // Of many templates, a few words are enough.
    let most = match manifest.prompt_templates.len() {
        0 => usize::MAX,
        _ => FEW_CLASSES,
    };
    let classes: Vec<String> = manifest
        .default_classes
        .iter()
        .take(most)
        .cloned()
        .collect();
    let mut test = Session::measure_by_parts(&source, device, SEED, &classes).await?;
    test.tolerance = TOLERANCE * test.logit_std.max(f64::from(f32::EPSILON));
    manifest.self_test = Some(test);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::parts;
    use crate::device::{PrecisionChoice, open_device};
    use crate::package::nano;
    use crate::session::Session;
    use mmovseg_types::DeviceChoice;

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
        let table = whole.network.parameters();
        for part in parts(&whole.config) {
            let names = whole.network.parameter_shapes();
            let belongs = |name: &String| table.of(name).part == part;
            assert!(names.keys().any(belongs), "{part:?}");
        }
    }
}
