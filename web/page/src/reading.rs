//! What was decided on reading the files (bands, stretch, SAR scale, resampling), with a control
//! for each decision. The pictures and the mask follow each change.

use leptos::prelude::*;
use mmovseg_protocol::{Reading, Resolution, SarScale, Stretch};

use crate::actions;
use crate::outlines::OutlineMap;
use crate::state::{Source, State};

const STRETCHES: &[(&str, &str)] = &[
    ("auto", "Automatic"),
    ("percent", "Percentiles"),
    ("range", "Sample values"),
];

const SCALES: &[(&str, &str, SarScale)] = &[
    ("auto", "Automatic", SarScale::Auto),
    ("linear", "Linear", SarScale::Linear),
    ("decibel", "Decibel", SarScale::Decibel),
    ("as-is", "As it is", SarScale::AsIs),
];

const RESOLUTIONS: [(&str, &str, Resolution); 2] = [
    (
        "auto",
        "Resampled to the model's where far from it",
        Resolution::Auto,
    ),
    ("native", "As they are", Resolution::Native),
];

/// What was decided on reading, and a control for each decision; only for files.
#[component]
pub fn ReadingList(state: State) -> impl IntoView {
    let is_file = move || {
        state
            .source
            .with(|source| matches!(source, Some(Source::Files { .. })))
    };
    let stretch_key = move || match state.read_as.get().optical.stretch {
        Stretch::Auto => "auto",
        Stretch::Percentile { .. } => "percent",
        Stretch::Range { .. } => "range",
    };
    let ends = move || match state.read_as.get().optical.stretch {
        Stretch::Auto => None,
        Stretch::Percentile { low, high } | Stretch::Range { low, high } => Some([low, high]),
    };
    let choose_stretch = move |event| {
        let stretch = match event_target_value(&event).as_str() {
            "percent" => Stretch::Percentile {
                low: 2.0,
                high: 98.0,
            },
            "range" => Stretch::Range {
                low: 0.0,
                high: 3000.0,
            },
            _ => Stretch::Auto,
        };
        change(state, |reading| reading.optical.stretch = stretch);
    };
    let set_end = move |index: usize, event: leptos::ev::Event| {
        let Ok(value) = event_target_value(&event).parse::<f32>() else {
            return;
        };
        change(state, |reading| match &mut reading.optical.stretch {
            Stretch::Auto => {}
            Stretch::Percentile { low, high } | Stretch::Range { low, high } => {
                *[low, high][index] = value;
            }
        });
    };
    let choose_scale = move |event| {
        let value = event_target_value(&event);
        if let Some(&(.., scale)) = SCALES.iter().find(|(key, ..)| *key == value) {
            change(state, |reading| reading.sar.scale = scale);
        }
    };
    let choose_resolution = move |event| {
        let value = event_target_value(&event);
        if let Some(&(.., resolution)) = RESOLUTIONS.iter().find(|(key, ..)| *key == value) {
            change(state, |reading| reading.resolution = resolution);
        }
    };
    let band = move |index: usize| {
        let bands = state.read_as.get().optical.bands;
        bands.map_or(String::new(), |bands| (bands[index] + 1).to_string())
    };
    let set_band = move |index: usize, event: leptos::ev::Event| {
        let typed = event_target_value(&event);
        change(state, |reading| match one_based(&typed) {
            Some(band) => {
                let mut bands = reading.optical.bands.unwrap_or([0, 1, 2]);
                bands[index] = band;
                reading.optical.bands = Some(bands);
            }
            None => reading.optical.bands = None,
        });
    };
    let bands = ["Red", "Green", "Blue"]
        .into_iter()
        .enumerate()
        .map(|(index, name)| {
            view! {
                <label class="field">
                    <span>{name}</span>
                    <input type="number" min="1" step="1" placeholder="auto" data-testid=format!("band-{index}")
                        prop:value=move || band(index)
                        on:change=move |event| set_band(index, event) />
                </label>
            }
        })
        .collect_view();
    view! {
        <p class="fine" hidden=is_file>"A generated scene needs no decisions. Open two files to see theirs."</p>
        <Notes state />
        {move || {
            let outlines = state.tiles.get().and_then(|tiles| tiles.outlines);
            outlines.map(|outlines| view! { <OutlineMap outlines /> })
        }}
            <div class="inside" hidden=move || !is_file()>
                <div class="thirds" role="group" aria-label="Bands for red, green and blue">{bands}</div>
                <label class="field">
                    <span>"Optical stretch"</span>
                    <select data-testid="stretch" on:change=choose_stretch>
                        {STRETCHES
                            .iter()
                            .map(|&(key, name)| {
                                view! { <option value=key selected=move || stretch_key() == key>{name}</option> }
                            })
                            .collect_view()}
                    </select>
                </label>
                {move || {
                    ends()
                        .map(|[low, high]| {
                            view! {
                                <div class="thirds">
                                    <label class="field">
                                        <span>"Becomes black"</span>
                                        <input type="number" step="any" data-testid="stretch-low" prop:value=low.to_string()
                                            on:change=move |event| set_end(0, event) />
                                    </label>
                                    <label class="field">
                                        <span>"Becomes white"</span>
                                        <input type="number" step="any" data-testid="stretch-high" prop:value=high.to_string()
                                            on:change=move |event| set_end(1, event) />
                                    </label>
                                </div>
                            }
                        })
                }}
                <div class="thirds">
                    <label class="field">
                        <span>"SAR band"</span>
                        <input type="number" min="1" step="1" placeholder="auto" data-testid="sar-band"
                            prop:value=move || state.read_as.get().sar.polarisation.map_or(String::new(), |b| (b + 1).to_string())
                            on:change=move |event| {
                                let typed = event_target_value(&event);
                                change(state, |reading| reading.sar.polarisation = one_based(&typed));
                            } />
                    </label>
                    <label class="field">
                        <span>"SAR values"</span>
                        <select data-testid="sar-scale" on:change=choose_scale>
                            {SCALES
                                .iter()
                                .map(|&(key, name, scale)| {
                                    view! {
                                        <option value=key selected=move || state.read_as.get().sar.scale == scale>{name}</option>
                                    }
                                })
                                .collect_view()}
                        </select>
                    </label>
                </div>
                <label class="field">
                    <span>"Pixels of a known size"</span>
                    <select data-testid="resolution" on:change=choose_resolution>
                        {RESOLUTIONS
                            .iter()
                            .map(|&(key, name, resolution)| {
                                view! {
                                    <option value=key selected=move || state.read_as.get().resolution == resolution>{name}</option>
                                }
                            })
                            .collect_view()}
                    </select>
                </label>
            </div>
    }
}

/// The sentences that reading gave, and the run on the pixel size that the model saw.
#[component]
fn Notes(state: State) -> impl IntoView {
    move || {
        let mut notes = state
            .tiles
            .get()
            .map(|tiles| tiles.notes)
            .unwrap_or_default();
        state.outcome.with(|outcome| {
            notes.extend(
                outcome
                    .as_ref()
                    .and_then(|outcome| outcome.report.resampled.clone()),
            );
        });
        (!notes.is_empty()).then(|| {
            view! {
                <ul class="notes" data-testid="notes">
                    {notes.into_iter().map(|note| view! { <li>{note}</li> }).collect_view()}
                </ul>
            }
        })
    }
}

/// A band number from 1 on as an index from 0 on.
fn one_based(typed: &str) -> Option<usize> {
    typed.trim().parse::<usize>().ok()?.checked_sub(1)
}

fn change(state: State, by: impl FnOnce(&mut Reading)) {
    let before = state.read_as.get_untracked();
    state.read_as.update(by);
    if state.read_as.get_untracked() != before {
        actions::read_again(state);
    }
}
