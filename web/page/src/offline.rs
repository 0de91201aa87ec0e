//! After the first visit the page works without a connection: a service worker keeps its own files.

use leptos::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};

/// Registers the service worker. A browser that has none, or refuses on an insecure address, only needs
/// the connection again next time.
pub fn keep() {
    let navigator = window().navigator();
    let supported = js_sys::Reflect::has(&navigator, &"serviceWorker".into()).unwrap_or(false);
    if !supported {
        return;
    }
    spawn_local(async move {
        let registered = navigator.service_worker().register("./offline.js");
        if let Err(error) = JsFuture::from(registered).await {
            leptos::logging::warn!("the page is not kept for offline use: {error:?}");
        }
    });
}
