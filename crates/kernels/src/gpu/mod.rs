//! The operations on a graphics card: WGSL written for them, launched through Burn's own runtime.
//!
//! All kernels have one shape. A workgroup is a row of [`LANES`] threads whose neighbours take neighbouring
//! columns, so that what differs between them is read in one piece; everything else (weights, keys, rows of the
//! left operand) is addressed by the workgroup and the loop alone, so that one read serves all its threads. A
//! thread holds a block of results in registers, and threads share nothing but in the norms: no barriers,
//! no workgroup memory to fit to each card, and a GPU that is emulated on a CPU fills its vector registers. Large
//! products put several such rows into a workgroup, which then find in the cache what one of them has read.
//!
//! Weights in half precision (f16) make a product read and write half numbers, and a norm with a gain in half
//! precision write them; attention takes and gives the numbers of its operands. All arithmetic is in f32.
//!
//! Indices never leave their buffers: the runtime has the driver's own checks switched off.

mod activation;
mod attention;
mod block;
mod classes;
mod conv;
mod matmul;
mod norm;
mod windows;

pub(crate) use activation::activate;
pub(crate) use attention::{attention, attention_packed, fits_attention};
pub(crate) use block::BlockEpilogue;
pub(crate) use classes::{class_attention, pool_classes, spread_classes};
pub(crate) use conv::{conv, patches};
pub(crate) use matmul::{linear, upsample};
pub(crate) use norm::{group_norm, layer_norm, unit};
pub(crate) use windows::{cut_windows, join_windows};

use std::fmt::Write;

use burn::tensor::DType;
use burn_cubecl::cubecl::prelude::{BufferIOAttr, CubeCount, CubeDim, ExecutionMode, KernelId};
use burn_cubecl::cubecl::server::{KernelArguments, MetadataBindingInfo};
use burn_cubecl::kernel::{cast, into_contiguous};
use burn_cubecl::ops::{numeric, permute, reshape};
use burn_cubecl::template::{KernelSource, SourceKernel, SourceTemplate};
use burn_cubecl::tensor::CubeTensor;

use crate::activation::Activation;
use crate::layout::CellLayout;

/// Threads of a row of a workgroup.
const LANES: usize = 32;
/// Most workgroups along one axis of a launch, WebGPU's limit.
const WORKGROUPS_MAX: usize = 65_535;

/// A kernel: what its text depends on. Each is compiled once a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Shader {
    Matmul(block::Block, matmul::To),
    Conv(block::Block, CellLayout),
    Patches(block::Block, CellLayout),
    Attention(attention::Attention),
    Norm(norm::Norm),
    Activation(Activation),
    Classes(classes::Classes),
    Windows(windows::Windows),
}

