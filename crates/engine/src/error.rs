//! What can go wrong in a session, each in a sentence that says what, where and what to do.

use mmovseg_model::config::ConfigError;
use mmovseg_raster::RasterError;
use mmovseg_text::TextError;
use mmovseg_weights::WeightsError;

/// Errors of the engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A file of a package could not be read.
    #[error(
        "cannot read {file} of the model package: {reason}; check the path or the connection and try again"
    )]
    Read {
        /// File name inside the package.
        file: String,
        /// What the system said.
        reason: String,
    },
    /// Half precision on a device without it.
    #[error(
        "{0} has no half precision (WebGPU's shader-f16); leave the choice to the engine, or ask for f32"
    )]
    NoHalfPrecision(String),
    /// A package, shard or manifest that is damaged.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A manifest whose architecture is not one of ours.
    #[error(
        "the model package's architecture cannot be read: {0}; the package is damaged or from a newer version"
    )]
    Architecture(String),
    /// An architecture that does not fit together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A package whose tensors are not those of its architecture.
    #[error("the model package does not fit its architecture: {0}; convert the checkpoint again")]
    Mismatch(String),
    /// A class name or prompt that cannot be tokenized.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A tile that cannot be used.
    #[error(transparent)]
    Raster(#[from] RasterError),
    /// No classes, or too many.
    #[error("{0} classes were given; give between 1 and 255 class names")]
    ClassCount(usize),
    /// An empty class name.
    #[error("class {position} has an empty name; give every class a word")]
    EmptyClass {
        /// 1-based position in the list.
        position: usize,
    },
    /// No encoder reads what a run was asked to use.
    #[error(
        "the model {model} has no encoder for {sensor} tiles; choose the other tile, or another model"
    )]
    NoEncoder {
        /// The model's variant.
        model: String,
        /// `optical` or `SAR`.
        sensor: &'static str,
    },
    /// What only a network with a head has was asked of another.
    #[error("the model {0} has no head with stages to look into; choose another model for that")]
    NoHead(String),
    /// A threshold for a network that has none.
    #[error(
        "the model {0} takes no threshold with a background class; leave it out, or choose a model that compares pixels with words"
    )]
    NoRule(String),
    /// A background that is no class of the list.
    #[error("the background is class {class} of a list of {count}; choose one of the list")]
    NoBackground {
        /// 1-based position that was asked for.
        class: usize,
        /// Classes in the list.
        count: usize,
    },
    /// No GPU that can be used.
    #[error("no usable GPU: {0}; use the CPU instead")]
    NoGpu(String),
    /// The device failed while computing.
    #[error("the device failed in stage {stage}: {reason}; reload the model, or use the CPU")]
    Device {
        /// Which stage.
        stage: String,
        /// What the device said.
        reason: String,
    },
    /// The network gave a number that is not finite.
    #[error(
        "the result of {device} holds values that are not numbers; this device computes wrongly, use the CPU"
    )]
    NotFinite {
        /// Name of the device.
        device: String,
    },
    /// The run was stopped through [`crate::CancelFlag`].
    #[error("the run was cancelled")]
    Cancelled,
    /// The package carries no self-test.
    #[error("the model package carries no self-test; convert the checkpoint again to add one")]
    NoSelfTest,
}
