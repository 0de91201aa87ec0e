//! Messages to and from the page, in the form that `mmovseg_protocol` describes.

use js_sys::{Array, Object, Reflect, Uint8ClampedArray};
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

/// Sends an event without binary parts.
pub fn post(event: &Event) {
    post_with(event, &[]);
}

/// Sends an event; the memory of `pictures` moves to the page.
pub fn post_with(event: &Event, pictures: &[Uint8ClampedArray]) {
    if let Err(error) = try_post(event, pictures) {
        // The page is gone, or the message could not be built: nobody else can be told.
        web_sys::console::error_2(&"an event was lost:".into(), &error);
    }
}

fn try_post(event: &Event, pictures: &[Uint8ClampedArray]) -> Result<(), JsValue> {
    let buffers: Array = pictures.iter().map(Uint8ClampedArray::buffer).collect();
    let message = Object::new();
    // Plain objects, so that the other side may read them without this crate's help.
    let plain = event.serialize(&serde_wasm_bindgen::Serializer::json_compatible())?;
    Reflect::set(&message, &"msg".into(), &plain)?;
    Reflect::set(&message, &"buffers".into(), &buffers)?;
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

/// A picture as RGBA bytes in memory of its own, ready to be moved to the page.
pub fn rgba(picture: &Rgb8) -> Uint8ClampedArray {
    let bytes: Vec<u8> = picture
        .data
        .chunks_exact(3)
        .flat_map(|p| [p[0], p[1], p[2], 255])
        .collect();
    Uint8ClampedArray::from(bytes.as_slice())
}
