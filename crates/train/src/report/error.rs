//! What measuring a model may fail with.

use crate::TrainError;

/// A failure of [`report`](super::report).
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The data folder.
    #[error(transparent)]
    Data(#[from] TrainError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] mmovseg_engine::EngineError),
}
