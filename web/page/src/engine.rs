//! The engine's life: on which device a Worker opens the model, what a fresh Worker is given, and
//! when a failed one is replaced. What the user entered stays in the state.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use js_sys::Array;
use leptos::prelude::*;
use mmovseg_protocol::{DeviceChoice, Event, ModelPlace, Probe, Request, Tier, plan};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;

use crate::adapter;
use crate::client::{self, OnEvent, describe, generation};
use crate::state::{Engine, Package, SCENE_SIDE_PX, Source, State, Waiting};

/// Failures of the Worker in a row, without a finished run between, after which the page stops
/// starting new ones by itself.
const MAX_FAILURES: u32 = 3;

thread_local! {
    static ON_EVENT: OnceCell<OnEvent> = const { OnceCell::new() };
    static FAILURES: Cell<u32> = const { Cell::new(0) };
    /// What the current Worker was asked to run on.
    static DEVICE: Cell<DeviceChoice> = const { Cell::new(DeviceChoice::Auto) };
}

/// Names the function that moves the engine's events into the state. Called once, before the first
/// [`start`].
pub fn listen(state: State, take: fn(State, Event, &Array)) {
    let on_event: OnEvent = Rc::new(move |event, buffers| take(state, event, &buffers));
    // A second call would change nothing, and there is none.
    let _first = ON_EVENT.with(|slot| slot.set(on_event));
}

/// Starts the first Worker, or the first after the page or the user had given up.
pub fn start(state: State) {
    FAILURES.set(0);
    launch(state, state.wanted_device);
}

/// Starts over on the device that was in use.
pub fn restart(state: State) {
    launch(state, DEVICE.get());
}

/// Ends the Worker without a new one.
pub fn end(state: State) {
    client::end();
    state.engine.set(Engine::Stopped);
    state.running.set(false);
    state.in_batch.set_value(false);
    state.reading.set(false);
    state.progress.set(None);
}

/// A run ended well: failures before it count no more.
pub fn succeeded() {
    FAILURES.set(0);
}

/// Replaces the Worker. Inputs and pictures stay; what the old one worked on is gone.
fn launch(state: State, device: DeviceChoice) {
    end(state);
    DEVICE.set(device);
    state.self_test.set(None);
    state.window_ms.set_value(None);
    state.engine.set(Engine::Starting);
    let started = ON_EVENT.with(|slot| match slot.get() {
        Some(on_event) => client::start(on_event),
        None => Err("nothing receives the engine's events".into()),
    });
    if let Err(error) = started {
        state.engine.set(Engine::Stopped);
        state.report(
            "The engine cannot be started",
            describe(&error),
            "Reload the page. A browser from 2023 or later is needed.",
        );
        return;
    }
    spawn_local(open(state, device, generation()));
    if state.source.with_untracked(Option::is_some) {
        send_tiles(state);
    }
}

/// Asks the browser for its GPU and has the Worker open the planned device. The Worker keeps other
/// requests meanwhile.
async fn open(state: State, device: DeviceChoice, started: u32) {
    let found = if device == DeviceChoice::Cpu {
        Probe::NoWebGpu
    } else {
        adapter::probe().await
    };
    if generation() != started {
        return;
    }
    let plan = plan(device, &found, adapter::threads());
    let (model, files) = match state.package.get_untracked() {
        Package::Url(url) => (ModelPlace::Url(url), Vec::new()),
        Package::Files(files) => {
            let names = files.iter().map(web_sys::File::name).collect();
            (ModelPlace::Files(names), files)
        }
    };
    let files: Vec<JsValue> = files.into_iter().map(Into::into).collect();
    send(state, &Request::Open { plan, model }, &files);
}

/// Sends a request with its binary parts.
pub fn send(state: State, request: &Request, buffers: &[JsValue]) {
    if let Err(error) = client::send(request, buffers) {
        crashed(state, &describe(&error));
    }
}

/// Asks the Worker for the pair that the state names.
pub fn send_tiles(state: State) {
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
                reading: state.read_as.get_untracked(),
                cloud,
            };
            send(state, &request, &[rgb.into(), sar.into()]);
        }
        Source::Scene { seed } => {
            let request = Request::Scene {
                seed,
                size_px: SCENE_SIDE_PX,
                cloud,
            };
            send(state, &request, &[]);
        }
    }
}

/// The Worker is lost: takes a fresh one, on the CPU when the GPU never worked. A run that was
/// going on then begins again on the other device; on the same device it would fail again, so it
/// waits for the user.
pub fn crashed(state: State, message: &str) {
    let failures = FAILURES.get() + 1;
    FAILURES.set(failures);
    let (tier, tested) = untrack(|| {
        let tier = match state.engine.get() {
            Engine::Ready(opened) => Some(opened.tier),
            Engine::Starting | Engine::Stopped => None,
        };
        (tier, state.is_tested())
    });
    let was_running = state.running.get_untracked();
    if failures >= MAX_FAILURES {
        end(state);
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
        state.waiting.set(Some(Waiting::Failed));
        (
            DEVICE.get(),
            "It starts again; press “Compute” when you are ready. Your tiles and class names are kept.",
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
