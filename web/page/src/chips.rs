//! The class names: each a chip that can be renamed, moved or removed, a field to add more, and presets.

use leptos::html::Input;
use leptos::prelude::*;
use mmovseg_protocol::MAX_CLASSES;
use mmovseg_raster::{PRESETS, palette_for};

use crate::state::State;
use crate::words::{class_notes, new_classes};

/// A colour of the palette in CSS.
pub fn css_colour([r, g, b]: [u8; 3]) -> String {
    format!("rgb({r} {g} {b})")
}

/// The editor.
#[component]
pub fn Chips(state: State) -> impl IntoView {
    let field = NodeRef::<Input>::new();
    let add = move || {
        let Some(field) = field.get_untracked() else {
            return;
        };
        let typed = field.value();
        let fresh = state
            .classes
            .with_untracked(|present| new_classes(&typed, present));
        if fresh.is_empty() {
            if !typed.trim().is_empty() {
                state
                    .status
                    .set(format!("“{}” is in the list already.", typed.trim()));
            }
            return;
        }
        let room = MAX_CLASSES.saturating_sub(state.classes.with_untracked(Vec::len));
        if fresh.len() > room {
            state.report(
                "Too many classes",
                format!("{MAX_CLASSES} is the most one run can tell apart."),
                "Remove some first.",
            );
            return;
        }
        state.status.set(format!("Added {}.", fresh.join(", ")));
        state.classes.update(|classes| classes.extend(fresh));
        field.set_value("");
    };
    let chips = move || {
        let classes = state.classes.get();
        let colours = palette_for(&classes);
        let notes: Vec<_> = (0..classes.len())
            .map(|index| class_notes(&classes, index))
            .collect();
        classes
            .into_iter()
            .zip(colours)
            .zip(notes)
            .enumerate()
            .map(|(index, ((name, colour), notes))| {
                chip(state, index, name, css_colour(colour), &notes)
            })
            .collect_view()
    };
    view! {
        <section class="card" aria-labelledby="classes-title">
            <h2 id="classes-title">"Classes"</h2>
            <div class="presets" role="group" aria-label="Presets">
                {PRESETS
                    .iter()
                    .map(|preset| {
                        let set = move |_| {
                            let names: Vec<_> = preset.classes.iter().map(|class| class.name).collect();
                            state.status.set(format!("Preset {}: {}.", preset.title, names.join(", ")));
                            state.classes.set(preset.prompts());
                        };
                        view! {
                            <button
                                type="button"
                                class="quiet"
                                data-testid="preset"
                                data-preset=preset.id
                                title=preset.about
                                on:click=set
                            >
                                {preset.title}
                            </button>
                        }
                    })
                    .collect_view()}
            </div>
            <ul class="chips" aria-label="Class names">{chips}</ul>
            <form
                class="row"
                on:submit=move |event| {
                    event.prevent_default();
                    add();
                }
            >
                <label class="grow">
                    <span class="sr-only">"New class, or several separated by commas"</span>
                    <input
                        type="text"
                        node_ref=field
                        data-testid="class-input"
                        placeholder="airport, rice field"
                        autocomplete="off"
                        maxlength="400"
                    />
                </label>
                <button type="submit" data-testid="class-add">"Add"</button>
            </form>
        </section>
    }
}

fn chip(
    state: State,
    index: usize,
    name: String,
    colour: String,
    notes: &[&'static str],
) -> impl IntoView + use<> {
    let rename = {
        let old = name.clone();
        move |event: leptos::ev::Event| {
            let typed = event_target_value(&event);
            let typed = typed.trim().to_owned();
            let taken = state.classes.with_untracked(|classes| {
                let same = |(at, other): (usize, &String)| {
                    at != index && other.to_lowercase() == typed.to_lowercase()
                };
                classes.iter().enumerate().any(same)
            });
            if typed.is_empty() || taken {
                let why = if taken {
                    "is in the list already"
                } else {
                    "needs a word"
                };
                state
                    .status
                    .set(format!("“{old}” was kept: a class {why}."));
                // Shows the old name again.
                state.classes.notify();
            } else {
                state.classes.update(|classes| {
                    if let Some(slot) = classes.get_mut(index) {
                        *slot = typed;
                    }
                });
            }
        }
    };
    let remove = {
        let name = name.clone();
        move |_| {
            state.classes.update(|classes| {
                if index < classes.len() {
                    classes.remove(index);
                }
            });
            state.status.set(format!("Removed {name}."));
        }
    };
    let shift = move |by: isize| {
        state.classes.update(|classes| {
            let to = index.saturating_add_signed(by);
            if index < classes.len() && to < classes.len() {
                classes.swap(index, to);
            }
        });
    };
    let notes = notes
        .iter()
        .map(|&note| view! { <span class="note">{note}</span> })
        .collect_view();
    let size = name.chars().count().clamp(3, 28).to_string();
    view! {
        <li class="chip" data-testid="class-chip" data-class=name.clone()>
            <span class="swatch" style:background-color=colour aria-hidden="true"></span>
            <input
                type="text"
                size=size
                maxlength="100"
                autocomplete="off"
                aria-label=format!("Rename class {}", index + 1)
                prop:value=name.clone()
                on:change=rename
            />
            {notes}
            <button
                type="button"
                class="icon"
                data-testid="chip-back"
                aria-label=format!("Move {name} back")
                disabled=index == 0
                on:click=move |_| shift(-1)
            >
                "‹"
            </button>
            <button
                type="button"
                class="icon"
                data-testid="chip-on"
                aria-label=format!("Move {name} on")
                disabled=move || state.classes.with(|classes| index + 1 >= classes.len())
                on:click=move |_| shift(1)
            >
                "›"
            </button>
            <button
                type="button"
                class="icon"
                data-testid="chip-remove"
                aria-label=format!("Remove {name}")
                on:click=remove
            >
                "×"
            </button>
        </li>
    }
}
