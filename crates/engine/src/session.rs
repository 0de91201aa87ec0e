//! One loaded model with its device and its result cache.

use burn::tensor::Device;
use mmovseg_model::{MmOvSeg, ModelConfig, Network, NetworkConfig, SegEarth};
use mmovseg_text::Tokenizer;
use mmovseg_weights::Manifest;

use crate::api::CancelFlag;
use crate::cache::ResultCache;
use crate::device::DeviceInfo;
use crate::error::EngineError;

/// One loaded model on one device.
pub struct Session {
    pub(crate) manifest: Manifest,
    pub(crate) config: NetworkConfig,
    pub(crate) network: Network,
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
        device: (Device, DeviceInfo),
    ) -> Self {
        let config = NetworkConfig::MmOvSeg(config);
        let network = Network::MmOvSeg(Box::new(model));
        Self::of_network(manifest, config, network, tokenizer, device)
    }

    /// [`Session::assemble`] for any network.
    pub(crate) fn of_network(
        manifest: Manifest,
        config: NetworkConfig,
        network: Network,
        tokenizer: Tokenizer,
        (device, info): (Device, DeviceInfo),
    ) -> Self {
        Self {
            manifest,
            config,
            network,
            tokenizer,
            device,
            info,
            cache: ResultCache::default(),
            cancelled: CancelFlag::default(),
        }
    }

    /// The network with its head.
    ///
    /// # Errors
    /// When the package's network has none.
    pub fn fused(&self) -> Result<&MmOvSeg, EngineError> {
        match &self.network {
            Network::MmOvSeg(network) => Ok(network),
            Network::SegEarth(_) => Err(EngineError::NoHead(self.config.variant().to_owned())),
        }
    }

    /// The configuration of [`Session::fused`].
    pub(crate) fn fused_config(&self) -> Result<&ModelConfig, EngineError> {
        self.fused().map(MmOvSeg::config)
    }

    /// The network that compares pixels with words, where the package holds one.
    pub(crate) fn by_words(&self) -> Option<&SegEarth> {
        match &self.network {
            Network::MmOvSeg(_) => None,
            Network::SegEarth(network) => Some(network),
        }
    }

    /// Side of the windows that a large scene is cut into, in pixels.
    #[must_use]
    pub fn window_px(&self) -> usize {
        self.config.window_px()
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
