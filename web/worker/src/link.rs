//! Messages to and from the page, in the form that `mmovseg_protocol` describes.

use js_sys::{Array, ArrayBuffer, Float32Array, Object, Reflect, Uint8Array};
use mmovseg_protocol::{Event, Request};
use mmovseg_raster::Rgb8;
use serde::Serialize;
use wasm_bindgen::prelude::*;
use web_sys::DedicatedWorkerGlobalScope;

/// The Worker's global object.
pub fn scope() -> Result<DedicatedWorkerGlobalScope, JsValue> {
    js_sys::global()
        .dyn_into()
        .map_err(|_| JsValue::from_str("the engine must run in a dedicated Worker"))
}

/// A binary part of an event, in memory of its own that moves to the page.
pub fn part(bytes: &[u8]) -> ArrayBuffer {
    Uint8Array::from(bytes).buffer()
}

/// Numbers as a binary part.
pub fn numbers(values: &[f32]) -> ArrayBuffer {
    Float32Array::from(values).buffer()
}

/// Sends an event without binary parts.
pub fn post(event: &Event) {
    post_with(event, Vec::new());
}

/// Sends an event; the memory of `parts` moves to the page.
pub fn post_with(event: &Event, parts: Vec<ArrayBuffer>) {
    if let Err(error) = try_post(event, parts) {
        // The page is gone, or the message could not be built: nobody else can be told.
        web_sys::console::error_2(&"an event was lost:".into(), &error);
    }
}

fn try_post(event: &Event, parts: Vec<ArrayBuffer>) -> Result<(), JsValue> {
    let buffers: Array = parts.into_iter().collect();
    let message = Object::new();
    // Plain objects, so that the other side may read them without this crate's help.
    let plain = event.serialize(&serde_wasm_bindgen::Serializer::json_compatible())?;
    Reflect::set(&message, &"msg".into(), &plain)?;
    Reflect::set(&message, &"buffers".into(), &buffers)?;
    if let Some(sent) = mmovseg_threads::send_past_the_worker(&message) {
        return sent;
    }
    scope()?.post_message_with_transfer(&message, &buffers)
}

/// Takes a message from the page apart: the request and its binary parts.
///
/// # Errors
/// When the message is not of the agreed form.
pub fn receive(data: &JsValue) -> Result<(Request, Array), JsValue> {
    let request = serde_wasm_bindgen::from_value(Reflect::get(data, &"msg".into())?)?;
    let buffers = Reflect::get(data, &"buffers".into())?;
    Ok((request, buffers.dyn_into().unwrap_or_default()))
}

/// The means of each `step_px × step_px` pixels of a picture as RGBA: to leave pixels out would
/// turn speckle and roofs into noise.
pub fn rgba(picture: &Rgb8, step_px: usize) -> ArrayBuffer {
    let line = 3 * picture.width_px.max(1);
    let mut bytes = Vec::with_capacity(picture.data.len() / 3 * 4 / (step_px * step_px));
    for rows in picture.data.chunks(line * step_px) {
        for left in (0..line).step_by(3 * step_px) {
            let width = (3 * step_px).min(line - left);
            let mut sums = [0usize; 3];
            for row in rows.chunks_exact(line) {
                for pixel in row[left..left + width].chunks_exact(3) {
                    for (sum, value) in sums.iter_mut().zip(pixel) {
                        *sum += usize::from(*value);
                    }
                }
            }
            let count = rows.len() / line * width / 3;
            bytes
                .extend(sums.map(|sum| u8::try_from((sum + count / 2) / count).unwrap_or(u8::MAX)));
            bytes.push(u8::MAX);
        }
    }
    part(&bytes)
}

/// Every `step_px`-th value of a map `[h, w]`.
pub fn thinned(map: &[u8], width_px: usize, step_px: usize) -> ArrayBuffer {
    if step_px == 1 {
        return part(map);
    }
    let rows = map.chunks_exact(width_px.max(1));
    let bytes: Vec<u8> = rows
        .step_by(step_px)
        .flat_map(|row| row.iter().step_by(step_px))
        .copied()
        .collect();
    part(&bytes)
}

/// Lets messages that wait be received.
pub async fn breathe() {
    gloo_timers::future::TimeoutFuture::new(0).await;
}
