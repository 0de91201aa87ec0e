//! What the page is told besides results: progress, failures, errors of the GPU layer.

use mmovseg_engine::Event as EngineEvent;
use mmovseg_protocol::{Activity, Event, Failure, Progress, Step};

use crate::link::post;
use crate::tiles::RefusedPair;
use crate::watch::take_gpu_error;

/// Tells the page that a request went wrong.
pub fn failed(during: Activity, message: impl ToString) {
    post(&Event::Failed(Failure {
        during,
        message: message.to_string(),
        outlines: None,
    }));
}

/// Tells the page that a pair was refused.
pub fn refused_pair(refusal: RefusedPair) {
    post(&Event::Failed(Failure {
        during: Activity::Tiles,
        message: refusal.message,
        outlines: refusal.outlines,
    }));
}

/// Tells the page how far some work is.
pub fn progress(step: Step, done: u64, total: u64) {
    post(&Event::Progress(Progress { step, done, total }));
}

/// Passes the engine's events on.
pub fn relay(event: EngineEvent) {
    match event {
        EngineEvent::Download {
            done_bytes,
            total_bytes,
        } => progress(Step::Download, done_bytes, total_bytes),
        EngineEvent::Stage { stage, done, total } => {
            progress(Step::Stage(stage.name().into()), done as u64, total as u64);
        }
        // A refused kernel in half precision says nothing of the others.
        EngineEvent::HalfPrecisionLeft { .. } => drop(take_gpu_error()),
    }
}

/// Whether the GPU layer logged an error. The page is told that this Worker is not to be trusted.
pub fn gpu_failed() -> bool {
    let Some(message) = take_gpu_error() else {
        return false;
    };
    post(&Event::Crashed { message });
    true
}
