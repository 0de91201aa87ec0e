//! What every export refuses.

use crate::RasterError;

/// Refuses labels that do not fill the picture, and more classes than a byte can number.
pub(super) fn check(
    labels: &[u8],
    width_px: usize,
    height_px: usize,
    classes: usize,
) -> Result<(), RasterError> {
    let area = width_px.checked_mul(height_px);
    if area == Some(labels.len()) && !labels.is_empty() && classes <= 256 {
        return Ok(());
    }
    Err(RasterError::Argument(format!(
        "{} labels and {classes} colours or names do not make a {width_px} x {height_px} px label map of at most 256 classes",
        labels.len(),
    )))
}
