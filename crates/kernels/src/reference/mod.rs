//! Reference implementations: each operation composed of Burn's own operations, on every device and
//! with Burn's gradients. The tests compare the kernels with them, and training on a GPU runs them.
//!
//! A file here has the name of the WGSL kernel in `gpu` that it is the reference of.

mod activation;
mod attention;
mod class_attention;
mod conv;
mod cut_windows;
mod epilogue;
mod group_norm;
mod join_windows;
mod layer_norm;
mod linear;
mod patches;
mod pool_classes;
mod spread_classes;
mod unit;
mod upsample;

pub use activation::activate;
pub use attention::attention;
pub use class_attention::class_attention;
pub use conv::conv;
pub use cut_windows::cut_windows;
pub use epilogue::apply_epilogue;
pub use group_norm::group_norm;
pub use join_windows::join_windows;
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use patches::{patch_map, patches};
pub use pool_classes::pool_classes;
pub(crate) use spread_classes::corners;
pub use spread_classes::spread_classes;
pub use unit::unit;
pub use upsample::upsample;
