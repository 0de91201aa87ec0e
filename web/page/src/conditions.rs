//! How the pair is seen: which sensors, and what cloud.

use leptos::prelude::*;
use mmovseg_protocol::Cloud;

use crate::actions;
use crate::state::State;
use crate::words::{CLOUDS, MODALITIES};

/// Sensors and cloud.
#[component]
pub fn Conditions(state: State) -> impl IntoView {
    view! {
        <section class="card conditions" aria-labelledby="conditions-title">
            <h2 id="conditions-title">"Sensors and cloud"</h2>
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
            <div class="field" role="group" aria-labelledby="cloud-title">
                <span id="cloud-title">"Cloud over the optical tile"</span>
                <div class="presets">
                    {CLOUDS
                        .iter()
                        .map(|&(value, name, opacity, cover)| {
                            let chosen = move || {
                                let cloud = state.cloud.get();
                                is(cloud.opacity, opacity) && (opacity == 0.0 || is(cloud.cover, cover))
                            };
                            view! {
                                <button
                                    type="button"
                                    class="quiet"
                                    data-testid=format!("cloud-{value}")
                                    aria-pressed=move || chosen().to_string()
                                    on:click=move |_| change(state, |cloud| {
                                        cloud.opacity = opacity;
                                        cloud.cover = cover;
                                    })
                                >
                                    {name}
                                </button>
                            }
                        })
                        .collect_view()}
                    <button
                        type="button"
                        class="quiet"
                        data-testid="cloud-other"
                        disabled=move || !state.cloud.get().is_visible()
                        on:click=move |_| change(state, |cloud| cloud.seed = cloud.seed.wrapping_add(1))
                    >
                        "Another"
                    </button>
                </div>
                <Slider state name="Opacity" id="cloud-opacity"
                    get=|cloud| cloud.opacity set=|cloud, value| cloud.opacity = value />
                <Slider state name="Cover" id="cloud-cover"
                    get=|cloud| cloud.cover set=|cloud, value| cloud.cover = value />
                <label class="slider">
                    <span>"Number"</span>
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
            </div>
        </section>
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
