//! A model package behind an address, read as it arrives.

use js_sys::{Reflect, Uint8Array};
use mmovseg_engine::{EngineError, PackageSource};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStreamDefaultReader, Response};

/// A package's folder on a server.
pub struct UrlSource {
    /// Absolute address, ending with `/`.
    base: String,
}

impl UrlSource {
    /// The package at `base`, an absolute address that ends with `/`.
    pub fn new(base: String) -> Self {
        Self { base }
    }

    async fn fetch(&self, file: &str, on_bytes: &mut dyn FnMut(u64)) -> Result<Vec<u8>, JsValue> {
        let address = format!("{}{file}", self.base);
        let scope = crate::link::scope()?;
        let response: Response = JsFuture::from(scope.fetch_with_str(&address))
            .await?
            .dyn_into()?;
        if !response.ok() {
            let text = format!(
                "the server answers {} {}",
                response.status(),
                response.status_text()
            );
            return Err(JsValue::from_str(text.trim_end()));
        }
        let Some(body) = response.body() else {
            return Ok(Vec::new());
        };
        let reader: ReadableStreamDefaultReader = body.get_reader().dyn_into()?;
        let mut bytes = Vec::new();
        loop {
            let part = JsFuture::from(reader.read()).await?;
            if Reflect::get(&part, &"done".into())?.is_truthy() {
                return Ok(bytes);
            }
            let chunk: Uint8Array = Reflect::get(&part, &"value".into())?.dyn_into()?;
            let start = bytes.len();
            bytes.resize(start + chunk.length() as usize, 0);
            chunk.copy_to(&mut bytes[start..]);
            on_bytes(bytes.len() as u64);
        }
    }
}

impl PackageSource for UrlSource {
    async fn read(
        &self,
        file: &str,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<Vec<u8>, EngineError> {
        self.fetch(file, on_bytes)
            .await
            .map_err(|error| EngineError::Read {
                file: file.to_owned(),
                reason: explain(&error),
            })
    }
}

/// A JavaScript error in words.
pub fn explain(error: &JsValue) -> String {
    error
        .as_string()
        .or_else(|| Some(error.dyn_ref::<js_sys::Error>()?.message().into()))
        .unwrap_or_else(|| format!("{error:?}"))
}
