//! How the pictures are looked at: enlargement, what lies under the mask and over it, and from
//! which probability on a pixel belongs to a class at all.

use std::sync::Arc;

use leptos::prelude::*;

use crate::doubt::Doubt;
use crate::gestures;
use crate::icons::{Icon, icon};
use crate::paint;
use crate::state::{Base, Overlay, State};
use crate::view::View;
use crate::words::{self, OVERLAYS};

/// One row below the pictures.
#[component]
pub fn ViewBar(state: State, doubt: Memo<Option<Arc<Doubt>>>) -> impl IntoView {
    let look = state.look;
    let percent = move |event: leptos::ev::Event, signal: RwSignal<u32>| {
        if let Ok(value) = event_target_value(&event).parse::<u32>() {
            signal.set(value.min(100));
        }
    };
    let zoomed = move || format!("{:.0} %", look.view.get().zoom * 100.0);
    view! {
        <div class="toolbar" role="group" aria-label="View">
            <div class="joined">
                <button type="button" class="icon-button" aria-label="Smaller" data-testid="zoom-out"
                    on:click=move |_| gestures::zoom(state, 1.0 / gestures::STEP)>{icon(Icon::Minus)}</button>
                <button type="button" class="zoom" data-testid="zoom-reset"
                    aria-label=move || format!("{}: show the whole tile", zoomed())
                    on:click=move |_| look.view.set(View::WHOLE)>{zoomed}</button>
                <button type="button" class="icon-button" aria-label="Larger" data-testid="zoom-in"
                    on:click=move |_| gestures::zoom(state, gestures::STEP)>{icon(Icon::Plus)}</button>
            </div>
            <label class="choice">
                <span>"Show"</span>
                <select data-testid="overlay" on:change=move |event| {
                    let value = event_target_value(&event);
                    if let Some(&(.., overlay)) = OVERLAYS.iter().find(|(key, ..)| *key == value) {
                        look.overlay.set(overlay);
                    }
                }>
                    {OVERLAYS
                        .iter()
                        .map(|&(key, name, overlay)| {
                            view! { <option value=key selected=move || look.overlay.get() == overlay>{name}</option> }
                        })
                        .collect_view()}
                </select>
            </label>
            <fieldset class="segments" data-testid="base">
                <legend class="sr-only">"Under the mask"</legend>
                {[(Base::Optical, "optical", "Over optical"), (Base::Sar, "sar", "Over SAR")]
                    .map(|(base, value, name)| {
                        view! {
                            <label>
                                <input type="radio" name="base" value=value
                                    prop:checked=move || look.base.get() == base
                                    on:change=move |_| look.base.set(base) />
                                <span>{name}</span>
                            </label>
                        }
                    })
                    .collect_view()}
            </fieldset>
            <label class="slider">
                <span>"Opacity"</span>
                <input type="range" min="0" max="100" step="5" data-testid="opacity"
                    prop:value=move || look.opacity.get().to_string()
                    aria-valuetext=move || format!("{} percent", look.opacity.get())
                    on:input=move |event| percent(event, look.opacity) />
            </label>
            <label class="slider">
                <span>"Divider"</span>
                <input type="range" min="0" max="100" step="1" data-testid="swipe"
                    prop:value=move || look.swipe.get().to_string()
                    aria-valuetext=move || format!("mask begins at {} percent", look.swipe.get())
                    on:input=move |event| percent(event, look.swipe) />
            </label>
            <label class="slider" title="Pixels whose highest class probability is below this belong to no class">
                <span>"None below"</span>
                <input type="range" min="0" max="100" step="1" data-testid="none-below"
                    prop:value=move || look.none_below.get().to_string()
                    aria-valuetext=move || format!("none of these below {} percent", look.none_below.get())
                    on:input=move |event| percent(event, look.none_below) />
                <output class="number">{move || format!("{} %", look.none_below.get())}</output>
            </label>
            <label class="check">
                <input type="checkbox" data-testid="hatched"
                    prop:checked=move || look.hatched.get()
                    on:change=move |event| look.hatched.set(event_target_checked(&event)) />
                <span>"Patterns"</span>
            </label>
        </div>
        <p class="fine facts-line" data-testid="overlay-facts">{move || facts(state, doubt.get())}</p>
    }
}

/// What the overlay shows, in numbers.
fn facts(state: State, doubt: Option<Arc<Doubt>>) -> Option<String> {
    let look = state.look;
    let threshold = look.none_below.get();
    let mut said = Vec::new();
    match look.overlay.get() {
        Overlay::Classes => {}
        Overlay::Entropy => said.push(
            "Entropy of the class probabilities: dark is certain, bright is undecided.".to_owned(),
        ),
        Overlay::Margin => said.push(
            "Highest probability less the second highest: dark is undecided, bright is clear."
                .to_owned(),
        ),
        Overlay::Sensors => {
            let share = state.compared.with(|compared| {
                let compared = compared.as_ref()?;
                Some(paint::difference(
                    &compared.get(1)?.labels,
                    &compared.get(2)?.labels,
                ))
            });
            said.push(match share {
                Some(share) => format!(
                    "The masks of the optical tile alone and of SAR alone differ on {} of the pixels (magenta).",
                    words::percent(share)
                ),
                None => "Comparing the sensors…".to_owned(),
            });
        }
    }
    if threshold > 0
        && let Some(doubt) = doubt
    {
        let (count, is_exact) = doubt.count_below(threshold as f32 / 100.0);
        let all = state.outcome.with(|outcome| {
            outcome
                .as_ref()
                .map_or(1, |outcome| outcome.labels.len().max(1))
        });
        let about = if is_exact { "" } else { "about " };
        said.push(format!(
            "None of these: {about}{count} pixels ({}).",
            words::percent(count as f64 / all as f64)
        ));
    }
    (!said.is_empty()).then(|| said.join(" "))
}
