//! Opening a device and loading the model onto it.

use mmovseg_engine::{
    DeviceChoice, Event as EngineEvent, PackageSource, PrecisionChoice, Session,
    Tier as EngineTier, open_device, threads,
};
use mmovseg_protocol::{Activity, Event, Opened, Plan, SelfTest, Step, Tier};

use crate::export;
use crate::link::post;
use crate::room::{failed, gpu_failed, progress, relay, with, work};

/// Size of the engine's memory, in bytes. It never shrinks, so this is the largest it ever was.
fn memory_bytes() -> u64 {
    const PAGE_BYTES: u64 = 65_536;
    core::arch::wasm32::memory_size::<0>() as u64 * PAGE_BYTES
}

/// Opens the planned device, loads the package, tests it and begins with the jobs that wait.
pub async fn open(plan: Plan, source: impl PackageSource) {
    progress(Step::Device, 0, 1);
    let wanted = match plan.tier {
        Tier::Cpu => DeviceChoice::Cpu,
        Tier::Gpu | Tier::SoftwareGpu => DeviceChoice::Gpu,
    };
    let (mut tier, mut note) = (plan.tier, plan.note);
    let opened = match open_device(wanted).await {
        Ok(opened) => Ok(opened),
        Err(error) => {
            (tier, note) = (
                Tier::Cpu,
                Some(format!("The model runs on the CPU: {error}.")),
            );
            open_device(DeviceChoice::Cpu).await
        }
    };
    let mut opened = match opened {
        Ok(opened) => opened,
        Err(error) => return failed(Activity::Open, error),
    };
    progress(Step::Device, 1, 1);
    if tier == Tier::Cpu {
        let threads = threads();
        let plural = if threads == 1 { "" } else { "s" };
        opened.1.name = format!("{threads} thread{plural}");
    } else if let Some(adapter) = plan.adapter {
        opened.1.name = adapter;
    }
    if tier == Tier::SoftwareGpu {
        // The page has asked the browser; the engine knows emulated adapters by name only.
        opened.1.tier = EngineTier::SoftwareGpu;
    }

    let mut before = None;
    let mut on = |event: EngineEvent| {
        match &event {
            EngineEvent::Download { .. } => {
                before.get_or_insert_with(memory_bytes);
            }
            EngineEvent::HalfPrecisionLeft { reason } => {
                note = Some(format!(
                    "The model runs in single precision, since in half precision {reason}."
                ));
            }
            EngineEvent::Stage { .. } => {}
        }
        relay(event);
    };
    let precision = PrecisionChoice::Auto;
    let mut session = match Session::load(&source, opened, precision, &mut on).await {
        Ok(session) => session,
        Err(error) => return failed(Activity::Open, error),
    };
    let device = session.device_info().label();
    let memory_bytes = memory_bytes();
    let manifest = session.manifest();
    with(|room| room.about = export::about(&session, tier, &device));
    post(&Event::Opened(Opened {
        tier,
        device,
        note,
        model: manifest.name.clone(),
        memory_bytes,
        memory_before_bytes: before.unwrap_or(memory_bytes),
        largest_shard_bytes: manifest.shards.iter().map(|s| s.bytes).max().unwrap_or(0),
    }));

    progress(Step::SelfTest, 0, 1);
    let report = match session.self_test().await {
        Ok(report) => SelfTest {
            passed: report.passed,
            detail: format!(
                "largest difference {:.1e}, allowed {:.1e}",
                report.max_error, report.tolerance
            ),
        },
        Err(error) => SelfTest {
            passed: false,
            detail: error.to_string(),
        },
    };
    if gpu_failed() {
        return;
    }
    post(&Event::SelfTest(report));
    progress(Step::SelfTest, 1, 1);
    with(|room| room.session = Some(session));
    work().await;
}
