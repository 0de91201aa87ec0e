//! Label maps and probabilities for other programs: PNG, `GeoTIFF`, `GeoJSON`.

mod check;
mod cog;
mod geojson;
mod geotiff;
mod outline;
mod png;
mod regions;
mod simplify;

pub use cog::{CogOptions, Overview, write_cog};
pub use geojson::{GeoJsonOptions, geojson};
pub use geotiff::{category_names_xml, label_geotiff, label_options, share_geotiff, share_options};
pub use png::{colour_png, indexed_png, write_rgb_png};
