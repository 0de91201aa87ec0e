//! Keeps rayon's threads spinning between the parallel operations of one stage.
//!
//! A pass of the default model forks hundreds of parallel operations within a tenth of a second.
//! Rayon's threads look for work for a few microseconds and then sleep, and waking one costs the
//! pass a scheduler latency each time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;

/// While it lives, the threads of the current rayon pool spin for work instead of going to sleep.
#[must_use = "the threads spin while the guard lives"]
pub struct SpinGuard {
    is_over: Arc<AtomicBool>,
}

impl SpinGuard {
    /// For operations on `device`. No effect on a GPU, nor on a thread outside the pool: it would
    /// lose its core to the spinning threads.
    pub fn new(device: &Device) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        if crate::cpu::threads() > 1
            && crate::device::is_cpu(device)
            && let Some(caller) = rayon::current_thread_index()
        {
            let is_over = Arc::clone(&is_over);
            rayon::spawn_broadcast(move |thread| {
                if thread.index() != caller {
                    spin(&is_over);
                }
            });
        }
        Self { is_over }
    }
}

impl Drop for SpinGuard {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Runs the pool's jobs until the guard is dropped, or until there has been none for two
/// milliseconds.
fn spin(is_over: &AtomicBool) {
    use rayon::Yield;
    use web_time::{Duration, Instant};

    /// Longer than the sequential work between two parallel operations.
    const IDLE_MAX: Duration = Duration::from_millis(2);
    let mut since = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        if let Some(Yield::Executed) = rayon::yield_now() {
            since = Instant::now();
        } else if since.elapsed() > IDLE_MAX {
            return;
        } else {
            std::hint::spin_loop();
        }
    }
}
