//! Fused, optical and SAR side by side: where they differ, and which is right.

use leptos::html::Canvas;
use leptos::prelude::*;

use crate::canvas::draw_rgba;
use crate::frame::Frame;
use crate::paint::{self, MaskStyle};
use crate::state::{Outcome, State};
use crate::words;

/// Three masks, kept up to date while this is open.
#[component]
pub fn Compare(state: State) -> impl IntoView {
    view! {
        <p class="fine">
            "The same classes from both sensors, from the optical tile alone and from SAR alone. "
            "Lay a cloud over the tile to see which mask changes."
        </p>
        {move || match state.compared.get() {
            Some(outcomes) => side_by_side(state, &outcomes).into_any(),
            None => view! { <p class="fine">"Computing…"</p> }.into_any(),
        }}
    }
}

fn side_by_side(state: State, outcomes: &[Outcome]) -> impl IntoView + use<> {
    let masks = outcomes
        .iter()
        .map(|outcome| {
            let outcome = outcome.clone();
            let name = words::modality(outcome.report.modality);
            let key = outcome.report.modality.name();
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
        let names = outcome.names();
        let style = MaskStyle {
            colours: state.colours(&names),
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
