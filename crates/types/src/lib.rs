//! Plain types that the model, the engine and the page share: sensors and encoders, devices, stages
//! and their times, class probabilities. They depend on nothing but serde, so that the page does
//! not build the network, and each has one spelling in messages, packages and reports.

mod device;
mod probability;
mod sensor;
mod stage;

pub use device::{DeviceChoice, Tier, browser_threads};
pub use probability::{class_probabilities, sigmoid};
pub use sensor::{EncoderId, Modality, Resolution, Sensor};
pub use stage::{Stage, StageTiming};
