//! Asks the browser for its GPU before an engine is started: the CPU has a program of its own, and
//! the GPU runtime, which cannot be started twice, panics on an adapter without timestamps.

use js_sys::{Promise, Reflect};
use leptos::prelude::{document, window};
use mmovseg_protocol::Probe;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    /// `navigator.gpu`.
    type Gpu;
    #[wasm_bindgen(method, catch, js_name = requestAdapter)]
    fn request_adapter(this: &Gpu) -> Result<Promise, JsValue>;

    /// `GPUAdapter`.
    type Adapter;
    #[wasm_bindgen(method, getter)]
    fn features(this: &Adapter) -> Features;
    #[wasm_bindgen(method, getter)]
    fn info(this: &Adapter) -> JsValue;

    /// `GPUSupportedFeatures`.
    type Features;
    #[wasm_bindgen(method)]
    fn has(this: &Features, name: &str) -> bool;
}

/// Asks the browser, where the site has an engine for its GPU.
pub async fn probe() -> Probe {
    if !has_gpu_engine() {
        return Probe::NotBuilt;
    }
    let gpu = Reflect::get(&window().navigator(), &"gpu".into());
    let gpu: Gpu = match gpu {
        Ok(value) if !value.is_undefined() && !value.is_null() => value.unchecked_into(),
        _ => return Probe::NoWebGpu,
    };
    let adapter = match gpu.request_adapter() {
        Ok(promise) => JsFuture::from(promise).await,
        Err(error) => Err(error),
    };
    let adapter: Adapter = match adapter {
        Ok(value) if !value.is_null() && !value.is_undefined() => value.unchecked_into(),
        _ => return Probe::NoAdapter,
    };
    let info = adapter.info();
    let read = |key: &str| Reflect::get(&info, &key.into()).ok();
    let name = ["vendor", "architecture", "description"]
        .iter()
        .filter_map(|key| read(key)?.as_string())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    // Older browsers have the flag on the adapter itself.
    let fallback = read("isFallbackAdapter")
        .and_then(|value| value.as_bool())
        .or_else(|| {
            Reflect::get(adapter.as_ref(), &"isFallbackAdapter".into())
                .ok()?
                .as_bool()
        });
    let lower = name.to_lowercase();
    let known = ["swiftshader", "llvmpipe", "lavapipe"]
        .iter()
        .any(|known| lower.contains(known));
    Probe::Adapter {
        software: fallback.unwrap_or(false) || known,
        timestamps: adapter.features().has("timestamp-query"),
        name,
    }
}

/// Whether the site has the engine for WebGPU: the build lists those that are there in
/// `index.html`. Without the list, as with Trunk, both are.
fn has_gpu_engine() -> bool {
    let listed = document().query_selector("meta[name=mmovseg-engines]");
    let listed = listed.ok().flatten();
    listed
        .and_then(|meta| meta.get_attribute("content"))
        .is_none_or(|engines| engines.split_whitespace().any(|engine| engine == "gpu"))
}

/// Threads that the CPU's work may be shared among.
pub fn threads() -> u32 {
    let isolated = Reflect::get(&window(), &"crossOriginIsolated".into());
    let isolated = isolated.is_ok_and(|value| value.is_truthy());
    let processors = window().navigator().hardware_concurrency();
    mmovseg_types::browser_threads(isolated, processors as u32)
}
