//! Progress on stderr, for people at a terminal only.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mmovseg_engine::Event;

const BYTES: &str = "{msg:14} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}";
const STEPS: &str = "{msg:14} {bar:30} {pos}/{len} {eta} left";

/// One bar that shows whatever is going on; it is gone when dropped.
pub struct Progress {
    bar: ProgressBar,
    template: &'static str,
}

impl Progress {
    /// A bar that stays invisible where stderr is no terminal.
    pub fn new() -> Self {
        Self {
            bar: ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
            template: "",
        }
    }

    /// Shows an event of the engine.
    pub fn event(&mut self, event: Event) {
        match event {
            Event::Download {
                done_bytes,
                total_bytes,
            } => self.show(BYTES, "load", done_bytes, total_bytes),
            Event::Stage { stage, done, total } => {
                self.show(STEPS, stage.name(), done as u64, total as u64)
            }
            Event::HalfPrecisionLeft { reason } => self.bar.println(format!(
                "in single precision, since in half precision {reason}"
            )),
        }
    }

    /// Whether anybody sees it.
    pub fn is_shown(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Shows step `done` of `total`.
    pub fn step(&mut self, what: &'static str, done: usize, total: usize) {
        self.show(STEPS, what, done as u64, total as u64);
    }

    fn show(&mut self, template: &'static str, what: &str, done: u64, total: u64) {
        if self.template != template {
            self.template = template;
            self.bar.set_style(
                ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
        }
        self.bar.set_message(what.to_owned());
        self.bar.set_length(total);
        self.bar.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
