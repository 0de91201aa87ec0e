//! The Worker's thin boundary around the engine: messages in, events out, nothing computed here.
//!
//! `worker.js` loads this program and calls [`start`]. `link` speaks to the page, `device` chooses the
//! tier, `source` fetches the package, `tiles` keeps the pair, `score` compares with ground truth,
//! `watch` turns silent device errors into visible ones, `room` puts them together.

mod device;
mod link;
mod room;
mod score;
mod source;
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
