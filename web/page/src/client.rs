//! The Worker as the page sees it: requests out, events into the state, and a fresh Worker whenever
//! the old one has failed or its work was cancelled. What the user entered stays in the state.

use std::cell::{Cell, RefCell};

use js_sys::{Array, ArrayBuffer, Object, Reflect, Uint8ClampedArray};
use leptos::prelude::*;
use mmovseg_protocol::{Activity, DeviceChoice, Event, Request, Segmented, Tier};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use web_sys::{ErrorEvent, ImageData, MessageEvent, Url, Worker, WorkerOptions, WorkerType};

use crate::state::{Engine, Outcome, SCENE_SIDE_PX, Source, State};
use crate::words;

/// Failures of the Worker in a row, without a finished run between, after which the page stops
/// starting new ones by itself.
const MAX_FAILURES: u32 = 3;

/// A running Worker and the listeners that must live as long as it.
struct Running {
    worker: Worker,
    _on_message: Closure<dyn Fn(MessageEvent)>,
    _on_error: Closure<dyn Fn(ErrorEvent)>,
}

thread_local! {
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
    /// Number of the current Worker: what an older one still sends is dropped.
    static GENERATION: Cell<u32> = const { Cell::new(0) };
    static FAILURES: Cell<u32> = const { Cell::new(0) };
    /// What the current Worker was asked to run on.
    static DEVICE: Cell<DeviceChoice> = const { Cell::new(DeviceChoice::Auto) };
}

/// Starts the first Worker.
pub fn start(state: State) {
    FAILURES.set(0);
    launch(state, state.wanted_device);
}

/// Starts over after the page had given up.
pub fn retry(state: State) {
    state.problem.set(None);
    start(state);
}

/// Stops whatever the Worker does. The next one gets the same pair.
pub fn cancel(state: State) {
    if !state.running.get_untracked() {
        return;
    }
    launch(state, DEVICE.get());
    state
        .status
        .set("Cancelled. The model is being loaded again; you can press Run already.".into());
}

/// Asks for the pair that `source` names.
pub fn open_tiles(state: State, source: Source) {
    if state.running.get_untracked() {
        state
            .status
            .set("A run is going on; wait for it or cancel it first.".into());
        return;
    }
    state.source.set(Some(source));
    state.outcome.set(None);
    state.problem.set(None);
    state.status.set("Reading the tiles…".into());
    send_tiles(state);
}

/// Asks for the cloud that the state holds.
pub fn set_cloud(state: State) {
    if state.tiles.with_untracked(Option::is_some) {
        state.outcome.set(None);
        send(state, &Request::SetCloud(state.cloud.get_untracked()), &[]);
    }
}

/// Asks for a run with what the state holds.
pub fn run(state: State) {
    if !untrack(|| state.can_run()) {
        return;
    }
    if state.engine.get_untracked() == Engine::Stopped {
        start(state);
    }
    state.problem.set(None);
    state.running.set(true);
    state.status.set("Segmenting…".into());
    let request = Request::Segment {
        classes: state.classes.get_untracked(),
        modality: state.modality.get_untracked(),
    };
    send(state, &request, &[]);
}

/// Replaces the Worker. Inputs and pictures stay; what the old one worked on is gone.
fn launch(state: State, device: DeviceChoice) {
    if let Some(old) = RUNNING.take() {
        old.worker.terminate();
    }
    GENERATION.set(GENERATION.get() + 1);
    DEVICE.set(device);
    state.running.set(false);
    state.reading.set(false);
    state.progress.set(None);
    state.self_test.set(None);
    state.engine.set(Engine::Starting);
    match spawn(state) {
        Ok(running) => RUNNING.set(Some(running)),
        Err(error) => {
            state.engine.set(Engine::Stopped);
            state.report(
                "The engine cannot be started",
                describe(&error),
                "Reload the page. A browser from 2023 or later is needed.",
            );
            return;
        }
    }
    match address(&format!("models/{}/", model_name())) {
        Ok(model_url) => send(state, &Request::Open { device, model_url }, &[]),
        Err(error) => crashed(state, &describe(&error)),
    }
    if state.source.with_untracked(Option::is_some) {
        send_tiles(state);
    }
}

