//! The public functions by family: each picks kernel or reference by the device of its operands.

pub mod activation;
pub mod add;
pub mod attention;
pub mod classes;
pub mod conv;
pub mod linear;
pub mod norm;
pub mod patches;
pub mod windows;
