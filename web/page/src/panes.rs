//! The three linked pictures: optical, SAR, and the mask over either, with one cursor and one
//! window.

use std::sync::Arc;

use leptos::html::Canvas;
use leptos::prelude::*;
use web_sys::ImageData;

use crate::canvas::{draw, draw_rgba};
use crate::doubt::{self, Doubt};
use crate::frame::Frame;
use crate::paint::{self, MaskStyle};
use crate::pointer_probe::PinnedInWords;
use crate::state::{Base, Engine, Overlay, State};
use crate::view::View;
use crate::words;

const KEYS: &str = "Plus and minus enlarge, arrows move, 0 shows all. \
    Shift with arrows moves the probe by a pixel, Enter pins it, Escape frees it.";

/// The pictures; on a narrow screen one is swiped to the next.
#[component]
pub fn Panes(state: State, doubt: Memo<Option<Arc<Doubt>>>) -> impl IntoView {
    let title = move || match state.look.overlay.get() {
        Overlay::Classes => match state.outcome.get() {
            Some(outcome) => format!("Mask: {}", words::modality(outcome.report.modality)),
            None => "Mask".to_owned(),
        },
        other => words::overlay(other).to_owned(),
    };
    let stored = move || {
        state
            .outcome
            .with(|outcome| outcome.as_ref().is_some_and(|o| o.stored))
    };
    let unchecked = move || {
        state
            .outcome
            .with(|outcome| outcome.as_ref().is_some_and(|o| !o.stored))
            && !state.is_tested()
    };
    view! {
        <section class="viewer" aria-label="Pictures">
            <p class="sr-only" id="keys">{KEYS}</p>
            <PinnedInWords state />
            <div class="panes">
                <figure class="pane">
                    <figcaption>"Optical"</figcaption>
                    <Frame state label="Optical picture" id="rgb-frame">
                        <Picture id="rgb-canvas" label="Optical" picture=state.rgb.into() view=state.look.view />
                        <Hint shown=Signal::derive_local(move || state.rgb.with(Option::is_none))
                            text="Loading…" />
                    </Frame>
                </figure>
                <figure class="pane">
                    <figcaption>"SAR"</figcaption>
                    <Frame state label="SAR picture" id="sar-frame">
                        <Picture id="sar-canvas" label="SAR" picture=state.sar.into() view=state.look.view />
                        <Hint shown=Signal::derive_local(move || state.sar.with(Option::is_none))
                            text="Loading…" />
                    </Frame>
                </figure>
                <figure class="pane">
                    <figcaption>
                        <span data-testid="mask-title">{title}</span>
                        {move || stored().then(|| view! {
                            <span class="tag" data-testid="stored" title="Computed when this page was built; the model is still loading">
                                "stored result"
                            </span>
                        })}
                        {move || unchecked().then(|| view! {
                            <span class="tag" title="The self-test has not ended">"not yet checked"</span>
                        })}
                    </figcaption>
                    <Frame state label="Mask" id="mask-frame">
                        <MaskLayers state doubt />
                    </Frame>
                </figure>
            </div>
        </section>
    }
}

/// The maps of how sure the model is, computed when something shows them.
pub fn doubt_of(state: State) -> Memo<Option<Arc<Doubt>>> {
    let is_needed = Memo::new(move |_| {
        matches!(state.look.overlay.get(), Overlay::Entropy | Overlay::Margin)
            || state.look.none_below.get() > 0
    });
    Memo::new_with_compare(
        move |_| {
            if !is_needed.get() {
                return None;
            }
            let outcome = state.outcome.get()?;
            doubt::maps(&outcome.report, &outcome.logits).map(Arc::new)
        },
        |before, now| match (before, now) {
            (Some(Some(a)), Some(Some(b))) => !Arc::ptr_eq(a, b),
            (Some(None), Some(None)) => false,
            _ => true,
        },
    )
}

/// What stands where a picture will be.
#[component]
fn Hint(
    /// Whether it is seen.
    shown: Signal<bool, LocalStorage>,
    /// Its words.
    #[prop(into)]
    text: Signal<&'static str>,
) -> impl IntoView {
    view! { <p class="hint" hidden=move || !shown.get()>{text}</p> }
}

