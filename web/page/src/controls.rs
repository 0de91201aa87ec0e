//! What the pair is and how it is seen: a generated scene or two files, the sensors, the cloud.

use leptos::ev;
use leptos::prelude::*;
use mmovseg_protocol::Cloud;
use web_sys::{DragEvent, File};

use crate::actions;
use crate::files::{all, input_of};
use crate::icons::{Icon, icon};
use crate::pair::choose;
use crate::state::State;
use crate::words::{CLOUDS, MODALITIES};

/// One row below the pictures.
#[component]
pub fn Controls(state: State) -> impl IntoView {
    view! {
        <section class="controls" aria-label="Tiles, sensors and cloud">
            <Tiles state />
            <Sensors state />
            <Clouds state />
        </section>
        {move || {
            let swapped = state
                .tiles
                .with(|tiles| tiles.as_ref().is_some_and(|tiles| tiles.looks_swapped));
            swapped
                .then(|| {
                    view! {
                        <p class="fine warn" data-testid="looks-swapped">
                            "The two tiles look exchanged: the optical one holds grey speckle, the SAR one does not. “Swap” exchanges them."
                        </p>
                    }
                })
        }}
    }
}

#[component]
fn Tiles(state: State) -> impl IntoView {
    let new_scene = move |_| {
        let seed = (js_sys::Math::random() * f64::from(u32::MAX)) as u32;
        actions::open_scene(state, seed);
    };
    let no_files =
        move || state.rgb_file.with(Option::is_none) && state.sar_file.with(Option::is_none);
    view! {
        <div class="group" role="group" aria-label="Tiles">
            <button
                type="button"
                data-testid="new-scene"
                title="A made-up place with known classes"
                on:click=new_scene
            >
                {icon(Icon::Dice)}
                "New scene"
            </button>
            <Slot state is_sar=false />
            <Slot state is_sar=true />
            <button
                type="button"
                class="quiet"
                data-testid="swap"
                hidden=no_files
                title="Exchange the optical and the SAR tile"
                on:click=move |_| actions::swap(state)
            >
                {icon(Icon::Swap)}
                "Swap"
            </button>
        </div>
    }
}

/// A button that takes one file, by picker or by drop.
#[component]
fn Slot(state: State, is_sar: bool) -> impl IntoView {
    let (name, short, id, file) = if is_sar {
        ("SAR tile", "SAR file", "sar-file", state.sar_file)
    } else {
        ("Optical tile", "Optical file", "rgb-file", state.rgb_file)
    };
    let over = RwSignal::new(false);
    let take = move |mut files: Vec<File>| match files.len() {
        0 => {}
        1 => choose(state, is_sar, files.remove(0)),
        count => state.report(
            "Too many files",
            format!("{count} files were given for one tile."),
            "Choose one file here, or drop both tiles on the page.",
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
    let shown = move || file.with(|file| file.as_ref().map_or(short.to_owned(), File::name));
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
            <input
                type="file"
                data-testid=id
                aria-label=name
                accept=".png,.jpg,.jpeg,.tif,.tiff,image/png,image/jpeg,image/tiff"
                on:change=on_change
            />
            {icon(Icon::File)}
            <span class="file-name">{shown}</span>
        </label>
    }
}

#[component]
fn Sensors(state: State) -> impl IntoView {
    view! {
        <fieldset class="segments" data-testid="modality">
            <legend class="sr-only">"Sensors"</legend>
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
    }
}

#[component]
fn Clouds(state: State) -> impl IntoView {
    let presets = CLOUDS
        .iter()
        .map(|&(value, name, opacity, cover)| {
            let chosen = move || {
                let cloud = state.cloud.get();
                is(cloud.opacity, opacity) && (opacity == 0.0 || is(cloud.cover, cover))
            };
            let set = move |_| {
                change(state, |cloud| {
                    cloud.opacity = opacity;
                    cloud.cover = cover;
                });
            };
            view! {
                <button type="button" data-testid=format!("cloud-{value}")
                    aria-pressed=move || chosen().to_string() on:click=set>{name}</button>
            }
        })
        .collect_view();
    view! {
        <div class="group clouds" role="group" aria-label="Cloud over the optical tile">
            <span class="label" aria-hidden="true">"Cloud"</span>
            <div class="joined">{presets}</div>
            <Slider state name="Opacity" id="cloud-opacity"
                get=|cloud| cloud.opacity set=|cloud, value| cloud.opacity = value />
            <details class="more" data-testid="cloud-more">
                <summary title="Cover and shape of the cloud">"More"</summary>
                <div class="popover">
                    <Slider state name="Cover" id="cloud-cover"
                        get=|cloud| cloud.cover set=|cloud, value| cloud.cover = value />
                    <label class="slider">
                        <span>"Seed"</span>
                        <input
                            type="number"
                            min="0"
                            max="4294967295"
                            step="1"
                            data-testid="cloud-seed"
                            prop:value=move || state.cloud.get().seed.to_string()
                            on:change=move |event| {
                                // An empty or impossible number leaves the cloud as it is.
                                if let Ok(seed) = event_target_value(&event).parse() {
                                    change(state, |cloud| cloud.seed = seed);
                                }
                            }
                        />
                    </label>
                    <button
                        type="button"
                        data-testid="cloud-other"
                        disabled=move || !state.cloud.get().is_visible()
                        on:click=move |_| change(state, |cloud| cloud.seed = cloud.seed.wrapping_add(1))
                    >
                        "Another cloud"
                    </button>
                </div>
            </details>
        </div>
    }
}

fn is(a: f32, b: f32) -> bool {
    (a - b).abs() < 0.005
}

fn change(state: State, by: impl FnOnce(&mut Cloud)) {
    state.cloud.update(by);
    actions::change_cloud(state);
}

/// A part of 1, in percent.
#[component]
fn Slider(
    state: State,
    name: &'static str,
    id: &'static str,
    get: fn(&Cloud) -> f32,
    set: fn(&mut Cloud, f32),
) -> impl IntoView {
    let percent = move || (state.cloud.with(get) * 100.0).round();
    view! {
        <label class="slider">
            <span>{name}</span>
            <input
                type="range"
                min="0"
                max="100"
                step="1"
                data-testid=id
                prop:value=move || percent().to_string()
                aria-valuetext=move || format!("{} percent", percent())
                on:input=move |event| {
                    if let Ok(value) = event_target_value(&event).parse::<f32>() {
                        change(state, |cloud| set(cloud, (value / 100.0).clamp(0.0, 1.0)));
                    }
                }
            />
            <output class="number">{move || format!("{} %", percent())}</output>
        </label>
    }
}
