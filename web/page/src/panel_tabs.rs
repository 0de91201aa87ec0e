//! The panels below the pictures as tabs: one open at a time, or none.

use leptos::prelude::*;
use web_sys::KeyboardEvent;

use crate::alike::Alike;
use crate::compare::Compare;
use crate::exports::{Batch, Exports};
use crate::package::Model;
use crate::reading::ReadingList;
use crate::stages::Stages;
use crate::state::{Panel, State};
use crate::vocabulary::Vocabulary;

/// Key in `data-testid`, name, panel.
const TABS: [(&str, &str, Panel); 8] = [
    ("compare", "Compare sensors", Panel::Compare),
    ("stages", "Inside the model", Panel::Stages),
    ("alike", "Similar patches", Panel::Alike),
    ("words", "Compare words", Panel::Words),
    ("save", "Save", Panel::Save),
    ("reading", "How files are read", Panel::Reading),
    ("batch", "Several pairs", Panel::Batch),
    ("model", "Model", Panel::Model),
];

/// Tabs and the open panel.
#[component]
pub fn PanelTabs(state: State) -> impl IntoView {
    let open = state.panels.open;
    let keys = move |event: KeyboardEvent| {
        let count = TABS.len();
        let at = TABS
            .iter()
            .position(|&(.., panel)| open.get_untracked() == Some(panel));
        let to = match (event.key().as_str(), at) {
            ("ArrowRight", at) => at.map_or(0, |at| (at + 1) % count),
            ("ArrowLeft", at) => at.map_or(count - 1, |at| (at + count - 1) % count),
            ("Escape", _) => {
                open.set(None);
                return;
            }
            _ => return,
        };
        event.prevent_default();
        open.set(Some(TABS[to].2));
        focus_tab(TABS[to].0);
    };
    let tabs = TABS
        .into_iter()
        .enumerate()
        .map(|(index, (key, name, panel))| {
            let is_open = move || open.get() == Some(panel);
            // One stop of the Tab key for all: the open tab, else the first.
            let order = move || {
                if is_open() || open.get().is_none() && index == 0 { "0" } else { "-1" }
            };
            let toggle = move |_| {
                let now = (open.get_untracked() != Some(panel)).then_some(panel);
                open.set(now);
            };
            view! {
                <button type="button" role="tab" class="tab" id=format!("tab-{key}") data-testid=format!("tab-{key}")
                    aria-controls="panel" aria-selected=move || is_open().to_string() tabindex=order on:click=toggle>
                    {name}
                </button>
            }
        })
        .collect_view();
    let panel = move || {
        let panel = open.get()?;
        let (key, ..) = TABS.iter().find(|(.., other)| *other == panel)?;
        let content = match panel {
            Panel::Compare => view! { <Compare state /> }.into_any(),
            Panel::Stages => view! { <Stages state /> }.into_any(),
            Panel::Alike => view! { <Alike state /> }.into_any(),
            Panel::Words => view! { <Vocabulary state /> }.into_any(),
            Panel::Save => view! { <Exports state /> }.into_any(),
            Panel::Reading => view! { <ReadingList state /> }.into_any(),
            Panel::Batch => view! { <Batch state /> }.into_any(),
            Panel::Model => view! { <Model state /> }.into_any(),
        };
        Some(view! {
            <div class="card panel" role="tabpanel" id="panel" tabindex="0" aria-labelledby=format!("tab-{key}") data-testid=*key>
                {content}
            </div>
        })
    };
    view! {
        <section class="panels" aria-label="More">
            <div class="tabs" role="tablist" aria-label="Panels" on:keydown=keys>{tabs}</div>
            {panel}
        </section>
    }
}

fn focus_tab(key: &str) {
    let id = format!("tab-{key}");
    request_animation_frame(move || {
        use wasm_bindgen::JsCast as _;
        let tab = document()
            .get_element_by_id(&id)
            .and_then(|tab| tab.dyn_into::<web_sys::HtmlElement>().ok());
        if let Some(tab) = tab {
            // A focus that is refused stays where it was.
            let _focused = tab.focus();
        }
    });
}
