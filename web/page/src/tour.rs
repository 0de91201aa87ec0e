//! A tour of five steps on a generated scene. Each step sets the page up for what it tells.

use leptos::prelude::*;
use mmovseg_protocol::Modality;

use crate::inputs::open_scene;
use crate::state::State;
use crate::{actions, words};

/// The scene of the tour.
const SEED: u32 = 11;

/// Titles and texts.
const STEPS: [(&str, &str); 5] = [
    (
        "Two views of one place",
        "This is a made-up place, seen twice: in colours, and by radar (SAR). Move over a picture: the cursor is on the same ground in all. The wheel enlarges.",
    ),
    (
        "Ask in words",
        "Press Run. Every pixel gets the class name that fits best. The words are yours: rename one, add “lake” or “orchard”, and the mask follows without looking at the tiles again.",
    ),
    (
        "Pull a cloud over it",
        "Now a thick cloud hides the ground from the optical tile, and three masks appear: both sensors, optical alone, SAR alone. Radar sees through; the scene's truth tells how well.",
    ),
    (
        "Look inside",
        "The stages of the model for the class under the pointer: from how alike word and place are, through neighbours who talk to one another, to the mask.",
    ),
    (
        "What words mean to it",
        "The table tells how close your words are to the model. Close words are easily mixed up. Now drop your own tiles: nothing leaves this device.",
    ),
];

/// The button that begins.
#[component]
pub fn StartTour(state: State) -> impl IntoView {
    view! {
        <button type="button" class="quiet" data-testid="tour-start"
            disabled=move || state.running.get()
            on:click=move |_| go(state, 0)>"Take the tour"</button>
    }
}

/// The step that is on.
#[component]
pub fn Tour(state: State) -> impl IntoView {
    let tour = state.teach.tour;
    let end = move |_| {
        tour.set(None);
        state.status.set("The tour is over.".into());
    };
    view! {
        <div role="status" class="tour-place">
            {move || {
                tour.get()
                    .and_then(|step| STEPS.get(step).map(|texts| (step, *texts)))
                    .map(|(step, (title, text))| {
                        view! {
                            <section class="card tour" data-testid="tour" data-step=(step + 1).to_string() aria-labelledby="tour-title">
                                <h2 id="tour-title">{format!("{} of {}: {title}", step + 1, STEPS.len())}</h2>
                                <p>{text}</p>
                                <div class="row">
                                    <button type="button" data-testid="tour-back" disabled=step == 0
                                        on:click=move |_| go(state, step.saturating_sub(1))>"Back"</button>
                                    {(step + 1 < STEPS.len())
                                        .then(|| {
                                            view! {
                                                <button type="button" class="primary" data-testid="tour-next"
                                                    on:click=move |_| go(state, step + 1)>"Next"</button>
                                            }
                                        })}
                                    <button type="button" class="quiet" data-testid="tour-end" on:click=end>"End the tour"</button>
                                </div>
                            </section>
                        }
                    })
            }}
        </div>
    }
}

/// Sets the page up for a step and shows it.
fn go(state: State, step: usize) {
    let teach = state.teach;
    teach.tour.set(Some(step));
    state.comparing.set(step == 2);
    teach.stages_open.set(step == 3);
    teach.words_open.set(step == 4);
    if step != 2 {
        state.compared.set(None);
    }
    let (_, _, opacity, cover) = words::CLOUDS[if step == 2 { 2 } else { 0 }];
    match step {
        0 => {
            state.modality.set(Modality::Fused);
            state.cloud.update(|cloud| cloud.opacity = 0.0);
            open_scene(state, SEED);
        }
        1 => actions::run(state),
        _ => {
            state.cloud.update(|cloud| {
                cloud.opacity = opacity;
                cloud.cover = cover;
            });
            if state.live.get_untracked() {
                actions::change_cloud(state);
            } else {
                actions::change_cloud_and_run(state);
            }
        }
    }
}
