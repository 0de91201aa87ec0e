//! Land-cover words: what the student hears often, and the list it is examined on.

/// A class and everyday words for it.
pub(super) struct Everyday {
    /// Name of the class.
    pub class: &'static str,
    /// Words whose nearest class should be this one; they may be training phrases.
    pub known: &'static [&'static str],
    /// The same, but never a training phrase of their own (they may occur in definitions).
    pub held_out: &'static [&'static str],
}

/// The examination, fixed before the first training: 71 words.
pub(super) const EVERYDAY: &[Everyday] = &[
    Everyday {
        class: "water",
        known: &["lake", "river", "sea", "ocean", "pond", "canal", "bay"],
        held_out: &["lagoon", "creek", "waterway", "fishpond"],
    },
    Everyday {
        class: "forest",
        known: &["woodland", "woods", "trees", "jungle", "grove", "taiga"],
        held_out: &["rainforest", "pine forest", "timberland", "deciduous trees"],
    },
    Everyday {
        class: "city",
        known: &["town", "village", "suburb", "urban area", "buildings", "houses"],
        held_out: &["downtown", "housing estate", "metropolis", "residential neighbourhood"],
    },
    Everyday {
        class: "road",
        known: &["highway", "street", "motorway", "avenue", "lane", "roadway"],
        held_out: &["freeway", "expressway", "boulevard", "paved street"],
    },
    Everyday {
        class: "farmland",
        known: &["cropland", "crops", "arable land", "agricultural field", "plantation", "vineyard"],
        held_out: &["wheat field", "rice paddy", "cornfield", "cultivated fields"],
    },
    Everyday {
        class: "grassland",
        known: &["meadow", "pasture", "prairie", "steppe", "grass", "lawn"],
        held_out: &["savanna", "grassy plain", "hayfield", "natural grass"],
    },
    Everyday {
        class: "bare land",
        known: &["desert", "bare soil", "sand", "barren ground", "rock", "gravel"],
        held_out: &["sand dunes", "badlands", "wasteland", "exposed soil"],
    },
];

/// Words of maps and legends that training repeats, alone and inside [`TEMPLATES`].
pub(super) const TERMS: &[&str] = &[
    "agricultural field", "agricultural land", "agriculture", "airfield", "airport", "annual crop", "apartment block",
    "aquaculture", "arable land", "archipelago", "asphalt", "avenue", "backroad", "bank", "bare ground", "bare land",
    "bare rock", "bare soil", "barn", "barren ground", "barren land", "bay", "beach", "bog", "boreal forest", "boat",
    "bridge", "broadleaf forest", "brook", "brushland", "building", "buildings", "built-up area", "bush", "bushland",
    "business district", "canal", "car park", "cemetery", "channel", "church", "city", "clay", "clearing", "cliff",
    "cloud", "coast", "coastal water", "commercial area", "concrete", "conifer forest", "coniferous forest", "copse",
    "cotton field", "country lane", "crater", "crop", "cropland", "crops", "cultivated land", "dam", "deciduous forest",
    "delta", "dense vegetation", "desert", "developed land", "dirt road", "dirt track", "ditch", "dock", "driveway",
    "dry land", "dry riverbed", "dune", "estuary", "evergreen forest", "factory", "fallow field", "farm", "farmhouse",
    "farmland", "fen", "field", "fields", "fjord", "flood", "flooded land", "floodplain", "floodwater", "football field",
    "forest", "forested area", "garden", "glacier", "golf course", "grass", "grassland", "grassy field", "gravel",
    "gravel road", "grazing land", "greenhouse", "greenhouses", "grove", "gulf", "harbour", "heath", "heathland",
    "hedge", "herbaceous vegetation", "highway", "hill", "hills", "house", "houses", "housing", "ice", "industrial area",
    "industrial buildings", "inlet", "interstate", "intersection", "irrigated field", "island", "jungle", "junction",
    "lake", "land", "landfill", "lane", "lava", "lawn", "leafy trees", "levee", "lot", "maize field", "mangrove",
    "mangroves", "marina", "market garden", "marsh", "marshland", "meadow", "mine", "mining area", "mixed forest",
    "moor", "moorland", "moss", "motorway", "mountain", "mountains", "mud", "mudflat", "oasis", "ocean", "open pit mine",
    "open space", "open water", "orchard", "overpass", "paddock", "paddy", "paddy field", "palm grove", "park",
    "park land", "parking lot", "pasture", "path", "paved road", "pavement", "peat bog", "permanent crop", "pier",
    "plain", "plantation", "playground", "ploughed field", "pond", "pool", "port", "power plant", "prairie", "quarry",
    "railway", "railway line", "railroad", "rangeland", "ravine", "reed", "reef", "reservoir", "residential area",
    "ridge", "river", "riverbank", "road", "roads", "roadway", "rock", "rocks", "rocky ground", "roof", "rooftop",
    "runway", "rural area", "salt flat", "salt marsh", "sand", "sand bar", "sandy beach", "savannah", "school", "scree",
    "scrub", "scrubland", "sea", "sea ice", "sealed surface", "settlement", "shallow water", "shed", "ship", "shoreline",
    "shrub", "shrubland", "shrubs", "slum", "snow", "soil", "solar panels", "sparse vegetation", "sports field",
    "stadium", "steppe", "strait", "stream", "street", "streets", "suburb", "suburban area", "swamp", "swimming pool",
    "taiga", "tarmac", "temperate forest", "tidal flat", "town", "tower", "track", "trail", "train station",
    "transport network", "tree", "tree cover", "trees", "tropical forest", "tundra", "turf", "unpaved road",
    "urban area", "urban fabric", "valley", "vegetation", "village", "vineyard", "volcano", "warehouse", "warehouses",
    "waste ground", "water", "water body", "waterfall", "watercourse", "wet meadow", "wetland", "wetlands", "wind farm",
    "wood", "wooded area", "woodland", "woods",
];

/// Phrases around a term; the teacher embeds them whole.
pub(super) const TEMPLATES: &[&str] = &[
    "{}", "dense {}", "small {}", "large {}", "dry {}", "green {}", "flooded {}", "{} area", "a patch of {}",
    "{} near the coast", "land covered by {}", "aerial view of {}", "{} seen from space",
];

/// Prompts that must not change a phrase's meaning: the student sees them, the teacher does not.
pub(super) const NEUTRAL_PROMPTS: &[&str] =
    &[mmovseg_text::CLIP_TEMPLATE, "a satellite image of {}", "an aerial photo of a {}", "a {}", "the {}"];
