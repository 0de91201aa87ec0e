//! Mouse, pen, finger, wheel and keys on a frame, as changes of the shared window and cursor.

use std::cell::RefCell;

use leptos::prelude::*;
use wasm_bindgen::JsCast as _;
use web_sys::{Element, KeyboardEvent, MouseEvent, PointerEvent, WheelEvent};

use crate::state::{Look, State};
use crate::view::View;

/// Enlargement by one key press or button.
pub const STEP: f64 = 1.5;

/// Movement above which a press is a drag and no click, in CSS pixels.
const CLICK_PX: f64 = 4.0;

/// Part of the frame that an arrow key moves.
const ARROW: f64 = 0.1;

/// Pointers that are down, with their positions in CSS pixels.
#[derive(Default)]
struct Pointers {
    down: Vec<(i32, [f64; 2])>,
    /// Where the first went down.
    start: [f64; 2],
    /// Whether it moved too far for a click.
    dragged: bool,
}

thread_local! {
    static POINTERS: RefCell<Pointers> = RefCell::default();
}

/// Position in the frame, 0 to 1, and the frame's size in CSS pixels.
fn place(event: &MouseEvent) -> Option<([f64; 2], [f64; 2])> {
    let frame: Element = event.current_target()?.dyn_into().ok()?;
    let area = frame.get_bounding_client_rect();
    let size = [area.width().max(1.0), area.height().max(1.0)];
    let at = [
        (f64::from(event.client_x()) - area.left()) / size[0],
        (f64::from(event.client_y()) - area.top()) / size[1],
    ];
    Some((at, size))
}

/// The pixel under a position in the frame, when it is on the tile.
fn pixel(state: State, at: [f64; 2]) -> Option<[u32; 2]> {
    let [x, y] = state.look.view.get_untracked().to_tile(at);
    if !(0.0..1.0).contains(&x) || !(0.0..1.0).contains(&y) {
        return None;
    }
    state.tiles.with_untracked(|tiles| {
        tiles.as_ref().map(|tiles| {
            [
                (x * f64::from(tiles.shown_width_px)) as u32,
                (y * f64::from(tiles.shown_height_px)) as u32,
            ]
        })
    })
}

/// A finger or button goes down.
pub fn press(event: &PointerEvent) {
    if event.button() > 0 {
        return;
    }
    let frame = event
        .current_target()
        .and_then(|target| target.dyn_into::<Element>().ok());
    if let Some(frame) = frame {
        // Without capture a drag ends at the frame's edge, which is no harm.
        let _captured = frame.set_pointer_capture(event.pointer_id());
    }
    let at = [f64::from(event.client_x()), f64::from(event.client_y())];
    POINTERS.with_borrow_mut(|pointers| {
        pointers.down.retain(|(id, _)| *id != event.pointer_id());
        pointers.down.push((event.pointer_id(), at));
        pointers.dragged = pointers.down.len() > 1;
        pointers.start = at;
    });
}

/// A pointer moves: it reads, drags or pinches.
pub fn motion(state: State, event: &PointerEvent) {
    let Some((at, size)) = place(event) else {
        return;
    };
    let now = [f64::from(event.client_x()), f64::from(event.client_y())];
    let look = state.look;
    let hovering = POINTERS.with_borrow_mut(|pointers| {
        let Some(index) = pointers
            .down
            .iter()
            .position(|(id, _)| *id == event.pointer_id())
        else {
            return true;
        };
        let before = pointers.down[index].1;
        pointers.down[index].1 = now;
        if let [(_, a), (_, b)] = pointers.down[..] {
            let other = if index == 0 { b } else { a };
            let factor = distance(now, other) / distance(before, other).max(1.0);
            let middle = [0, 1].map(|i| at[i] + (other[i] - now[i]) / (2.0 * size[i]));
            let moved = [0, 1].map(|i| (now[i] - before[i]) / (2.0 * size[i]));
            look.view
                .update(|view| *view = view.dragged(moved).zoomed(factor, middle));
            return false;
        }
        pointers.dragged |= distance(pointers.start, now) > CLICK_PX;
        if pointers.dragged {
            let moved = [0, 1].map(|i| (now[i] - before[i]) / size[i]);
            look.view.update(|view| *view = view.dragged(moved));
        }
        !pointers.dragged
    });
    if hovering && !look.pinned.get_untracked() {
        look.cursor.set(pixel(state, at));
    }
}

fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// A finger or button goes up: without a drag it pins the pixel, or frees it. Gives the pixel that
/// was clicked.
pub fn release(state: State, event: &PointerEvent) -> Option<[u32; 2]> {
    let clicked = POINTERS.with_borrow_mut(|pointers| {
        let before = pointers.down.len();
        pointers.down.retain(|(id, _)| *id != event.pointer_id());
        before == 1 && pointers.down.is_empty() && !pointers.dragged
    });
    let at = place(event)?.0;
    if !clicked {
        return None;
    }
    let here = pixel(state, at)?;
    let look = state.look;
    let same = look.pinned.get_untracked() && look.cursor.get_untracked() == Some(here);
    look.pinned.set(!same);
    look.cursor.set(Some(here));
    Some(here)
}

/// The browser took the pointer away.
pub fn lose(event: &PointerEvent) {
    POINTERS.with_borrow_mut(|pointers| pointers.down.retain(|(id, _)| *id != event.pointer_id()));
}

/// The pointer left the pane.
pub fn leave(look: Look) {
    if !look.pinned.get_untracked() {
        look.cursor.set(None);
    }
}

/// The wheel enlarges about the pointer.
pub fn wheel(look: Look, event: &WheelEvent) {
    let Some((at, _)) = place(event) else {
        return;
    };
    let lines = if event.delta_mode() == 0 { 1.0 } else { 30.0 };
    let factor = (-event.delta_y() * lines / 400.0).exp();
    let before = look.view.get_untracked();
    let after = before.zoomed(factor, at);
    if after != before {
        // At the ends of the scale the page scrolls.
        event.prevent_default();
        look.view.set(after);
    }
}

/// Enlarges about the cursor when it is pinned, else about the middle.
pub fn zoom(state: State, factor: f64) {
    let look = state.look;
    let view = look.view.get_untracked();
    let cursor = look
        .cursor
        .get_untracked()
        .filter(|_| look.pinned.get_untracked());
    let about = cursor
        .and_then(|pixel| centre(state, pixel))
        .map(|at| view.to_frame(at))
        .filter(|at| at.iter().all(|v| (0.0..=1.0).contains(v)))
        .unwrap_or([0.5, 0.5]);
    look.view.set(view.zoomed(factor, about));
}

/// The middle of a pixel as a position in the tile.
pub fn centre(state: State, [x, y]: [u32; 2]) -> Option<[f64; 2]> {
    state.tiles.with_untracked(|tiles| {
        tiles.as_ref().map(|tiles| {
            [
                (f64::from(x) + 0.5) / f64::from(tiles.shown_width_px),
                (f64::from(y) + 0.5) / f64::from(tiles.shown_height_px),
            ]
        })
    })
}

/// Keys on a pane: plus, minus, arrows, 0; Shift with arrows moves the probe, Enter pins it.
pub fn key(state: State, event: &KeyboardEvent) {
    if event.ctrl_key() || event.alt_key() || event.meta_key() {
        return;
    }
    let look = state.look;
    let arrow = match event.key().as_str() {
        "ArrowLeft" => Some([-1, 0]),
        "ArrowRight" => Some([1, 0]),
        "ArrowUp" => Some([0, -1]),
        "ArrowDown" => Some([0, 1]),
        _ => None,
    };
    match (event.key().as_str(), arrow) {
        (_, Some(step)) if event.shift_key() => move_probe(state, step),
        (_, Some([x, y])) => {
            let moved = [-f64::from(x) * ARROW, -f64::from(y) * ARROW];
            look.view.update(|view| *view = view.dragged(moved));
        }
        ("+" | "=", _) => zoom(state, STEP),
        ("-" | "_", _) => zoom(state, 1.0 / STEP),
        ("0", _) => look.view.set(View::WHOLE),
        ("Enter" | " ", _) => {
            if look.cursor.get_untracked().is_none() {
                move_probe(state, [0, 0]);
            } else {
                look.pinned.update(|pinned| *pinned = !*pinned);
            }
        }
        ("Escape", _) => {
            look.pinned.set(false);
            look.cursor.set(None);
        }
        _ => return,
    }
    event.prevent_default();
}

/// Moves the probe by pixels, pins it, and keeps it in view. Without one it begins in the middle.
fn move_probe(state: State, [dx, dy]: [i32; 2]) {
    let size = state.tiles.with_untracked(|tiles| {
        tiles
            .as_ref()
            .map(|tiles| [tiles.shown_width_px, tiles.shown_height_px])
    });
    let Some([w, h]) = size.filter(|[w, h]| *w > 0 && *h > 0) else {
        return;
    };
    let look = state.look;
    let view = look.view.get_untracked();
    let start = look
        .cursor
        .get_untracked()
        .or_else(|| pixel(state, [0.5, 0.5]));
    let [x, y] = start.unwrap_or([w / 2, h / 2]);
    let moved = [
        x.saturating_add_signed(dx).min(w - 1),
        y.saturating_add_signed(dy).min(h - 1),
    ];
    look.pinned.set(true);
    look.cursor.set(Some(moved));
    if let Some(at) = centre(state, moved) {
        look.view.set(view.showing(at));
    }
}
