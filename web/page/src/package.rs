//! Which model is in use, and opening another: by its address on this server, from a folder, or
//! dropped.

use leptos::html::Input;
use leptos::prelude::*;
use web_sys::File;

use crate::files::{all, input_of};
use crate::kept::Kept;
use crate::state::{Engine, Package, State};
use crate::{actions, client};

/// The file that makes a folder a package.
pub const MANIFEST: &str = "model.json";

/// The card.
#[component]
pub fn Model(state: State) -> impl IntoView {
    let field = NodeRef::<Input>::new();
    let open_url = move || {
        let Some(typed) = field.get_untracked().map(|field| field.value()) else {
            return;
        };
        match folder_address(&typed) {
            Ok(url) => actions::open_package(state, Package::Url(url)),
            Err(why) => state.report(
                "This address cannot be opened",
                why,
                "Give the address of a package's folder on this server, such as models/nano/, or open a folder from this device.",
            ),
        }
    };
    let take = move |event: leptos::ev::Event| {
        let Some(input) = input_of(&event) else {
            return;
        };
        open_files(state, all(input.files()));
        input.set_value("");
    };
    let name = move || match state.engine.get() {
        Engine::Ready(opened) => opened.model,
        Engine::Starting => "loading…".into(),
        Engine::Stopped => "none".into(),
    };
    let about = move || match state.engine.get() {
        Engine::Ready(opened) => {
            let grown = opened.memory_bytes - opened.memory_before_bytes.min(opened.memory_bytes);
            Some(view! {
                <p class="fine" data-testid="memory"
                    data-grown=grown.to_string()
                    data-largest-shard=opened.largest_shard_bytes.to_string()>
                    {format!(
                        "Loading took {} of memory beside {} for the program.",
                        crate::words::bytes(grown),
                        crate::words::bytes(opened.memory_before_bytes),
                    )}
                </p>
            })
        }
        Engine::Starting | Engine::Stopped => None,
    };
    view! {
        <p>"Model: " <b data-testid="model-name">{name}</b></p>
                {about}
                <Kept state />
                <form
                    class="row"
                    on:submit=move |event| {
                        event.prevent_default();
                        open_url();
                    }
                >
                    <label class="grow field">
                        <span>"Address of a package on this server"</span>
                        <input type="text" node_ref=field data-testid="model-url" placeholder="models/nano/" autocomplete="off" />
                    </label>
                    <button type="submit" data-testid="model-load">"Load"</button>
                </form>
                <label class="field">
                    <span>"Folder of a package on this device"</span>
                    <input type="file" multiple=true prop:webkitdirectory=true data-testid="model-folder" on:change=take />
                </label>
                <p class="fine">"Or drop the folder, or its files, on the page. Every file is checked against its hash."</p>
    }
}

/// Opens a package from files of the user's.
pub fn open_files(state: State, files: Vec<File>) {
    if files.is_empty() {
        return;
    }
    if files.iter().any(|file| file.name() == MANIFEST) {
        actions::open_package(state, Package::Files(files));
    } else {
        state.report(
            "This is no model package",
            format!("There is no {MANIFEST} among the {} files.", files.len()),
            "Choose the folder that `mmovseg convert` wrote.",
        );
    }
}

/// The absolute address of a folder on this server.
fn folder_address(typed: &str) -> Result<String, String> {
    let typed = typed.trim().trim_end_matches(MANIFEST);
    if typed.is_empty() {
        return Err("The address is empty.".into());
    }
    let with_slash = format!("{}/", typed.trim_end_matches('/'));
    let url = client::address(&with_slash).map_err(|error| client::describe(&error))?;
    let origin = window().location().origin().unwrap_or_default();
    if url.starts_with(&format!("{origin}/")) {
        Ok(url)
    } else {
        Err(format!(
            "{url} is on another server, and this page asks none but its own."
        ))
    }
}
