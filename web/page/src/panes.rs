//! The three linked pictures: optical, SAR, and the mask over either, with one cursor and one window.

use leptos::html::Canvas;
use leptos::prelude::*;
use web_sys::ImageData;

use crate::canvas::{draw, draw_rgba};
use crate::gestures;
use crate::paint::{self, MaskStyle};
use crate::state::{Base, State};
use crate::view::View;
use crate::words;
use mmovseg_protocol::Tiles;
use mmovseg_raster::palette_for;

const KEYS: &str = "Plus and minus enlarge, arrows move, 0 shows all. \
    Shift with arrows moves the probe by a pixel, Enter pins it, Escape frees it.";

/// Pixels across a frame that are still drawn sharp; frames are about that many of the screen's pixels wide.
const SHARP_UP_TO_PX: f64 = 512.0;

/// Toolbar and pictures.
#[component]
pub fn Panes(state: State) -> impl IntoView {
    let title = move || match state.outcome.get() {
        Some(outcome) => format!("Mask: {}", words::modality(outcome.report.modality)),
        None => "Mask".to_owned(),
    };
    view! {
        <section class="viewer" aria-label="Pictures">
            <Toolbar state />
            <p class="sr-only" id="keys">{KEYS}</p>
            <div class="panes">
                <figure class="pane">
                    <figcaption>"Optical"</figcaption>
                    <Frame state label="Optical picture" id="rgb-frame">
                        <Picture id="rgb-canvas" label="Optical" picture=state.rgb.into() view=state.look.view />
                        <Hint shown=Signal::derive_local(move || state.rgb.with(Option::is_none))
                            text="No optical tile yet" />
                    </Frame>
                </figure>
                <figure class="pane">
                    <figcaption>"SAR"</figcaption>
                    <Frame state label="SAR picture" id="sar-frame">
                        <Picture id="sar-canvas" label="SAR" picture=state.sar.into() view=state.look.view />
                        <Hint shown=Signal::derive_local(move || state.sar.with(Option::is_none))
                            text="No SAR tile yet" />
                    </Frame>
                </figure>
                <figure class="pane">
                    <figcaption>{title}</figcaption>
                    <Frame state label="Mask" id="mask-frame">
                        <MaskLayers state />
                    </Frame>
                </figure>
            </div>
        </section>
    }
}

#[component]
fn Toolbar(state: State) -> impl IntoView {
    let look = state.look;
    let percent = move |event: leptos::ev::Event, signal: RwSignal<u32>| {
        if let Ok(value) = event_target_value(&event).parse::<u32>() {
            signal.set(value.min(100));
        }
    };
    let zoomed = move || format!("{:.0} %", look.view.get().zoom * 100.0);
    view! {
        <div class="row toolbar" role="group" aria-label="View">
            <div class="joined">
                <button type="button" class="icon" aria-label="Smaller" data-testid="zoom-out"
                    on:click=move |_| gestures::zoom(state, 1.0 / gestures::STEP)>"−"</button>
                <button type="button" class="quiet" data-testid="zoom-reset"
                    aria-label=move || format!("{}: show the whole tile", zoomed())
                    on:click=move |_| look.view.set(View::WHOLE)>{zoomed}</button>
                <button type="button" class="icon" aria-label="Larger" data-testid="zoom-in"
                    on:click=move |_| gestures::zoom(state, gestures::STEP)>"+"</button>
            </div>
            <fieldset class="segments small" data-testid="base">
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
            <label class="check">
                <input type="checkbox" data-testid="hatched"
                    prop:checked=move || look.hatched.get()
                    on:change=move |event| look.hatched.set(event_target_checked(&event)) />
                <span>"Patterns"</span>
            </label>
        </div>
    }
}

/// A window onto the tile that takes gestures and shows the cursor.
#[component]
pub fn Frame(
    state: State,
    /// Name for screen readers.
    label: &'static str,
    /// Its `data-testid`.
    id: &'static str,
    /// What it shows.
    children: Children,
) -> impl IntoView {
    let look = state.look;
    let aspect = move || {
        state.tiles.with(|tiles| {
            tiles.as_ref().map_or_else(
                || "1".to_owned(),
                |tiles| {
                    let ratio =
                        f64::from(tiles.shown_width_px) / f64::from(tiles.shown_height_px.max(1));
                    format!("{ratio:.5}")
                },
            )
        })
    };
    let near = move || look.view.get().zoom > 1.0;
    // Where a pixel of the picture is smaller than one of the screen, sharp pixels would be a choice of some.
    let far = move || {
        let shown_px = |tiles: &Tiles| f64::from(tiles.shown_width_px.max(tiles.shown_height_px));
        let side_px = state
            .tiles
            .with(|tiles| tiles.as_ref().map_or(0.0, shown_px));
        side_px / look.view.get().zoom > SHARP_UP_TO_PX
    };
    let crosshair = move || {
        let pixel = look.cursor.get()?;
        let at = look.view.get().to_frame(gestures::centre(state, pixel)?);
        at.iter()
            .all(|v| (0.0..=1.0).contains(v))
            .then(|| at.map(|v| format!("{:.3}%", v * 100.0)))
    };
    view! {
        <div
            class="frame"
            class:near=near
            class:far=far
            class:pinned=look.pinned
            data-testid=id
            role="application"
            tabindex="0"
            aria-label=label
            aria-describedby="keys"
            style:--aspect=aspect
            on:pointerdown=move |event| gestures::press(&event)
            on:pointermove=move |event| gestures::motion(state, &event)
            on:pointerup=move |event| {
                gestures::release(state, &event);
            }
            on:pointercancel=move |event| gestures::lose(&event)
            on:pointerleave=move |_| gestures::leave(look)
            on:wheel=move |event| gestures::wheel(look, &event)
            on:keydown=move |event| gestures::key(state, &event)
        >
            {children()}
            {move || {
                crosshair()
                    .map(|[left, top]| {
                        view! { <span class="cursor" aria-hidden="true" style:left=left style:top=top></span> }
                    })
            }}
        </div>
    }
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

/// The mask over its base, cut at the divider.
#[component]
fn MaskLayers(state: State) -> impl IntoView {
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
        let names: Vec<String> = outcome
            .report
            .classes
            .iter()
            .map(|c| c.name.clone())
            .collect();
        let style = MaskStyle {
            colours: palette_for(&names),
            shown: names.iter().map(|name| state.is_shown(name)).collect(),
            hatched: look.hatched.get(),
        };
        let (w, h) = (outcome.report.width_px, outcome.report.height_px);
        draw_rgba(
            &canvas,
            &paint::mask(&outcome.labels, w as usize, &style),
            w,
            h,
        );
    });
    let empty = Signal::derive_local(move || state.outcome.with(Option::is_none));
    let hint = Signal::derive(move || {
        if state.running.get() {
            "Working…"
        } else {
            "Press Run to see the mask"
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
                data-ready=move || (!empty.get()).to_string()
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
