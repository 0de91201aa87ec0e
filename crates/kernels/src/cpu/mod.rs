//! The operations on the CPU, forward and backward: loops that `pulp` compiles for the widest
//! registers of the machine, shared among threads with `rayon`.

mod activation;
mod add;
mod attention;
mod attention_narrow;
mod bands;
mod classes;
mod conv;
mod conv_direct;
mod conv_shape;
mod conv_upsampled;
mod conv_winograd;
mod gemm;
mod gemm_few_rows;
mod linear;
mod math;
mod memory;
mod norm;
mod parallel;
mod patches;
mod simd;
mod softmax;
mod windows;

pub(crate) use activation::{activate, activate_backward, activate_slice};
pub(crate) use add::add;
pub(crate) use attention::{attention, attention_backward};
pub(crate) use classes::{class_attention, pool_classes, spread_classes};
pub(crate) use conv::{ConvEpilogue, conv, conv_backward};
pub(crate) use conv_upsampled::conv_upsampled;
pub(crate) use linear::{linear, linear_add, linear_backward};
pub(crate) use norm::{Norm, group_norm, group_norm_backward, layer_norm, layer_norm_backward};
pub use parallel::threads;
pub(crate) use patches::{patches, patches_backward, upsample, upsample_backward};
pub(crate) use softmax::SoftmaxRow;
pub(crate) use windows::{cut_windows, join_windows};
