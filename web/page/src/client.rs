//! The Worker as the page sees it: started, spoken to, and replaced by a fresh one whenever it has
//! failed or will not stop. What the user entered stays in the state.

use std::cell::{Cell, RefCell};

use js_sys::{Array, Function, Object, Promise, Reflect};
use leptos::prelude::*;
use mmovseg_protocol::{DeviceChoice, Event, ModelPlace, Probe, Request, Tier, plan};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{BroadcastChannel, ErrorEvent, MessageEvent, Url, Worker, WorkerOptions, WorkerType};

use crate::actions::send_tiles;
use crate::adapter;
use crate::events;
use crate::state::{Engine, Package, State};

/// Failures of the Worker in a row, without a finished run between, after which the page stops
/// starting new ones by itself.
const MAX_FAILURES: u32 = 3;

/// A running Worker and the listeners that must live as long as it.
struct Running {
    worker: Worker,
    /// Of the Worker's name: what its threads say, for whom it waits and could pass nothing on.
    threads: BroadcastChannel,
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
    if let Some(old) = RUNNING.take() {
        old.worker.terminate();
        old.threads.close();
    }
    GENERATION.set(GENERATION.get() + 1);
    state.engine.set(Engine::Stopped);
    state.running.set(false);
    state.reading.set(false);
    state.progress.set(None);
}

/// A run ended well: failures before it count no more.
pub fn succeeded() {
    FAILURES.set(0);
}

/// Number of the current Worker.
pub fn generation() -> u32 {
    GENERATION.get()
}

/// Replaces the Worker. Inputs and pictures stay; what the old one worked on is gone.
fn launch(state: State, device: DeviceChoice) {
    end(state);
    DEVICE.set(device);
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
    spawn_local(open(state, device, GENERATION.get()));
    if state.source.with_untracked(Option::is_some) {
        send_tiles(state);
    }
}

/// Looks what there is to run on and has the Worker open it. The Worker keeps what else it is told meanwhile.
async fn open(state: State, device: DeviceChoice, generation: u32) {
    let found = if device == DeviceChoice::Cpu {
        Probe::NoWebGpu
    } else {
        adapter::probe().await
    };
    if GENERATION.get() != generation {
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

fn spawn(state: State) -> Result<Running, JsValue> {
    let options = WorkerOptions::new();
    options.set_type(WorkerType::Module);
    // Other tabs have Workers too.
    let name = format!("mmovseg-engine-{}", js_sys::Math::random());
    options.set_name(&name);
    let worker = Worker::new_with_options(&address("engine/worker.js")?, &options)?;
    let threads = BroadcastChannel::new(&name)?;
    let generation = GENERATION.get();
    let heard = Cell::new(false);
    let on_message = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
        if GENERATION.get() != generation {
            return;
        }
        // From its first message on, the Worker holds its lock.
        if !heard.replace(true) {
            spawn_local(watch(state, name.clone(), generation));
        }
        match receive(&event.data()) {
            Ok((event, buffers)) => events::take(state, event, &buffers),
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
    threads.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
    worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
    Ok(Running {
        worker,
        threads,
        _on_message: on_message,
        _on_error: on_error,
    })
}

/// Waits for the lock that a Worker holds while it lives (`worker.js`): nothing else tells of one that the
/// browser has ended.
async fn watch(state: State, name: String, generation: u32) {
    let Some(locks) = window().navigator().unchecked_into::<Locking>().locks() else {
        return;
    };
    let gone = Closure::once(|| ());
    let granted = locks.request(&name, gone.as_ref().unchecked_ref());
    // A refusal tells nothing of the Worker.
    if JsFuture::from(granted).await.is_ok() && GENERATION.get() == generation {
        crashed(state, "the browser has ended the engine's Worker");
    }
}

#[wasm_bindgen]
extern "C" {
    /// `navigator`, of which web-sys holds the locks to be unstable.
    type Locking;
    #[wasm_bindgen(method, getter)]
    fn locks(this: &Locking) -> Option<LockManager>;

    /// `navigator.locks`.
    type LockManager;
    #[wasm_bindgen(method)]
    fn request(this: &LockManager, name: &str, granted: &Function) -> Promise;
}

/// Whether there is a Worker, with or without a model.
pub fn has_worker() -> bool {
    RUNNING.with_borrow(Option::is_some)
}

/// Sends a request with its binary parts.
pub fn send(state: State, request: &Request, buffers: &[JsValue]) {
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

/// The Worker is lost: take a fresh one, on the CPU when the GPU never worked.
pub fn crashed(state: State, message: &str) {
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
pub fn address(path: &str) -> Result<String, JsValue> {
    let base = document().base_uri()?.unwrap_or_default();
    Ok(Url::new_with_base(path, &base)?.href())
}

/// A parameter of the page's address.
pub fn query(name: &str) -> Option<String> {
    let search = window().location().search().ok()?;
    web_sys::UrlSearchParams::new_with_str(&search)
        .ok()?
        .get(name)
}

/// A JavaScript error in words.
pub fn describe(error: &JsValue) -> String {
    error
        .as_string()
        .or_else(|| Some(error.dyn_ref::<js_sys::Error>()?.message().into()))
        .unwrap_or_else(|| format!("{error:?}"))
}
