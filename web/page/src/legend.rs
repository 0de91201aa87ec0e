//! What the mask's colours mean: share of each class, its score where the truth is known, and whether it
//! is drawn.

use leptos::prelude::*;
use mmovseg_raster::palette_for;

use crate::chips::css_colour;
use crate::state::{Outcome, State};
use crate::words;

/// The legend and the timings of the last run.
#[component]
pub fn Legend(state: State) -> impl IntoView {
    move || state.outcome.get().map(|outcome| table(state, &outcome))
}

fn table(state: State, outcome: &Outcome) -> impl IntoView + use<> {
    let report = &outcome.report;
    let names: Vec<String> = report.classes.iter().map(|c| c.name.clone()).collect();
    let colours = palette_for(&names);
    let known: Vec<f64> = report
        .classes
        .iter()
        .filter_map(|class| class.iou)
        .collect();
    let scored = !known.is_empty();
    let mean = scored.then(|| known.iter().sum::<f64>() / known.len() as f64);
    let rows = report
        .classes
        .iter()
        .zip(colours)
        .enumerate()
        .map(|(index, (class, colour))| {
            let notes = words::class_notes(&names, index)
                .into_iter()
                .map(|note| view! { <span class="note">{note}</span> })
                .collect_view();
            let [r, g, b] = colour;
            let iou = class.iou.map_or_else(|| "–".to_owned(), words::percent);
            let share = format!("{:.2}%", class.share * 100.0);
            let name = class.name.clone();
            let drawn = drawn(state, name.clone(), names.clone());
            view! {
                <tr data-class=name.clone() data-colour=format!("{r},{g},{b}")>
                    <th scope="row">
                        <span class="swatch" style:background-color=css_colour(colour) aria-hidden="true"></span>
                        {name.clone()}
                        {notes}
                    </th>
                    <td class="bar"><span style:inline-size=share></span></td>
                    <td class="number">{words::percent(class.share)}</td>
                    {scored.then(|| view! { <td class="number" data-testid="iou">{iou}</td> })}
                    <td class="number">{drawn}</td>
                </tr>
            }
        })
        .collect_view();
    let timings = report
        .timings
        .iter()
        .map(|timing| {
            view! { <li>{words::stage(&timing.stage).to_owned()} " " <b>{words::milliseconds(timing.ms)}</b></li> }
        })
        .collect_view();
    view! {
        <section class="card" aria-labelledby="legend-title">
            <h2 id="legend-title">"Legend"</h2>
            <div class="scroll">
                <table class="legend" data-testid="legend">
                    <thead>
                        <tr>
                            <th scope="col">"Class"</th>
                            <th scope="col" colspan="2">"Share of pixels"</th>
                            {scored.then(|| view! { <th scope="col">"IoU"</th> })}
                            <th scope="col">"Shown"</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
            {mean
                .map(|mean| {
                    view! { <p class="fine">"Mean IoU against the scene's ground truth: " <b>{words::percent(mean)}</b></p> }
                })}
            <details>
                <summary>"Time by stage"</summary>
                <ul class="timings">{timings}</ul>
            </details>
        </section>
    }
}

/// Whether a class is drawn, and a button to draw it alone.
fn drawn(state: State, name: String, all: Vec<String>) -> impl IntoView {
    let hidden = state.look.hidden;
    let others: Vec<String> = all.into_iter().filter(|other| *other != name).collect();
    let alone = {
        let (name, others) = (name.clone(), others.clone());
        move || {
            hidden.with(|hidden| {
                !hidden.contains(&name) && others.iter().all(|other| hidden.contains(other))
            })
        }
    };
    let solo = {
        let (name, alone) = (name.clone(), alone.clone());
        move |_| {
            let was_alone = untrack(&alone);
            hidden.update(|hidden| {
                hidden.remove(&name);
                for other in &others {
                    if was_alone {
                        hidden.remove(other);
                    } else {
                        hidden.insert(other.clone());
                    }
                }
            });
        }
    };
    let toggle = {
        let name = name.clone();
        move |event| {
            let on = event_target_checked(&event);
            hidden.update(|hidden| {
                if on {
                    hidden.remove(&name);
                } else {
                    hidden.insert(name.clone());
                }
            });
        }
    };
    let is_shown = {
        let name = name.clone();
        move || state.is_shown(&name)
    };
    view! {
        <span class="joined">
            <input
                type="checkbox"
                data-testid="toggle"
                aria-label=format!("Show {name}")
                prop:checked=is_shown
                on:change=toggle
            />
            <button
                type="button"
                class="quiet"
                data-testid="solo"
                aria-label=format!("Show only {name}")
                aria-pressed=move || alone().to_string()
                on:click=solo
            >
                "Only"
            </button>
        </span>
    }
}
