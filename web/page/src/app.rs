//! The layout: head, inputs, pictures, legend.

use leptos::prelude::*;
use mmovseg_protocol::DeviceChoice;

use crate::chips::Chips;
use crate::client;
use crate::inputs::{Conditions, TileInputs, drop_files, open_scene};
use crate::kept::Kept;
use crate::legend::Legend;
use crate::notices::{Alert, Badges, Notes, RunBar};
use crate::panes::Panes;
use crate::state::State;

/// The whole page.
#[component]
pub fn App() -> impl IntoView {
    let device = client::query("device").unwrap_or_default();
    let state = State::new(DeviceChoice::from_query(&device));
    client::start(state);
    // A link may name the generated scene to show.
    if let Some(seed) = client::query("scene").and_then(|seed| seed.parse().ok()) {
        open_scene(state, seed);
    }
    view! {
        <div
            class="page"
            on:dragover=move |event| event.prevent_default()
            on:drop=move |event| {
                event.prevent_default();
                drop_files(state, &event);
            }
        >
            <header class="top">
                <div>
                    <h1>"mmovseg"</h1>
                    <p class="lead">
                        "Optical and radar tiles of the same ground, segmented by the words you type. "
                        "Everything runs in your browser."
                    </p>
                </div>
                <Badges state />
            </header>
            <main>
                <div class="inputs">
                    <TileInputs state />
                    <Chips state />
                    <Conditions state />
                    <Kept state />
                </div>
                <div class="results">
                    <RunBar state />
                    <Alert state />
                    <Panes state />
                    <Notes state />
                    <Legend state />
                </div>
            </main>
        </div>
    }
}
