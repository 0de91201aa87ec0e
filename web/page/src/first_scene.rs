//! The scene that the page opens with, as stored with the page: pictures, mask and stages that the
//! default model computed when the files were made (`tests/browser/src/bin/first_scene.rs`). They
//! are shown, and labelled as stored, until the model has computed its own.

use std::sync::Arc;

use js_sys::Reflect;
use leptos::prelude::*;
use mmovseg_protocol::{Modality, Segmented, Tiles};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement, HtmlImageElement, ImageData, Response};

use crate::client::{address, describe, query};
use crate::state::{Explanation, FIRST_SEED, Maps, Outcome, Panel, Source, State};

/// `first/scene.json`.
#[derive(Deserialize)]
struct StoredScene {
    tiles: Tiles,
    segmented: Segmented,
    named_colours: Vec<(String, [u8; 3])>,
    /// Labels `[height_px, width_px]` as pairs of a label and the number of pixels in a row that
    /// have it.
    label_runs: Vec<(u8, u32)>,
}

/// `first/stages.json`.
#[derive(Deserialize)]
struct StoredStages {
    classes: Vec<String>,
    stages: Vec<StoredMaps>,
}

/// One stage, its numbers in 256 steps.
#[derive(Deserialize)]
struct StoredMaps {
    name: String,
    side_px: [u32; 2],
    low: f32,
    high: f32,
    values: Vec<u8>,
}

/// Shows the stored scene if the page opens with it as it is.
pub fn show(state: State) {
    let is_first = matches!(
        state.source.get_untracked(),
        Some(Source::Scene { seed: FIRST_SEED })
    );
    // The files are of the default model.
    let is_default = query("model").is_none_or(|name| name == "nano");
    let is_plain = is_first
        && is_default
        && !state.cloud.get_untracked().is_visible()
        && state.modality.get_untracked() == Modality::Fused;
    if !is_plain {
        return;
    }
    spawn_local(async move {
        // The page works without it, and there may be none.
        if let Err(error) = show_scene(state).await {
            leptos::logging::warn!("the stored scene is not shown: {}", describe(&error));
        }
    });
    // The stages only when somebody looks before the model is there.
    Effect::new(move |asked: Option<bool>| {
        let wanted = (state.panels.is_open(Panel::Stages) || state.tour.get().is_some())
            && state
                .outcome
                .with(|outcome| outcome.as_ref().is_some_and(|outcome| outcome.stored));
        if wanted && asked != Some(true) {
            spawn_local(async move {
                if let Err(error) = show_stages(state).await {
                    leptos::logging::warn!("the stored stages are not shown: {}", describe(&error));
                }
            });
        }
        wanted || asked == Some(true)
    });
}

async fn show_scene(state: State) -> Result<(), JsValue> {
    let stored: StoredScene = json("first/scene.json").await?;
    let rgb = picture("first/optical.jpg").await?;
    let sar = picture("first/sar.jpg").await?;
    let names: Vec<String> = stored
        .segmented
        .classes
        .iter()
        .map(|class| class.name.clone())
        .collect();
    let is_late = state.tiles.with_untracked(Option::is_some)
        || state.outcome.with_untracked(Option::is_some);
    let is_changed = state.classes.with_untracked(|classes| {
        *classes != names && state.suggested.with_value(|suggested| classes != suggested)
    });
    let is_other = !matches!(
        state.source.get_untracked(),
        Some(Source::Scene { seed: FIRST_SEED })
    );
    if is_late || is_changed || is_other {
        return Ok(());
    }
    state.take_package_classes(&names, stored.named_colours);
    state.rgb.set(Some(rgb));
    state.sar.set(Some(sar));
    let labels = stored
        .label_runs
        .into_iter()
        .flat_map(|(label, count)| std::iter::repeat_n(label, count as usize))
        .collect();
    state.tiles.set(Some(stored.tiles));
    state.outcome.set(Some(Outcome {
        report: stored.segmented,
        labels: Arc::new(labels),
        logits: Arc::default(),
        stored: true,
    }));
    Ok(())
}

async fn show_stages(state: State) -> Result<(), JsValue> {
    let stored: StoredStages = json("first/stages.json").await?;
    if state.panels.explained.with_untracked(Option::is_some) {
        return Ok(());
    }
    let stages = stored
        .stages
        .into_iter()
        .map(|stage| {
            let step = (stage.high - stage.low) / 255.0;
            let values = stage
                .values
                .iter()
                .map(|&v| stage.low + step * f32::from(v));
            Maps {
                name: stage.name,
                side_px: stage.side_px,
                values: Arc::new(values.collect()),
            }
        })
        .collect();
    state.panels.explained.set(Some(Explanation {
        classes: stored.classes,
        stages,
    }));
    Ok(())
}

/// A JSON file of the page's.
async fn json<T: DeserializeOwned>(path: &str) -> Result<T, JsValue> {
    let asked = window().fetch_with_str(&address(path)?);
    let response: Response = JsFuture::from(asked).await?.dyn_into()?;
    if !response.ok() {
        return Err(format!("the server answers {} for {path}", response.status()).into());
    }
    let value = JsFuture::from(response.json()?).await?;
    Ok(serde_wasm_bindgen::from_value(value)?)
}

/// A picture file of the page's, decoded.
async fn picture(path: &str) -> Result<ImageData, JsValue> {
    let image = HtmlImageElement::new()?;
    image.set_src(&address(path)?);
    JsFuture::from(image.decode()).await?;
    let (width, height) = (image.natural_width(), image.natural_height());
    let canvas: HtmlCanvasElement = document().create_element("canvas")?.dyn_into()?;
    canvas.set_width(width);
    canvas.set_height(height);
    let options = js_sys::Object::new();
    Reflect::set(&options, &"willReadFrequently".into(), &true.into())?;
    let context: CanvasRenderingContext2d = canvas
        .get_context_with_context_options("2d", &options)?
        .ok_or("no 2D canvas")?
        .dyn_into()?;
    context.draw_image_with_html_image_element(&image, 0.0, 0.0)?;
    context.get_image_data(0.0, 0.0, f64::from(width), f64::from(height))
}
