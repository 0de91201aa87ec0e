//! Transposed convolutions whose stride is their kernel.

use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::block::{Block, BlockEpilogue};
use super::launch::{Kernel, dims, grid, launch, output, to_f32};

/// `upsample.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Upsample(Block);

impl Kernel for Upsample {
    fn text(self) -> String {
        self.0.template().expand(include_str!("upsample.wgsl"))
    }

    fn teams(self) -> usize {
        self.0.teams()
    }
}

/// See [`crate::upsample`]; `residual` is present for [`BlockEpilogue::Add`].
pub(crate) fn upsample(
    x: CubeTensor,
    height: usize,
    weight: CubeTensor,
    bias: CubeTensor,
    (epilogue, residual): (BlockEpilogue, Option<CubeTensor>),
) -> CubeTensor {
    let ([n, cells, c], [_, o, k, _]) = (dims(&x), dims(&weight));
    let width = cells / height;
    let [x, weight, bias] = [x, weight, bias].map(|operand| into_contiguous(to_f32(operand)));
    let residual = residual.map(to_f32).map(into_contiguous);
    let repeat = residual
        .as_ref()
        .map_or(1, |residual| n / residual.meta.shape()[0].max(1));
    let (rows, columns) = (n * cells, o * k * k);
    let block = Block::new([rows, columns, c], false, Some(&bias), epilogue);
    let out = output(&x, &[n, o, k * height, k * width], block.dtype());
    let inputs = [x, weight, bias].into_iter().chain(residual).collect();
    let [y, z] = grid(rows.div_ceil(block.workgroup_rows()));
    let groups = [columns.div_ceil(block.workgroup_columns()), y, z];
    let sizes = [rows, c, columns, height, width, k, o, repeat];
    launch(Upsample(block), groups, inputs, &out, &sizes);
    out
}
