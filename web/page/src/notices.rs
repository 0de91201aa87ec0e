//! What the page says about itself: device, self-test, progress, status, and what went wrong.

use leptos::prelude::*;

use crate::state::{Engine, State};
use crate::words;
use crate::{actions, client};

/// Device and self-test, in the page's head.
#[component]
pub fn Badges(state: State) -> impl IntoView {
    let tier = move || match state.engine.get() {
        Engine::Starting => "Starting…".to_owned(),
        Engine::Ready(opened) => words::tier(opened.tier).to_owned(),
        Engine::Stopped => "Stopped".to_owned(),
    };
    let kind = move || match state.engine.get() {
        Engine::Starting => "starting".to_owned(),
        Engine::Ready(opened) => format!("{:?}", opened.tier).to_lowercase(),
        Engine::Stopped => "stopped".to_owned(),
    };
    let about = move || match state.engine.get() {
        Engine::Ready(opened) => format!("{}, model {}", opened.device, opened.model),
        Engine::Starting | Engine::Stopped => String::new(),
    };
    let tested = move || {
        state.self_test.with(|test| match test {
            None => ("waiting", "Self-test: not run yet".to_owned()),
            Some(test) if test.passed => ("passed", format!("Self-test passed: {}", test.detail)),
            Some(test) => ("failed", format!("Self-test failed: {}", test.detail)),
        })
    };
    view! {
        <dl class="badges">
            <div>
                <dt>"Runs on"</dt>
                <dd>
                    <strong class="badge" data-testid="tier" data-tier=kind>{tier}</strong>
                    " "
                    <span class="fine" data-testid="device">{about}</span>
                </dd>
            </div>
            <div>
                <dt class="sr-only">"Self-test"</dt>
                <dd class="fine" data-testid="self-test" data-state=move || tested().0>
                    {move || tested().1}
                </dd>
            </div>
        </dl>
    }
}

/// Why the tier is what it is, and what was changed while reading the tiles.
#[component]
pub fn Notes(state: State) -> impl IntoView {
    let notes = move || {
        let mut notes = Vec::new();
        if let Engine::Ready(opened) = state.engine.get() {
            notes.extend(opened.note);
        }
        notes.extend(
            state
                .tiles
                .get()
                .map(|tiles| tiles.notes)
                .unwrap_or_default(),
        );
        (!notes.is_empty()).then(|| {
            view! {
                <ul class="notes" data-testid="notes">
                    {notes.into_iter().map(|note| view! { <li>{note}</li> }).collect_view()}
                </ul>
            }
        })
    };
    view! { {notes} }
}

/// Run, Cancel, progress and the status line.
#[component]
pub fn RunBar(state: State) -> impl IntoView {
    let shown = move || {
        let progress = state.progress.get()?;
        let elapsed_ms = js_sys::Date::now() - state.progress_since_ms.get_value();
        Some(words::progress(&progress, elapsed_ms))
    };
    view! {
        <section class="card run" aria-label="Run">
            <div class="row">
                <button
                    type="button"
                    class="primary"
                    data-testid="run"
                    disabled=move || !state.can_run()
                    on:click=move |_| actions::run(state)
                >
                    "Run"
                </button>
                <button
                    type="button"
                    data-testid="cancel"
                    disabled=move || !state.running.get() && state.engine.get() != Engine::Starting
                    on:click=move |_| actions::cancel(state)
                >
                    "Cancel"
                </button>
                <p class="status" role="status" data-testid="status" aria-live="polite">{state.status}</p>
            </div>
            <div class="progress" data-testid="progress">
                {move || {
                    shown()
                        .map(|(text, part)| {
                            let bar = match part {
                                Some(part) => {
                                    view! { <progress aria-label=text.clone() max="1" value=part.to_string()></progress> }
                                        .into_any()
                                }
                                None => view! { <progress aria-label=text.clone()></progress> }.into_any(),
                            };
                            view! {
                                {bar}
                                <span class="fine">{text}</span>
                            }
                        })
                }}
            </div>
        </section>
    }
}

/// What went wrong, where, and what to do. The region exists before the words do, so that a screen
/// reader notices them.
#[component]
pub fn Alert(state: State) -> impl IntoView {
    view! {
        <div role="alert" class="alert" data-testid="error">
            {move || {
                state
                    .problem
                    .get()
                    .map(|problem| {
                        let stopped = move || state.engine.get() == Engine::Stopped;
                        view! {
                            <div class="alert-box">
                                <p><strong>{problem.title}</strong></p>
                                <p class="detail">{problem.detail}</p>
                                <p>{problem.advice}</p>
                                <div class="row">
                                    <Show when=stopped>
                                        <button
                                            type="button"
                                            class="primary"
                                            data-testid="retry"
                                            on:click=move |_| {
                                                state.problem.set(None);
                                                client::start(state);
                                            }
                                        >
                                            "Try again"
                                        </button>
                                    </Show>
                                    <button type="button" on:click=move |_| state.problem.set(None)>
                                        "Dismiss"
                                    </button>
                                </div>
                            </div>
                        }
                    })
            }}
        </div>
    }
}
