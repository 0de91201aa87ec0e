//! Linear layers.

use burn::tensor::DType;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::permute;
use burn_cubecl::tensor::CubeTensor;

use super::block::{Block, BlockEpilogue};
use super::launch::{Kernel, dims, grid, is_half, launch, output, shape, to_dtype, to_f32, view};

/// `linear.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Linear(Block);

impl Kernel for Linear {
    fn text(self) -> String {
        self.0.template().expand(include_str!("linear.wgsl"))
    }

    fn teams(self) -> usize {
        self.0.teams()
    }
}

/// See [`crate::linear`]; `residual` is present for [`BlockEpilogue::Add`]. In half precision where
/// the weight is and the width is even; a sum with a residual is in f32. A weight whose columns are
/// contiguous (`prepack`) is not copied.
pub(crate) fn linear(
    x: CubeTensor,
    weight: CubeTensor,
    bias: Option<CubeTensor>,
    (epilogue, residual): (BlockEpilogue, Option<CubeTensor>),
) -> CubeTensor {
    let mut shape = shape(&x);
    let [width, depth] = dims(&weight);
    let height = shape.iter().product::<usize>() / depth.max(1);
    // Pairs of columns are read in half precision.
    let dtype = if width.is_multiple_of(2) {
        weight.dtype
    } else {
        DType::F32
    };
    let right = to_dtype(into_contiguous(permute(weight, &[1, 0])), dtype);
    let left = to_dtype(view(into_contiguous(x), &[height, depth]), dtype);
    let first = |shape: &[usize]| shape.first().copied().unwrap_or(1).max(1);
    let repeat = residual
        .as_ref()
        .map_or(1, |residual| first(&shape) / first(residual.meta.shape()));
    let run = (height / first(&shape)).max(1);
    let [bias, residual] = [bias, residual].map(|operand| operand.map(to_f32).map(into_contiguous));
    let block = Block::new(
        [height, width, depth],
        is_half(&right),
        bias.as_ref(),
        epilogue,
    );
    let out = output(&left, &[height, width], block.dtype());
    let inputs = [left, right].into_iter().chain(bias).chain(residual);
    let [y, z] = grid(height.div_ceil(block.workgroup_rows()));
    let groups = [width.div_ceil(block.workgroup_columns()), y, z];
    let sizes = [height, depth, width, run, repeat];
    launch(Linear(block), groups, inputs.collect(), &out, &sizes);
    if let Some(last) = shape.last_mut() {
        *last = width;
    }
    view(out, &shape)
}
