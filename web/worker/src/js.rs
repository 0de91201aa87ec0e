//! JavaScript values that several parts read: files and errors.

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::Blob;

/// The bytes of a `File`.
pub async fn read_file(value: &JsValue) -> Result<Vec<u8>, JsValue> {
    let blob: Blob = value.clone().dyn_into()?;
    let buffer = JsFuture::from(blob.array_buffer()).await?;
    Ok(Uint8Array::new(&buffer).to_vec())
}

/// A JavaScript error in words.
pub fn explain(error: &JsValue) -> String {
    error
        .as_string()
        .or_else(|| Some(error.dyn_ref::<js_sys::Error>()?.message().into()))
        .unwrap_or_else(|| format!("{error:?}"))
}
