//! How large a raster may be.

use crate::RasterError;
use crate::raster::{MAX_DECODED_BYTES, MAX_SIDE_PX};

/// Refuses what would not fit into memory, before anything is allocated.
pub(super) fn check_size(
    name: &str,
    width_px: u64,
    height_px: u64,
    bands: u64,
    sample_bytes: u64,
) -> Result<(), RasterError> {
    let side = MAX_SIDE_PX as u64;
    // Sides first: then the product cannot overflow, bands being at most 65 535.
    if width_px > side
        || height_px > side
        || width_px * height_px * bands * sample_bytes > MAX_DECODED_BYTES
    {
        return Err(RasterError::TooLarge {
            name: name.to_owned(),
            width_px,
            height_px,
            bands,
        });
    }
    Ok(())
}
