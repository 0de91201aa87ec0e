//! Label sets: the lists of classes that training labels index into, the words of each class, and
//! the weight of its pixels in the losses.

use mmovseg_scene::CLASSES;

/// A pixel without a label.
pub const IGNORE: u8 = 255;

/// Weight of a labelled road pixel; other classes have 1. Roads are about 4 % of the ground, and
/// with equal weights a trained model never predicted one.
const ROAD_WEIGHT: f32 = 3.0;
/// Weight of WorldCover pixels of built-up and bare ground, which are 2.7 % and 0.7 % of the tiles.
const RARE_WEIGHTS: [(&str, f32); 2] = [("city", 2.0), ("bare land", 2.0)];

/// A list of classes that labels are indices into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelSet {
    /// Classes of generated scenes and of real pairs, [`CLASSES`].
    Scenes,
    /// Classes of EuroSAT, [`EUROSAT`].
    EuroSat,
    /// Classes of ESA WorldCover, [`WORLD_COVER`].
    WorldCover,
}

impl LabelSet {
    /// All label sets, in the order of their discriminants.
    pub const ALL: [Self; 3] = [Self::Scenes, Self::EuroSat, Self::WorldCover];

    /// Words for each class; the first one is the name of the class.
    #[must_use]
    pub fn words(self) -> Vec<Vec<&'static str>> {
        match self {
            Self::Scenes => CLASSES
                .iter()
                .map(|class| [&[class.name], class.synonyms].concat())
                .collect(),
            Self::EuroSat => EUROSAT.iter().map(|(_, words)| words.to_vec()).collect(),
            Self::WorldCover => WORLD_COVER
                .iter()
                .map(|(_, words)| words.to_vec())
                .collect(),
        }
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(self) -> usize {
        match self {
            Self::Scenes => CLASSES.len(),
            Self::EuroSat => EUROSAT.len(),
            Self::WorldCover => WORLD_COVER.len(),
        }
    }

    /// Weight of a labelled pixel of each class.
    pub(crate) fn class_weights(self) -> Vec<f32> {
        let weight = |name: &str| match self {
            Self::Scenes if name == "road" => ROAD_WEIGHT,
            Self::WorldCover => RARE_WEIGHTS
                .iter()
                .find(|(rare, _)| *rare == name)
                .map_or(1.0, |(_, weight)| *weight),
            _ => 1.0,
        };
        self.words().iter().map(|words| weight(words[0])).collect()
    }
}

/// Classes of the WorldCover label set: the codes of ESA WorldCover 2021 that it merges, and its
/// words. Snow, wetland and moss are less than 0.5 % of the training tiles and are not labels.
pub const WORLD_COVER: [(&[u8], &[&str]); 7] = [
    (
        &[80],
        &[
            "water",
            "permanent water bodies",
            "river",
            "lake",
            "sea",
            "flooded land",
            "muddy river",
            "open water",
        ],
    ),
    (
        &[10, 95],
        &[
            "forest",
            "tree cover",
            "trees",
            "woodland",
            "tropical forest",
            "mangroves",
        ],
    ),
    (
        &[40],
        &[
            "farmland",
            "cropland",
            "fields",
            "crops",
            "agricultural land",
            "arable land",
            "ploughed field",
        ],
    ),
    (
        &[50],
        &[
            "city",
            "built-up",
            "urban area",
            "buildings",
            "settlement",
            "town",
        ],
    ),
    (
        &[60],
        &[
            "bare land",
            "bare soil",
            "sparse vegetation",
            "barren land",
            "rock",
            "sand",
        ],
    ),
    (
        &[30],
        &[
            "grassland",
            "herbaceous vegetation",
            "steppe",
            "rangeland",
            "grass",
            "dry grassland",
        ],
    ),
    (&[20], &["shrubland", "shrubs", "scrub", "bushland"]),
];

/// Index into [`WORLD_COVER`] of a WorldCover code, or [`IGNORE`].
#[must_use]
pub fn world_cover_class(code: u8) -> u8 {
    WORLD_COVER
        .iter()
        .position(|(codes, _)| codes.contains(&code))
        .map_or(IGNORE, |class| class as u8)
}

