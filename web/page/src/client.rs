//! A Worker as the page sees it: started, spoken to, listened to, ended. Knows nothing of what the
//! messages mean.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Array, Function, Object, Promise, Reflect};
use leptos::prelude::*;
use mmovseg_protocol::{Event, Request};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{BroadcastChannel, ErrorEvent, MessageEvent, Url, Worker, WorkerOptions, WorkerType};

/// What receives the Worker's events with their binary parts.
pub type OnEvent = Rc<dyn Fn(Event, Array)>;

/// A running Worker and the listeners that must live as long as it.
struct Running {
    worker: Worker,
    /// Named like the Worker: its threads report failures here, since the Worker waits for them and
    /// could pass nothing on.
    threads: BroadcastChannel,
    _on_message: Closure<dyn Fn(MessageEvent)>,
    _on_error: Closure<dyn Fn(ErrorEvent)>,
}

thread_local! {
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
    /// Number of the current Worker: what an older one still sends is dropped.
    static GENERATION: Cell<u32> = const { Cell::new(0) };
}

/// Number of the current Worker.
pub fn generation() -> u32 {
    GENERATION.get()
}

/// Whether there is a Worker, with or without a model.
pub fn has_worker() -> bool {
    RUNNING.with_borrow(Option::is_some)
}

/// Ends the Worker, if there is one.
pub fn end() {
    if let Some(old) = RUNNING.take() {
        // Its closures go with it: a message under way must not call them.
        old.worker.set_onmessage(None);
        old.worker.set_onerror(None);
        old.threads.set_onmessage(None);
        old.worker.terminate();
        old.threads.close();
    }
    GENERATION.set(GENERATION.get() + 1);
}

/// Replaces the Worker by a fresh one, whose events go to `on_event`; its failures arrive there
/// too, as [`Event::Crashed`].
pub fn start(on_event: &OnEvent) -> Result<(), JsValue> {
    end();
    RUNNING.set(Some(spawn(on_event)?));
    Ok(())
}

/// Sends a request with its binary parts; without a Worker, nothing.
pub fn send(request: &Request, buffers: &[JsValue]) -> Result<(), JsValue> {
    RUNNING.with_borrow(|running| match running {
        Some(running) => post(&running.worker, request, buffers),
        None => Ok(()),
    })
}

fn spawn(on_event: &OnEvent) -> Result<Running, JsValue> {
    let options = WorkerOptions::new();
    options.set_type(WorkerType::Module);
    // Other tabs have Workers too.
    let name = format!("mmovseg-engine-{}", js_sys::Math::random());
    options.set_name(&name);
    let worker = Worker::new_with_options(&address("engine/worker.js")?, &options)?;
    let threads = BroadcastChannel::new(&name)?;
    let generation = GENERATION.get();
    let is_watched = Cell::new(false);
    let receiver = Rc::clone(on_event);
    let on_message = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
        if GENERATION.get() != generation {
            return;
        }
        // From its first message on, the Worker holds its lock.
        if !is_watched.replace(true) {
            spawn_local(watch(Rc::clone(&receiver), name.clone(), generation));
        }
        match receive(&event.data()) {
            Ok((event, buffers)) => receiver(event, buffers),
            Err(error) => receiver(crash(describe(&error)), Array::new()),
        }
    });
    let receiver = Rc::clone(on_event);
    let on_error = Closure::<dyn Fn(ErrorEvent)>::new(move |event: ErrorEvent| {
        if GENERATION.get() != generation {
            return;
        }
        // A script that cannot be loaded gives a plain event without a message.
        let message = Reflect::get(&event, &"message".into())
            .ok()
            .and_then(|text| text.as_string());
        let message = message.unwrap_or_else(|| "engine/worker.js could not be loaded".into());
        receiver(crash(message), Array::new());
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

fn crash(message: String) -> Event {
    Event::Crashed { message }
}

/// Waits for the lock that a Worker holds while it lives (`worker.js`): nothing else tells of one
/// that the browser has ended.
async fn watch(on_event: OnEvent, name: String, generation: u32) {
    let Some(locks) = window().navigator().unchecked_into::<Locking>().locks() else {
        return;
    };
    let gone = Closure::once(|| ());
    let granted = locks.request(&name, gone.as_ref().unchecked_ref());
    // A refusal tells nothing of the Worker.
    if JsFuture::from(granted).await.is_ok() && GENERATION.get() == generation {
        let message = "the browser has ended the engine's Worker".into();
        on_event(crash(message), Array::new());
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
