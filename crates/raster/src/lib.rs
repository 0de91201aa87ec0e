//! Tiles: decode, bands, stretch, SAR scaling, geo-reference, clouds, palettes, masks.

mod image;

pub use image::Rgb8;
