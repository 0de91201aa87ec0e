//! What the page says about itself: device, self-test, what runs, what waits for the user, what
//! went wrong.

use leptos::prelude::*;

use crate::icons::{Icon, icon};
use crate::outlines::OutlineMap;
use crate::state::{Engine, State, Waiting};
use crate::words;
use crate::{actions, engine};

/// Device and self-test, in the page's head; the details open on a click.
#[component]
pub fn Badges(state: State) -> impl IntoView {
    let tier = move || match state.engine.get() {
        Engine::Starting => "Loading…".to_owned(),
        Engine::Ready(opened) => words::tier(opened.tier).to_owned(),
        Engine::Stopped => "Stopped".to_owned(),
    };
    let kind = move || match state.engine.get() {
        Engine::Starting => "starting".to_owned(),
        Engine::Ready(opened) => format!("{:?}", opened.tier).to_lowercase(),
        Engine::Stopped => "stopped".to_owned(),
    };
    let device = move || match state.engine.get() {
        Engine::Ready(opened) => opened.device,
        Engine::Starting | Engine::Stopped => String::new(),
    };
    let note = move || match state.engine.get() {
        Engine::Ready(opened) => opened.note,
        Engine::Starting | Engine::Stopped => None,
    };
    let tested = move || {
        state.self_test.with(|test| match test {
            None => ("waiting", "Self-test: not run yet".to_owned()),
            Some(test) if test.passed => ("passed", format!("Self-test passed: {}", test.detail)),
            Some(test) => ("failed", format!("Self-test failed: {}", test.detail)),
        })
    };
    view! {
        <div class="badges">
            <span class="badge" data-state=move || tested().0>
                <span class="sr-only">"Runs on "</span>
                <strong data-testid="tier" data-tier=kind>{tier}</strong>
                " "
                <span data-testid="device">{device}</span>
            </span>
            <span class="fine badge-test" data-testid="self-test" data-state=move || tested().0>
                {move || tested().1}
            </span>
            {move || note().map(|note| view! { <span class="fine badge-note" data-testid="device-note">{note}</span> })}
        </div>
    }
}

/// The status line with the progress of what runs, Stop, and the question before a long run.
#[component]
pub fn StatusBar(state: State) -> impl IntoView {
    let shown = move || {
        let progress = state.progress.get()?;
        let elapsed_ms = js_sys::Date::now() - state.progress_since_ms.get_value();
        Some(words::progress(&progress, elapsed_ms))
    };
    let question = move || {
        let waiting = state.waiting.get().filter(|_| !state.is_busy())?;
        let label = match waiting {
            Waiting::Long { seconds } => format!("Compute (about {})", words::seconds(seconds)),
            Waiting::Stopped | Waiting::Failed => "Compute".to_owned(),
        };
        let why = match waiting {
            Waiting::Long { seconds } => format!(
                "This scene will take about {} on this device.",
                words::seconds(seconds)
            ),
            Waiting::Stopped | Waiting::Failed => String::new(),
        };
        Some(view! {
            <span data-testid="question">{why}</span>
            <button type="button" class="primary" data-testid="compute" on:click=move |_| actions::go_on(state)>
                {icon(Icon::Play)}
                {label}
            </button>
        })
    };
    view! {
        <section class="status-bar" aria-label="Status">
            <p class="status" role="status" data-testid="status" aria-live="polite">{state.status}</p>
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
            {question}
            {move || {
                state
                    .is_busy()
                    .then(|| {
                        view! {
                            <button type="button" data-testid="stop" on:click=move |_| actions::stop(state)>
                                {icon(Icon::Square)}
                                "Stop"
                            </button>
                        }
                    })
            }}
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
                                {problem.outlines.map(|outlines| view! { <OutlineMap outlines /> })}
                                <div class="row">
                                    <Show when=stopped>
                                        <button
                                            type="button"
                                            class="primary"
                                            data-testid="retry"
                                            on:click=move |_| {
                                                state.problem.set(None);
                                                state.waiting.set(None);
                                                engine::start(state);
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
