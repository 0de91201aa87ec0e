//! Where the pair comes from and how it is seen: files, generated scenes, cloud, sensors.

use leptos::ev;
use leptos::prelude::*;
use wasm_bindgen::JsCast as _;
use web_sys::{DragEvent, File, HtmlInputElement};

use crate::client;
use crate::files::{all, first_is_sar, looks_like_sar};
use crate::state::{Source, State};
use crate::words::{CLOUDS, MODALITIES};

/// Puts dropped files where they belong: two by their names, one by its name alone.
pub fn drop_files(state: State, event: &DragEvent) {
    let files = all(event.data_transfer().and_then(|data| data.files()));
    match files.as_slice() {
        [] => {}
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
        _ => state.report(
            "Too many files",
            format!("{} files were dropped, and a pair has two.", files.len()),
            "Drop one optical and one SAR tile of the same ground.",
        ),
    }
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
        (Some(rgb), Some(sar)) => client::open_tiles(state, Source::Files { rgb, sar }),
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
                <span class="fine">"A made-up place with known classes. Nothing is uploaded."</span>
            </div>
        </section>
    }
}

/// Shows the generated scene of a seed.
pub fn open_scene(state: State, seed: u32) {
    state.rgb_file.set(None);
    state.sar_file.set(None);
    client::open_tiles(state, Source::Scene { seed });
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
        let Some(input) = event
            .target()
            .and_then(|target| target.dyn_into::<HtmlInputElement>().ok())
        else {
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

/// Sensors and cloud.
#[component]
pub fn Conditions(state: State) -> impl IntoView {
    let choose_cloud = move |event| {
        let value = event_target_value(&event);
        if let Some(&(_, _, kind)) = CLOUDS.iter().find(|(key, ..)| *key == value) {
            state.cloud.update(|cloud| cloud.kind = kind);
            client::set_cloud(state);
        }
    };
    let choose_seed = move |event| {
        // An empty or impossible number leaves the cloud as it is.
        if let Ok(seed) = event_target_value(&event).parse() {
            state.cloud.update(|cloud| cloud.seed = seed);
            client::set_cloud(state);
        }
    };
    view! {
        <section class="card conditions" aria-label="Conditions">
            <fieldset class="segments" data-testid="modality">
                <legend>"Sensors"</legend>
                {MODALITIES
                    .iter()
                    .map(|&(value, name, modality)| {
                        view! {
                            <label>
                                <input
                                    type="radio"
                                    name="modality"
                                    value=value
                                    prop:checked=move || state.modality.get() == modality
                                    on:change=move |_| state.modality.set(modality)
                                />
                                <span>{name}</span>
                            </label>
                        }
                    })
                    .collect_view()}
            </fieldset>
            <label class="field">
                <span>"Cloud over the optical tile"</span>
                <select data-testid="cloud" disabled=move || state.running.get() on:change=choose_cloud>
                    {CLOUDS
                        .iter()
                        .map(|&(value, name, kind)| {
                            view! {
                                <option value=value selected=move || state.cloud.get().kind == kind>
                                    {name}
                                </option>
                            }
                        })
                        .collect_view()}
                </select>
            </label>
            <label class="field">
                <span>"Cloud number"</span>
                <input
                    type="number"
                    min="0"
                    max="4294967295"
                    step="1"
                    data-testid="cloud-seed"
                    disabled=move || state.running.get()
                    prop:value=move || state.cloud.get().seed.to_string()
                    on:change=choose_seed
                />
            </label>
        </section>
    }
}
