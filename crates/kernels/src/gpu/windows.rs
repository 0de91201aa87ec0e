//! The windows of shifted-window attention.

use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::launch::{Kernel, dims, launch_each, output, to_f32};
use super::template::Template;

/// `cut_windows.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct CutWindows;

impl Kernel for CutWindows {
    fn text(self) -> String {
        Template::new().expand(include_str!("cut_windows.wgsl"))
    }
}

/// `join_windows.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct JoinWindows;

impl Kernel for JoinWindows {
    fn text(self) -> String {
        Template::new().expand(include_str!("join_windows.wgsl"))
    }
}

/// See [`crate::cut_windows`].
pub(crate) fn cut_windows(x: CubeTensor, grid: usize, shift: usize) -> CubeTensor {
    let x = into_contiguous(to_f32(x));
    let [maps, cells, width] = dims(&x);
    let out = output(&x, &[4 * maps, cells / 4, width], x.dtype);
    launch_each(CutWindows, vec![x], &out, &[width, grid, shift]);
    out
}

/// See [`crate::join_windows`].
pub(crate) fn join_windows(
    x: CubeTensor,
    residual: CubeTensor,
    grid: usize,
    shift: usize,
) -> CubeTensor {
    let inputs = [x, residual].map(|operand| into_contiguous(to_f32(operand)));
    let [maps, cells, width] = dims(&inputs[1]);
    let out = output(&inputs[1], &[maps, cells, width], inputs[1].dtype);
    launch_each(JoinWindows, inputs.into(), &out, &[width, grid, shift]);
    out
}
