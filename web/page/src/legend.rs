//! What the mask's colours mean: share of each class, and its score where the truth is known.

use leptos::prelude::*;
use mmovseg_raster::palette_for;

use crate::chips::css_colour;
use crate::state::{Outcome, State};
use crate::words;

/// The legend and the timings of the last run.
#[component]
pub fn Legend(state: State) -> impl IntoView {
    move || state.outcome.get().map(|outcome| table(&outcome))
}

fn table(outcome: &Outcome) -> impl IntoView + use<> {
    let report = &outcome.report;
    let names: Vec<String> = report.classes.iter().map(|c| c.name.clone()).collect();
    let colours = palette_for(&names);
    let scored = report.classes.iter().any(|class| class.iou.is_some());
    let known: Vec<f64> = report
        .classes
        .iter()
        .filter_map(|class| class.iou)
        .collect();
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
            view! {
                <tr data-class=class.name.clone() data-colour=format!("{r},{g},{b}")>
                    <th scope="row">
                        <span class="swatch" style:background-color=css_colour(colour) aria-hidden="true"></span>
                        {class.name.clone()}
                        {notes}
                    </th>
                    <td class="bar"><span style:inline-size=share></span></td>
                    <td class="number">{words::percent(class.share)}</td>
                    {scored.then(|| view! { <td class="number" data-testid="iou">{iou}</td> })}
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
            <table class="legend" data-testid="legend">
                <thead>
                    <tr>
                        <th scope="col">"Class"</th>
                        <th scope="col" colspan="2">"Share of pixels"</th>
                        {scored.then(|| view! { <th scope="col">"IoU"</th> })}
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
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
