//! The stages of the model as heat maps, for the class under the cursor or a chosen one.

use leptos::html::Canvas;
use leptos::prelude::*;

use crate::canvas::draw_rgba;
use crate::frame::Frame;
use crate::paint::{heat, heat_colour, range};
use crate::state::{Explanation, Maps, State};
use crate::words::stage_map;

/// The stepper.
#[component]
pub fn Stages(state: State) -> impl IntoView {
    move || {
        match state.panels.explained.get() {
        Some(explanation) => stepper(state, explanation).into_any(),
        None => {
            view! { <p class="fine">"The stages of a run, from class names and features to the mask, appear here."</p> }
                .into_any()
        }
    }
    }
}

/// Index of the class whose maps are shown.
fn class_index(state: State, classes: &[String]) -> usize {
    if let Some(chosen) = state.panels.class.get() {
        return classes.iter().position(|name| *name == chosen).unwrap_or(0);
    }
    let under = state.look.cursor.get().and_then(|[x, y]| {
        state.outcome.with(|outcome| {
            let outcome = outcome.as_ref()?;
            let label = outcome
                .labels
                .get(y as usize * outcome.report.width_px as usize + x as usize)?;
            let name = &outcome.report.classes.get(usize::from(*label))?.name;
            classes.iter().position(|other| other == name)
        })
    });
    under.unwrap_or(0)
}

fn stepper(state: State, explanation: Explanation) -> impl IntoView {
    let panels = state.panels;
    let count = explanation.stages.len();
    let classes = explanation.classes.clone();
    let stages = StoredValue::new_local(explanation.stages);
    let names = StoredValue::new(classes.clone());
    let class = Memo::new(move |_| names.with_value(|names| class_index(state, names)));
    let current = move || panels.stage.get().min(count.saturating_sub(1));
    let map = move || stages.with_value(|stages| stages.get(current()).cloned());
    let words = move || map().map(|map| stage_map(&map.name)).unwrap_or_default();
    let options = classes
        .iter()
        .map(|name| {
            let chosen = name.clone();
            view! {
                <option value=name.clone() selected=move || panels.class.get().as_ref() == Some(&chosen)>
                    {name.clone()}
                </option>
            }
        })
        .collect_view();
    let choose = move |event| {
        let value = event_target_value(&event);
        panels.class.set((!value.is_empty()).then_some(value));
    };
    let class_name =
        move || names.with_value(|names| names.get(class.get()).cloned().unwrap_or_default());
    let thumbs = (0..count)
        .map(|index| {
            let map = stages.with_value(|stages| stages.get(index).cloned());
            map.map(|map| {
                let (title, key) = (stage_map(&map.name).0, map.name.clone());
                view! {
                    <li>
                        <button
                            type="button"
                            class="thumb"
                            data-testid="stage"
                            data-stage=key
                            aria-pressed=move || (current() == index).to_string()
                            on:click=move |_| panels.stage.set(index)
                        >
                            <HeatCanvas map=Signal::stored_local(Some(map)) class />
                            <span>{format!("{}. {title}", index + 1)}</span>
                        </button>
                    </li>
                }
            })
        })
        .collect_view();
    let step = move |by: isize| {
        panels.stage.set(
            current()
                .saturating_add_signed(by)
                .min(count.saturating_sub(1)),
        );
    };
    let (first, last) = (move || current() == 0, move || current() + 1 >= count);
    view! {
        <div class="row">
            <button type="button" class="quiet" data-testid="stage-back" disabled=first
                on:click=move |_| step(-1)>"Back"</button>
            <button type="button" class="quiet" data-testid="stage-next" disabled=last
                on:click=move |_| step(1)>"Next"</button>
            <label class="slider grow">
                <span>"Class"</span>
                <select data-testid="stage-class" on:change=choose>
                    <option value="" selected=move || panels.class.get().is_none()>"Under the pointer"</option>
                    {options}
                </select>
            </label>
        </div>
        <div class="stage">
            <Frame state label="Map of the stage" id="stage-frame">
                <HeatCanvas map=Signal::derive_local(map) class state=state />
            </Frame>
            <div class="about" role="status">
                <h3 data-testid="stage-title">{move || words().0}</h3>
                <p>{move || words().1}</p>
                <p class="fine" data-testid="stage-class-name">"Class: " <b>{class_name}</b></p>
                {move || map().map(|map| scale(&map, class.get()))}
            </div>
        </div>
        <ol class="thumbs" aria-label="Stages">{thumbs}</ol>
    }
}

/// The numbers of one class.
fn plane(map: &Maps, class: usize) -> &[f32] {
    let area = (map.side_px[0] * map.side_px[1]) as usize;
    map.values
        .get(class * area..(class + 1) * area)
        .unwrap_or_default()
}

/// What the colours of a heat map mean.
pub fn scale(map: &Maps, class: usize) -> impl IntoView + use<> {
    let (low, high) = range(plane(map, class));
    let steps = (0..24)
        .map(|i| {
            let [r, g, b] = heat_colour(i as f32 / 23.0);
            view! { <span style:background-color=format!("rgb({r} {g} {b})")></span> }
        })
        .collect_view();
    view! {
        <p class="scale fine">
            <span>{format!("{low:.2}")}</span>
            <span class="ramp" aria-hidden="true">{steps}</span>
            <span>{format!("{high:.2}")}</span>
        </p>
    }
}

/// A map's canvas. With a state it moves with the shared window.
#[component]
pub fn HeatCanvas(
    map: Signal<Option<Maps>, LocalStorage>,
    #[prop(into)] class: Signal<usize>,
    #[prop(optional)] state: Option<State>,
) -> impl IntoView {
    let canvas = NodeRef::<Canvas>::new();
    Effect::new(move || {
        let (Some(canvas), Some(map)) = (canvas.get(), map.get()) else {
            return;
        };
        let values = plane(&map, class.get());
        let (low, high) = range(values);
        let [rows, columns] = map.side_px;
        draw_rgba(&canvas, &heat(values, low, high), columns, rows);
    });
    let transform = move || state.map(|state| state.look.view.get().css());
    view! {
        <canvas
            node_ref=canvas
            data-testid="heat"
            role="img"
            aria-label="Heat map"
            width="1"
            height="1"
            style:transform=transform
        ></canvas>
    }
}
