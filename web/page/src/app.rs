//! The layout: head, inputs, pictures, legend.

use leptos::ev;
use leptos::prelude::*;
use mmovseg_protocol::DeviceChoice;

use crate::alike::Alike;
use crate::chips::Chips;
use crate::compare::Compare;
use crate::conditions::Conditions;
use crate::dropped::{dropped, pasted};
use crate::exports::{Batch, Exports};
use crate::inputs::TileInputs;
use crate::legend::Legend;
use crate::link::CopyLink;
use crate::notices::{Alert, Badges, Notes, RunBar};
use crate::package::Model;
use crate::panes::Panes;
use crate::probe_panel::Probe;
use crate::stages::Stages;
use crate::state::{Package, State};
use crate::tour::Tour;
use crate::vocabulary::Vocabulary;
use crate::{actions, client, link, offline};

/// The whole page.
#[component]
pub fn App() -> impl IntoView {
    let device = client::query("device").unwrap_or_default();
    let package = Package::Url(model_url());
    let state = State::new(DeviceChoice::from_query(&device), package);
    client::start(state);
    link::restore(state);
    actions::follow(state);
    actions::accompany(state);
    link::follow(state);
    offline::keep();
    let paste = window_event_listener(ev::paste, move |event| pasted(state, &event));
    on_cleanup(move || paste.remove());
    view! {
        <div
            class="page"
            on:dragover=move |event| event.prevent_default()
            on:drop=move |event| {
                event.prevent_default();
                dropped(state, &event);
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
                    <Model state />
                    <Batch state />
                </div>
                <div class="results">
                    <Tour state />
                    <RunBar state />
                    <Alert state />
                    <Panes state />
                    <Notes state />
                    <div class="pair">
                        <Legend state />
                        <Probe state />
                    </div>
                    <Exports state />
                    <Compare state />
                    <Stages state />
                    <Alike state />
                    <Vocabulary state />
                    <p><CopyLink state /></p>
                </div>
            </main>
        </div>
    }
}

/// The address of the model's folder: `?model=` names one under `models/`, else it is the default one.
fn model_url() -> String {
    let plain = |name: &String| {
        !name.is_empty()
            && !name.starts_with('.')
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let name = client::query("model")
        .filter(plain)
        .unwrap_or_else(|| "nano".into());
    let path = format!("models/{name}/");
    client::address(&path).unwrap_or(path)
}
