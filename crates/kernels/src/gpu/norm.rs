//! Norms.

use burn::tensor::DType;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::launch::{Kernel, LANES, dims, grid, is_half, launch, output, shape, to_f32};
use super::template::Template;
use crate::activation::Activation;

/// Threads of a row of [`layer_norm`] and [`unit`]. Rows are short: a workgroup takes several,
/// which share the cost of its barrier.
const ROW_THREADS: usize = 4;
/// Values of a piece of a long group.
const PIECE: usize = 4096;
/// Most pieces of a group: each workgroup of the second pass reads the sums of all.
const PIECES_MAX: usize = 64;

/// `layer_norm.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct LayerNorm {
    is_half: bool,
}

impl Kernel for LayerNorm {
    fn text(self) -> String {
        Template::new()
            .constant("THREADS", ROW_THREADS)
            .constant("RESULT", if self.is_half { "f16" } else { "f32" })
            .flag("F16", self.is_half)
            .expand(include_str!("layer_norm.wgsl"))
    }
}

/// `unit.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Unit;

impl Kernel for Unit {
    fn text(self) -> String {
        let template = Template::new().constant("THREADS", ROW_THREADS);
        template.expand(include_str!("unit.wgsl"))
    }
}

/// The kernels of the group norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum GroupNorm {
    /// `group_norm.wgsl`: a workgroup for each group.
    Whole(GroupEpilogue),
    /// `group_norm_sums.wgsl`: a workgroup for each piece of a group.
    Sums,
    /// `group_norm_apply.wgsl`: a workgroup for each piece of a group.
    Apply(GroupEpilogue),
}

/// `[residual +] f(y)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct GroupEpilogue {
    activation: Option<Activation>,
    has_residual: bool,
}

impl Kernel for GroupNorm {
    fn text(self) -> String {
        let with = |epilogue: GroupEpilogue| {
            Template::new()
                .activation(epilogue.activation)
                .flag("ADD", epilogue.has_residual)
        };
        match self {
            Self::Whole(epilogue) => with(epilogue).expand(include_str!("group_norm.wgsl")),
            Self::Sums => Template::new().expand(include_str!("group_norm_sums.wgsl")),
            Self::Apply(epilogue) => with(epilogue).expand(include_str!("group_norm_apply.wgsl")),
        }
    }
}

/// Over the last axis; in half precision where `gamma` is.
pub(crate) fn layer_norm(
    x: CubeTensor,
    gamma: CubeTensor,
    beta: CubeTensor,
    eps: f32,
) -> CubeTensor {
    let kernel = LayerNorm {
        is_half: is_half(&gamma),
    };
    let dtype = gamma.dtype;
    let operands = [to_f32(x), gamma, to_f32(beta)];
    rows(kernel, operands.into(), dtype, &[eps.to_bits() as usize])
}

/// Rows of the last axis at unit length; see [`crate::unit`].
pub(crate) fn unit(x: CubeTensor) -> CubeTensor {
    rows(Unit, vec![to_f32(x)], DType::F32, &[])
}

/// Runs a kernel for each row of the first operand; `sizes` are those after the number of rows and
/// their length.
fn rows(
    kernel: impl Kernel,
    operands: Vec<CubeTensor>,
    dtype: DType,
    sizes: &[usize],
) -> CubeTensor {
    let shape = shape(&operands[0]);
    let length = shape.last().copied().unwrap_or(1);
    let rows = shape.iter().product::<usize>() / length.max(1);
    let out = output(&operands[0], &shape, dtype);
    let inputs = operands.into_iter().map(into_contiguous).collect();
    let [x, y] = grid(rows.div_ceil(LANES / ROW_THREADS));
    let sizes: Vec<usize> = [rows, length].iter().chain(sizes).copied().collect();
    launch(kernel, [x, y, 1], inputs, &out, &sizes);
    out
}

/// `[residual +] f(norm(x))` of maps `[N, C, H, W]`.
pub(crate) fn group_norm(
    [x, gamma, beta]: [CubeTensor; 3],
    groups: usize,
    eps: f32,
    activation: Option<Activation>,
    residual: Option<CubeTensor>,
) -> CubeTensor {
    let [n, channels, h, w] = dims(&x);
    let (length, area, all) = (channels / groups * h * w, h * w, n * groups);
    let eps = eps.to_bits() as usize;
    let epilogue = GroupEpilogue {
        activation,
        has_residual: residual.is_some(),
    };
    let [x, gamma, beta] = [x, gamma, beta].map(|operand| into_contiguous(to_f32(operand)));
    let residual = residual.map(to_f32).map(into_contiguous);
    let out = output(&x, &[n, channels, h, w], DType::F32);
    if length <= 2 * PIECE {
        let inputs = [x, gamma, beta].into_iter().chain(residual).collect();
        let [columns, rows] = grid(all);
        let sizes = [all, length, area, channels, eps];
        let kernel = GroupNorm::Whole(epilogue);
        launch(kernel, [columns, rows, 1], inputs, &out, &sizes);
        return out;
    }
    // One workgroup for each long group would leave most of a GPU idle.
    let piece = PIECE.max(length.div_ceil(PIECES_MAX));
    let pieces = length.div_ceil(piece);
    let sums = output(&x, &[all, pieces, 2], DType::F32);
    let [y, z] = grid(all);
    let workgroups = [pieces, y, z];
    let sizes = [all, length, piece];
    launch(GroupNorm::Sums, workgroups, vec![x.clone()], &sums, &sizes);
    let inputs = [x, sums, gamma, beta].into_iter().chain(residual);
    let sizes = [all, length, piece, area, channels, eps];
    let kernel = GroupNorm::Apply(epilogue);
    launch(kernel, workgroups, inputs.collect(), &out, &sizes);
    out
}
