//! Convolutions of stride 1, and those whose stride is their kernel.

use burn::tensor::DType;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::permute;
use burn_cubecl::tensor::CubeTensor;

use super::block::{Block, BlockEpilogue};
use super::launch::{Kernel, dims, launch, output, to_f32};
use crate::layout::CellLayout;

/// `conv.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Conv(Block, CellLayout);

impl Kernel for Conv {
    fn text(self) -> String {
        let template = self
            .0
            .template()
            .flag("TOKENS", self.1 == CellLayout::Tokens);
        template.expand(include_str!("conv.wgsl"))
    }

    fn teams(self) -> usize {
        self.0.teams()
    }
}

/// `patches.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Patches(Block, CellLayout);

impl Kernel for Patches {
    fn text(self) -> String {
        let template = self
            .0
            .template()
            .flag("TOKENS", self.1 == CellLayout::Tokens);
        template.expand(include_str!("patches.wgsl"))
    }

    fn teams(self) -> usize {
        self.0.teams()
    }
}

/// See [`crate::conv`]; `residual` is present for [`BlockEpilogue::Add`].
pub(crate) fn conv(
    x: CubeTensor,
    weight: CubeTensor,
    bias: Option<CubeTensor>,
    epilogue: (BlockEpilogue, Option<CubeTensor>),
) -> CubeTensor {
    conv_as(x, weight, bias, epilogue, CellLayout::Map)
}

/// [`conv`] with results of a layout.
fn conv_as(
    x: CubeTensor,
    weight: CubeTensor,
    bias: Option<CubeTensor>,
    (epilogue, residual): (BlockEpilogue, Option<CubeTensor>),
    layout: CellLayout,
) -> CubeTensor {
    let ([n, c, h, w], [o, _, k, _]) = (dims(&x), dims(&weight));
    let block = Block::new([o, h * w, c], false, bias.as_ref(), epilogue);
    let repeat = repeat(n, residual.as_ref());
    // No copy of a weight in this order already (`prepack`).
    let weight = permute(weight, &[0, 2, 3, 1]);
    let inputs = operands(weight, x, bias, residual);
    let out = cells(&inputs[0], layout, [n, o, h, w]);
    let groups = groups(block, [o, h * w, n]);
    let sizes = [c, o, h, w, k, repeat];
    launch(Conv(block, layout), groups, inputs, &out, &sizes);
    out
}

/// See [`crate::patches`]; `residual` is present for [`BlockEpilogue::Add`].
pub(crate) fn patches(
    x: CubeTensor,
    weight: CubeTensor,
    bias: Option<CubeTensor>,
    layout: CellLayout,
    (epilogue, residual): (BlockEpilogue, Option<CubeTensor>),
) -> CubeTensor {
    let ([n, c, h, w], [o, _, k, _]) = (dims(&x), dims(&weight));
    if k == 1 {
        return conv_as(x, weight, bias, (epilogue, residual), layout);
    }
    let [height, width] = [h, w].map(|side| side / k);
    let block = Block::new([o, height * width, k * k], false, bias.as_ref(), epilogue);
    let repeat = repeat(n, residual.as_ref());
    let inputs = operands(weight, x, bias, residual);
    let out = cells(&inputs[0], layout, [n, o, height, width]);
    let groups = groups(block, [o, height * width, n]);
    let sizes = [c, o, height, width, k, repeat];
    launch(Patches(block, layout), groups, inputs, &out, &sizes);
    out
}

/// Images for each image of a residual.
fn repeat(images: usize, residual: Option<&CubeTensor>) -> usize {
    residual.map_or(1, |residual| images / residual.meta.shape()[0].max(1))
}

/// The operands in the order of the bindings, contiguous and in f32.
fn operands(
    weight: CubeTensor,
    x: CubeTensor,
    bias: Option<CubeTensor>,
    residual: Option<CubeTensor>,
) -> Vec<CubeTensor> {
    let all = [weight, x].into_iter().chain(bias).chain(residual);
    all.map(to_f32).map(into_contiguous).collect()
}

/// A new tensor for `N` grids of cells.
fn cells(like: &CubeTensor, layout: CellLayout, [n, o, h, w]: [usize; 4]) -> CubeTensor {
    match layout {
        CellLayout::Map => output(like, &[n, o, h, w], DType::F32),
        CellLayout::Tokens => output(like, &[n, h * w, o], DType::F32),
    }
}

/// Workgroups for so many channels, pixels and images.
fn groups(block: Block, [channels, pixels, images]: [usize; 3]) -> [usize; 3] {
    [
        pixels.div_ceil(block.workgroup_columns()),
        channels.div_ceil(block.workgroup_rows()),
        images,
    ]
}
