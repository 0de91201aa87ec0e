//! What reports say about the model and the machine.

use mmovseg_engine::{DeviceInfo, Segmentation, Session, StageTiming};
use mmovseg_weights::StoreDtype;
use serde::Serialize;

/// The model of a run.
#[derive(Serialize)]
pub struct ModelReport {
    name: String,
    dtype: StoreDtype,
}

impl ModelReport {
    /// Name and storage of the session's package.
    pub fn of(session: &Session) -> Self {
        let manifest = session.manifest();
        Self {
            name: manifest.name.clone(),
            dtype: manifest.dtype,
        }
    }
}

/// What `segment --json` writes.
#[derive(Serialize)]
pub struct RunReport<'a> {
    pub model: ModelReport,
    pub device: &'a DeviceInfo,
    pub classes: &'a [String],
    /// Share of pixels, 0 to 1, in the order of `classes`.
    pub share: &'a [f64],
    pub width_px: usize,
    pub height_px: usize,
    /// Windows that the scene was cut into; 1 when it was run as a whole.
    pub windows: usize,
    pub timings_ms: serde_json::Map<String, serde_json::Value>,
    /// From the start of loading to the package being on the device.
    pub load_ms: f64,
    pub peak_memory_bytes: Option<u64>,
    pub notes: &'a [String],
}

impl<'a> RunReport<'a> {
    /// The report of one run.
    pub fn of(
        session: &'a Session,
        result: &'a Segmentation,
        load_ms: f64,
        notes: &'a [String],
    ) -> Self {
        Self {
            model: ModelReport::of(session),
            device: session.device_info(),
            classes: &result.classes,
            share: &result.share,
            width_px: result.width_px,
            height_px: result.height_px,
            windows: result.windows,
            timings_ms: timings(&result.timings),
            load_ms,
            peak_memory_bytes: peak_memory_bytes(),
            notes,
        }
    }
}

/// Milliseconds by stage name.
fn timings(timings: &[StageTiming]) -> serde_json::Map<String, serde_json::Value> {
    timings
        .iter()
        .map(|timing| (timing.stage.name().to_owned(), timing.ms.into()))
        .collect()
}

/// Most memory this process has held so far, where the system says.
pub fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim_end().parse().ok()?;
    Some(kib * 1024)
}
