//! The page in Chromium, driven as a person would.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod check;
mod common;
mod engine;
mod everyone;
mod failing;
mod first;
mod keep;
mod light;
mod live;
mod look;
mod teach;
