//! Where the pair comes from: files, or a generated scene.

use leptos::ev;
use leptos::prelude::*;
use wasm_bindgen::JsCast as _;
use web_sys::{DragEvent, File, HtmlInputElement};

use crate::actions;
use crate::files::{all, first_is_sar, looks_like_sar};
use crate::reading::ReadingOptions;
use crate::state::{Source, State};
use crate::tour::StartTour;

/// Puts one or two files where they belong: two by their names, one by its name alone.
pub fn take_files(state: State, files: &[File]) {
    match files {
        [one] => choose(state, looks_like_sar(&one.name()), one.clone()),
        [first, second] => {
            let (rgb, sar) = if first_is_sar(&first.name(), &second.name()) {
                (second, first)
            } else {
                (first, second)
            };
            state.rgb_file.set(Some(rgb.clone()));
            choose(state, true, sar.clone());
        }
        _ => {}
    }
}

/// The file input that an event comes from.
pub fn input_of(event: &ev::Event) -> Option<HtmlInputElement> {
    event.target()?.dyn_into().ok()
}

/// Takes one file for its sensor; when both are there, they are read.
fn choose(state: State, is_sar: bool, file: File) {
    let slot = if is_sar {
        state.sar_file
    } else {
        state.rgb_file
    };
    slot.set(Some(file));
    match (
        state.rgb_file.get_untracked(),
        state.sar_file.get_untracked(),
    ) {
        (Some(rgb), Some(sar)) => actions::open_tiles(state, Source::Files { rgb, sar }),
        (None, _) => state
            .status
            .set("Now choose the optical tile of the same ground.".into()),
        (_, None) => state
            .status
            .set("Now choose the SAR tile of the same ground.".into()),
    }
}

/// The two file slots and the button for a generated scene.
#[component]
pub fn TileInputs(state: State) -> impl IntoView {
    let new_scene = move |_| {
        let seed = (js_sys::Math::random() * f64::from(u32::MAX)) as u32;
        open_scene(state, seed);
    };
    let no_files =
        move || state.rgb_file.with(Option::is_none) && state.sar_file.with(Option::is_none);
    let swapped = move || {
        state
            .tiles
            .with(|tiles| tiles.as_ref().is_some_and(|tiles| tiles.looks_swapped))
    };
    view! {
        <section class="card" aria-labelledby="tiles-title">
            <h2 id="tiles-title">"Tiles"</h2>
            <div class="slots">
                <Slot state is_sar=false />
                <Slot state is_sar=true />
            </div>
            <div class="row">
                <button
                    type="button"
                    data-testid="new-scene"
                    disabled=move || state.running.get()
                    on:click=new_scene
                >
                    "New scene"
                </button>
                <StartTour state />
                <button
                    type="button"
                    class="quiet"
                    data-testid="swap"
                    hidden=no_files
                    disabled=move || state.running.get()
                    on:click=move |_| actions::swap(state)
                >
                    "Swap"
                </button>
                <span class="fine">"A scene is a made-up place with known classes. Nothing is uploaded."</span>
            </div>
            <ReadingOptions state />
            {move || {
                swapped()
                    .then(|| {
                        view! {
                            <p class="fine warn" data-testid="looks-swapped">
                                "These look the wrong way round: the optical tile holds grey speckle, the SAR tile does not. "
                                "“Swap” exchanges them."
                            </p>
                        }
                    })
            }}
        </section>
    }
}

/// Shows the generated scene of a seed.
pub fn open_scene(state: State, seed: u32) {
    state.rgb_file.set(None);
    state.sar_file.set(None);
    actions::open_tiles(state, Source::Scene { seed });
}

#[component]
fn Slot(state: State, is_sar: bool) -> impl IntoView {
    let (name, id, file) = if is_sar {
        ("SAR tile", "sar-file", state.sar_file)
    } else {
        ("Optical tile", "rgb-file", state.rgb_file)
    };
    let over = RwSignal::new(false);
    let take = move |mut files: Vec<File>| match files.len() {
        0 => {}
        1 => choose(state, is_sar, files.remove(0)),
        count => state.report(
            "Too many files",
            format!("{count} files were given for one tile."),
            "Choose one file here, or drop both tiles on the pictures.",
        ),
    };
    let on_change = move |event: ev::Event| {
        let Some(input) = input_of(&event) else {
            return;
        };
        take(all(input.files()));
        // So that choosing the same file again, after it changed, is noticed.
        input.set_value("");
    };
    let on_drop = move |event: DragEvent| {
        event.prevent_default();
        over.set(false);
        let files = all(event.data_transfer().and_then(|data| data.files()));
        if files.len() == 1 {
            event.stop_propagation();
            take(files);
        }
    };
    let shown = move || {
        file.with(|file| {
            file.as_ref()
                .map_or("Choose or drop a file".to_owned(), File::name)
        })
    };
    view! {
        <label
            class="slot"
            class:over=over
            on:dragover=move |event| {
                event.prevent_default();
                over.set(true);
            }
            on:dragleave=move |_| over.set(false)
            on:drop=on_drop
        >
            <span class="slot-name">{name}</span>
            <input
                type="file"
                data-testid=id
                aria-label=name
                accept=".png,.jpg,.jpeg,.tif,.tiff,image/png,image/jpeg,image/tiff"
                disabled=move || state.running.get()
                on:change=on_change
            />
            <span class="fine file-name">{shown}</span>
        </label>
    }
}
