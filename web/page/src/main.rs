//! The page: what the user sees and enters. It computes nothing; the engine lives in a Worker.
//!
//! `state` holds everything that is shown, `client` speaks to the Worker and replaces it when it
//! fails; `inputs`, `chips`, `panes`, `legend` and `notices` are the parts of the screen, `app` lays
//! them out.

mod app;
mod chips;
mod client;
mod files;
mod inputs;
mod kept;
mod legend;
mod notices;
mod panes;
mod state;
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
