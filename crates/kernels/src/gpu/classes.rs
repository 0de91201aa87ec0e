//! Operations across the classes of a cost volume.

use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::launch::{Kernel, LANES, dims, grid, launch, launch_each, output, to_f32};
use super::template::Template;

/// `class_attention.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ClassAttention {
    /// Channels of a head.
    depth: usize,
}

impl Kernel for ClassAttention {
    fn text(self) -> String {
        let template = Template::new().constant("DEPTH", self.depth);
        template.expand(include_str!("class_attention.wgsl"))
    }
}

/// `pool_classes.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct PoolClasses;

impl Kernel for PoolClasses {
    fn text(self) -> String {
        Template::new().expand(include_str!("pool_classes.wgsl"))
    }
}

/// `spread_classes.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct SpreadClasses;

impl Kernel for SpreadClasses {
    fn text(self) -> String {
        Template::new().expand(include_str!("spread_classes.wgsl"))
    }
}

/// See [`crate::class_attention`].
pub(crate) fn class_attention(
    qkv: [CubeTensor; 3],
    guidance: [CubeTensor; 2],
    pads: [CubeTensor; 2],
    pad_count: f32,
    heads: usize,
) -> CubeTensor {
    let [places, classes, width] = dims(&qkv[0]);
    let inputs = qkv.into_iter().chain(guidance).chain(pads);
    let inputs: Vec<CubeTensor> = inputs.map(to_f32).map(into_contiguous).collect();
    let out = output(&inputs[0], &[places, classes, width], inputs[0].dtype);
    let kernel = ClassAttention {
        depth: width / heads,
    };
    let [y, z] = grid(places);
    let groups = [width.div_ceil(LANES), y, z];
    let sizes = [places, classes, width, pad_count.to_bits() as usize];
    launch(kernel, groups, inputs, &out, &sizes);
    out
}

/// See [`crate::pool_classes`].
pub(crate) fn pool_classes(x: CubeTensor, pairs: usize, grid: usize) -> CubeTensor {
    let x = into_contiguous(to_f32(x));
    let [sequences, _, width] = dims(&x);
    let (classes, half) = (sequences / pairs.max(1), grid / 2);
    let out = output(&x, &[pairs * half * half, classes, width], x.dtype);
    launch_each(PoolClasses, vec![x], &out, &[classes, width, grid]);
    out
}

/// See [`crate::spread_classes`].
pub(crate) fn spread_classes(x: CubeTensor, residual: CubeTensor, grid: usize) -> CubeTensor {
    let [x, residual] = [x, residual].map(|operand| into_contiguous(to_f32(operand)));
    let [_, classes, width] = dims(&x);
    let out = output(&residual, &dims::<3>(&residual), residual.dtype);
    let sizes = [classes, width, grid];
    launch_each(SpreadClasses, vec![x, residual], &out, &sizes);
    out
}
