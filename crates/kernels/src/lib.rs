//! Fused operations of the network, with gradients where the network is trained on the CPU.
//!
//! The public functions (`ops`, re-exported here) take and return Burn tensors. Each dispatches on
//! the device of its operands:
//!
//! - CPU: loops vectorised with `pulp` and shared among threads with `rayon` (`cpu`), with backward
//!   passes;
//! - GPU: WGSL kernels (`gpu`), without gradients;
//! - GPU under automatic differentiation: the reference ([`reference`]).
//!
//! A [`reference`] implementation of each operation is composed of Burn's own operations. The tests
//! compare both other implementations with it.
//!
//! What follows a product, convolution or norm (activation, residual, group norm) is an
//! [`Epilogue`], applied before the result is written where the device has a kernel for it, and as
//! an operation of its own elsewhere.
//!
//! Reason for the crate: Burn computes attention as a dozen operations over `[N, heads, L, L]`
//! scores, each a pass over memory, and without autotuning (too slow in a browser) its matrix
//! products hold no register tiles. The measured effect of each part is in `docs/performance.md`.

mod activation;
mod backend;
mod bias;
#[cfg_attr(
    target_family = "wasm",
    allow(
        dead_code,
        unused_imports,
        reason = "the backward passes: a browser does not train"
    )
)]
mod cpu;
mod device;
mod epilogue;
#[cfg(feature = "gpu")]
mod gpu;
mod layout;
mod ops;
pub mod reference;
mod spin_guard;

pub use activation::Activation;
pub use bias::WindowBias;
pub use cpu::threads;
pub use device::{is_cpu_without_gradients, prepack, table_device};
pub use epilogue::{Epilogue, GroupNorm};
pub use ops::activation::{activate, activate_slice};
pub use ops::add::add;
pub use ops::attention::{attention, attention_packed};
pub use ops::classes::{class_attention, pool_classes, spread_classes};
pub use ops::conv::{conv, conv_upsampled};
pub use ops::linear::linear;
pub use ops::norm::{group_norm, layer_norm, unit};
pub use ops::patches::{patch_map, patches, upsample};
pub use ops::windows::{cut_windows, join_windows};
pub use spin_guard::SpinGuard;
