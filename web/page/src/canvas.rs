//! Pictures onto canvases. Each canvas has exactly the picture's pixels; style sheets scale it.

use js_sys::Uint8ClampedArray;
use wasm_bindgen::prelude::*;
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement, ImageData};

/// Makes a picture of RGBA bytes.
///
/// # Errors
/// When the bytes are not `4 * width_px * height_px`, or the browser refuses.
pub fn picture(rgba: &[u8], width_px: u32, height_px: u32) -> Result<ImageData, JsValue> {
    let bytes = Uint8ClampedArray::from(rgba);
    ImageData::new_with_js_u8_clamped_array_and_sh(&bytes, width_px, height_px)
}

/// Draws a picture, making the canvas its size.
pub fn draw(canvas: &HtmlCanvasElement, picture: &ImageData) {
    if (canvas.width(), canvas.height()) != (picture.width(), picture.height()) {
        canvas.set_width(picture.width());
        canvas.set_height(picture.height());
    }
    let context = canvas.get_context("2d").ok().flatten();
    let drawn = context
        .and_then(|context| context.dyn_into::<CanvasRenderingContext2d>().ok())
        .map(|context| context.put_image_data(picture, 0.0, 0.0));
    if !matches!(drawn, Some(Ok(()))) {
        leptos::logging::error!("the browser refuses to draw on a canvas");
    }
}

/// Draws RGBA bytes.
pub fn draw_rgba(canvas: &HtmlCanvasElement, rgba: &[u8], width_px: u32, height_px: u32) {
    match picture(rgba, width_px, height_px) {
        Ok(picture) => draw(canvas, &picture),
        Err(error) => leptos::logging::error!("a picture cannot be made: {error:?}"),
    }
}
