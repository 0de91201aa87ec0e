//! This project's reader.

use mmovseg_raster::decode;

use crate::truth::Found;

pub fn read(bytes: &[u8]) -> Result<Found, String> {
    let raster = decode(bytes, "file").map_err(|error| error.to_string())?;
    let georef = raster.georef.as_ref();
    let points = georef.map_or(0, |georef| georef.control_points.len());
    Ok(Found {
        size: [raster.width_px, raster.height_px],
        bands: raster.bands,
        samples: (0..raster.samples.len())
            .map(|i| raster.samples.get(i))
            .collect(),
        nodata: raster.nodata,
        valid: raster
            .mask
            .as_ref()
            .map(|mask| mask.iter().map(|&value| value != 0).collect()),
        transform: georef.map(|georef| georef.transform),
        epsg: georef.and_then(|georef| georef.epsg),
        control_points: points,
        names_and_scales: (!raster.band_info.is_empty()).then(|| {
            let bands = raster.band_info.iter();
            bands
                .map(|band| (band.name.clone(), band.scale, band.offset))
                .collect()
        }),
    })
}

/// Reads all pixels; returns their number.
pub fn pixels(bytes: &[u8]) -> usize {
    decode(bytes, "file").map_or(0, |raster| raster.samples.len())
}
