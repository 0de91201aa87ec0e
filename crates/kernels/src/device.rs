//! Which kernels a device has, and in which memory order it reads weights.

use burn::backend::DispatchDevice;
use burn::tensor::{Device, Tensor};

/// Whether this is the CPU, with or without automatic differentiation.
pub(crate) fn is_cpu(device: &Device) -> bool {
    match device.as_dispatch() {
        DispatchDevice::Flex(_) => true,
        #[cfg(not(target_arch = "wasm32"))]
        DispatchDevice::Autodiff(_) => is_cpu(&device.clone().inner()),
        #[cfg(feature = "gpu")]
        DispatchDevice::Cube(_) => false,
    }
}

/// Whether this is a GPU without automatic differentiation.
pub(crate) fn is_gpu(device: &Device) -> bool {
    #[cfg(feature = "gpu")]
    return matches!(device.as_dispatch(), DispatchDevice::Cube(_));
    #[cfg(not(feature = "gpu"))]
    {
        let _ = device;
        false
    }
}

/// Whether this is the CPU without automatic differentiation.
#[must_use]
pub fn is_cpu_without_gradients(device: &Device) -> bool {
    matches!(device.as_dispatch(), DispatchDevice::Flex(_))
}

/// Whether this device runs the kernels that have gradients on the CPU. A GPU under automatic
/// differentiation runs the references.
pub(crate) fn has_kernels(device: &Device) -> bool {
    has_inference_kernels(device) || is_cpu(device)
}

/// Whether this device runs the kernels without gradients.
pub(crate) fn has_inference_kernels(device: &Device) -> bool {
    is_cpu_without_gradients(device) || is_gpu(device)
}

/// A weight in the memory order that the kernels of its device read; same shape and values. Call it
/// once when a model is loaded.
///
/// On a GPU, the columns of a linear layer's weight `[out, in]` and the channels of each tap of an
/// odd convolution kernel `[O, C, k, k]` become contiguous, so that no kernel copies the weight
/// first. Other weights, and all weights on the CPU, are returned unchanged.
#[must_use]
pub fn prepack<const D: usize>(weight: Tensor<D>) -> Tensor<D> {
    if !is_gpu(&weight.device()) {
        return weight;
    }
    let (order, back): (&[isize], &[isize]) = match D {
        2 => (&[1, 0], &[1, 0]),
        4 => (&[0, 2, 3, 1], &[0, 3, 1, 2]),
        _ => return weight,
    };
    let shape = weight.shape();
    if D == 4 && shape[3].is_multiple_of(2) {
        return weight;
    }
    let permuted: [usize; D] = std::array::from_fn(|axis| shape[order[axis] as usize]);
    // Reshaping to one axis and back makes Burn copy the values into the permuted order.
    let count = permuted.iter().product::<usize>();
    let flat = weight.permute(std::array::from_fn::<isize, D, _>(|axis| order[axis]));
    flat.reshape([count])
        .reshape(permuted)
        .permute(std::array::from_fn::<isize, D, _>(|axis| back[axis]))
}

/// The device for a lookup table of `bytes` whose rows are gathered: `device`, or the CPU where
/// that is a GPU whose binding limit the table may exceed.
#[must_use]
pub fn table_device(device: &Device, bytes: usize) -> Device {
    /// WebGPU's default limit of a storage buffer binding.
    const BINDING_BYTES: usize = 128 << 20;
    if bytes > BINDING_BYTES && is_gpu(device) {
        Device::flex()
    } else {
        device.clone()
    }
}
