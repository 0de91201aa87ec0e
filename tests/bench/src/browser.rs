//! The interface of the bench's page (`page/measure.js`).

use burn::tensor::Device;
use mmovseg_engine::{DeviceChoice, open_device, threads};
// Its exports to JavaScript start the threads.
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
    /// Loads a graph from its safetensors file, on WebGPU (`gpu`) or on the CPU.
    ///
    /// # Errors
    /// When there is no such device or graph, or the file does not hold its weights.
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

    /// The name of the device.
    #[must_use]
    pub fn device(&self) -> String {
        self.device.clone()
    }

    /// Runs the graph once and reads its output back.
    ///
    /// # Errors
    /// When the device fails.
    pub async fn run(&self) -> Result<Vec<f32>, JsError> {
        self.runner.run().await.map_err(|e| JsError::new(&e))
    }
}
