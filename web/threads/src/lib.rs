//! Several threads in a browser: Workers of the engine's own Worker, which share its memory and
//! wait for work.
//!
//! Only for builds with shared memory (`xtask/src/run.rs`). There `threads.js` starts `n - 1`
//! Workers with `helper.js`, each of which calls [`help`], and then calls [`share_work`]; the
//! engine's Worker is the `n`-th member of the pool. A thread that fails reports to the page over a
//! broadcast channel with the Worker's name, because the Worker itself is blocked meanwhile.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};

use js_sys::Array;
use rayon::{ThreadBuilder, ThreadPoolBuilder};
use wasm_bindgen::prelude::*;
use web_sys::{BroadcastChannel, DedicatedWorkerGlobalScope};

/// Threads of the pool that no helper runs yet.
static WAITING: Mutex<VecDeque<ThreadBuilder>> = Mutex::new(VecDeque::new());
/// Signalled when a thread is added.
static ARRIVED: Condvar = Condvar::new();

thread_local! {
    /// The channel to the page, in a helper.
    static PAGE: OnceCell<BroadcastChannel> = const { OnceCell::new() };
}

/// The program and its memory, as `helper.js` needs them.
#[must_use]
#[wasm_bindgen]
pub fn program() -> Array {
    Array::of2(&wasm_bindgen::module(), &wasm_bindgen::memory())
}

/// Shares the CPU's work among `threads` of them, of which this is one. It waits until the others,
/// on their way to [`help`], have begun.
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
