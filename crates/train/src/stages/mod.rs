//! The vision stages: what each one trains, on which samples, with which loss.

pub mod align;
pub mod optical;
pub mod pixels;
pub mod segment;
