//! Similarity of all patches to the pinned one, within the optical tile and across to SAR.

use leptos::prelude::*;

use crate::frame::Frame;
use crate::stages::{HeatCanvas, scale};
use crate::state::{Alike as Found, State};

/// Two heat maps around the pinned place.
#[component]
pub fn Alike(state: State) -> impl IntoView {
    view! {
        <p class="fine">
            "Cosine of DINO's feature of the optical patch that you pin with the features of all patches, on the optical tile "
            "and across sensors on SAR. A model that fuses well finds the same ground on both."
        </p>
        {move || match state.panels.alike.get() {
            Some(found) => maps(state, &found).into_any(),
            None => view! { <p class="fine">"Click a place on any picture."</p> }.into_any(),
        }}
    }
}

fn maps(state: State, found: &Found) -> impl IntoView + use<> {
    let [x, y] = found.at.map(|v| format!("{:.0} %", v * 100.0));
    let panes = [("optical", "On the optical tile"), ("sar", "On the SAR tile")]
        .into_iter()
        .zip(found.maps.clone())
        .map(|((id, title), map)| {
            let colours = scale(&map, 0);
            view! {
                <figure class="pane" data-testid="alike-map" data-sensor=id>
                    <figcaption>{title}</figcaption>
                    <Frame state label=title id="alike-frame">
                        <HeatCanvas map=Signal::stored_local(Some(map)) class=Signal::stored(0) state=state />
                    </Frame>
                    {colours}
                </figure>
            }
        })
        .collect_view();
    view! {
        <p class="fine">{format!("Chosen place: {x} from the left, {y} from the top. Numbers are cosines.")}</p>
        <div class="panes">{panes}</div>
    }
}
