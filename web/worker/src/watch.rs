//! Errors that the GPU layer only logs, and panics.
//!
//! In a browser the GPU layer only logs a kernel that was refused; its output buffer then keeps its
//! old content, and the mask is wrong without an error. So an error in that log counts as a failed
//! device: the page is told and starts a fresh Worker. A panic is reported before the trap that
//! follows.

use std::sync::Mutex;

use log::{Level, LevelFilter, Log, Metadata, Record};
use mmovseg_protocol::Event;

use crate::link::post;

struct Watch;

/// Part of the message that the GPU layer logs, once, when the device is lost.
const DEVICE_LOST: &str = "device was lost";

/// The first error that the GPU layer logged since the last [`take_gpu_error`].
static GPU_ERROR: Mutex<Option<String>> = Mutex::new(None);

/// Installs the logger and the panic hook.
pub fn install() {
    std::panic::set_hook(Box::new(|info| {
        post(&Event::Crashed {
            message: info.to_string(),
        });
    }));
    // Fails only when a logger is set already, which is this one.
    if log::set_logger(&Watch).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}

/// What the GPU layer complained about since the last call, if anything.
pub fn take_gpu_error() -> Option<String> {
    // A poisoned lock only means that a panic came between; the text is whole.
    GPU_ERROR
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .take()
}

impl Log for Watch {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = format!("{}: {}", record.target(), record.args());
        if record.level() == Level::Error && mmovseg_engine::is_gpu_layer(record.target()) {
            // The page shows it, so the console gets it as a warning only.
            web_sys::console::warn_1(&text.as_str().into());
            // What waits for a lost device never returns, so nothing would call `take_gpu_error`.
            if text.contains(DEVICE_LOST) {
                return post(&Event::Crashed { message: text });
            }
            let mut first = GPU_ERROR
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            first.get_or_insert(text);
        } else if record.level() == Level::Error {
            web_sys::console::error_1(&text.into());
        } else {
            web_sys::console::warn_1(&text.into());
        }
    }

    fn flush(&self) {}
}
