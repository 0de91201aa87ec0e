//! Opening a device, and which kind it is.

#[cfg(feature = "gpu")]
use std::sync::Mutex;

#[cfg(feature = "gpu")]
use burn::tensor::wgpu::WgpuBackend;
use burn::tensor::{DType, Device};
use mmovseg_model::Precision;
use mmovseg_types::{DeviceChoice, Tier};
use serde::{Deserialize, Serialize};

use crate::error::EngineError;

/// What a session runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// Tier.
    pub tier: Tier,
    /// Name for people, such as the adapter's.
    pub name: String,
    /// What a session on it computes its image towers in; f32 until one was loaded otherwise.
    pub precision: Precision,
}

impl DeviceInfo {
    /// The name, and half precision where it computes so.
    #[must_use]
    pub fn label(&self) -> String {
        match self.precision {
            Precision::F32 => self.name.clone(),
            Precision::F16 => format!("{}, half precision", self.name),
        }
    }
}

/// In what numbers a session computes its image towers, see [`Precision`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionChoice {
    /// Half precision on a hardware GPU that has it, for towers large enough to gain by it, and
    /// only if the package's self-test passes so; else single precision.
    #[default]
    Auto,
    /// Single precision.
    F32,
    /// Half precision.
    F16,
}

/// Half precision on a device that has it. The CPU has no such arithmetic of its own.
///
/// # Errors
/// [`EngineError::NoHalfPrecision`] on any other.
pub fn half_precision(device: &Device, info: &DeviceInfo) -> Result<Precision, EngineError> {
    if info.tier == Tier::Cpu || !device.supports_dtype(DType::F16) {
        return Err(EngineError::NoHalfPrecision(info.name.clone()));
    }
    Ok(Precision::F16)
}

/// The graphics API. On Linux it is Vulkan alone: where Vulkan offers no hardware GPU, wgpu would
/// try OpenGL next, whose libraries look for a display server and print errors where there is none.
#[cfg(feature = "gpu")]
const GRAPHICS_API: WgpuBackend = if cfg!(target_os = "linux") {
    WgpuBackend::Vulkan
} else {
    WgpuBackend::Auto
};

/// Burn keeps one GPU runtime a process and refuses to start it twice, so the first one opened
/// serves all sessions.
#[cfg(feature = "gpu")]
static GPU: Mutex<Option<(Device, DeviceInfo)>> = Mutex::new(None);

/// Opens a device.
///
/// # Errors
/// [`EngineError::NoGpu`] when a GPU was asked for and none answers.
pub async fn open_device(choice: DeviceChoice) -> Result<(Device, DeviceInfo), EngineError> {
    match choice {
        DeviceChoice::Cpu => Ok(cpu()),
        DeviceChoice::Gpu => gpu().await,
        DeviceChoice::Auto => match gpu().await {
            Ok((device, info)) if info.tier == Tier::Gpu => Ok((device, info)),
            Ok((_, info)) => {
                log::info!("{} is a software GPU; the CPU is faster", info.name);
                Ok(cpu())
            }
            Err(error) => {
                log::info!("{error}");
                Ok(cpu())
            }
        },
    }
}

fn cpu() -> (Device, DeviceInfo) {
    (
        Device::flex(),
        DeviceInfo {
            tier: Tier::Cpu,
            name: "CPU".into(),
            precision: Precision::F32,
        },
    )
}

#[cfg(not(feature = "gpu"))]
async fn gpu() -> Result<(Device, DeviceInfo), EngineError> {
    Err(EngineError::NoGpu(
        "this program was built without GPU code".into(),
    ))
}

#[cfg(feature = "gpu")]
async fn gpu() -> Result<(Device, DeviceInfo), EngineError> {
    // A poisoned lock only means that another thread panicked while opening; the value is whole.
    let known = GPU
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .clone();
    if let Some(known) = known {
        return Ok(known);
    }
    let (device, setup) = Device::wgpu_options()
        .graphics_api(GRAPHICS_API)
        .init_with_setup_async()
        .await
        .map_err(|error| EngineError::NoGpu(error.to_string()))?;
    let adapter = setup.adapter.get_info();
    // A browser does not say what kind of device an adapter is; known software adapters are told
    // by name, and the Worker checks `isFallbackAdapter` besides.
    let name = adapter.name.to_lowercase();
    let software = format!("{:?}", adapter.device_type) == "Cpu"
        || ["swiftshader", "llvmpipe", "lavapipe"]
            .iter()
            .any(|known| name.contains(known));
    let tier = if software {
        Tier::SoftwareGpu
    } else {
        Tier::Gpu
    };
    // Firefox names no adapter.
    let label = if adapter.name.is_empty() {
        "unnamed GPU".into()
    } else {
        adapter.name
    };
    let info = DeviceInfo {
        tier,
        name: label,
        precision: Precision::F32,
    };
    let opened = (device, info);
    *GPU.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(opened.clone());
    Ok(opened)
}

/// Whether a log target is the GPU layer's, whose errors mean wrong results: in a browser a refused
/// kernel is only logged.
#[must_use]
pub fn is_gpu_layer(target: &str) -> bool {
    ["wgpu", "cubecl", "burn_cubecl", "burn_wgpu", "naga"]
        .iter()
        .any(|layer| target.starts_with(layer))
}

#[cfg(test)]
mod tests {
    use super::is_gpu_layer;

    #[test]
    fn the_gpu_layer_is_known_by_its_log_targets() {
        assert!(is_gpu_layer("cubecl_wgpu::backend::base"));
        assert!(is_gpu_layer("wgpu_core::device"));
        assert!(!is_gpu_layer("mmovseg_engine::session"));
    }
}
