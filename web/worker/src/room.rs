//! The Worker's state and how each request changes it.

use std::cell::RefCell;

use js_sys::{Array, Uint8Array, Uint8ClampedArray};
use mmovseg_engine::{
    Event as EngineEvent, Modality as EngineModality, Preprocess, SegmentRequest, Segmentation,
    Session, open_device,
};
use mmovseg_protocol::{
    Activity, ClassResult, Cloud, DeviceChoice, Event, Failure, Modality, Opened, Progress,
    Request, Segmented, SelfTest, StageTiming, Step, Tier,
};
use mmovseg_raster::palette_for;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{Blob, MessageEvent};

use crate::device::{Probe, plan, probe};
use crate::link::{post, post_with, receive, rgba, scope};
use crate::source::{UrlSource, explain};
use crate::tiles::{OpenTiles, side};
use crate::watch::take_gpu_error;

#[derive(Default)]
struct Room {
    /// Absent while it loads, and while a run has taken it.
    session: Option<Session>,
    /// A run that waits for the session: the newest one asked for.
    waiting: Option<(Vec<String>, Modality)>,
    tiles: Option<OpenTiles>,
    /// Counts requests for tiles, so that a slow file cannot replace a newer choice.
    tiles_asked: u32,
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::default();
}

fn with<T>(change: impl FnOnce(&mut Room) -> T) -> T {
    ROOM.with_borrow_mut(change)
}

/// Starts answering the page.
pub fn listen() -> Result<(), JsValue> {
    let on_message =
        Closure::<dyn Fn(MessageEvent)>::new(|event: MessageEvent| match receive(&event.data()) {
            Ok((request, buffers)) => answer(request, buffers),
            Err(error) => post(&Event::Crashed {
                message: format!(
                    "a message from the page cannot be read: {}",
                    explain(&error)
                ),
            }),
        });
    // `addEventListener`, so that the loader's own listener is left alone.
    scope()?.add_event_listener_with_callback("message", on_message.as_ref().unchecked_ref())?;
    // The Worker listens until it is terminated.
    on_message.forget();
    Ok(())
}

fn answer(request: Request, buffers: Array) {
    match request {
        Request::Open { device, model_url } => spawn_local(open(device, model_url)),
        Request::Files {
            rgb_name,
            sar_name,
            cloud,
        } => {
            spawn_local(files([rgb_name, sar_name], buffers, cloud));
        }
        Request::Scene {
            seed,
            size_px,
            cloud,
        } => {
            with(|room| room.tiles_asked += 1);
            show(OpenTiles::from_scene(seed, size_px, cloud));
        }
        Request::SetCloud(cloud) => set_cloud(cloud),
        Request::Segment { classes, modality } => {
            with(|room| room.waiting = Some((classes, modality)));
            spawn_local(run_waiting());
        }
    }
}

fn failed(during: Activity, message: impl ToString) {
    post(&Event::Failed(Failure {
        during,
        message: message.to_string(),
    }));
}

fn progress(step: Step, done: u64, total: u64) {
    post(&Event::Progress(Progress { step, done, total }));
}

fn relay(event: EngineEvent) {
    match event {
        EngineEvent::Download {
            done_bytes,
            total_bytes,
        } => progress(Step::Download, done_bytes, total_bytes),
        EngineEvent::Stage { stage, done, total } => {
            progress(Step::Stage(stage.name().into()), done as u64, total as u64);
        }
    }
}

