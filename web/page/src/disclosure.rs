//! A card that opens and closes, and knows whether it is open.

use leptos::html::Details;
use leptos::prelude::*;

/// A titled card around `children`.
#[component]
pub fn Disclosure(
    /// Its `data-testid`.
    id: &'static str,
    /// Heading.
    title: &'static str,
    /// Whether it is open.
    open: RwSignal<bool>,
    /// What it holds.
    children: Children,
) -> impl IntoView {
    let node = NodeRef::<Details>::new();
    let toggled = move |_| {
        if let Some(details) = node.get_untracked() {
            let now = details.open();
            if now != open.get_untracked() {
                open.set(now);
            }
        }
    };
    view! {
        <details class="card" data-testid=id node_ref=node prop:open=open on:toggle=toggled>
            <summary><h2>{title}</h2></summary>
            <div class="inside">{children()}</div>
        </details>
    }
}
