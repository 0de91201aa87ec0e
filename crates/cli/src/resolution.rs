//! The pixel size that the model sees: tiles whose pixels are far from those it was trained for are
//! resampled, and labels come back on the optical grid.

use mmovseg_engine::Segmentation;
use mmovseg_raster::NO_DATA_LABEL;
use serde::Deserialize;

/// What decides the pixel size that the model sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolution {
    Auto,
    Native,
}

/// Factor between pixel sizes that the model was trained to stand.
const TOLERATED: f64 = 1.5;

/// By how much a tile with pixels of `pixel_m` is enlarged for a model that was trained for pixels
/// of `gsd_m`; `None` when it is shown as it is.
pub fn factor(pixel_m: f64, gsd_m: f64) -> Option<f64> {
    let factor = pixel_m / gsd_m;
    (factor.is_normal() && !(1.0 / TOLERATED..=TOLERATED).contains(&factor)).then_some(factor)
}

/// What the user is told of a tile that is enlarged by `factor`.
pub fn note(pixel_m: f64, gsd_m: f64, factor: f64) -> String {
    format!(
        "pixels of {pixel_m:.2} m are resampled to {:.2} m for the model, which was trained for {gsd_m} m; labels are on the optical grid (--resolution native leaves pixels as they are)",
        pixel_m / factor
    )
}

/// The size in which a tile is shown to a model that was trained for pixels of `gsd_m`, with a note
/// when it is not the tile's own.
pub fn resampled(
    native_px: [usize; 2],
    pixel_m: f64,
    gsd_m: f64,
    notes: &mut Vec<String>,
) -> [usize; 2] {
    /// Least side of a tile that is still worth a look, in pixels.
    const LEAST_PX: f64 = 32.0;
    /// Most pixels of a tile that is enlarged.
    const MOST_PX: f64 = 24e6;
    let Some(factor) = factor(pixel_m, gsd_m) else {
        return native_px;
    };
    let [w, h] = native_px.map(|side| side as f64);
    let least = (LEAST_PX / w.min(h)).min(1.0);
    let most = (MOST_PX / (w * h)).sqrt().max(1.0);
    let factor = factor.clamp(least, most);
    notes.push(note(pixel_m, gsd_m, factor));
    [w, h].map(|side| ((side * factor).round() as usize).max(1))
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
    use super::resampled;

    #[test]
    fn tiles_are_resampled_when_their_pixels_are_far_from_the_models() {
        let size = |pixel_m: f64, px: [usize; 2]| {
            let mut notes = Vec::new();
            let size = resampled(px, pixel_m, 10.0, &mut notes);
            assert_eq!(notes.is_empty(), size == px, "{notes:?}");
            size
        };
        assert_eq!(size(10.0, [500, 400]), [500, 400]);
        assert_eq!(size(14.9, [500, 400]), [500, 400]);
        assert_eq!(size(20.0, [500, 400]), [1000, 800]);
        assert_eq!(size(2.5, [500, 400]), [125, 100]);
        assert_eq!(size(0.1, [500, 400]), [40, 32]);
        assert_eq!(size(f64::NAN, [500, 400]), [500, 400]);
    }
}
