//! Parts of the network that `cargo xtask bench` times beside PyTorch, onnxruntime and
//! onnxruntime-web, natively and in the browser.
//!
//! `mmovseg-bench write` fills a folder with the weights, inputs and configuration of each graph.
//! `reference.py` exports the same graphs for the other engines from that folder.

pub mod graphs;

#[cfg(target_arch = "wasm32")]
mod browser;
