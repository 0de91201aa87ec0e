//! The golden self-test that a new package gets: measured on the package itself, as stored.

use std::path::Path;

use mmovseg_weights::Manifest;

use crate::{DeviceChoice, EngineError, FolderSource, Session, open_device};

/// Seed of the generated pair.
const SEED: u64 = 7;
/// What devices may differ by, against the deviation of the logits: a device that computes wrongly
/// is off by about all of it, one that rounds or sums in another order by some 1e-4.
const TOLERANCE: f64 = 5e-3;

/// Loads the package in `folder` onto the CPU, measures its logits on a generated pair with its
/// default classes, and puts the self-test into `manifest`; writing that is the caller's, as the
/// last step of `mmovseg_weights::write_package_then`.
///
/// # Errors
/// When the package cannot be loaded, has no default classes, or gives numbers that are not finite.
pub async fn add_self_test(folder: &Path, manifest: &mut Manifest) -> Result<(), EngineError> {
    let device = open_device(DeviceChoice::Cpu).await?;
    let mut session = Session::load(&FolderSource(folder.to_owned()), device, &mut |_| {}).await?;
    let mut test = session
        .measure_self_test(SEED, &manifest.default_classes, 0.0)
        .await?;
    test.tolerance = TOLERANCE * test.logit_std.max(f64::from(f32::EPSILON));
    manifest.self_test = Some(test);
    Ok(())
}
