//! Several threads in a browser: Workers of the engine's own Worker, which share its memory and wait for work.
//!
//! Of use only in a build for memory that threads share (`xtask/src/run.rs`). There `threads.js` starts `helper.js`
//! as often as it is told and calls [`share_work`] once all of them are on their way to [`help`]. The Worker takes part
//! itself, so `n` threads are `n - 1` helpers. A thread that fails speaks to the page over a channel of the Worker's
//! own name: the Worker waits for it meanwhile and could pass nothing on.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};

use js_sys::Array;
use rayon::{ThreadBuilder, ThreadPoolBuilder};
use wasm_bindgen::prelude::*;
use web_sys::{BroadcastChannel, DedicatedWorkerGlobalScope};

/// Threads of the pool that no helper runs yet.
static WAITING: Mutex<VecDeque<ThreadBuilder>> = Mutex::new(VecDeque::new());
/// Tells helpers of them.
static ARRIVED: Condvar = Condvar::new();

thread_local! {
    /// To the page, in a helper.
    static PAGE: OnceCell<BroadcastChannel> = const { OnceCell::new() };
}

/// The program and its memory, as `helper.js` needs them.
#[must_use]
#[wasm_bindgen]
pub fn program() -> Array {
    Array::of2(&wasm_bindgen::module(), &wasm_bindgen::memory())
}

/// Shares the CPU's work among `threads` of them, of which this is one. It waits until the others, on their way to
/// [`help`], have begun.
///
/// # Errors
/// When this is done twice.
#[wasm_bindgen]
pub fn share_work(threads: usize) -> Result<(), JsError> {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .use_current_thread()
        .spawn_handler(|thread| {
            WAITING
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_back(thread);
            ARRIVED.notify_one();
            Ok(())
        })
        .build_global()
        .map_err(JsError::from)
}

/// Works until the Worker ends.
///
/// # Errors
/// Outside of a Worker.
#[wasm_bindgen]
pub fn help() -> Result<(), JsValue> {
    let worker: DedicatedWorkerGlobalScope = js_sys::global().dyn_into()?;
    let page = BroadcastChannel::new(&worker.name())?;
    PAGE.with(|kept| kept.set(page).ok());
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    let thread = loop {
        if let Some(thread) = waiting.pop_front() {
            break thread;
        }
        waiting = ARRIVED
            .wait(waiting)
            .unwrap_or_else(PoisonError::into_inner);
    };
    drop(waiting);
    thread.run();
    Ok(())
}

/// Sends a message to the page where this is a helper; `None` in the Worker itself.
///
/// # Errors
/// As `BroadcastChannel.postMessage`.
#[must_use]
pub fn send_past_the_worker(message: &JsValue) -> Option<Result<(), JsValue>> {
    PAGE.with(|page| Some(page.get()?.post_message(message)))
}
