//! The model's files that the browser keeps for the next visit: how much they take, and a way to
//! clear them.

use leptos::prelude::*;
use mmovseg_protocol::PACKAGE_STORE;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{Cache, CacheStorage, Response};

use crate::state::{Engine, State};
use crate::words;

/// One line: the size, and a button. Absent while nothing is kept.
#[component]
pub fn Kept(state: State) -> impl IntoView {
    let size = RwSignal::new(None::<u64>);
    Effect::new(move || {
        // The files are all there once the engine is.
        if matches!(state.engine.get(), Engine::Ready(_)) {
            spawn_local(async move { size.set(kept_bytes().await.ok()) });
        }
    });
    let clear = move |_| {
        spawn_local(async move {
            let cleared = match caches() {
                Ok(caches) => JsFuture::from(caches.delete(PACKAGE_STORE)).await,
                Err(error) => Err(error),
            };
            state.status.set(match cleared {
                Ok(_) => {
                    "The kept model files were removed; the next visit fetches them again.".into()
                }
                Err(_) => "The browser did not remove the kept model files.".into(),
            });
            size.set(kept_bytes().await.ok());
        });
    };
    move || {
        size.get().filter(|&bytes| bytes > 0).map(|bytes| {
            view! {
                <p class="fine" data-testid="kept" data-bytes=bytes.to_string()>
                    {format!("This browser keeps {} of model files. ", words::bytes(bytes))}
                    <button type="button" class="quiet" data-testid="kept-clear" on:click=clear>
                        "Clear"
                    </button>
                </p>
            }
        })
    }
}

/// Fails where the browser keeps nothing for this page.
fn caches() -> Result<CacheStorage, JsValue> {
    window().caches()
}

async fn kept_bytes() -> Result<u64, JsValue> {
    let caches = caches()?;
    // Looking must not create the store.
    if !JsFuture::from(caches.has(PACKAGE_STORE)).await?.is_truthy() {
        return Ok(0);
    }
    let store: Cache = JsFuture::from(caches.open(PACKAGE_STORE))
        .await?
        .dyn_into()?;
    let responses: js_sys::Array = JsFuture::from(store.match_all()).await?.dyn_into()?;
    let mut bytes = 0;
    for response in responses.iter() {
        let response: Response = response.dyn_into()?;
        let length = response.headers().get("content-length")?;
        bytes += length
            .and_then(|text| text.parse::<u64>().ok())
            .unwrap_or(0);
    }
    Ok(bytes)
}
