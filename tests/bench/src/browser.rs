//! What the bench's page calls.

use burn::tensor::Device;
use mmovseg_engine::{DeviceChoice, open_device, threads};
// What it exports to JavaScript starts the threads.
use mmovseg_threads as _;
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

use crate::graphs::{Graph, Runner};

/// A graph on one device of the browser.
#[wasm_bindgen]
pub struct Bench {
    runner: Runner,
    device: String,
}

#[wasm_bindgen]
impl Bench {
    /// Puts a graph on WebGPU (`gpu`) or the CPU tier.
    ///
    /// # Errors
    /// When there is no such device or graph, or the file is not its weights.
    pub async fn open(graph: &str, file: &[u8], gpu: bool) -> Result<Bench, JsError> {
        let graph = Graph::of(graph).ok_or_else(|| JsError::new(&format!("no graph `{graph}`")))?;
        let (device, name) = if gpu {
            let (device, info) = open_device(DeviceChoice::Gpu)
                .await
                .map_err(|e| JsError::new(&e.to_string()))?;
            (device, info.name)
        } else {
            (Device::flex(), format!("CPU, threads: {}", threads()))
        };
        Ok(Self {
            runner: Runner::new(graph, file, &device).map_err(|e| JsError::new(&e))?,
            device: name,
        })
    }

    /// What it runs on.
    #[must_use]
    pub fn device(&self) -> String {
        self.device.clone()
    }

    /// One run with its whole output read back.
    ///
    /// # Errors
    /// When the device fails.
    pub async fn run(&self) -> Result<Vec<f32>, JsError> {
        self.runner.run().await.map_err(|e| JsError::new(&e))
    }
}
