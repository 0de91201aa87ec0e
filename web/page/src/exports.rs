//! Results as files: of the shown pair, and of several pairs in one go.

use leptos::prelude::*;
use mmovseg_protocol::Format;

use crate::actions;
use crate::files::{all, input_of, pairs};
use crate::state::State;

const FORMATS: &[(&str, &str, Format)] = &[
    ("colour", "Colour PNG", Format::ColourPng),
    ("indexed", "Indexed PNG", Format::IndexedPng),
    ("geotiff", "GeoTIFF", Format::GeoTiff),
    ("geojson", "GeoJSON", Format::GeoJson),
    (
        "probabilities",
        "Class probabilities (GeoTIFF)",
        Format::Probabilities,
    ),
    ("entropy", "Entropy (GeoTIFF)", Format::Entropy),
    ("report", "Report (JSON)", Format::Report),
];

/// Buttons for each format.
#[component]
pub fn Exports(state: State) -> impl IntoView {
    view! {
        <p class="fine">"In full size, with the tile's geo-reference where it has one."</p>
            <div class="row">
                {FORMATS
                    .iter()
                    .map(|&(key, name, format)| {
                        view! {
                            <button type="button" data-testid=format!("export-{key}")
                                disabled=move || state.running.get() || !state.outcome.with(|o| o.as_ref().is_some_and(|o| !o.stored))
                                on:click=move |_| actions::export(state, format)>{name}</button>
                        }
                    })
                    .collect_view()}
            </div>
    }
}

/// Files for a batch, the pairs found among them, and the button.
#[component]
pub fn Batch(state: State) -> impl IntoView {
    let take = move |event: leptos::ev::Event| {
        let Some(input) = input_of(&event) else {
            return;
        };
        offer(state, all(input.files()));
        input.set_value("");
    };
    let found = move || {
        state.batch.with(|pairs| {
            pairs
                .iter()
                .map(|(name, rgb, sar)| {
                    view! { <li data-testid="batch-pair">{format!("{name}: {} with {}", rgb.name(), sar.name())}</li> }
                })
                .collect_view()
        })
    };
    let empty = move || state.batch.with(Vec::is_empty);
    view! {
                <p class="fine">
                    "Choose the files of many pairs at once. Two files belong together when their names differ only in "
                    "the words for the sensor, as in a_rgb.tif and a_sar.tif. The results come as one zip."
                </p>
                <label class="field">
                    <span>"Files"</span>
                    <input type="file" multiple=true data-testid="batch-files"
                        accept=".png,.jpg,.jpeg,.tif,.tiff" on:change=take />
                </label>
                <ul class="timings">{found}</ul>
                <button type="button" data-testid="batch-run" disabled=move || empty() || state.running.get()
                    on:click=move |_| actions::run_batch(state)>"Segment all"</button>
    }
}

/// Finds the pairs among files and keeps them for the batch.
pub fn offer(state: State, files: Vec<web_sys::File>) {
    let names: Vec<String> = files.iter().map(web_sys::File::name).collect();
    let (found, left) = pairs(&names);
    let told = if left.is_empty() {
        String::new()
    } else {
        format!(" Without a partner: {}.", left.join(", "))
    };
    state
        .status
        .set(format!("{} pairs found.{told}", found.len()));
    let pairs = found
        .into_iter()
        .filter_map(|(name, rgb, sar)| {
            Some((name, files.get(rgb)?.clone(), files.get(sar)?.clone()))
        })
        .collect();
    state.batch.set(pairs);
}