/// One picture, seen through the shared window.
#[component]
pub fn Picture(
    /// Its `data-testid`.
    id: &'static str,
    /// Name for screen readers.
    label: &'static str,
    /// What to draw.
    picture: Signal<Option<ImageData>, LocalStorage>,
    /// The shared window.
    view: RwSignal<View>,
) -> impl IntoView {
    let canvas = NodeRef::<Canvas>::new();
    Effect::new(move || {
        if let (Some(canvas), Some(picture)) = (canvas.get(), picture.get()) {
            draw(&canvas, &picture);
        }
    });
    let empty = move || picture.with(Option::is_none);
    view! {
        <canvas
            node_ref=canvas
            data-testid=id
            role="img"
            aria-label=label
            data-ready=move || (!empty()).to_string()
            hidden=empty
            width="1"
            height="1"
            style:transform=move || view.get().css()
        ></canvas>
    }
}

/// The mask, or a map of how sure it is, over its base, cut at the divider.
#[component]
fn MaskLayers(state: State, doubt: Memo<Option<Arc<Doubt>>>) -> impl IntoView {
    let look = state.look;
    let base = Signal::derive_local(move || {
        state.outcome.with(Option::is_some).then_some(())?;
        match look.base.get() {
            Base::Optical => state.rgb.get(),
            Base::Sar => state.sar.get(),
        }
    });
    let canvas = NodeRef::<Canvas>::new();
    Effect::new(move || {
        let (Some(canvas), Some(outcome)) = (canvas.get(), state.outcome.get()) else {
            return;
        };
        let names = outcome.names();
        let style = MaskStyle {
            colours: state.colours(&names),
            shown: names.iter().map(|name| state.is_shown(name)).collect(),
            hatched: look.hatched.get(),
        };
        let (w, h) = (outcome.report.width_px, outcome.report.height_px);
        let threshold = look.none_below.get() as f32 / 100.0;
        let is_none = |doubt: &Doubt, x, y| threshold > 0.0 && doubt.is_below(threshold, x, y);
        match (look.overlay.get(), doubt.get()) {
            (Overlay::Entropy, Some(doubt)) => {
                let rgba = paint::heat(&doubt.entropy, 0.0, 1.0);
                draw_rgba(&canvas, &rgba, doubt.columns as u32, doubt.rows as u32);
            }
            (Overlay::Margin, Some(doubt)) => {
                let rgba = paint::heat(&doubt.margin, 0.0, 1.0);
                draw_rgba(&canvas, &rgba, doubt.columns as u32, doubt.rows as u32);
            }
            (Overlay::Sensors, _) => {
                let rgba = state.compared.with(|compared| {
                    let compared = compared.as_ref()?;
                    Some(paint::differing(
                        &compared.get(1)?.labels,
                        &compared.get(2)?.labels,
                    ))
                });
                let rgba = rgba.unwrap_or_else(|| vec![0; outcome.labels.len() * 4]);
                draw_rgba(&canvas, &rgba, w, h);
            }
            (_, doubt) => {
                let rgba = paint::mask_or_none(&outcome.labels, w as usize, &style, |x, y| {
                    doubt.as_ref().is_some_and(|doubt| is_none(doubt, x, y))
                });
                draw_rgba(&canvas, &rgba, w, h);
            }
        }
    });
    let empty = Signal::derive_local(move || state.outcome.with(Option::is_none));
    let is_computed = move || {
        state
            .outcome
            .with(|outcome| outcome.as_ref().is_some_and(|outcome| !outcome.stored))
    };
    let hint = Signal::derive(move || {
        if state.waiting.get().is_some() {
            "Not computed yet"
        } else if state.running.get() {
            "Computing…"
        } else if state.engine.get() == Engine::Starting {
            "Loading the model…"
        } else {
            "No mask yet"
        }
    });
    view! {
        <Picture id="mask-base" label="Under the mask" picture=base view=look.view />
        <div class="layer" style:clip-path=move || format!("inset(0 0 0 {}%)", look.swipe.get())>
            <canvas
                node_ref=canvas
                data-testid="mask-canvas"
                role="img"
                aria-label="Mask"
                data-ready=move || is_computed().to_string()
                hidden=move || empty.get()
                width="1"
                height="1"
                style:transform=move || look.view.get().css()
                style:opacity=move || (f64::from(look.opacity.get()) / 100.0).to_string()
            ></canvas>
        </div>
        <span
            class="divider"
            aria-hidden="true"
            hidden=move || empty.get() || look.swipe.get() == 0
            style:left=move || format!("{}%", look.swipe.get())
        ></span>
        <Hint shown=empty text=hint />
    }
}
