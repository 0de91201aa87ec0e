//! Where a package comes from: an address, read as it arrives and kept for the next visit, or files
//! of the user's.

use std::collections::HashMap;

use js_sys::{Array, Reflect, Uint8Array};
use mmovseg_engine::{EngineError, MANIFEST_FILE, PackageSource};
use mmovseg_protocol::PACKAGE_STORE;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortSignal, Cache, Headers, ReadableStreamDefaultReader, RequestInit, Response, ResponseInit,
};

use crate::js::{explain, read_file};

/// How long the server may be silent where a kept copy can serve, in milliseconds.
const PATIENCE_MS: u32 = 5000;

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

    fn address(&self, file: &str) -> String {
        format!("{}{file}", self.base)
    }

    /// A file that was kept earlier.
    async fn kept(&self, file: &str) -> Option<Vec<u8>> {
        let found = JsFuture::from(store().await?.match_with_str(&self.address(file))).await;
        let response: Response = found.ok()?.dyn_into().ok()?;
        let bytes = JsFuture::from(response.array_buffer().ok()?).await.ok()?;
        Some(Uint8Array::new(&bytes).to_vec())
    }

    /// Keeps a file for the next visit. A browser that has no room, or keeps nothing for this
    /// page, fetches it again then: nothing to tell the user.
    async fn keep(&self, file: &str, bytes: &[u8]) -> Option<()> {
        let headers = Headers::new().ok()?;
        // The page adds these up to say how much is kept.
        headers
            .set("content-length", &bytes.len().to_string())
            .ok()?;
        let options = ResponseInit::new();
        options.set_headers(&headers);
        let body = Uint8Array::from(bytes);
        let response = Response::new_with_opt_buffer_source_and_init(Some(&body), &options).ok()?;
        let put = store().await?.put_with_str(&self.address(file), &response);
        JsFuture::from(put).await.ok().map(drop)
    }

    /// Asks the server, which must answer within `patience_ms` where that is given.
    async fn fetch(
        &self,
        file: &str,
        patience_ms: Option<u32>,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<Vec<u8>, JsValue> {
        let scope = crate::link::scope()?;
        let options = RequestInit::new();
        if let Some(patience) = patience_ms {
            options.set_signal(Some(&AbortSignal::timeout_with_u32(patience)));
        }
        let asked = scope.fetch_with_str_and_init(&self.address(file), &options);
        let response: Response = JsFuture::from(asked).await?.dyn_into()?;
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

/// The browser's store of packages; absent where the browser keeps nothing, as on insecure
/// addresses and in some private windows.
async fn store() -> Option<Cache> {
    let caches = crate::link::scope().ok()?.caches().ok()?;
    let opened = JsFuture::from(caches.open(PACKAGE_STORE)).await;
    opened.ok()?.dyn_into().ok()
}

/// Shards and tokenizers are named by their hash, so a copy kept earlier is as good as the server's
/// and an interrupted download goes on at the first file that is missing. The manifest is asked of
/// the server first and its copy serves when there is no connection, or one in name only.
impl PackageSource for UrlSource {
    async fn read(
        &self,
        file: &str,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<Vec<u8>, EngineError> {
        let kept = self.kept(file).await;
        let patience_ms = kept.as_ref().map(|_| PATIENCE_MS);
        if file != MANIFEST_FILE
            && let Some(bytes) = kept
        {
            on_bytes(bytes.len() as u64);
            return Ok(bytes);
        }
        match self.fetch(file, patience_ms, on_bytes).await {
            Ok(bytes) => {
                self.keep(file, &bytes).await;
                Ok(bytes)
            }
            Err(error) => kept.ok_or_else(|| EngineError::Read {
                file: file.to_owned(),
                reason: explain(&error),
            }),
        }
    }

    async fn discard(&self, file: &str) -> bool {
        if let Some(store) = store().await {
            // Without a store there was no copy, and the network may still do better.
            let _gone = JsFuture::from(store.delete_with_str(&self.address(file))).await;
        }
        true
    }
}

/// A package among files that the user chose or dropped.
pub struct FileSource {
    files: HashMap<String, JsValue>,
}

impl FileSource {
    /// `files` holds a `File` for each of `names`, in that order.
    pub fn new(names: &[String], files: &Array) -> Self {
        let files = names.iter().cloned().zip(files.iter()).collect();
        Self { files }
    }
}

impl PackageSource for FileSource {
    async fn read(
        &self,
        file: &str,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<Vec<u8>, EngineError> {
        let failed = |reason: String| EngineError::Read {
            file: file.to_owned(),
            reason,
        };
        let Some(blob) = self.files.get(file) else {
            return Err(failed(
                "it is not among the chosen files; choose the whole folder".into(),
            ));
        };
        let bytes = read_file(blob)
            .await
            .map_err(|error| failed(explain(&error)))?;
        on_bytes(bytes.len() as u64);
        Ok(bytes)
    }

    async fn discard(&self, _file: &str) -> bool {
        // The user's file itself is what is damaged.
        false
    }
}
