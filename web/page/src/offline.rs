//! After the first visit the page works without a connection: a service worker keeps its own files.

use leptos::prelude::*;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::ServiceWorkerRegistration;

/// Registers the service worker. A browser that has none, or refuses on an insecure address, only
/// needs the connection again next time.
pub fn register() {
    let navigator = window().navigator();
    let supported = js_sys::Reflect::has(&navigator, &"serviceWorker".into()).unwrap_or(false);
    if !supported {
        return;
    }
    spawn_local(async move {
        let workers = navigator.service_worker();
        let kept = async {
            JsFuture::from(workers.register("./offline.js")).await?;
            let ready: ServiceWorkerRegistration =
                JsFuture::from(workers.ready()?).await?.dyn_into()?;
            match ready.active() {
                // It keeps the page's files in the background (offline.js).
                Some(worker) => worker.post_message(&"keep".into()),
                None => Ok(()),
            }
        };
        if let Err(error) = kept.await {
            leptos::logging::warn!("the page is not kept for offline use: {error:?}");
        }
    });
}
