//! Kinds of landscape: which land uses, how much water, how steep, how green.

/// Land use of a zone.
#[derive(Clone, Copy, PartialEq)]
pub enum LandUse {
    Forest,
    City,
    Farm,
    Grass,
    Bare,
    Savanna,
    Shrubland,
    Smallholder,
    Terraces,
    Orchard,
    Plantation,
    Paddy,
    Rock,
    SaltFlat,
}

/// What a kind of landscape is made of.
pub struct Biome {
    /// How often this landscape is drawn.
    pub weight: f32,
    /// Land uses of its zones, each with its weight.
    pub uses: &'static [(LandUse, f32)],
    /// Whether forests are thin and dark and parcels have no hedges.
    pub is_dry: bool,
    /// Chance of sea, of lakes in the valleys, of rivers.
    pub water: [f32; 3],
    /// Slopes: least and most (rise over run, about one standard deviation).
    pub slope: [f32; 2],
    /// Greenness of the season: least and most.
    pub green: [f32; 2],
    /// Chance that a cell of the village lattice holds a village.
    pub village: f32,
}

/// The landscapes of [`crate::generate`].
pub const BIOMES: [Biome; 7] = [
    // Temperate: woods, pastures, small fields, villages.
    Biome {
        weight: 0.18,
        uses: &[
            (LandUse::Forest, 0.34),
            (LandUse::City, 0.12),
            (LandUse::Farm, 0.27),
            (LandUse::Grass, 0.27),
            (LandUse::Bare, 0.0),
        ],
        is_dry: false,
        water: [0.04, 0.25, 0.5],
        slope: [0.01, 0.1],
        green: [0.5, 1.0],
        village: 0.3,
    },
    // Dry hills and suburbs, as around Los Angeles.
    Biome {
        weight: 0.15,
        uses: &[
            (LandUse::Forest, 0.14),
            (LandUse::City, 0.34),
            (LandUse::Farm, 0.06),
            (LandUse::Grass, 0.16),
            (LandUse::Bare, 0.30),
        ],
        is_dry: true,
        water: [0.08, 0.3, 0.3],
        slope: [0.03, 0.22],
        green: [0.0, 0.35],
        village: 0.15,
    },
    // Agricultural plain.
    Biome {
        weight: 0.18,
        uses: &[
            (LandUse::Forest, 0.07),
            (LandUse::City, 0.08),
            (LandUse::Farm, 0.66),
            (LandUse::Grass, 0.14),
            (LandUse::Bare, 0.05),
        ],
        is_dry: false,
        water: [0.0, 0.15, 0.45],
        slope: [0.0, 0.02],
        green: [0.1, 1.0],
        village: 0.25,
    },
    // Coast.
    Biome {
        weight: 0.15,
        uses: &[
            (LandUse::Forest, 0.20),
            (LandUse::City, 0.27),
            (LandUse::Farm, 0.14),
            (LandUse::Grass, 0.22),
            (LandUse::Bare, 0.17),
        ],
        is_dry: false,
        water: [1.0, 0.1, 0.3],
        slope: [0.01, 0.16],
        green: [0.1, 0.9],
        village: 0.2,
    },
    // Mountains.
    Biome {
        weight: 0.13,
        uses: &[
            (LandUse::Forest, 0.44),
            (LandUse::City, 0.02),
            (LandUse::Farm, 0.02),
            (LandUse::Grass, 0.22),
            (LandUse::Bare, 0.30),
        ],
        is_dry: true,
        water: [0.0, 0.45, 0.35],
        slope: [0.15, 0.42],
        green: [0.1, 0.9],
        village: 0.05,
    },
    // City.
    Biome {
        weight: 0.12,
        uses: &[
            (LandUse::Forest, 0.06),
            (LandUse::City, 0.76),
            (LandUse::Farm, 0.02),
            (LandUse::Grass, 0.09),
            (LandUse::Bare, 0.07),
        ],
        is_dry: false,
        water: [0.12, 0.15, 0.4],
        slope: [0.0, 0.06],
        green: [0.1, 0.9],
        village: 0.0,
    },
    // Desert and steppe, with irrigated fields.
    Biome {
        weight: 0.09,
        uses: &[
            (LandUse::Forest, 0.0),
            (LandUse::City, 0.07),
            (LandUse::Farm, 0.17),
            (LandUse::Grass, 0.20),
            (LandUse::Bare, 0.56),
        ],
        is_dry: true,
        water: [0.05, 0.12, 0.25],
        slope: [0.01, 0.25],
        green: [0.0, 0.2],
        village: 0.1,
    },
];
