//! Which cloud is laid over a scene.

use crate::dice::Dice;
use mmovseg_raster::Cloud;

/// How much of the ground clouds hide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloudKind {
    /// No cloud.
    None,
    /// Veils the ground shows through: opacity 0.35 to 0.6, cover 0.5 to 0.9.
    Thin,
    /// Opaque clouds: opacity 0.95 to 1, cover 0.75 to 0.98.
    Thick,
}

/// The cloud of a kind for a seed, to be laid over [`Scene::rgb`] with `mmovseg_raster::add_cloud`.
#[must_use]
pub fn cloud_for(seed: u64, kind: CloudKind) -> Option<Cloud> {
    let mut dice = Dice::new(seed ^ 0x0C10_0D5E_ED00_0000);
    let (opacity, cover) = match kind {
        CloudKind::None => return None,
        CloudKind::Thin => (dice.range(0.35, 0.6), dice.range(0.5, 0.9)),
        CloudKind::Thick => (dice.range(0.95, 1.0), dice.range(0.75, 0.98)),
    };
    let low = u64::from(dice.bits());
    let high = u64::from(dice.bits());
    Some(Cloud {
        seed: high << 32 | low,
        opacity,
        cover,
    })
}
