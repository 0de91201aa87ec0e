//! Names of the noise fields and random streams of a scene.
//!
//! A field's seed is the scene's (or the zone's) seed XOR its salt, so fields are independent of
//! one another. Values are part of the generator's output: changing one changes every scene.

/// Terrain.
pub const SOFT_HILLS: u32 = 0x11;
pub const SHARP_CRESTS: u32 = 0x12;

/// Borders of land-use zones.
pub const ZONE_WARP_X: u32 = 0x21;
pub const ZONE_WARP_Y: u32 = 0x22;

/// Forest.
pub const CANOPY_CROWNS: u32 = 0x31;
pub const CANOPY_CLUMPS: u32 = 0x30;
pub const CANOPY_STANDS: u32 = 0x33;
pub const CANOPY_TONE: u32 = 0x32;

/// Grassland.
pub const GRASS_MOTTLE: u32 = 0x41;
pub const GRASS_FINE: u32 = 0x40;
pub const GRASS_SHRUBS: u32 = 0x43;

/// Bare land.
pub const BARE_BROAD: u32 = 0x51;
pub const BARE_GULLIES: u32 = 0x50;
pub const BARE_FINE: u32 = 0x53;

/// Farmland.
pub const PIVOT: u32 = 0x61;
pub const PARCEL_BLOCK: u32 = 0x62;
pub const CROP_PATCHES: u32 = 0x63;
pub const CROP_FINE: u32 = 0x64;
pub const PARCEL_SITE: u32 = 0x65;
pub const HEDGE: u32 = 0x77;
/// What lies outside an irrigated circle.
pub const PIVOT_CORNER: u32 = 0x9E37;

/// Roads and rivers.
pub const CURVE_DETAIL: u32 = 0x55;
pub const ROAD_WEAR: u32 = 0x71;

/// Built-up land.
pub const STREET_BEND_U: u32 = 0x81;
pub const STREET_BEND_V: u32 = 0x82;
pub const DISTRICT: u32 = 0x83;
pub const LOT: u32 = 0x84;
pub const ROOF_GRAIN: u32 = 0x85;
pub const POINT_TARGETS: u32 = 0x86;
pub const VILLAGE: u32 = 0xB1;

/// Water.
pub const RIPPLES: u32 = 0x91;
pub const SWELL: u32 = 0x92;
pub const COASTLINE: u32 = 0xC1;
pub const SURF: u32 = 0xC2;
pub const SHIPS: u32 = 0xC3;
pub const POND_SHORE: u32 = 0xC4;
pub const RIVER_WARP_X: u32 = 0xC5;
pub const RIVER_WARP_Y: u32 = 0xC6;
pub const RIVER_WIDTH: u32 = 0xC7;
pub const BEACH_SAND: u32 = 0xC8;

/// Where trees grow outside forests, and where forests have clearings.
pub const WOODS: u32 = 0xA1;

/// Savanna and shrubland.
pub const SAVANNA_SOIL: u32 = 0x1101;
pub const SAVANNA_FINE: u32 = 0x1102;
pub const SAVANNA_TREES: u32 = 0x1103;
pub const MOUNDS: u32 = 0x1104;
pub const SHRUB_PATCHES: u32 = 0x1105;
pub const SHRUBS: u32 = 0x1106;

/// Small plots, terraces, orchards, plantations.
pub const PLOT_BEND: u32 = 0x1201;
pub const FIELD_TREES: u32 = 0x1202;
pub const FIELD_ROOFS: u32 = 0x1203;
pub const TERRACE: u32 = 0x1204;
pub const TERRACE_EDGE: u32 = 0x1205;
pub const ORCHARD_GAPS: u32 = 0x1206;
pub const PLANTATION: u32 = 0x1207;

/// Rock, salt, snow, fire, floods.
pub const STRATA: u32 = 0x1301;
pub const STRATA_BEND: u32 = 0x1302;
pub const SALT_WET: u32 = 0x1303;
pub const SALT_VEINS: u32 = 0x1304;
pub const SNOW: u32 = 0x1305;
pub const FIRE: u32 = 0x1306;
pub const FIRE_SEVERITY: u32 = 0x1307;
pub const FLOOD_EDGE: u32 = 0x1308;

/// Air between ground and sensor.
pub const HAZE: u32 = 0x1401;

/// Streams of numbers that belong to one hash: the last argument of [`crate::noise::uniform`].
pub const VILLAGE_STREAM: i32 = 1;
pub const DISTRICT_STREAM: i32 = 3;
pub const CROP_STREAM: i32 = 5;
pub const LOT_STREAM: i32 = 9;
pub const PADDY_STREAM: i32 = 11;
pub const ZONE_STREAM: i32 = 77;
