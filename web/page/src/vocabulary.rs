//! How close the class names are to one another, as the model reads them.

use leptos::prelude::*;

use crate::disclosure::Disclosure;
use crate::paint::heat_colour;
use crate::state::{State, Vocabulary as Table};

/// The table of cosines.
#[component]
pub fn Vocabulary(state: State) -> impl IntoView {
    let teach = state.teach;
    view! {
        <Disclosure id="words" title="Compare the words" open=teach.words_open>
            <p>
                "How close the model's text tower finds the class names: 1.00 is the same meaning. "
                "Names that are close are easily mixed up on the ground."
            </p>
            {move || match teach.vocabulary.get() {
                Some(table) => cosines(&table).into_any(),
                None => view! { <p class="fine">"Waiting for the model…"</p> }.into_any(),
            }}
        </Disclosure>
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
                    let [r, g, b] = heat_colour(value.max(0.0));
                    // Dark cells take white numbers.
                    let dark = 299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b) < 110_000;
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
