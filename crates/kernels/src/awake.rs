//! Keeps the CPU's threads from falling asleep between the operations of one pass.
//!
//! A pass of the default model shares work among the cores hundreds of times in a tenth of a second. `rayon`'s threads
//! look for work for a few microseconds and then sleep, and each time that one is woken the pass waits for the
//! system's scheduler.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;

/// While this lives, the threads that share the CPU's work wait for it awake.
#[must_use = "threads stay awake while this lives"]
pub struct Awake {
    is_over: Arc<AtomicBool>,
}

impl Awake {
    /// For operations on `device`: of no effect on a graphics card, and for a thread that takes no part in the work
    /// itself, which would lose its core to those that wait.
    pub fn on(device: &Device) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        if crate::threads() > 1
            && crate::is_cpu(device)
            && let Some(asker) = rayon::current_thread_index()
        {
            let is_over = Arc::clone(&is_over);
            rayon::spawn_broadcast(move |thread| {
                if thread.index() != asker {
                    wait(&is_over);
                }
            });
        }
        Self { is_over }
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Does whatever work there is until it is over, or until there has been none for a while.
fn wait(is_over: &AtomicBool) {
    use rayon::Yield;
    use web_time::{Duration, Instant};

    /// Longer than what one core does alone between two operations that are shared.
    const IDLE_MOST: Duration = Duration::from_millis(2);
    let mut since = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        if let Some(Yield::Executed) = rayon::yield_now() {
            since = Instant::now();
        } else if since.elapsed() > IDLE_MOST {
            return;
        } else {
            std::hint::spin_loop();
        }
    }
}
