//! The class list, which is the legend too: each class is a chip with its colour, its share of the
//! mask and its IoU where the truth is known. A chip can be renamed, hidden, shown alone, moved and
//! removed.

use leptos::ev;
use leptos::html::Input;
use leptos::prelude::*;
use mmovseg_protocol::MAX_CLASSES;
use mmovseg_raster::{PRESETS, Preset};
use wasm_bindgen::JsCast as _;
use web_sys::{DragEvent, HtmlElement, KeyboardEvent};

use crate::icons::{Icon, icon};
use crate::state::State;
use crate::words::{self, class_notes, css_colour, new_classes, percent};

/// What a run says about one class.
#[derive(Clone, Copy, PartialEq)]
struct Numbers {
    share: f64,
    iou: Option<f64>,
}

/// Chips, a field for more, and the lists to start from.
#[component]
pub fn Chips(state: State) -> impl IntoView {
    let dragged = RwSignal::new(None::<usize>);
    let chips = move || {
        let classes = state.classes.get();
        let colours = state.colours(&classes);
        (0..classes.len())
            .map(|index| {
                let notes = class_notes(&classes, index);
                chip(state, dragged, index, &classes, colours[index], notes)
            })
            .collect_view()
    };
    let mean = move || {
        state.outcome.with(|outcome| {
            let known: Vec<f64> = outcome
                .as_ref()?
                .report
                .classes
                .iter()
                .filter_map(|c| c.iou)
                .collect();
            let mean = known.iter().sum::<f64>() / known.len() as f64;
            (!known.is_empty()).then(|| format!("Mean IoU {}", percent(mean)))
        })
    };
    let unknown = move || {
        state.outcome.with(|outcome| {
            let named = outcome.as_ref()?.report.classes.iter();
            words::unknown(named.map(|class| (class.name.as_str(), class.unknown_words.as_slice())))
        })
    };
    view! {
        <section class="words" aria-label="Classes">
            <ul class="chips" data-testid="legend" aria-label="Classes: colour, name, share of the mask, IoU">{chips}</ul>
            <div class="row">
                <Add state />
                <PresetMenu state />
                {move || mean().map(|mean| {
                    view! { <span class="fine number" data-testid="mean-iou"
                        title="Intersection over union with the scene's ground truth">{mean}</span> }
                })}
                <span class="fine keys-hint">"Drag a chip, or Alt with the arrows, to reorder."</span>
            </div>
            {move || unknown().map(|text| view! { <p class="fine" role="note" data-testid="unknown-words">{text}</p> })}
        </section>
    }
}

/// The field for new class names.
#[component]
fn Add(state: State) -> impl IntoView {
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
        let left = MAX_CLASSES.saturating_sub(state.classes.with_untracked(Vec::len));
        if fresh.len() > left {
            state.report(
                "Too many classes",
                format!("{MAX_CLASSES} is the most for one run."),
                "Remove some first.",
            );
            return;
        }
        state.status.set(format!("Added {}.", fresh.join(", ")));
        state.classes.update(|classes| classes.extend(fresh));
        field.set_value("");
    };
    view! {
        <form
            class="add"
            on:submit=move |event| {
                event.prevent_default();
                add();
            }
        >
            <label>
                <span class="sr-only">"New class, or several separated by commas"</span>
                <input
                    type="text"
                    node_ref=field
                    data-testid="class-input"
                    placeholder="Add a class: airport, rice field"
                    autocomplete="off"
                    maxlength="400"
                />
            </label>
            <button type="submit" class="quiet" data-testid="class-add" aria-label="Add">{icon(Icon::Plus)}</button>
        </form>
    }
}

/// The class lists to start from.
#[component]
fn PresetMenu(state: State) -> impl IntoView {
    let choose = move |event| {
        let id = event_target_value(&event);
        if let Some(preset) = Preset::by_id(&id) {
            let names: Vec<_> = preset.classes.iter().map(|class| class.name).collect();
            state
                .status
                .set(format!("List {}: {}.", preset.title, names.join(", ")));
            state.classes.set(preset.prompts());
        }
    };
    let current = move || {
        state
            .classes
            .with(|classes| Preset::of(classes).map(|preset| preset.id))
    };
    view! {
        <label class="presets">
            <span class="sr-only">"List of classes"</span>
            <select data-testid="presets" on:change=choose>
                <option value="" selected=move || current().is_none()>"Own list"</option>
                {PRESETS
                    .iter()
                    .map(|preset| {
                        view! {
                            <option value=preset.id title=preset.about selected=move || current() == Some(preset.id)>
                                {preset.title}
                            </option>
                        }
                    })
                    .collect_view()}
            </select>
        </label>
    }
}

