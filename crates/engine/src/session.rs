//! One loaded model with its device and its result cache.

use burn::tensor::Device;
use mmovseg_model::{MmOvSeg, ModelConfig};
use mmovseg_text::Tokenizer;
use mmovseg_weights::Manifest;

use crate::api::CancelFlag;
use crate::cache::ResultCache;
use crate::device::DeviceInfo;

/// One loaded model on one device.
pub struct Session {
    pub(crate) manifest: Manifest,
    pub(crate) config: ModelConfig,
    pub(crate) model: MmOvSeg,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) device: Device,
    pub(crate) info: DeviceInfo,
    pub(crate) cache: ResultCache,
    pub(crate) cancelled: CancelFlag,
}

impl Session {
    /// A session around a model that is already in memory, for training's evaluation.
    #[must_use]
    pub fn assemble(
        manifest: Manifest,
        config: ModelConfig,
        model: MmOvSeg,
        tokenizer: Tokenizer,
        (device, info): (Device, DeviceInfo),
    ) -> Self {
        Self {
            manifest,
            config,
            model,
            tokenizer,
            device,
            info,
            cache: ResultCache::default(),
            cancelled: CancelFlag::default(),
        }
    }

    /// The network, for what is measured of its towers.
    #[must_use]
    pub fn model(&self) -> &MmOvSeg {
        &self.model
    }

    /// The package's manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What the session runs on.
    #[must_use]
    pub fn device_info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Empties the result cache, so that the next run computes every stage.
    pub fn forget(&mut self) {
        self.cache.clear();
    }

    /// What stops this session's runs.
    #[must_use]
    pub fn cancel_flag(&self) -> CancelFlag {
        self.cancelled.clone()
    }
}
