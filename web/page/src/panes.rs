//! The three pictures. Each canvas has exactly the tile's pixels; style sheets scale it.

use leptos::html::Canvas;
use leptos::prelude::*;
use wasm_bindgen::JsCast as _;
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement, ImageData};

use crate::state::State;
use crate::words;

/// Optical, SAR and mask side by side.
#[component]
pub fn Panes(state: State) -> impl IntoView {
    let mask = Signal::derive_local(move || state.outcome.get().map(|outcome| outcome.mask));
    let mask_hint = Signal::derive(move || {
        if state.running.get() {
            "Working…"
        } else {
            "Press Run to see the mask"
        }
        .to_owned()
    });
    let mask_title = Signal::derive(move || match state.outcome.get() {
        Some(outcome) => format!(
            "Mask, {}",
            words::modality(outcome.report.modality).to_lowercase()
        ),
        None => "Mask".to_owned(),
    });
    let fixed = |text: &'static str| Signal::derive(move || text.to_owned());
    view! {
        <section class="panes" aria-label="Pictures">
            <Pane id="rgb-canvas" title=fixed("Optical") hint=fixed("No optical tile yet")
                picture=state.rgb.into() />
            <Pane id="sar-canvas" title=fixed("SAR") hint=fixed("No SAR tile yet")
                picture=state.sar.into() />
            <Pane id="mask-canvas" title=mask_title hint=mask_hint picture=mask />
        </section>
    }
}

#[component]
fn Pane(
    /// Also the canvas's `data-testid`.
    id: &'static str,
    /// Caption.
    title: Signal<String>,
    /// Shown while there is no picture.
    hint: Signal<String>,
    /// What to draw.
    picture: Signal<Option<ImageData>, LocalStorage>,
) -> impl IntoView {
    let canvas = NodeRef::<Canvas>::new();
    Effect::new(move || {
        if let (Some(canvas), Some(picture)) = (canvas.get(), picture.get()) {
            draw(&canvas, &picture);
        }
    });
    let empty = move || picture.with(Option::is_none);
    view! {
        <figure class="pane">
            <figcaption id=format!("{id}-title")>{title}</figcaption>
            <div class="frame">
                <canvas
                    node_ref=canvas
                    data-testid=id
                    role="img"
                    aria-labelledby=format!("{id}-title")
                    data-ready=move || (!empty()).to_string()
                    hidden=empty
                    width="1"
                    height="1"
                ></canvas>
                <Show when=empty>
                    <p class="hint">{hint}</p>
                </Show>
            </div>
        </figure>
    }
}

fn draw(canvas: &HtmlCanvasElement, picture: &ImageData) {
    canvas.set_width(picture.width());
    canvas.set_height(picture.height());
    let context = canvas.get_context("2d").ok().flatten();
    let drawn = context
        .and_then(|context| context.dyn_into::<CanvasRenderingContext2d>().ok())
        .map(|context| context.put_image_data(picture, 0.0, 0.0));
    if !matches!(drawn, Some(Ok(()))) {
        leptos::logging::error!("the browser refuses to draw on a canvas");
    }
}
