//! The pixel size that the model sees: tiles whose pixels are far from those it was trained for are
//! resampled, and labels come back on the optical grid.

use mmovseg_raster::NO_DATA_LABEL;
use mmovseg_types::Resolution;

use crate::Segmentation;

/// Factor between pixel sizes that the model was trained to stand.
const TOLERATED: f64 = 1.5;

/// By how much a tile with pixels of `pixel_m` is enlarged for a model that was trained for pixels
/// of `gsd_m`; `None` when it is shown as it is.
#[must_use]
pub fn factor(pixel_m: f64, gsd_m: f64) -> Option<f64> {
    let factor = pixel_m / gsd_m;
    (factor.is_normal() && !(1.0 / TOLERATED..=TOLERATED).contains(&factor)).then_some(factor)
}

/// What the user is told of a tile that is enlarged by `factor`.
#[must_use]
pub fn note(pixel_m: f64, gsd_m: f64, factor: f64) -> String {
    format!(
        "pixels of {pixel_m:.2} m are resampled to {:.2} m for the model, which was trained for {gsd_m} m; labels are on the optical grid",
        pixel_m / factor
    )
}

/// The size (columns, rows) in which a tile is shown to a model, and a note for the user; `None`
/// when it is shown as it is: on request, where a pixel size is not known, and where both are
/// close.
#[must_use]
pub fn model_size(
    native_px: [usize; 2],
    pixel_m: Option<f64>,
    gsd_m: Option<f32>,
    resolution: Resolution,
) -> Option<([usize; 2], String)> {
    /// Least side of a tile that is still worth a look, in pixels.
    const LEAST_PX: f64 = 32.0;
    /// Most pixels of a tile that is enlarged.
    const MOST_PX: f64 = 24e6;
    if resolution == Resolution::Native {
        return None;
    }
    let (pixel_m, gsd_m) = (pixel_m?, f64::from(gsd_m?));
    let factor = factor(pixel_m, gsd_m)?;
    let [w, h] = native_px.map(|side| side as f64);
    let least = (LEAST_PX / w.min(h)).min(1.0);
    let most = (MOST_PX / (w * h)).sqrt().max(1.0);
    let factor = factor.clamp(least, most);
    let size_px = [w, h].map(|side| ((side * factor).round() as usize).max(1));
    (size_px != native_px).then(|| (size_px, note(pixel_m, gsd_m, factor)))
}

/// Brings labels onto another grid of the same ground, each pixel with the label of the one it lies
/// in.
pub fn onto_grid(result: &mut Segmentation, [w, h]: [usize; 2], valid: Option<&[bool]>) {
    let (from_w, from_h) = (result.width_px, result.height_px);
    let mut counts = vec![0_u64; result.classes.len()];
    let mut labels = Vec::with_capacity(w * h);
    for y in 0..h {
        let row = &result.labels[(2 * y + 1) * from_h / (2 * h) * from_w..][..from_w];
        for x in 0..w {
            let mut label = row[(2 * x + 1) * from_w / (2 * w)];
            if valid.is_some_and(|valid| !valid[y * w + x]) {
                label = NO_DATA_LABEL;
            }
            if let Some(count) = counts.get_mut(usize::from(label)) {
                *count += 1;
            }
            labels.push(label);
        }
    }
    let all = counts.iter().sum::<u64>().max(1) as f64;
    result.share = counts.iter().map(|&count| count as f64 / all).collect();
    result.labels = labels;
    (result.width_px, result.height_px) = (w, h);
}

#[cfg(test)]
mod tests {
    use mmovseg_types::Resolution;

    use super::model_size;

    #[test]
    fn tiles_are_resampled_when_their_pixels_are_far_from_the_models() {
        let size = |pixel_m: f64, px: [usize; 2]| {
            let found = model_size(px, Some(pixel_m), Some(10.0), Resolution::Auto);
            found.map_or(px, |(size, _)| size)
        };
        assert_eq!(size(10.0, [500, 400]), [500, 400]);
        assert_eq!(size(14.9, [500, 400]), [500, 400]);
        assert_eq!(size(20.0, [500, 400]), [1000, 800]);
        assert_eq!(size(2.5, [500, 400]), [125, 100]);
        assert_eq!(size(0.1, [500, 400]), [40, 32]);
        assert_eq!(size(f64::NAN, [500, 400]), [500, 400]);
        let native = model_size([500, 400], Some(20.0), Some(10.0), Resolution::Native);
        assert_eq!(native, None);
        assert_eq!(model_size([9, 9], None, Some(10.0), Resolution::Auto), None);
    }
}
