//! Launching a WGSL kernel through Burn's own runtime, and its operands and results.

use std::fmt::Debug;
use std::hash::Hash;

use burn::tensor::DType;
use burn_cubecl::cubecl::prelude::{BufferIOAttr, CubeCount, CubeDim, ExecutionMode, KernelId};
use burn_cubecl::cubecl::server::{KernelArguments, MetadataBindingInfo};
use burn_cubecl::kernel::cast;
use burn_cubecl::ops::{numeric, reshape};
use burn_cubecl::template::{KernelSource, SourceKernel, SourceTemplate};
use burn_cubecl::tensor::CubeTensor;

/// Threads of a row of a workgroup.
pub(super) const LANES: usize = 32;
/// WebGPU's limit of workgroups along one axis of a launch.
const WORKGROUPS_MAX: usize = 65_535;
/// Values of a thread of `each_value.wgsl`, [`LANES`] apart.
pub(super) const VALUES: usize = 4;

/// A kernel: everything that its text depends on. It is compiled once per device and value.
pub(super) trait Kernel: Copy + Debug + Eq + Hash + Send + Sync + 'static {
    /// Its WGSL text. Bindings: the inputs, the output, then a uniform of sizes.
    fn text(self) -> String;

    /// Rows of [`LANES`] threads of a workgroup.
    fn teams(self) -> usize {
        1
    }
}

/// A [`Kernel`] for Burn's runtime.
struct Source<K>(K);

impl<K: Kernel> Source<K> {
    fn cube_dim(&self) -> CubeDim {
        CubeDim::new_2d(LANES as u32, self.0.teams() as u32)
    }
}

impl<K: Kernel> KernelSource for Source<K> {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(self.0.text())
    }

    fn id(&self) -> KernelId {
        KernelId::new::<Self>()
            .info(self.0)
            .cube_dim(self.cube_dim().0)
            // Without checks of indices and loops: all indices are clamped, and all loops end.
            .mode(ExecutionMode::Unchecked)
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

/// Runs a kernel over `groups` workgroups. `sizes` are the members of its uniform; one that is an
/// `f32` there is passed as its bits.
pub(super) fn launch(
    kernel: impl Kernel,
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
    let source = Source(kernel);
    let cube_dim = source.cube_dim();
    client.launch(
        Box::new(SourceKernel::new(source, cube_dim)),
        CubeCount::Static(x, y, z),
        arguments,
    );
}

/// Runs a kernel with the entry point of `each_value.wgsl`; `sizes` are those after the count.
pub(super) fn launch_each(
    kernel: impl Kernel,
    inputs: Vec<CubeTensor>,
    out: &CubeTensor,
    sizes: &[usize],
) {
    let count: usize = shape(out).iter().product();
    let [columns, rows] = grid(count.div_ceil(LANES * VALUES));
    let sizes: Vec<usize> = [count].iter().chain(sizes).copied().collect();
    launch(kernel, [columns, rows, 1], inputs, out, &sizes);
}

/// `count` workgroups or a few more as a grid within the limit of each axis.
pub(super) fn grid(count: usize) -> [usize; 2] {
    let rows = count.div_ceil(WORKGROUPS_MAX).max(1);
    [count.div_ceil(rows), rows]
}

/// A new row-major tensor on the device of `like`.
pub(super) fn output(like: &CubeTensor, shape: &[usize], dtype: DType) -> CubeTensor {
    numeric::empty_device_contiguous_dtype(
        like.client.clone(),
        like.device.clone(),
        shape.into(),
        dtype,
    )
}

/// Whether values are in half precision.
pub(super) fn is_half(tensor: &CubeTensor) -> bool {
    tensor.dtype == DType::F16
}

/// The values in f32.
pub(super) fn to_f32(tensor: CubeTensor) -> CubeTensor {
    to_dtype(tensor, DType::F32)
}

/// The values in `dtype`.
pub(super) fn to_dtype(tensor: CubeTensor, dtype: DType) -> CubeTensor {
    if tensor.dtype == dtype {
        tensor
    } else {
        cast(tensor, dtype)
    }
}

/// The shape of a tensor of `D` axes.
pub(super) fn dims<const D: usize>(tensor: &CubeTensor) -> [usize; D] {
    std::array::from_fn(|axis| tensor.meta.shape()[axis])
}

/// The shape of a tensor.
pub(super) fn shape(tensor: &CubeTensor) -> Vec<usize> {
    tensor.meta.shape().iter().copied().collect()
}

/// The tensor with another shape.
pub(super) fn view(tensor: CubeTensor, shape: &[usize]) -> CubeTensor {
    reshape(tensor, shape.into())
}
