//! In what numbers a session computes its image towers: which precision a device gains by, and the
//! self-test that half precision has to pass.

use mmovseg_model::Precision;

use crate::api::Event;
use crate::device::{PrecisionChoice, half_precision};
use crate::error::EngineError;
use crate::package::PackageSource;
use crate::session::Session;
use mmovseg_types::Tier;

/// Width of the towers from which on half precision is worth its rounding: below, a graphics card
/// waits for launches and not for memory (docs/performance.md).
const HALF_FROM_WIDTH: usize = 512;
impl Session {
    /// Goes back to single precision where the self-test does not pass in half precision.
    pub(crate) async fn prove_half<S: PackageSource>(
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
    pub(crate) fn precision(&self, choice: PrecisionChoice) -> Result<Precision, EngineError> {
        let half = half_precision(&self.device, &self.info);
        match choice {
            PrecisionChoice::F32 => Ok(Precision::F32),
            PrecisionChoice::F16 => half,
            PrecisionChoice::Auto => {
                let widest = self.config.encoders().iter().map(|e| e.width).max();
                let gains = self.info.tier == Tier::Gpu
                    && widest >= Some(HALF_FROM_WIDTH)
                    && self.by_words().is_none();
                let can_prove = self.manifest.self_test.is_some();
                Ok(half.ok().filter(|_| gains && can_prove).unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use mmovseg_model::{NetworkConfig, Precision};

    use crate::api::Event;
    use crate::device::{PrecisionChoice, open_device};
    use crate::error::EngineError;
    use crate::package::nano;
    use crate::session::Session;
    use mmovseg_types::{DeviceChoice, Tier};

    #[test]
    fn half_precision_is_chosen_for_wide_towers_on_hardware_that_can_prove_it() {
        let device = pollster::block_on(open_device(DeviceChoice::Cpu)).unwrap();
        let mut session = pollster::block_on(Session::open(&nano(), device, &mut |_| {})).unwrap();
        let refused = session.precision(PrecisionChoice::F16);
        assert!(matches!(refused, Err(EngineError::NoHalfPrecision(_))));
        let auto = |session: &Session| session.precision(PrecisionChoice::Auto).unwrap();
        assert_eq!(auto(&session), Precision::F32, "a CPU");
        // The CPU's backend has f16, so it can stand for a GPU here.
        session.info.tier = Tier::Gpu;
        assert_eq!(auto(&session), Precision::F32, "narrow towers");
        let NetworkConfig::MmOvSeg(config) = &mut session.config else {
            unreachable!("nano has a head")
        };
        config.encoders[1].width = 768;
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
        assert!(session.cache.is_empty());
    }
}