/// EuroSAT's classes in its own order: file, and what its tiles may be called, the plain name
/// first. Of a Highway or River tile, a part is what its name says; EuroSAT names it whole.
pub const EUROSAT: [(&str, &[&str]); 10] = [
    (
        "AnnualCrop",
        &[
            "annual crop",
            "annual crop land",
            "farmland",
            "cropland",
            "arable land",
            "ploughed field",
            "crops",
            "agricultural field",
            "maize field",
            "tilled land",
            "corn field",
            "cereal field",
            "grain field",
            "vegetable field",
            "crop rows",
            "cultivated field",
            "farm field",
            "rape field",
        ],
    ),
    (
        "Forest",
        &[
            "forest",
            "woodland",
            "trees",
            "tree cover",
            "dense forest",
            "woods",
            "coniferous forest",
            "mixed forest",
            "forested area",
            "broadleaf forest",
            "deciduous forest",
            "jungle",
            "tropical forest",
            "forest canopy",
        ],
    ),
    (
        "HerbaceousVegetation",
        &[
            "herbaceous vegetation",
            "herbaceous vegetation land",
            "shrubland",
            "scrub",
            "wild grassland",
            "heathland",
            "bushes",
            "shrubs",
            "moorland",
            "scrubland",
            "chaparral",
            "tall grass",
            "rough grassland",
            "undergrowth",
            "wild vegetation",
        ],
    ),
    (
        "Highway",
        &[
            "highway",
            "motorway",
            "road",
            "main road",
            "interstate",
            "roadway",
            "asphalt road",
            "dual carriageway",
            "trunk road",
            "multi-lane road",
            "turnpike",
            "highway junction",
        ],
    ),
    (
        "Industrial",
        &[
            "industrial area",
            "industrial buildings",
            "commercial area",
            "warehouses",
            "factory",
            "industrial zone",
            "commercial buildings",
            "factories",
            "business district",
            "industrial park",
            "trading estate",
            "office park",
            "logistics centre",
            "warehouse complex",
            "commercial estate",
            "retail park",
            "storage halls",
        ],
    ),
    (
        "Pasture",
        &[
            "pasture",
            "pasture land",
            "meadow",
            "grazing land",
            "grassy field",
            "green field",
            "hay meadow",
            "grazing field",
            "cattle pasture",
            "horse pasture",
            "enclosed meadow",
            "fenced meadow",
            "grass field",
            "livestock pasture",
            "lawn",
        ],
    ),
    (
        "PermanentCrop",
        &[
            "permanent crop",
            "permanent crop land",
            "orchard",
            "vineyard",
            "plantation",
            "olive grove",
            "orchards",
            "vineyards",
            "fruit orchard",
            "apple orchard",
            "apple trees",
            "citrus trees",
            "olive trees",
            "nut trees",
            "fruit plantation",
            "fruit farm",
            "vines",
        ],
    ),
    (
        "Residential",
        &[
            "residential area",
            "residential buildings",
            "houses",
            "suburb",
            "housing",
            "town",
            "village",
            "neighbourhood",
            "apartment blocks",
            "residential district",
            "housing development",
            "family houses",
            "suburban homes",
            "homes",
            "dwellings",
        ],
    ),
    (
        "River",
        &[
            "river",
            "river channel",
            "watercourse",
            "canal",
            "river water",
            "river bank",
            "brook",
            "tributary",
            "running water",
            "river course",
        ],
    ),
    (
        "SeaLake",
        &[
            "sea or lake",
            "water",
            "sea",
            "lake",
            "open water",
            "ocean",
            "water body",
            "reservoir",
            "bay",
            "coastal water",
            "lake water",
            "sea water",
            "gulf",
            "pond",
            "inland lake",
            "shallow sea",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::{IGNORE, LabelSet, world_cover_class};

    #[test]
    fn world_cover_codes_become_classes() {
        let words = LabelSet::WorldCover.words();
        let name = |code| words[usize::from(world_cover_class(code))][0];
        assert_eq!(
            [80, 10, 95, 40, 50, 60, 30, 20].map(name),
            [
                "water",
                "forest",
                "forest",
                "farmland",
                "city",
                "bare land",
                "grassland",
                "shrubland",
            ]
        );
        assert_eq!([0, 70, 90, 100].map(world_cover_class), [IGNORE; 4]);
    }

    #[test]
    fn every_class_has_a_weight() {
        for set in LabelSet::ALL {
            assert_eq!(set.class_weights().len(), set.classes());
        }
    }
}
