//! What the model believes at the cursor.

use leptos::prelude::*;
use mmovseg_raster::palette_for;

use crate::chips::css_colour;
use crate::probe::{self, Reading};
use crate::state::{Outcome, State};
use crate::words::percent;

/// Most classes that are listed.
const MAX_ROWS: usize = 8;

/// The probe: place, probabilities, entropy, margin.
#[component]
pub fn Probe(state: State) -> impl IntoView {
    let look = state.look;
    let reading = move || {
        let [x, y] = look.cursor.get()?;
        let outcome = state.outcome.get()?;
        let reading = probe::read(&outcome.report, &outcome.logits, x, y)?;
        Some(([x, y], outcome, reading))
    };
    // Only what stays is read out: a moving pointer would never stop talking.
    let said = move || {
        let ([x, y], outcome, reading) = look.pinned.get().then(reading).flatten()?;
        let class = outcome.report.classes.get(reading.best)?;
        Some(format!(
            "Column {x}, row {y}: {}, {}.",
            class.name,
            percent(f64::from(reading.probability[reading.best]))
        ))
    };
    view! {
        <section class="card probe" aria-labelledby="probe-title" hidden=move || state.outcome.with(Option::is_none)>
            <h2 id="probe-title">"Probe"</h2>
            <p class="sr-only" role="status">{said}</p>
            {move || match reading() {
                None => {
                    view! {
                        <p class="fine">
                            "Move over a picture to read the model's belief at that pixel; click to pin it. "
                            "With the keyboard: focus a picture, then Shift with the arrows."
                        </p>
                    }
                        .into_any()
                }
                Some((at, outcome, reading)) => {
                    table(at, &outcome, &reading, look.pinned.get()).into_any()
                }
            }}
        </section>
    }
}

fn table(
    [x, y]: [u32; 2],
    outcome: &Outcome,
    reading: &Reading,
    pinned: bool,
) -> impl IntoView + use<> {
    let names: Vec<String> = outcome
        .report
        .classes
        .iter()
        .map(|c| c.name.clone())
        .collect();
    let colours = palette_for(&names);
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by(|&a, &b| reading.probability[b].total_cmp(&reading.probability[a]));
    let rows = order
        .into_iter()
        .take(MAX_ROWS)
        .map(|class| {
            let part = f64::from(reading.probability[class]);
            view! {
                <tr data-class=names[class].clone()>
                    <th scope="row">
                        <span class="swatch" style:background-color=css_colour(colours[class]) aria-hidden="true"></span>
                        {names[class].clone()}
                    </th>
                    <td class="bar"><span style:inline-size=format!("{:.1}%", part * 100.0)></span></td>
                    <td class="number">{percent(part)}</td>
                </tr>
            }
        })
        .collect_view();
    let pin = if pinned { ", pinned" } else { "" };
    view! {
        <p class="fine" data-testid="probe-place" data-best=names[reading.best].clone()>
            {format!("Column {x}, row {y}{pin}")}
        </p>
        <table class="legend" data-testid="probe">
            <tbody>{rows}</tbody>
        </table>
        <dl class="facts">
            <div>
                <dt>"Entropy"</dt>
                <dd data-testid="probe-entropy">{percent(f64::from(reading.entropy))}</dd>
                <dd class="fine">"0 % is certain, 100 % is no idea"</dd>
            </div>
            <div>
                <dt>"Lead of the first over the second"</dt>
                <dd data-testid="probe-margin">{percent(f64::from(reading.margin))}</dd>
            </div>
        </dl>
    }
}
