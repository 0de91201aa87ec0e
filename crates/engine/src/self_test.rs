//! The golden self-test that a new package gets: measured on the package itself, as stored.

use std::path::Path;

use mmovseg_weights::Manifest;

use crate::{DeviceChoice, EngineError, FolderSource, Session, open_device};

/// Seed of the generated pair.
const SEED: u64 = 7;
/// What devices may differ by, against the deviation of the logits: a device that computes wrongly
/// is off by about all of it, one that rounds or sums in another order by some 1e-4.
const TOLERANCE: f64 = 5e-3;

/// Measures the logits of the package in `folder` on a generated pair with its default classes, on
/// the CPU and with one part of the model in memory at a time, and puts the self-test into
/// `manifest`; writing that is the caller's, as the last step of
/// `mmovseg_weights::write_package_then`.
///
/// # Errors
/// When the package cannot be loaded, has no default classes, or gives numbers that are not finite.
pub async fn add_self_test(folder: &Path, manifest: &mut Manifest) -> Result<(), EngineError> {
    let device = open_device(DeviceChoice::Cpu).await?;
    let source = FolderSource(folder.to_owned());
    let mut test =
        Session::measure_by_parts(&source, device, SEED, &manifest.default_classes).await?;
    test.tolerance = TOLERANCE * test.logit_std.max(f64::from(f32::EPSILON));
    manifest.self_test = Some(test);
    Ok(())
}
