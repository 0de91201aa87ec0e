//! The page: what the user sees and enters. It computes nothing; the engine lives in a Worker.
//!
//! `state` holds everything that is shown. `client` keeps a Worker alive, `actions` are the requests to
//! it and `events` its answers. What can be computed without a browser is in `view`, `paint`, `probe` and
//! `words`; the rest are the parts of the screen, which `app` lays out.

mod actions;
mod adapter;
mod alike;
mod app;
mod canvas;
mod chips;
mod client;
mod compare;
mod conditions;
mod disclosure;
mod dropped;
mod events;
mod exports;
mod files;
mod gestures;
mod inputs;
mod kept;
mod legend;
mod link;
mod notices;
mod offline;
mod package;
mod paint;
mod panes;
mod probe;
mod probe_panel;
mod reading;
mod stages;
mod state;
mod tour;
mod view;
mod vocabulary;
mod words;

use wasm_bindgen::JsCast as _;

fn main() {
    let Some(root) = leptos::tachys::dom::document().get_element_by_id("app") else {
        leptos::logging::error!("the document has no element #app to show the page in");
        return;
    };
    // What was there only said that the page is loading.
    root.set_inner_html("");
    leptos::mount::mount_to(root.unchecked_into(), app::App).forget();
}
