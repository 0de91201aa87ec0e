//! Procedural optical and SAR scenes with ground truth.
//!
//! [`generate`] draws one co-registered pair of tiles as Sentinel-2 (true colour) and Sentinel-1
//! (VH) show the ground at 10 m, and the class of every pixel. The same seed gives the same bytes
//! on every platform: integer hashes, exact `f32` arithmetic and `libm` only.

mod layout;
mod noise;
mod render;
mod score;

use layout::{Dice, PAD_PX};
use mmovseg_raster::{Cloud, Rgb8};
pub use score::ious;

pub(crate) const WATER: u8 = 0;
pub(crate) const FOREST: u8 = 1;
pub(crate) const CITY: u8 = 2;
pub(crate) const ROAD: u8 = 3;
pub(crate) const FARMLAND: u8 = 4;
pub(crate) const GRASSLAND: u8 = 5;
pub(crate) const BARE: u8 = 6;

/// A land-cover class of the generated ground truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SceneClass {
    /// The name used in prompts.
    pub name: &'static str,
    /// Whether training shows this name; an unseen class is kept for testing open vocabulary.
    pub seen: bool,
    /// Other names for the same ground, which training uses too.
    pub synonyms: &'static [&'static str],
    /// A name for the same ground that is never a label in training, where one is kept for testing.
    pub unseen_word: Option<&'static str>,
}

/// The classes; a label is an index into this list.
pub const CLASSES: &[SceneClass] = &[
    SceneClass {
        name: "water",
        seen: true,
        synonyms: &[
            "lake",
            "river",
            "sea",
            "ocean",
            "reservoir",
            "pond",
            "water body",
            "open water",
            "coastal water",
            "canal",
            "bay",
            "estuary",
            "shallow water",
            "watercourse",
            "permanent water bodies",
            "lake water",
            "sea water",
        ],
        unseen_word: Some("waterway"),
    },
    SceneClass {
        name: "forest",
        seen: true,
        synonyms: &[
            "woodland",
            "trees",
            "tree cover",
            "woods",
            "forested area",
            "dense vegetation",
            "grove",
            "taiga",
            "coniferous forest",
            "deciduous forest",
            "mixed forest",
            "wooded area",
            "broadleaf forest",
            "jungle",
        ],
        unseen_word: Some("timberland"),
    },
    SceneClass {
        name: "city",
        seen: true,
        synonyms: &[
            "urban area",
            "buildings",
            "built-up area",
            "residential area",
            "town",
            "houses",
            "village",
            "settlement",
            "industrial area",
            "building",
            "suburb",
            "urban fabric",
            "apartment blocks",
            "neighbourhood",
            "business district",
            "rooftops",
            "built-up",
            "urban",
            "houses and gardens",
        ],
        unseen_word: None,
    },
    SceneClass {
        name: "road",
        seen: true,
        synonyms: &[
            "highway",
            "street",
            "motorway",
            "paved road",
            "roadway",
            "avenue",
            "lane",
            "asphalt road",
            "roads",
            "transport network",
            "road surface",
        ],
        unseen_word: None,
    },
    SceneClass {
        name: "farmland",
        seen: true,
        synonyms: &[
            "cropland",
            "agricultural field",
            "fields",
            "crops",
            "agriculture",
            "cultivated land",
            "arable land",
            "farm",
            "field",
            "crop field",
            "maize field",
            "tilled land",
            "agricultural land",
            "farm fields",
            "cereal field",
        ],
        unseen_word: None,
    },
    SceneClass {
        name: "grassland",
        seen: true,
        synonyms: &[
            "meadow",
            "pasture",
            "rangeland",
            "grass",
            "herbaceous vegetation",
            "lawn",
            "steppe",
            "grazing land",
            "grassy field",
            "hay meadow",
            "prairie",
            "grassy land",
        ],
        unseen_word: None,
    },
    SceneClass {
        name: "bare land",
        seen: true,
        synonyms: &[
            "bare soil",
            "desert",
            "sand",
            "rock",
            "barren land",
            "bare ground",
            "beach",
            "gravel",
            "barren ground",
            "bare rock",
            "dry land",
            "dirt",
            "sparse vegetation",
            "bare",
            "soil",
        ],
        unseen_word: Some("badlands"),
    },
];

/// Every class's name and whether training has seen it; with `unseen_words`, the words that no label has
/// used take the places of the names of their classes.
#[must_use]
pub fn class_names(unseen_words: bool) -> Vec<(&'static str, bool)> {
    CLASSES
        .iter()
        .map(|class| match class.unseen_word {
            Some(word) if unseen_words => (word, false),
            _ => (class.name, class.seen),
        })
        .collect()
}

/// One generated pair of tiles with its ground truth, all `size_px` × `size_px` and aligned.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// The optical tile without clouds, `[size_px, size_px, 3]`.
    pub rgb: Rgb8,
    /// The radar tile: VH amplitude over its 99 % quantile, 8 bit, three equal channels.
    pub sar: Rgb8,
    /// VH backscatter with speckle and noise floor, dB, `[size_px, size_px]`.
    pub sar_db: Vec<f32>,
    /// Index into [`CLASSES`], `[size_px, size_px]`.
    pub label: Vec<u8>,
    /// Side of all tiles.
    pub size_px: usize,
}

/// Draws the scene of a seed; `size_px` below 1 counts as 1.
///
/// A larger scene of the same seed is another place of the same kind, not an enlargement: lengths
/// are always pixels of 10 m.
#[must_use]
pub fn generate(seed: u64, size_px: usize) -> Scene {
    let size_px = size_px.max(1);
    let layout = layout::paint(seed, size_px);
    let mut dice = Dice::new(seed ^ 0x5EA5_0A11_C0FF_EE00);
    let rgb = Rgb8 {
        width_px: size_px,
        height_px: size_px,
        data: render::optical(&layout, &mut dice),
    };
    let (grey, sar_db) = render::radar(&layout, &mut dice);
    let mut label = Vec::with_capacity(size_px * size_px);
    for row in PAD_PX..PAD_PX + size_px {
        let start = row * layout.side_px + PAD_PX;
        label.extend(
            layout.surface[start..start + size_px]
                .iter()
                .map(|m| m.label),
        );
    }
    Scene {
        rgb,
        sar: Rgb8::from_grey(size_px, size_px, &grey),
        sar_db,
        label,
        size_px,
    }
}

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
