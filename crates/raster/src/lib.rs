//! Tiles: decode, bands, stretch, SAR scaling, geo-reference, clouds, palettes, masks.
//!
//! Bytes of files go in, 8-bit pictures come out: [`open_pair`] for a pair of files, [`fit`] for
//! the model's squares, [`robust_rgb`] and [`robust_sar`] for one radiometry, [`indexed_png`],
//! [`label_geotiff`] and [`geojson`] for the result. No file system, no threads, no clock: the same
//! code runs in a browser.

mod class_list;
mod cloud;
mod colours;
mod control_points;
mod crs;
mod decode;
mod error;
mod export;
mod georef;
mod image;
mod label;
mod long_side;
mod normalise;
mod optical;
mod pair;
mod pair_file;
mod placing;
mod presets;
mod raster;
mod resize;
mod sar;
mod stats;
mod tile;
mod validity;

pub use class_list::{
    ClassListError, MAX_CLASSES, check_class_names, decode_class_file, parse_class_names,
    printable, split_class_names,
};
pub use cloud::{CLOUD_COLOUR, Cloud, add_cloud};
pub use colours::{class_colours, default_palette};
pub use decode::{ByteSource, RasterFile, decode};
pub use error::RasterError;
pub use export::{
    CogOptions, GeoJsonOptions, Overview, category_names_xml, colour_png, geojson, indexed_png,
    label_geotiff, label_options, share_geotiff, share_options, write_cog, write_rgb_png,
};
pub use georef::{ControlPoint, GeoKeys, GeoRef};
pub use image::Rgb8;
pub use label::{Labels, NO_DATA_LABEL, read_label_png};
pub use long_side::fit_long_side;
pub use normalise::{RgbRadiometry, SarRadiometry, robust_rgb, robust_sar};
pub use optical::{OpticalOptions, OpticalRule, Stretch, optical_to_rgb};
pub use pair::{TilePair, open_optical, open_pair};
pub use pair_file::PairFile;
pub use presets::{PRESETS, Preset, PresetClass, PresetRule, WORD_PRESETS};
pub use raster::{BandColour, BandInfo, MAX_DECODED_BYTES, MAX_SIDE_PX, Raster, Samples};
pub use resize::{ModelTiles, Preprocess, fit, fit_optical, fit_sar, resize_bilinear};
pub use sar::{SarOptions, SarRule, SarScale, sar_to_rgb};
pub use tile::Tile;
