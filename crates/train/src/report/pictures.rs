//! Held-out 30 m tiles with their masks and labels on one sheet, chosen by a rule and not by taste.

use std::path::Path;

use mmovseg_engine::{Modality, Session};
use mmovseg_raster::{Rgb8, class_colours};

use super::common::{percent, segment};
use super::error::ReportError;
use super::real::{names, optical_only, six_classes};
use crate::data::read::{self, Part};
use crate::labels::IGNORE;

/// Tiles of a sheet.
const TILES: usize = 8;
/// Side of a picture on the sheet, in pixels.
const SIDE_PX: usize = 160;
/// White between two pictures, in pixels.
const GAP_PX: usize = 6;
/// The colour of pixels without a label.
const UNLABELLED: [u8; 3] = [64, 64, 64];

/// Pictures of tiles, their masks and their labels.
pub struct PictureSheet {
    /// A column for each tile: optical tile, mask by the optical tile alone, labels.
    pub picture: Rgb8,
    /// The rule, and what each tile is.
    pub caption: String,
}

/// A tile with its mask.
struct Shown {
    name: String,
    place: u16,
    right: f64,
    rgb: Rgb8,
    mask: Vec<u8>,
    truth: Vec<u8>,
}

/// Segments the held-out 30 m tiles and shows [`TILES`] of them: sorted by the share of pixels that
/// are labelled right, those at evenly spaced ranks from the worst to the best. `None` where the
/// data folder has too few tiles.
///
/// # Errors
/// When a file of the data folder is damaged, or a run fails.
pub async fn pictures(
    session: &mut Session,
    data: &Path,
    on_step: &mut dyn FnMut(&'static str, usize, usize),
) -> Result<Option<PictureSheet>, ReportError> {
    let tiles = read::labelled_tiles(data, Part::HeldOut)?;
    let names = names();
    let count = tiles.len();
    let mut shown = Vec::with_capacity(count);
    for (i, tile) in tiles.into_iter().enumerate() {
        let truth = six_classes(&tile.label);
        let pair = optical_only(&tile.rgb);
        let found = segment(session, &pair, &names, Modality::Optical).await?;
        let labelled = truth
            .iter()
            .zip(&found.labels)
            .filter(|(t, _)| **t != IGNORE);
        let right = labelled.clone().filter(|(t, l)| t == l).count();
        shown.push(Shown {
            right: right as f64 / labelled.count().max(1) as f64,
            name: tile.name,
            place: tile.place,
            rgb: tile.rgb,
            mask: found.labels,
            truth,
        });
        on_step("pictures", i + 1, count);
    }
    if shown.len() < TILES {
        return Ok(None);
    }
    shown.sort_by(|a, b| {
        a.right
            .total_cmp(&b.right)
            .then_with(|| a.name.cmp(&b.name))
    });
    let chosen: Vec<&Shown> = (0..TILES).map(|i| &shown[rank(i, count)]).collect();
    let colours = class_colours(&names, &session.manifest().named_colours());
    let told: Vec<String> = chosen
        .iter()
        .map(|tile| {
            format!(
                "{} (place {}): {} %",
                tile.name,
                tile.place,
                percent(tile.right)
            )
        })
        .collect();
    Ok(Some(PictureSheet {
        picture: sheet(&chosen, &colours),
        caption: format!(
            "Of {count} held-out tiles sorted by the share of their pixels that are labelled right, those at {TILES} evenly \
             spaced ranks from the worst to the best. Optical tile, mask by the optical tile alone, labels: {}.",
            told.join("; ")
        ),
    }))
}

/// The rank of the `i`-th of [`TILES`] among `count` sorted tiles: the first, the last, and evenly
/// spaced ones between.
fn rank(i: usize, count: usize) -> usize {
    (i * (count - 1) + (TILES - 1) / 2) / (TILES - 1)
}

fn sheet(tiles: &[&Shown], colours: &[[u8; 3]]) -> Rgb8 {
    let step = SIDE_PX + GAP_PX;
    let mut out = Rgb8::filled(tiles.len() * step - GAP_PX, 3 * step - GAP_PX, 255);
    for (column, tile) in tiles.iter().enumerate() {
        let (w, h) = (tile.rgb.width_px, tile.rgb.height_px);
        let colour = |label: u8| {
            colours
                .get(usize::from(label))
                .copied()
                .unwrap_or(UNLABELLED)
        };
        for y in 0..SIDE_PX {
            for x in 0..SIDE_PX {
                let (from_x, from_y) = (x * w / SIDE_PX, y * h / SIDE_PX);
                let at = from_y * w + from_x;
                let pixels = [
                    tile.rgb.pixel(from_x, from_y),
                    colour(tile.mask[at]),
                    colour(tile.truth[at]),
                ];
                for (row, pixel) in pixels.into_iter().enumerate() {
                    let to = ((row * step + y) * out.width_px + column * step + x) * 3;
                    out.data[to..to + 3].copy_from_slice(&pixel);
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{TILES, rank};

    #[test]
    fn ranks_go_from_the_worst_to_the_best_without_one_twice() {
        for count in [TILES, 54, 92] {
            let ranks: Vec<usize> = (0..TILES).map(|i| rank(i, count)).collect();
            assert_eq!((ranks[0], ranks[TILES - 1]), (0, count - 1));
            assert!(ranks.windows(2).all(|pair| pair[0] < pair[1]), "{ranks:?}");
        }
    }
}
