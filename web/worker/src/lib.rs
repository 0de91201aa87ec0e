//! The Worker's thin boundary around the engine: messages in, events out, nothing computed here.
//!
//! `worker.js` loads this program and calls [`start`]. `link` speaks to the page; `room` keeps the state
//! and hands each request to its part: `open` (with `source`) loads the model, `pair` (with
//! `tiles` and `sensor`) opens tiles, `run` segments (with `score` for ground truth), `teach` explains,
//! `export` and `batch` write files. `watch` turns
//! silent device errors into visible ones.

mod batch;
mod export;
mod link;
mod open;
mod pair;
mod room;
mod run;
mod sensor;
mod source;
mod teach;
mod tiles;
mod watch;

use wasm_bindgen::prelude::*;

/// Starts listening to the page. Called once, after the wasm is ready.
///
/// # Errors
/// When this does not run in a dedicated Worker.
#[wasm_bindgen]
pub fn start() -> Result<(), JsValue> {
    watch::install();
    room::listen()
}