async fn open(choice: DeviceChoice, model_url: String) {
    progress(Step::Device, 0, 2);
    let found = if choice == DeviceChoice::Cpu {
        Probe::NoWebGpu
    } else {
        probe().await
    };
    let plan = plan(choice, &found);
    progress(Step::Device, 1, 2);
    let wanted = match plan.tier {
        Tier::Cpu => mmovseg_engine::DeviceChoice::Cpu,
        Tier::Gpu | Tier::SoftwareGpu => mmovseg_engine::DeviceChoice::Gpu,
    };
    let (mut tier, mut note) = (plan.tier, plan.note);
    let opened = match open_device(wanted).await {
        Ok(opened) => Ok(opened),
        Err(error) => {
            (tier, note) = (
                Tier::Cpu,
                Some(format!("The model runs on the CPU: {error}.")),
            );
            open_device(mmovseg_engine::DeviceChoice::Cpu).await
        }
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => return failed(Activity::Open, error),
    };
    progress(Step::Device, 2, 2);
    let mut device = opened.1.name.clone();
    if let (Probe::Adapter { name, .. }, true) = (&found, tier != Tier::Cpu)
        && !name.is_empty()
    {
        device.clone_from(name);
    }

    let source = UrlSource::new(model_url);
    let mut session = match Session::load(&source, opened, &mut relay).await {
        Ok(session) => session,
        Err(error) => return failed(Activity::Open, error),
    };
    let model = session.manifest().name.clone();
    post(&Event::Opened(Opened {
        tier,
        device,
        note,
        model,
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
    run_waiting().await;
}

/// Whether the GPU layer logged an error. The page is told that this Worker is not to be trusted.
fn gpu_failed() -> bool {
    let Some(message) = take_gpu_error() else {
        return false;
    };
    post(&Event::Crashed { message });
    true
}

async fn files(names: [String; 2], buffers: Array, cloud: Cloud) {
    let ticket = with(|room| {
        room.tiles_asked += 1;
        room.tiles_asked
    });
    let mut contents = Vec::with_capacity(2);
    for (index, name) in names.iter().enumerate() {
        match read_file(&buffers.get(index as u32)).await {
            Ok(bytes) => contents.push(bytes),
            Err(error) => {
                let reason = explain(&error);
                return failed(
                    Activity::Tiles,
                    format!("{name}: the browser cannot read the file ({reason}); choose it again"),
                );
            }
        }
    }
    if with(|room| room.tiles_asked) != ticket {
        return;
    }
    let [rgb, sar] = [0, 1].map(|i| (contents[i].as_slice(), names[i].as_str()));
    match OpenTiles::from_files(rgb, sar, cloud) {
        Ok(tiles) => show(tiles),
        Err(error) => failed(Activity::Tiles, error),
    }
}

async fn read_file(value: &JsValue) -> Result<Vec<u8>, JsValue> {
    let blob: Blob = value.clone().dyn_into()?;
    let buffer = JsFuture::from(blob.array_buffer()).await?;
    Ok(Uint8Array::new(&buffer).to_vec())
}

fn show(tiles: OpenTiles) {
    let pictures = [rgba(&tiles.shown.rgb), rgba(&tiles.shown.sar)];
    let event = Event::Tiles(tiles.describe());
    with(|room| room.tiles = Some(tiles));
    post_with(&event, &pictures);
}

fn set_cloud(cloud: Cloud) {
    let picture = with(|room| {
        let tiles = room.tiles.as_mut()?;
        tiles.set_cloud(cloud);
        Some(rgba(&tiles.shown.rgb))
    });
    if let Some(picture) = picture {
        post_with(&Event::Optical, &[picture]);
    }
}

/// Runs what was asked for, when the session is there and free.
async fn run_waiting() {
    loop {
        let job = with(|room| {
            let session = room.session.take()?;
            match room.waiting.take() {
                Some(job) => Some((session, job, room.tiles.clone())),
                None => {
                    room.session = Some(session);
                    None
                }
            }
        });
        let Some((mut session, (classes, modality), tiles)) = job else {
            return;
        };
        let healthy = match tiles {
            Some(tiles) => segment(&mut session, &tiles, classes, modality).await,
            None => {
                failed(
                    Activity::Segment,
                    "there are no tiles yet; choose two files or make a new scene",
                );
                true
            }
        };
        if !healthy {
            return;
        }
        with(|room| room.session = Some(session));
    }
}

/// One run. False when the device is not to be used again.
async fn segment(
    session: &mut Session,
    tiles: &OpenTiles,
    classes: Vec<String>,
    modality: Modality,
) -> bool {
    let request = SegmentRequest {
        classes,
        modality: match modality {
            Modality::Fused => EngineModality::Fused,
            Modality::Optical => EngineModality::Optical,
            Modality::Sar => EngineModality::Sar,
        },
        preprocess: Preprocess::default(),
    };
    let result = session.segment(&tiles.shown, &request, &mut relay).await;
    if gpu_failed() {
        return false;
    }
    match result {
        Ok(found) => report(&found, tiles, modality),
        Err(error) => failed(Activity::Segment, error),
    }
    true
}

fn report(found: &Segmentation, tiles: &OpenTiles, modality: Modality) {
    let ious = match &tiles.truth {
        Some(truth) => crate::score::ious(&found.classes, &found.labels, truth),
        None => vec![None; found.classes.len()],
    };
    let classes = found
        .classes
        .iter()
        .zip(&found.share)
        .zip(ious)
        .map(|((name, &share), iou)| ClassResult {
            name: name.clone(),
            share,
            iou,
        })
        .collect();
    let timings = found
        .timings
        .iter()
        .map(|timing| StageTiming {
            stage: timing.stage.name().into(),
            ms: timing.ms,
        })
        .collect();
    let palette = palette_for(&found.classes);
    let mask: Vec<u8> = found
        .labels
        .iter()
        .flat_map(|&label| {
            let [r, g, b] = palette[usize::from(label)];
            [r, g, b, 255]
        })
        .collect();
    let event = Event::Segmented(Segmented {
        width_px: side(found.width_px),
        height_px: side(found.height_px),
        classes,
        timings,
        modality,
    });
    post_with(&event, &[Uint8ClampedArray::from(mask.as_slice())]);
}
