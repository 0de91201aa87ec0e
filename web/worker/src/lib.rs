//! The Worker's thin boundary around the engine: messages in, events out, nothing computed here.
//!
//! `worker.js` loads this program and calls [`start`]. `link` exchanges messages with the page,
//! `dispatch` hands each request to its part: `open` (with `source`) loads the model, `pair` (with
//! `tiles` and `sensor`) opens tiles, `run` segments, `teach` explains, `export` and `batch` write
//! files. `state` is what the Worker knows, `report` sends progress and failures, `watch` reports
//! errors that the GPU layer only logs. Imports go one way: parts use `state`, `report` and `link`,
//! and `dispatch` alone uses the parts.

mod batch;
mod dispatch;
mod export;
mod js;
mod link;
mod open;
mod pair;
mod report;
mod run;
mod sensor;
mod source;
mod state;
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
    dispatch::listen()
}
