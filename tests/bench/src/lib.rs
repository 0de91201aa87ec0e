//! Parts of the network that other engines can run too, on inputs of their own: what `cargo xtask bench`
//! times natively and in the browser.
//!
//! A graph's weights, inputs and sizes lie in one folder that [`graphs::Graph::write`] fills; the same
//! folder is what `reference.py` makes the other engines' graphs from.

pub mod graphs;

#[cfg(target_arch = "wasm32")]
mod browser;
