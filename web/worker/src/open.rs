//! Opening a device and loading the model onto it.

use mmovseg_engine::{
    DeviceChoice, Event as EngineEvent, PackageSource, PrecisionChoice, Session, open_device,
    threads,
};
use mmovseg_protocol::{Activity, Event, Opened, Plan, SelfTest, Step, Tier};

use crate::export;
use crate::link::post;
use crate::report::{failed, gpu_failed, progress, relay};
use crate::state::with;

/// Size of the engine's memory, in bytes. It never shrinks, so this is the largest it ever was.
fn memory_bytes() -> u64 {
    const PAGE_BYTES: u64 = 65_536;
    core::arch::wasm32::memory_size::<0>() as u64 * PAGE_BYTES
}

/// Side of the square that the model sees, as its configuration in the manifest says.
fn input_px(architecture: &serde_json::Value) -> u32 {
    let side = architecture["input_px"].as_u64().unwrap_or(0);
    u32::try_from(side).unwrap_or(u32::MAX)
}

/// The browser's clock, in milliseconds.
fn now_ms() -> f64 {
    js_sys::Date::now()
}

/// Opens the planned device, loads the package and tests it.
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
        opened.1.tier = Tier::SoftwareGpu;
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
    let named_colours = manifest.named_colours();
    with(|state| {
        state.about = export::about(&session, tier, &device);
        state.named_colours.clone_from(&named_colours);
    });
    post(&Event::Opened(Opened {
        tier,
        device,
        note,
        model: manifest.name.clone(),
        input_px: input_px(&manifest.architecture),
        default_classes: manifest.default_classes.clone(),
        named_colours,
        memory_bytes,
        memory_before_bytes: before.unwrap_or(memory_bytes),
        largest_shard_bytes: manifest.shards.iter().map(|s| s.bytes).max().unwrap_or(0),
    }));

    progress(Step::SelfTest, 0, 1);
    let start = now_ms();
    let tested = session.self_test().await;
    let ms = now_ms() - start;
    let report = match tested {
        Ok(report) => SelfTest {
            ms,
            passed: report.passed,
            detail: format!(
                "largest difference {:.1e}, allowed {:.1e}",
                report.max_error, report.tolerance
            ),
        },
        Err(error) => SelfTest {
            ms,
            passed: false,
            detail: error.to_string(),
        },
    };
    if gpu_failed() {
        return;
    }
    post(&Event::SelfTest(report));
    progress(Step::SelfTest, 1, 1);
    with(|state| state.session = Some(session));
}
