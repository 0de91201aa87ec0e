//! Fused, optical and SAR side by side: where they differ, and which is right.

use leptos::html::Canvas;
use leptos::prelude::*;
use mmovseg_raster::palette_for;

use crate::actions;
use crate::canvas::draw_rgba;
use crate::paint::{self, MaskStyle};
use crate::panes::Frame;
use crate::state::{Outcome, State};
use crate::words;

/// A switch, and three masks while it is on.
#[component]
pub fn Compare(state: State) -> impl IntoView {
    let toggle = move |event| {
        if event_target_checked(&event) {
            actions::compare(state);
        } else {
            state.comparing.set(false);
            state.compared.set(None);
        }
    };
    view! {
        <section class="card" aria-labelledby="compare-title">
            <h2 id="compare-title">"Compare the sensors"</h2>
            <p class="fine">
                "The same classes seen by both sensors, by the optical tile alone and by SAR alone. "
                "Pull a cloud over the tile and watch which mask holds."
            </p>
            <label class="check">
                <input type="checkbox" data-testid="compare"
                    disabled=move || state.tiles.with(Option::is_none)
                    prop:checked=move || state.comparing.get() on:change=toggle />
                <span>"Show all three"</span>
            </label>
            {move || state.compared.get().map(|outcomes| side_by_side(state, &outcomes))}
        </section>
    }
}

fn side_by_side(state: State, outcomes: &[Outcome]) -> impl IntoView + use<> {
    let masks = outcomes
        .iter()
        .map(|outcome| {
            let outcome = outcome.clone();
            let name = words::modality(outcome.report.modality);
            let key = words::modality_key(outcome.report.modality);
            let mean = mean_iou(&outcome);
            let known = outcome.report.classes.iter().any(|c| c.iou.is_some());
            view! {
                <figure class="pane" data-testid="compared" data-modality=key>
                    <figcaption>
                        {name}
                        {known.then(|| view! {
                            <span class="note" data-testid="compared-iou">{format!("mean IoU {}", words::percent(mean))}</span>
                        })}
                    </figcaption>
                    <Frame state label=name id="compared-frame">
                        <Mask state outcome />
                    </Frame>
                </figure>
            }
        })
        .collect_view();
    let differences = [(0, 1), (0, 2), (1, 2)]
        .iter()
        .filter_map(|&(a, b)| {
            let (a, b) = (outcomes.get(a)?, outcomes.get(b)?);
            let share = paint::difference(&a.labels, &b.labels);
            let names = [a, b].map(|o| words::modality(o.report.modality));
            Some(view! {
                <li data-testid="difference">
                    {format!("{} and {} differ on ", names[0], names[1])}
                    <b>{words::percent(share)}</b>
                    " of the pixels"
                </li>
            })
        })
        .collect_view();
    view! {
        <div class="panes">{masks}</div>
        <ul class="timings">{differences}</ul>
    }
}

fn mean_iou(outcome: &Outcome) -> f64 {
    let known: Vec<f64> = outcome
        .report
        .classes
        .iter()
        .filter_map(|c| c.iou)
        .collect();
    known.iter().sum::<f64>() / known.len().max(1) as f64
}

#[component]
fn Mask(state: State, outcome: Outcome) -> impl IntoView {
    let canvas = NodeRef::<Canvas>::new();
    let view = state.look.view;
    Effect::new(move || {
        let Some(canvas) = canvas.get() else {
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
            hatched: state.look.hatched.get(),
        };
        let (w, h) = (outcome.report.width_px, outcome.report.height_px);
        draw_rgba(
            &canvas,
            &paint::mask(&outcome.labels, w as usize, &style),
            w,
            h,
        );
    });
    view! {
        <canvas
            node_ref=canvas
            data-testid="compared-canvas"
            role="img"
            aria-label="Mask"
            width="1"
            height="1"
            style:transform=move || view.get().css()
        ></canvas>
    }
}
