//! What the model says of the pixel under the cursor, beside it in the frame that the pointer is
//! in.

use leptos::prelude::*;

use crate::probe::{self, Reading};
use crate::state::{Outcome, State};
use crate::words::{css_colour, percent};

/// Most classes that are listed.
const MAX_ROWS: usize = 4;

/// The numbers at the cursor: class probabilities, entropy, margin.
#[component]
pub fn PointerProbe(
    state: State,
    /// The frame that this is in.
    id: &'static str,
    /// The cursor's position in the frame, 0 to 1.
    at: [f64; 2],
) -> impl IntoView {
    let look = state.look;
    let reading = move || {
        if look.probed.get() != id {
            return None;
        }
        let [x, y] = look.cursor.get()?;
        let outcome = state.outcome.get()?;
        let reading = probe::read(&outcome.report, &outcome.logits, x, y)?;
        Some(table(state, [x, y], &outcome, &reading))
    };
    // Beside the cursor on the side where the window has more space; over the next picture it may
    // lie.
    let turn = match id {
        "rgb-frame" => 0.7,
        "mask-frame" => 0.35,
        _ => 0.5,
    };
    let (is_right, is_low) = (at[0] > turn, at[1] > 0.5);
    let left = format!("{:.3}%", at[0] * 100.0);
    let top = format!("{:.3}%", at[1] * 100.0);
    view! {
        <div
            class="probe"
            class:to-left=is_right
            class:to-top=is_low
            style:left=left
            style:top=top
        >
            {reading}
        </div>
    }
}

/// The pinned pixel in words, for screen readers: a moving pointer would be read out without end.
#[component]
pub fn PinnedInWords(state: State) -> impl IntoView {
    let look = state.look;
    let said = move || {
        if !look.pinned.get() {
            return None;
        }
        let [x, y] = look.cursor.get()?;
        let outcome = state.outcome.get()?;
        let reading = probe::read(&outcome.report, &outcome.logits, x, y)?;
        let class = outcome.report.classes.get(reading.best)?;
        Some(format!(
            "Column {x}, row {y}: {}, {}.",
            class.name,
            percent(f64::from(reading.probability[reading.best]))
        ))
    };
    view! { <p class="sr-only" role="status">{said}</p> }
}

fn table(
    state: State,
    [x, y]: [u32; 2],
    outcome: &Outcome,
    reading: &Reading,
) -> impl IntoView + use<> {
    let names = outcome.names();
    let colours = state.colours(&names);
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
                    <td class="number">{percent(part)}</td>
                </tr>
            }
        })
        .collect_view();
    let pin = if state.look.pinned.get() {
        ", pinned"
    } else {
        ""
    };
    view! {
        <p data-testid="probe-place" data-best=names[reading.best].clone()>
            {format!("Column {x}, row {y}{pin}")}
        </p>
        <table data-testid="probe">
            <tbody>{rows}</tbody>
        </table>
        <p>
            "Entropy "
            <b data-testid="probe-entropy">{percent(f64::from(reading.entropy))}</b>
            " · margin "
            <b data-testid="probe-margin">{percent(f64::from(reading.margin))}</b>
        </p>
    }
}