fn chip(
    state: State,
    dragged: RwSignal<Option<usize>>,
    index: usize,
    classes: &[String],
    colour: [u8; 3],
    notes: Vec<&'static str>,
) -> impl IntoView + use<> {
    let name = classes[index].clone();
    let rgb = colour.map(|channel| channel.to_string()).join(",");
    let others: Vec<String> = classes
        .iter()
        .filter(|other| **other != name)
        .cloned()
        .collect();
    let numbers = {
        let name = name.clone();
        Memo::new(move |_| {
            state.outcome.with(|outcome| {
                let classes = &outcome.as_ref()?.report.classes;
                let class = classes.iter().find(|class| class.name == name)?;
                Some(Numbers {
                    share: class.share,
                    iou: class.iou,
                })
            })
        })
    };
    let shown = {
        let name = name.clone();
        Memo::new(move |_| state.is_shown(&name))
    };
    let hidden = state.look.hidden;
    let alone = {
        let (name, others) = (name.clone(), others.clone());
        Memo::new(move |_| {
            hidden.with(|hidden| {
                !others.is_empty()
                    && !hidden.contains(&name)
                    && others.iter().all(|other| hidden.contains(other))
            })
        })
    };
    let toggle = {
        let name = name.clone();
        move |_| {
            hidden.update(|hidden| {
                if !hidden.remove(&name) {
                    hidden.insert(name.clone());
                }
            });
        }
    };
    let solo = {
        let name = name.clone();
        move |_| {
            let was_alone = alone.get_untracked();
            hidden.update(|hidden| {
                hidden.remove(&name);
                for other in &others {
                    if was_alone {
                        hidden.remove(other);
                    } else {
                        hidden.insert(other.clone());
                    }
                }
            });
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
    let drop = move |event: DragEvent| {
        // A file that is dropped here goes to the page.
        if let Some(from) = dragged.get_untracked() {
            event.prevent_default();
            event.stop_propagation();
            dragged.set(None);
            shift(state, from, index);
        }
    };
    let over = move |event: DragEvent| {
        if dragged.get_untracked().is_some() {
            event.prevent_default();
        }
    };
    let start = move |event: DragEvent| {
        dragged.set(Some(index));
        if let Some(data) = event.data_transfer() {
            // Firefox drags nothing without data.
            let _set = data.set_data("text/plain", "class");
        }
    };
    let keys = move |event: KeyboardEvent| {
        if !event.alt_key() {
            return;
        }
        let to = match event.key().as_str() {
            "ArrowLeft" | "ArrowUp" => index.checked_sub(1),
            "ArrowRight" | "ArrowDown" => Some(index + 1),
            _ => return,
        };
        event.prevent_default();
        if let Some(to) = to
            && shift(state, index, to)
        {
            focus_chip(to);
        }
    };
    let notes = notes
        .into_iter()
        .map(|note| view! { <span class="note">{note}</span> })
        .collect_view();
    let size = name.chars().count().clamp(3, 28).to_string();
    let share = move || {
        numbers
            .get()
            .map_or_else(|| "–".to_owned(), |n| percent(n.share))
    };
    let iou = move || {
        let iou = numbers.get()?.iou?;
        Some(
            view! { <span class="iou" data-testid="iou" title="Intersection over union">{format!("IoU {iou:.2}")}</span> },
        )
    };
    view! {
        <li
            class="chip"
            class:off=move || !shown.get()
            class:dragged=move || dragged.get() == Some(index)
            data-testid="class-chip"
            data-class=name.clone()
            data-colour=rgb
            data-share=move || numbers.get().map(|n| n.share.to_string())
            draggable="true"
            on:dragstart=start
            on:dragend=move |_| dragged.set(None)
            on:dragover=over
            on:drop=drop
            on:keydown=keys
        >
            <button
                type="button"
                class="swatch"
                data-testid="toggle"
                style:background-color=css_colour(colour)
                aria-label=format!("Show {name}")
                aria-pressed=move || shown.get().to_string()
                title="Show or hide"
                on:click=toggle
            ></button>
            <span class="chip-body">
                <span class="chip-name">
                    <input
                        type="text"
                        size=size
                        maxlength="100"
                        autocomplete="off"
                        aria-label=format!("Rename class {}", index + 1)
                        aria-keyshortcuts="Alt+ArrowLeft Alt+ArrowRight"
                        prop:value=name.clone()
                        on:change=move |event| rename(state, index, &event)
                    />
                    {notes}
                </span>
                <button
                    type="button"
                    class="numbers"
                    data-testid="solo"
                    aria-pressed=move || alone.get().to_string()
                    title="Show only this class"
                    on:click=solo
                >
                    <span class="sr-only">{format!("Show only {name}: ")}</span>
                    <span class="share">{share}</span>
                    {iou}
                </button>
            </span>
            <button type="button" class="remove" data-testid="chip-remove" aria-label=format!("Remove {name}") on:click=remove>
                {icon(Icon::Cross)}
            </button>
        </li>
    }
}

/// Moves a class to another place in the list; says whether there is such a place.
fn shift(state: State, from: usize, to: usize) -> bool {
    let count = state.classes.with_untracked(Vec::len);
    if from == to || from >= count || to >= count {
        return false;
    }
    state.classes.update(|classes| {
        let name = classes.remove(from);
        state
            .status
            .set(format!("Moved {name} to place {} of {count}.", to + 1));
        classes.insert(to, name);
    });
    true
}

/// Keeps the focus on a chip that was moved by keys, once it is drawn anew.
fn focus_chip(index: usize) {
    request_animation_frame(move || {
        let Ok(fields) = document().query_selector_all(".chip input") else {
            return;
        };
        let field = fields.get(u32::try_from(index).unwrap_or(u32::MAX));
        if let Some(field) = field.and_then(|field| field.dyn_into::<HtmlElement>().ok()) {
            // A focus that is refused stays where it was.
            let _focused = field.focus();
        }
    });
}

/// A class gets another name, unless that is empty or taken.
fn rename(state: State, index: usize, event: &ev::Event) {
    let typed = event_target_value(event);
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
            "needs a name"
        };
        state
            .status
            .set(format!("The old name was kept: a class {why}."));
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
