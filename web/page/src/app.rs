//! The layout: head, pictures, the controls that change them, panels.

use leptos::ev;
use leptos::prelude::*;

use crate::chips::Chips;
use crate::controls::Controls;
use crate::dropped::{dropped, pasted};
use crate::link::CopyLink;
use crate::panel_tabs::PanelTabs;
use crate::panes::{Panes, doubt_of};
use crate::state::{Package, Source, State};
use crate::status::{Alert, Badges, StatusBar};
use crate::tour::{StartTour, Tour};
use crate::view_bar::ViewBar;
use crate::{actions, client, engine, events, first_scene, link, offline};

/// The whole page.
#[component]
pub fn App() -> impl IntoView {
    let package = Package::Url(model_url());
    let state = State::new(link::device(), package);
    engine::listen(state, events::take);
    link::restore(state);
    engine::start(state);
    first_scene::show(state);
    actions::follow(state);
    actions::accompany(state);
    link::follow(state);
    offline::register();
    let doubt = doubt_of(state);
    let paste = window_event_listener(ev::paste, move |event| pasted(state, &event));
    on_cleanup(move || paste.remove());
    view! {
        <div
            class="page"
            data-testid="page"
            data-busy=move || state.is_busy().to_string()
            data-reading=move || state.reading.get().to_string()
            data-current=move || state.is_current().to_string()
            data-origin=move || match state.source.get() {
                Some(Source::Scene { seed }) => format!("scene {seed}"),
                Some(Source::Files { .. }) => "files".to_owned(),
                None => "none".to_owned(),
            }
            on:dragover=move |event| event.prevent_default()
            on:drop=move |event| {
                event.prevent_default();
                dropped(state, &event);
            }
        >
            <header class="top">
                <h1>"mmovseg"</h1>
                <p class="lead">
                    "Optical and radar tiles, segmented by the words you type. Everything runs in your browser."
                </p>
                <div class="top-actions">
                    <StartTour state />
                    <CopyLink state />
                    <Badges state />
                </div>
            </header>
            <main>
                <StatusBar state />
                <Alert state />
                <Tour state />
                <Panes state doubt />
                <Chips state />
                <Controls state />
                <ViewBar state doubt />
                <PanelTabs state />
            </main>
        </div>
    }
}

/// The address of the model's folder: `?model=` names one under `models/`, else it is the default
/// one.
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
