//! The page: what the user sees and enters. It computes nothing; the engine lives in a Worker.
//!
//! Imports go one way, in this order: `state` holds everything that is shown; `client` speaks to a
//! Worker; `engine` starts and replaces it; `actions` are what the user does, as requests; `events`
//! are the engine's answers, moved into the state; the rest are the parts of the screen, which
//! `app` lays out. What needs no browser is in `view`, `paint`, `probe`, `doubt`, `estimate` and
//! `words`.

mod actions;
mod adapter;
mod alike;
mod app;
mod canvas;
mod chips;
mod client;
mod compare;
mod controls;
mod doubt;
mod dropped;
mod engine;
mod estimate;
mod events;
mod exports;
mod files;
mod first_scene;
mod frame;
mod gestures;
mod icons;
mod kept;
mod link;
mod offline;
mod outlines;
mod package;
mod paint;
mod pair;
mod panel_tabs;
mod panes;
mod pointer_probe;
mod probe;
mod reading;
mod stages;
mod state;
mod status;
mod tour;
mod view;
mod view_bar;
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
