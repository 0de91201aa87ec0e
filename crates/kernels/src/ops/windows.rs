//! The four windows of shifted-window attention.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::backend::FusedOps;
use crate::device::has_inference_kernels;
use crate::reference;

/// Cuts maps `[M, g², C]`, cyclically shifted by `-shift` rows and columns, into four windows each:
/// `[4 M, g² / 4, C]`. Windows and the cells of a window are row-major. `g` is even and `shift < g`
/// (docs/network.md, "Aggregator").
#[must_use]
pub fn cut_windows(x: Tensor<3>, grid: usize, shift: usize) -> Tensor<3> {
    if !has_inference_kernels(&x.device()) {
        return reference::cut_windows(x, grid, shift);
    }
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_cut_windows(
        x.into_dispatch(),
        grid,
        shift,
    ))
}

/// The inverse of [`cut_windows`], added to a residual: windows `x [4 M, g² / 4, C]` and
/// `residual [M, g², C]` to `[M, g², C]`.
#[must_use]
pub fn join_windows(x: Tensor<3>, residual: Tensor<3>, grid: usize, shift: usize) -> Tensor<3> {
    if !has_inference_kernels(&x.device()) {
        return reference::join_windows(x, residual, grid, shift);
    }
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_join_windows(
        x.into_dispatch(),
        residual.into_dispatch(),
        grid,
        shift,
    ))
}
