//! Pseudo-labels of real pairs without ground truth: thresholds on both tiles for the Californian
//! pairs, and for SEN1-2 the classes that each region of interest can hold.

use mmovseg_raster::Rgb8;

use crate::labels::IGNORE;

/// Reach of the means in [`plain_ground`], in pixels of 10 m.
pub(crate) const NEIGHBOURHOOD_PX: usize = 8;

/// Positions in the classes of generated scenes.
pub(crate) const FOREST: u8 = 1;
pub(crate) const CITY: u8 = 2;
pub(crate) const FARMLAND: u8 = 4;
pub(crate) const GRASSLAND: u8 = 5;
pub(crate) const BARE: u8 = 6;

/// All classes of generated scenes, as bits.
pub(crate) const ANY: u8 = 0b111_1111;

/// What is known of a SEN1-2 patch without labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchLabel {
    /// One class, by eye, for the patch as a whole.
    Scene(u8),
    /// The classes that its ground can be, as bits.
    Candidates(u8),
}

/// Patches of the European farmland region that are mostly forest, seen by eye.
const WOODED: [u32; 10] = [2, 12, 13, 14, 23, 24, 100, 101, 1003, 1004];
/// Patches of the forested hills that are mostly pasture, seen by eye.
const PASTURES: [u32; 5] = [211, 218, 219, 220, 221];

/// What is known of a SEN1-2 patch, from looking at the regions of the data folder: European fields
/// with villages and forest, dry savanna on red soil without settlements, an American suburb, and
/// forested hills.
#[must_use]
pub fn patch_label(region: &str, patch: u32) -> PatchLabel {
    match region {
        "ROIs1868_summer_59" if WOODED.contains(&patch) => {
            PatchLabel::Candidates(1 << FARMLAND | 1 << FOREST)
        }
        "ROIs1868_summer_59" => PatchLabel::Scene(FARMLAND),
        "ROIs1970_fall_2" => match patch {
            1..=10 | 205..=210 | 217 | 220..=225 => PatchLabel::Scene(BARE),
            _ => PatchLabel::Candidates(1 << GRASSLAND | 1 << BARE),
        },
        "ROIs1970_fall_8" => PatchLabel::Scene(CITY),
        "ROIs1970_fall_11" if PASTURES.contains(&patch) => PatchLabel::Scene(GRASSLAND),
        _ => PatchLabel::Candidates(ANY),
    }
}

/// Labels of a Californian pair by thresholds on means of a neighbourhood, the rest [`IGNORE`]:
/// city where backscatter is strong and the ground is not reddish, bare land where the ground is
/// reddish and bright and backscatter is weak. The thresholds were read off these pairs (each tile
/// divided by its 99 % quantile).
pub(crate) fn plain_ground(rgb: &Rgb8, sar: &Rgb8, reach: usize) -> Vec<u8> {
    let (w, h) = (rgb.width_px, rgb.height_px);
    let plane = |picture: &Rgb8, f: fn(&[u8]) -> f32| -> Vec<f32> {
        mean(
            &picture.data.chunks_exact(3).map(f).collect::<Vec<_>>(),
            [w, h],
            reach.max(1),
        )
    };
    let echo = plane(sar, |p| f32::from(p[0]));
    let redness = plane(rgb, |p| f32::from(p[0]) - f32::from(p[2]));
    let light = plane(rgb, |p| p.iter().map(|&v| f32::from(v)).sum::<f32>() / 3.0);
    (0..w * h)
        .map(|i| {
            if echo[i] > 105.0 && redness[i] < -15.0 {
                CITY
            } else if echo[i] < 80.0 && redness[i] > -12.0 && light[i] > 95.0 {
                BARE
            } else {
                IGNORE
            }
        })
        .collect()
}

/// Means over squares of `2 reach + 1` pixels, edges repeated, `[h, w]`.
fn mean(plane: &[f32], [w, h]: [usize; 2], reach: usize) -> Vec<f32> {
    let along = |from: &[f32], [w, h]: [usize; 2]| {
        // One axis; the result is turned, so that two calls do both.
        let mut out = vec![0.0; w * h];
        for y in 0..h {
            let at = |x: isize| from[y * w + x.clamp(0, w as isize - 1) as usize];
            let reach = reach as isize;
            let mut sum: f32 = (-reach..=reach).map(at).sum();
            for x in 0..w as isize {
                out[x as usize * h + y] = sum / (2 * reach + 1) as f32;
                sum += at(x + reach + 1) - at(x - reach);
            }
        }
        out
    };
    along(&along(plane, [w, h]), [h, w])
}

#[cfg(test)]
mod tests {
    use super::{IGNORE, mean, plain_ground};

    #[test]
    fn strong_echoes_on_grey_ground_are_built_up_and_nothing_else_is_said() {
        let side = 40;
        let tile = |left: [u8; 3], right: [u8; 3]| mmovseg_raster::Rgb8 {
            width_px: side,
            height_px: side,
            data: (0..side * side)
                .flat_map(|i| if i % side < side / 2 { left } else { right })
                .collect(),
        };
        let rgb = tile([100, 120, 140], [150, 130, 110]);
        let label = plain_ground(&rgb, &tile([150; 3], [40; 3]), 4);
        assert_eq!((label[0], label[side - 1], label[side / 2]), (2, 6, IGNORE));
        let label = plain_ground(&rgb, &tile([40; 3], [150; 3]), 4);
        assert!(label.iter().all(|&l| l == IGNORE));
    }

    #[test]
    fn means_are_those_of_squares() {
        let plane: Vec<f32> = (0..35).map(|i| (i * i % 13) as f32).collect();
        let mean = mean(&plane, [7, 5], 1);
        for y in 1..4 {
            for x in 1..6 {
                let square =
                    (y - 1..=y + 1).flat_map(|r| plane[r * 7 + x - 1..=r * 7 + x + 1].iter());
                let want = square.sum::<f32>() / 9.0;
                assert!((mean[y * 7 + x] - want).abs() < 1e-4);
            }
        }
    }
}
