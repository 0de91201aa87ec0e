//! The classes of generated ground truth and the names that each may be called by.

/// Labels: indices into [`CLASSES`].
pub const WATER: u8 = 0;
pub const FOREST: u8 = 1;
pub const CITY: u8 = 2;
pub const ROAD: u8 = 3;
pub const FARMLAND: u8 = 4;
pub const GRASSLAND: u8 = 5;
pub const BARE: u8 = 6;
/// Ground that none of [`CLASSES`] names. Scenes of `generate` have none.
pub const IGNORE: u8 = 255;

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

/// Every class's name and whether training has seen it; with `unseen_words`, the words that no
/// label has used take the places of the names of their classes.
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
