//! Cosines between the embeddings of the class names.

use leptos::prelude::*;

use crate::paint::heat_colour;
use crate::state::{State, Vocabulary as Table};

/// The table of cosines.
#[component]
pub fn Vocabulary(state: State) -> impl IntoView {
    view! {
        <p class="fine">
            "Cosine of the class names' embeddings from the model's text tower: 1.00 is the same meaning. "
            "Names that are close are easily confused in the mask."
        </p>
        {move || match state.panels.vocabulary.get() {
            Some(table) => cosines(&table).into_any(),
            None => view! { <p class="fine">"Waiting for the model…"</p> }.into_any(),
        }}
    }
}

fn cosines(table: &Table) -> impl IntoView + use<> {
    let count = table.classes.len();
    let head = table
        .classes
        .iter()
        .map(|name| view! { <th scope="col">{name.clone()}</th> })
        .collect_view();
    let rows = table
        .classes
        .iter()
        .zip(table.cosines.chunks_exact(count.max(1)))
        .map(|(name, row)| {
            let cells = row
                .iter()
                .map(|&value| {
                    let colour = heat_colour(value.max(0.0));
                    let dark = takes_white(colour);
                    let [r, g, b] = colour;
                    view! {
                        <td class="number" class:light-text=dark style:background-color=format!("rgb({r} {g} {b})")>
                            {format!("{value:.2}")}
                        </td>
                    }
                })
                .collect_view();
            view! {
                <tr>
                    <th scope="row">{name.clone()}</th>
                    {cells}
                </tr>
            }
        })
        .collect_view();
    view! {
        <div class="scroll" tabindex="0" role="group" aria-label="Table of cosines">
            <table class="cosines" data-testid="cosines">
                <thead>
                    <tr>
                        <td></td>
                        {head}
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
    }
}

/// Whether white letters are told from this ground more easily than black ones: by contrast ratio
/// (WCAG 2.2, relative luminance), so that the better of the two is always above 4.5.
fn takes_white(colour: [u8; 3]) -> bool {
    let [r, g, b] = colour.map(|channel| {
        let value = f64::from(channel) / 255.0;
        if value <= 0.04045 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        }
    });
    // Both contrasts are equal where (L + 0.05)² = 1.05 · 0.05.
    0.2126 * r + 0.7152 * g + 0.0722 * b < 0.179
}