impl KernelSource for Shader {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(match self {
            Self::Matmul(block, to) => matmul::text(*block, *to),
            Self::Conv(block, cells) => conv::text(*block, *cells),
            Self::Patches(block, cells) => conv::patches_text(*block, *cells),
            Self::Attention(shader) => shader.text(),
            Self::Norm(shader) => shader.text(),
            Self::Activation(activation) => activation::text(*activation),
            Self::Classes(shader) => shader.text(),
            Self::Windows(shader) => shader.text(),
        })
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Self>()
            .info(*self)
            .cube_dim(self.cube_dim().0)
            // Its loops end by themselves.
            .mode(ExecutionMode::Unchecked)
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

impl Shader {
    /// Threads of a workgroup: a row, or a few.
    fn cube_dim(self) -> CubeDim {
        let rows = match self {
            Self::Matmul(block, _) | Self::Conv(block, _) | Self::Patches(block, _) => block.teams,
            _ => 1,
        };
        CubeDim::new_2d(LANES as u32, rows as u32)
    }
}

/// The head of a kernel's text with a row of threads a workgroup: its buffers in the order of [`launch`], and its
/// sizes, `sizes[i / 4][i % 4]`.
fn head(buffers: &[(&str, &str)], sizes: usize) -> String {
    team_head("", buffers, sizes, 1)
}

/// The same with `teams` rows of threads and what stands before it.
fn team_head(before: &str, buffers: &[(&str, &str)], sizes: usize, teams: usize) -> String {
    let mut text = String::new();
    if buffers.iter().any(|(_, of)| of.contains("f16")) {
        text += "enable f16;\n";
    }
    text += before;
    for (i, (name, of)) in buffers.iter().enumerate() {
        // Writable throughout: Burn keeps many tensors in one buffer, which must not be bound both ways.
        let _ = writeln!(
            text,
            "@group(0) @binding({i}) var<storage, read_write> {name}: array<{of}>;"
        );
    }
    let (binding, vectors) = (buffers.len(), sizes.div_ceil(4));
    let _ = writeln!(
        text,
        "@group(0) @binding({binding}) var<uniform> sizes: array<vec4<u32>, {vectors}>;\n\
         @compute @workgroup_size({LANES}, {teams}, 1)\n\
         fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, \
         @builtin(local_invocation_id) thread: vec3<u32>) {{\n\
         let lane = thread.x;"
    );
    text
}

/// Size `i` of a kernel in its text.
fn size(i: usize) -> String {
    format!("sizes[{}][{}]", i / 4, i % 4)
}

/// Runs a kernel over `groups` workgroups; it reads `inputs` and writes `output`.
fn launch(
    shader: Shader,
    groups: [usize; 3],
    inputs: Vec<CubeTensor>,
    output: &CubeTensor,
    sizes: &[usize],
) {
    debug_assert!(groups.iter().all(|&count| count <= WORKGROUPS_MAX));
    let client = output.client.clone();
    let mut words: Vec<u32> = sizes.iter().map(|&size| size as u32).collect();
    words.resize(sizes.len().next_multiple_of(4), 0);
    let words = words
        .chunks_exact(2)
        .map(|pair| u64::from(pair[0]) | u64::from(pair[1]) << 32)
        .collect();
    let mut arguments = KernelArguments::new();
    for input in inputs {
        arguments = arguments.with_buffer_io(input.handle.binding(), BufferIOAttr::ReadOnly);
    }
    let arguments = arguments
        .with_buffer_io(output.handle.clone().binding(), BufferIOAttr::WriteOnly)
        .with_info(MetadataBindingInfo::custom(words));
    let [x, y, z] = groups.map(|count| count as u32);
    client.launch(
        Box::new(SourceKernel::new(shader, shader.cube_dim())),
        CubeCount::Static(x, y, z),
        arguments,
    );
}

/// Values a thread of [`each_value`], [`LANES`] apart.
const EACH: usize = 4;

/// A kernel whose results are made one by one: `body` makes `results[at]`. The first of its sizes is their number.
fn each_value(buffers: &[(&str, &str)], sizes: usize, body: &str) -> String {
    let mut text = head(buffers, sizes);
    let _ = writeln!(
        text,
        "let count = {}; let first = (group.x + group.y * groups.x) * {}u + lane;\n\
         for (var i = 0u; i < {EACH}u; i += 1u) {{\n\
         let at = first + i * {LANES}u;\n\
         if (at < count) {{\n{body}\n}}\n}}\n}}",
        size(0),
        LANES * EACH,
    );
    text
}

/// Runs a kernel of [`each_value`]; `sizes` are those after the first.
fn launch_each(shader: Shader, inputs: Vec<CubeTensor>, out: &CubeTensor, sizes: &[usize]) {
    let count: usize = shape(out).iter().product();
    let [columns, rows] = grid(count.div_ceil(LANES * EACH));
    let sizes: Vec<usize> = [count].iter().chain(sizes).copied().collect();
    launch(shader, [columns, rows, 1], inputs, out, &sizes);
}

/// Workgroups for `count` pieces of work as a grid whose rows are not too long.
fn grid(count: usize) -> [usize; 2] {
    let rows = count.div_ceil(WORKGROUPS_MAX).max(1);
    [count.div_ceil(rows), rows]
}

/// An output of `shape` beside `like`, in row-major order and in numbers of `dtype`.
fn output(like: &CubeTensor, shape: &[usize], dtype: DType) -> CubeTensor {
    numeric::empty_device_contiguous_dtype(
        like.client.clone(),
        like.device.clone(),
        shape.into(),
        dtype,
    )
}

/// Whether values are in half precision.
fn is_half(tensor: &CubeTensor) -> bool {
    tensor.dtype == DType::F16
}

/// The same values in f32.
fn full(tensor: CubeTensor) -> CubeTensor {
    as_numbers(tensor, DType::F32)
}

/// The same values in numbers of `dtype`.
fn as_numbers(tensor: CubeTensor, dtype: DType) -> CubeTensor {
    if tensor.dtype == dtype {
        tensor
    } else {
        cast(tensor, dtype)
    }
}

fn dims<const D: usize>(tensor: &CubeTensor) -> [usize; D] {
    std::array::from_fn(|axis| tensor.meta.shape()[axis])
}

fn shape(tensor: &CubeTensor) -> Vec<usize> {
    tensor.meta.shape().iter().copied().collect()
}

fn view(tensor: CubeTensor, shape: &[usize]) -> CubeTensor {
    reshape(tensor, shape.into())
}