fn spawn(state: State) -> Result<Running, JsValue> {
    let options = WorkerOptions::new();
    options.set_type(WorkerType::Module);
    let worker = Worker::new_with_options(&address("engine/worker.js")?, &options)?;
    let generation = GENERATION.get();
    let on_message = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
        if GENERATION.get() != generation {
            return;
        }
        match receive(&event.data()) {
            Ok((event, buffers)) => take(state, event, &buffers),
            Err(error) => crashed(state, &describe(&error)),
        }
    });
    let on_error = Closure::<dyn Fn(ErrorEvent)>::new(move |event: ErrorEvent| {
        if GENERATION.get() != generation {
            return;
        }
        // A script that cannot be loaded gives a plain event without any words.
        let message = Reflect::get(&event, &"message".into())
            .ok()
            .and_then(|text| text.as_string());
        crashed(
            state,
            &message.unwrap_or_else(|| "engine/worker.js could not be loaded".into()),
        );
    });
    worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
    worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
    Ok(Running {
        worker,
        _on_message: on_message,
        _on_error: on_error,
    })
}

fn send_tiles(state: State) {
    let cloud = state.cloud.get_untracked();
    let Some(source) = state.source.get_untracked() else {
        return;
    };
    state.reading.set(true);
    match source {
        Source::Files { rgb, sar } => {
            let request = Request::Files {
                rgb_name: rgb.name(),
                sar_name: sar.name(),
                cloud,
            };
            send(state, &request, &[rgb.into(), sar.into()]);
        }
        Source::Scene { seed } => {
            send(
                state,
                &Request::Scene {
                    seed,
                    size_px: SCENE_SIDE_PX,
                    cloud,
                },
                &[],
            );
        }
    }
}

fn send(state: State, request: &Request, buffers: &[JsValue]) {
    let sent = RUNNING.with_borrow(|running| match running {
        Some(running) => post(&running.worker, request, buffers),
        None => Ok(()),
    });
    if let Err(error) = sent {
        crashed(state, &describe(&error));
    }
}

fn post(worker: &Worker, request: &Request, buffers: &[JsValue]) -> Result<(), JsValue> {
    let message = Object::new();
    let plain = request.serialize(&serde_wasm_bindgen::Serializer::json_compatible())?;
    Reflect::set(&message, &"msg".into(), &plain)?;
    Reflect::set(
        &message,
        &"buffers".into(),
        &buffers.iter().collect::<Array>(),
    )?;
    worker.post_message(&message)
}

fn receive(data: &JsValue) -> Result<(Event, Array), JsValue> {
    let event = serde_wasm_bindgen::from_value(Reflect::get(data, &"msg".into())?)?;
    let buffers = Reflect::get(data, &"buffers".into())?;
    Ok((event, buffers.dyn_into().unwrap_or_default()))
}

/// Moves one event into the state.
fn take(state: State, event: Event, buffers: &Array) {
    let picture = |index: u32, width_px: u32, height_px: u32| {
        let buffer: ArrayBuffer = buffers.get(index).dyn_into()?;
        let bytes = Uint8ClampedArray::new(&buffer);
        ImageData::new_with_js_u8_clamped_array_and_sh(&bytes, width_px, height_px)
    };
    let taken = match event {
        Event::Opened(opened) => {
            state.engine.set(Engine::Ready(opened));
            Ok(())
        }
        Event::SelfTest(test) => {
            state.progress.set(None);
            if !test.passed {
                state.report(
                    "The self-test failed",
                    test.detail.clone(),
                    "Results on this device may be wrong; add ?device=cpu to the page's address to use the CPU.",
                );
            } else if !state.running.get_untracked() {
                state.status.set("The model is ready.".into());
            }
            state.self_test.set(Some(test));
            Ok(())
        }
        Event::Tiles(tiles) => picture(0, tiles.width_px, tiles.height_px).and_then(|rgb| {
            let sar = picture(1, tiles.width_px, tiles.height_px)?;
            state.rgb.set(Some(rgb));
            state.sar.set(Some(sar));
            state.reading.set(false);
            state.status.set(format!(
                "Tiles ready, {} × {} px.",
                tiles.width_px, tiles.height_px
            ));
            state.tiles.set(Some(tiles));
            Ok(())
        }),
        Event::Optical => match state.tiles.get_untracked() {
            Some(tiles) => picture(0, tiles.width_px, tiles.height_px).map(|rgb| {
                state.rgb.set(Some(rgb));
                state
                    .status
                    .set("The optical tile changed; press Run for a new mask.".into());
            }),
            None => Ok(()),
        },
        Event::Progress(progress) => {
            let finished = progress.total > 0 && progress.done >= progress.total;
            let last = matches!(progress.step, mmovseg_protocol::Step::SelfTest) && finished;
            state.progress.set((!last).then_some(progress));
            Ok(())
        }
        Event::Segmented(report) => picture(0, report.width_px, report.height_px).map(|mask| {
            finished(state, report, mask);
        }),
        Event::Failed(failure) => {
            failed(state, failure.during, failure.message);
            Ok(())
        }
        Event::Crashed { message } => {
            crashed(state, &message);
            Ok(())
        }
    };
    if let Err(error) = taken {
        crashed(state, &describe(&error));
    }
}

