//! The page's address holds its state, so that a link gives it back: model, device, classes, scene,
//! cloud, sensors, window.

use std::cell::Cell;

use gloo_timers::callback::Timeout;
use leptos::prelude::*;
use mmovseg_protocol::{Cloud, DeviceChoice, MAX_CLASSES};
use mmovseg_raster::Preset;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::UrlSearchParams;

use crate::client::query;
use crate::icons::{Icon, icon};
use crate::state::{FIRST_SEED, Source, State};
use crate::tour;
use crate::view::View;
use crate::words::MODALITIES;

/// How long the state must rest before the address follows, in milliseconds.
const REST_MS: u32 = 300;

thread_local! {
    static SOON: Cell<Option<Timeout>> = const { Cell::new(None) };
}

/// The device that the page's address asks for. Without one, or with an unknown one, the fastest.
pub fn device() -> DeviceChoice {
    match query("device").as_deref() {
        Some("gpu") => DeviceChoice::Gpu,
        Some("cpu") => DeviceChoice::Cpu,
        _ => DeviceChoice::Auto,
    }
}

/// Takes the state from the page's address. What is missing or odd there stays as it is.
pub fn restore(state: State) {
    if let Some(text) = query("classes") {
        let names = classes(&text);
        if !names.is_empty() {
            state.classes.set(names);
        }
    } else if let Some(preset) = query("preset").as_deref().and_then(Preset::by_id) {
        state.classes.set(preset.prompts());
    }
    let wanted = query("modality");
    if let Some(&(.., modality)) = MODALITIES
        .iter()
        .find(|(key, ..)| Some(*key) == wanted.as_deref())
    {
        state.modality.set(modality);
    }
    if let Some(cloud) = query("cloud").as_deref().and_then(cloud) {
        state.cloud.set(cloud);
    }
    let seed = query("scene").and_then(|seed| seed.parse().ok());
    state.source.set(Some(Source::Scene {
        seed: seed.unwrap_or(FIRST_SEED),
    }));
    if let Some(pixel) = query("pixel").as_deref().and_then(pixel) {
        state.look.cursor.set(Some(pixel));
        state.look.pinned.set(true);
    }
    if let Some(word) = query("word") {
        state.panels.class.set(Some(word));
    }
    if let Some(step) = query("tour").as_deref().and_then(tour::from_address) {
        state.tour.set(Some(step));
    }
    if let Some(view) = query("view").as_deref().and_then(view) {
        state.look.view.set(view);
    }
}

/// Keeps the address in step with the state.
pub fn follow(state: State) {
    Effect::new(move |before: Option<()>| {
        state.classes.track();
        state.modality.track();
        state.cloud.track();
        state.look.view.track();
        state.source.track();
        state.tour.track();
        state.look.pinned.track();
        state.look.cursor.track();
        state.panels.class.track();
        if before.is_some() {
            SOON.set(Some(Timeout::new(REST_MS, move || {
                // A page without a history, as in some frames, keeps its address.
                let _kept = write(state);
            })));
        }
    });
}

fn write(state: State) -> Result<(), JsValue> {
    let location = window().location();
    let params = UrlSearchParams::new_with_str(&location.search()?)?;
    let names = state.classes.get_untracked();
    params.delete("preset");
    params.delete("classes");
    match Preset::of(&names) {
        Some(preset) => params.set("preset", preset.id),
        None => params.set("classes", &names.join(",")),
    }
    params.set("modality", state.modality.get_untracked().name());
    let sky = state.cloud.get_untracked();
    if sky.is_visible() {
        params.set(
            "cloud",
            &format!("{:.2},{:.2},{}", sky.opacity, sky.cover, sky.seed),
        );
    } else {
        params.delete("cloud");
    }
    match state.source.get_untracked() {
        Some(Source::Scene { seed }) => params.set("scene", &seed.to_string()),
        _ => params.delete("scene"),
    }
    // For teachers: the step, the pixel and the word.
    match state.tour.get_untracked() {
        Some(step) => {
            params.set("tour", &(step + 1).to_string());
            match state.panels.class.get_untracked() {
                Some(word) => params.set("word", &word),
                None => params.delete("word"),
            }
        }
        None => {
            params.delete("tour");
            params.delete("word");
        }
    }
    let pinned = state.look.pinned.get_untracked();
    match state.look.cursor.get_untracked().filter(|_| pinned) {
        Some([x, y]) => params.set("pixel", &format!("{x},{y}")),
        None => params.delete("pixel"),
    }
    let seen = state.look.view.get_untracked();
    if seen == View::WHOLE {
        params.delete("view");
    } else {
        params.set(
            "view",
            &format!("{:.6},{:.8},{:.8}", seen.zoom, seen.left, seen.top),
        );
    }
    let address = format!("?{}", String::from(params.to_string()));
    window()
        .history()?
        .replace_state_with_url(&JsValue::NULL, "", Some(&address))
}

/// Copies the address.
#[component]
pub fn CopyLink(state: State) -> impl IntoView {
    let copy = move |_| {
        spawn_local(async move {
            let copied = async {
                write(state)?;
                let address = window().location().href()?;
                JsFuture::from(window().navigator().clipboard().write_text(&address)).await
            };
            state.status.set(match copied.await {
                Ok(_) => "The link is copied; it brings back this view.".into(),
                Err(_) => "The browser does not copy; the page's address is the link.".into(),
            });
        });
    };
    view! { <button type="button" class="quiet" data-testid="copy-link" title="Copy a link to this view" on:click=copy>{icon(Icon::Link)}"Link"</button> }
}

/// Names separated by commas, without empty ones and doubles.
fn classes(text: &str) -> Vec<String> {
    let mut names = crate::words::new_classes(text, &[]);
    names.truncate(MAX_CLASSES);
    names
}

/// Column and row.
fn pixel(text: &str) -> Option<[u32; 2]> {
    let (x, y) = text.split_once(',')?;
    Some([x.parse().ok()?, y.parse().ok()?])
}

/// Opacity, cover, seed.
fn cloud(text: &str) -> Option<Cloud> {
    let mut parts = text.split(',');
    let mut part = || {
        let value: f32 = parts.next()?.parse().ok()?;
        (0.0..=1.0).contains(&value).then_some(value)
    };
    let (opacity, cover) = (part()?, part()?);
    let seed = parts.next()?.parse().ok()?;
    Some(Cloud {
        opacity,
        cover,
        seed,
    })
}

/// Enlargement, left, top.
fn view(text: &str) -> Option<View> {
    let mut parts = text.split(',').map(str::parse::<f64>);
    let mut part = || parts.next()?.ok();
    let view = View {
        zoom: part()?,
        left: part()?,
        top: part()?,
    };
    Some(view.inside())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_addresses_change_nothing_or_are_brought_inside() {
        assert_eq!(cloud("0.5,0.7"), None);
        assert_eq!(cloud("2,0.7,1"), None);
        assert_eq!(cloud("NaN,0.7,1"), None);
        assert_eq!(
            cloud("0.50,0.70,9"),
            Some(Cloud {
                opacity: 0.5,
                cover: 0.7,
                seed: 9
            })
        );
        assert_eq!(view("4,0.9"), None);
        let inside = view("4,0.9,-1").unwrap_or(View::WHOLE);
        assert!((inside.left - 0.75).abs() < 1e-9 && inside.top.abs() < 1e-9);
        assert_eq!(classes("water,,Water, rice field"), ["water", "rice field"]);
    }
}
