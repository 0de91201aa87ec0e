//! A window onto the tile: takes gestures, shows the cursor, and beside it what the model says of
//! that pixel.

use leptos::prelude::*;
use mmovseg_protocol::Tiles;

use crate::gestures;
use crate::pointer_probe::PointerProbe;
use crate::state::State;

/// Pixels across a frame up to which they are drawn sharp; frames are about that many of the
/// screen's pixels wide.
const SHARP_UP_TO_PX: f64 = 512.0;

/// A frame around `children`.
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
    // Where a pixel of the picture is smaller than one of the screen, sharp pixels would be a
    // choice of some.
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
        at.iter().all(|v| (0.0..=1.0).contains(v)).then_some(at)
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
            on:pointerenter=move |_| {
                if !look.pinned.get_untracked() {
                    look.probed.set(id);
                }
            }
            on:pointerdown=move |event| gestures::press(&event)
            on:pointermove=move |event| gestures::motion(state, &event)
            on:pointerup=move |event| {
                if gestures::release(state, &event).is_some() {
                    look.probed.set(id);
                }
            }
            on:pointercancel=move |event| gestures::lose(&event)
            on:pointerleave=move |_| gestures::leave(look)
            on:wheel=move |event| gestures::wheel(look, &event)
            on:keydown=move |event| {
                look.probed.set(id);
                gestures::key(state, &event);
            }
        >
            <div class="clip">{children()}</div>
            {move || {
                crosshair()
                    .map(|at| {
                        let [left, top] = at.map(|v| format!("{:.3}%", v * 100.0));
                        view! {
                            <span class="cursor" aria-hidden="true" style:left=left style:top=top></span>
                            <PointerProbe state id at />
                        }
                    })
            }}
        </div>
    }
}