fn finished(state: State, report: Segmented, mask: ImageData) {
    FAILURES.set(0);
    let ms = report.timings.iter().map(|timing| timing.ms).sum::<f64>();
    let largest = report
        .classes
        .iter()
        .max_by(|a, b| a.share.total_cmp(&b.share));
    let largest = largest.map_or(String::new(), |class| {
        format!(
            " Largest class: {}, {}.",
            class.name,
            words::percent(class.share)
        )
    });
    state
        .status
        .set(format!("Done in {}.{largest}", words::milliseconds(ms)));
    state.outcome.set(Some(Outcome { report, mask }));
    state.running.set(false);
    state.progress.set(None);
}

/// The Worker refused something but is well.
fn failed(state: State, during: Activity, message: String) {
    match during {
        Activity::Open => {
            state.engine.set(Engine::Stopped);
            state.progress.set(None);
            state.running.set(false);
            state.report(
                "The model could not be loaded",
                message,
                "Press “Try again” when the connection is back. Your tiles and class names are kept.",
            );
        }
        Activity::Tiles => {
            state.reading.set(false);
            state.report(
                "The tiles could not be read",
                message,
                "Choose other files, or make a new scene.",
            );
        }
        Activity::Segment => {
            state.running.set(false);
            state.progress.set(None);
            state.report(
                "The run stopped",
                message,
                "Change the inputs and press Run again.",
            );
        }
    }
}

/// The Worker is lost: take a fresh one, on the CPU when the GPU never worked.
fn crashed(state: State, message: &str) {
    let failures = FAILURES.get() + 1;
    FAILURES.set(failures);
    let (tier, tested) = untrack(|| {
        let tier = match state.engine.get() {
            Engine::Ready(opened) => Some(opened.tier),
            Engine::Starting | Engine::Stopped => None,
        };
        (tier, state.self_test.get().is_some_and(|test| test.passed))
    });
    let was_running = state.running.get_untracked();
    if failures >= MAX_FAILURES {
        if let Some(old) = RUNNING.take() {
            old.worker.terminate();
        }
        GENERATION.set(GENERATION.get() + 1);
        state.engine.set(Engine::Stopped);
        state.running.set(false);
        state.reading.set(false);
        state.progress.set(None);
        state.report(
            "The engine stopped several times",
            message,
            "Press “Try again”, or close other tabs to free memory. Your tiles and class names are kept.",
        );
        return;
    }
    let on_gpu = DEVICE.get() != DeviceChoice::Cpu && tier != Some(Tier::Cpu);
    let (device, advice) = if on_gpu && !tested {
        (
            DeviceChoice::Cpu,
            "It starts again on the CPU. Your tiles and class names are kept.",
        )
    } else if was_running {
        (
            DEVICE.get(),
            "It starts again; press Run when you are ready. Your tiles and class names are kept.",
        )
    } else {
        (
            DEVICE.get(),
            "It starts again. Your tiles and class names are kept.",
        )
    };
    launch(state, device);
    state.report("The engine stopped", message, advice);
}

/// An address relative to the page.
fn address(path: &str) -> Result<String, JsValue> {
    let base = document().base_uri()?.unwrap_or_default();
    Ok(Url::new_with_base(path, &base)?.href())
}

/// The model's folder from the address (`?model=`), or the default one.
fn model_name() -> String {
    let plain = |name: &String| {
        !name.is_empty()
            && !name.starts_with('.')
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    query("model")
        .filter(plain)
        .unwrap_or_else(|| "nano".into())
}

/// A parameter of the page's address.
pub fn query(name: &str) -> Option<String> {
    let search = window().location().search().ok()?;
    web_sys::UrlSearchParams::new_with_str(&search)
        .ok()?
        .get(name)
}

fn describe(error: &JsValue) -> String {
    error
        .as_string()
        .or_else(|| Some(error.dyn_ref::<js_sys::Error>()?.message().into()))
        .unwrap_or_else(|| format!("{error:?}"))
}
