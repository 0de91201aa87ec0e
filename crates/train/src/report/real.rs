//! Real ground that training never read: land cover of 30 m tiles, scene classes of pairs, masks
//! under clouds, and calibrated probabilities.

use std::path::Path;

use mmovseg_engine::{EngineError, HashedPair, Modality, Session, TilePair};
use mmovseg_raster::{Rgb8, add_cloud};
use mmovseg_scene::{CLASSES, CloudKind, cloud_for};
use serde::Serialize;

use super::common::{labels, largest, percent, segment, table};
use super::error::ReportError;
use crate::calibration::{Calibration, Pixel, calibrate};
use crate::data::pseudo_label::PatchLabel;
use crate::data::read::{self, LabelledTile, Part};
use crate::labels::WORLD_COVER;
use crate::metrics::{ConfusionMatrix, Figures};

/// Classes of the masks on real ground: all of the WorldCover set but shrubland.
const NAMES: usize = 6;
/// Pixels between two that calibration reads, along each axis.
const CALIBRATION_STEP: usize = 3;

/// What was measured on real ground.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RealScore {
    /// Land cover of 30 m tiles by the optical tile alone; `None` where the data folder has none.
    pub land_cover: Option<LandCoverScore>,
    /// Scene classes of SEN1-2 pairs and SAR tiles.
    pub scenes: Vec<SceneClassRow>,
    /// Masks that stay under clouds, by region.
    pub clouds: Vec<CloudRow>,
}

/// Land cover of held-out places.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LandCoverScore {
    /// Figures over all tiles.
    pub figures: Figures,
    /// Of each place: number, tiles, share of the pixels labelled right.
    pub places: Vec<(u16, usize, f64)>,
    /// How probabilities compare with shares.
    pub calibration: Option<Calibration>,
}

/// Tiles of one class and source, named by the largest class of their mask.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SceneClassRow {
    /// Where the tiles come from.
    pub source: &'static str,
    /// The class of the scenes.
    pub class: &'static str,
    /// Number of tiles.
    pub tiles: usize,
    /// Tiles named right by both tiles, the optical one alone, SAR alone; `None` where the optical
    /// tile is missing.
    pub right: [Option<usize>; 3],
}

/// Pixels that keep the class of the clear mask when a thick cloud covers the optical tile.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CloudRow {
    /// The region.
    pub region: &'static str,
    /// Number of pairs.
    pub pairs: usize,
    /// Share with both tiles.
    pub fused: f64,
    /// Share with the optical tile alone, against the optical tile's own clear mask.
    pub optical: f64,
}

/// Names of the classes on real ground.
pub(super) fn names() -> Vec<&'static str> {
    WORLD_COVER[..NAMES]
        .iter()
        .map(|(_, words)| words[0])
        .collect()
}

/// Measures a session; `on_step(what, done, total)` reports progress. `californian` are cuts of
/// held-out pairs.
pub(super) async fn measure(
    session: &mut Session,
    data: &Path,
    californian: &[TilePair],
    on_step: &mut dyn FnMut(&'static str, usize, usize),
) -> Result<RealScore, ReportError> {
    let land_cover = land_cover(session, data, on_step).await?;
    let scenes = scene_classes(session, data, on_step).await?;
    let clouds = clouds(session, data, californian, on_step).await?;
    Ok(RealScore {
        land_cover,
        scenes,
        clouds,
    })
}

/// Labels the held-out 30 m tiles; `None` where the data folder has none.
pub(super) async fn land_cover(
    session: &mut Session,
    data: &Path,
    on_step: &mut dyn FnMut(&'static str, usize, usize),
) -> Result<Option<LandCoverScore>, ReportError> {
    let tiles = read::labelled_tiles(data, Part::HeldOut)?;
    if tiles.is_empty() {
        return Ok(None);
    }
    let names = names();
    let mut all = ConfusionMatrix::new(NAMES);
    let mut places: Vec<(u16, usize, [usize; 2])> = Vec::new();
    let mut pixels: Vec<Pixel> = Vec::new();
    for (i, tile) in tiles.iter().enumerate() {
        let truth = six_classes(&tile.label);
        let pair = optical_only(&tile.rgb);
        let result = segment(session, &pair, &names, Modality::Optical).await?;
        all.add(&truth, &result.labels);
        let labelled = truth
            .iter()
            .zip(&result.labels)
            .filter(|(t, _)| usize::from(**t) < NAMES);
        let right = labelled.clone().filter(|(t, l)| t == l).count();
        let place = match places.iter().position(|row| row.0 == tile.place) {
            Some(at) => at,
            None => {
                places.push((tile.place, 0, [0, 0]));
                places.len() - 1
            }
        };
        let row = &mut places[place];
        row.1 += 1;
        row.2[0] += right;
        row.2[1] += labelled.count();
        take_pixels(&mut pixels, tile, &truth, &result.logits, result.grid_px);
        on_step("land-cover tiles", i + 1, tiles.len());
    }
    places.sort_by_key(|row| row.0);
    let classes: Vec<(String, bool)> = names
        .iter()
        .map(|name| ((*name).to_owned(), true))
        .collect();
    let temperature = session.manifest().temperature.map(f64::from);
    Ok(Some(LandCoverScore {
        figures: all.figures(&classes, tiles.len()),
        places: places
            .into_iter()
            .map(|(place, tiles, [right, of])| (place, tiles, right as f64 / of.max(1) as f64))
            .collect(),
        calibration: calibrate(&pixels, temperature),
    }))
}

/// The labels without shrubland, which is not asked for.
pub(super) fn six_classes(label: &[u8]) -> Vec<u8> {
    label
        .iter()
        .map(|&l| {
            if usize::from(l) < NAMES {
                l
            } else {
                crate::labels::IGNORE
            }
        })
        .collect()
}

/// Adds every so manieth labelled pixel with its logits, read off the logits' grid.
fn take_pixels(
    into: &mut Vec<Pixel>,
    tile: &LabelledTile,
    truth: &[u8],
    logits: &[f32],
    [rows, columns]: [usize; 2],
) {
    let (w, h) = (tile.rgb.width_px, tile.rgb.height_px);
    for y in (0..h).step_by(CALIBRATION_STEP) {
        for x in (0..w).step_by(CALIBRATION_STEP) {
            let label = usize::from(truth[y * w + x]);
            if label < NAMES {
                let at = y * rows / h * columns + x * columns / w;
                into.push(Pixel {
                    place: tile.place,
                    label,
                    logits: (0..NAMES)
                        .map(|class| logits[class * rows * columns + at])
                        .collect(),
                });
            }
        }
    }
}

pub(super) fn optical_only(rgb: &Rgb8) -> HashedPair {
    let sar = Rgb8::filled(rgb.width_px, rgb.height_px, 0);
    HashedPair::new(TilePair::new(rgb.clone(), sar))
}

/// Position among [`names`] of a class of generated scenes.
fn name_of_scene_class(class: u8) -> Option<usize> {
    let name = CLASSES.get(usize::from(class))?.name;
    names().iter().position(|other| *other == name)
}

async fn scene_classes(
    session: &mut Session,
    data: &Path,
    on_step: &mut dyn FnMut(&'static str, usize, usize),
) -> Result<Vec<SceneClassRow>, ReportError> {
    let names = names();
    let mut rows: Vec<SceneClassRow> = Vec::new();
    let mut count = |source, class: usize, right: [Option<bool>; 3]| {
        let at = rows
            .iter()
            .position(|row| (row.source, row.class) == (source, names[class]));
        let at = at.unwrap_or_else(|| {
            rows.push(SceneClassRow {
                source,
                class: names[class],
                tiles: 0,
                right: right.map(|right| right.map(|_| 0)),
            });
            rows.len() - 1
        });
        rows[at].tiles += 1;
        for (sum, right) in rows[at].right.iter_mut().zip(right) {
            *sum = sum.map(|sum| sum + usize::from(right == Some(true)));
        }
    };
    let pairs = read::patch_pairs(data, Part::HeldOut)?;
    for (i, pair) in pairs.iter().enumerate() {
        let PatchLabel::Scene(class) = pair.known else {
            continue;
        };
        let Some(class) = name_of_scene_class(class) else {
            continue;
        };
        let tiles = HashedPair::new(TilePair::new(pair.rgb.clone(), pair.sar.clone()));
        let mut right = [None; 3];
        for (modality, right) in [Modality::Fused, Modality::Optical, Modality::Sar]
            .into_iter()
            .zip(&mut right)
        {
            let labels = labels(session, &tiles, &names, modality).await?;
            *right = Some(largest(&labels, NAMES) == class);
        }
        count("SEN1-2 pairs", class, right);
        on_step("scene classes", i + 1, pairs.len());
    }
    let tiles = read::sar_tiles(data, Part::HeldOut)?;
    for (i, tile) in tiles.iter().enumerate().filter(|(_, tile)| tile.is_whole) {
        let Some(class) = tile
            .label
            .first()
            .and_then(|&class| name_of_scene_class(class))
        else {
            continue;
        };
        let blank = Rgb8::filled(tile.sar.width_px, tile.sar.height_px, 0);
        let pair = HashedPair::new(TilePair::new(blank, tile.sar.clone()));
        let labels = labels(session, &pair, &names, Modality::Sar).await?;
        let right = largest(&labels, NAMES) == class;
        count("SEN1-2 SAR tiles", class, [None, None, Some(right)]);
        on_step("SAR tiles", i + 1, tiles.len());
    }
    Ok(rows)
}

async fn clouds(
    session: &mut Session,
    data: &Path,
    californian: &[TilePair],
    on_step: &mut dyn FnMut(&'static str, usize, usize),
) -> Result<Vec<CloudRow>, ReportError> {
    let patches = read::patch_pairs(data, Part::HeldOut)?;
    let others: Vec<TilePair> = patches
        .into_iter()
        .map(|pair| TilePair::new(pair.rgb, pair.sar))
        .collect();
    let mut rows = Vec::new();
    for (region, pairs) in [("California", californian), ("other regions", &others)] {
        if let Some(row) = under_cloud(session, region, pairs, on_step).await? {
            rows.push(row);
        }
    }
    Ok(rows)
}

async fn under_cloud(
    session: &mut Session,
    region: &'static str,
    pairs: &[TilePair],
    on_step: &mut dyn FnMut(&'static str, usize, usize),
) -> Result<Option<CloudRow>, EngineError> {
    let names = names();
    let (mut same, mut all, mut count) = ([0, 0], 0, 0);
    for (i, clear) in pairs.iter().enumerate() {
        let Some(cloud) = cloud_for(i as u64, CloudKind::Thick) else {
            continue;
        };
        let clear = HashedPair::new(clear.clone());
        let mut clouded = clear.clone();
        clouded.set_rgb(add_cloud(&clear.rgb, &cloud).0);
        // Both passes over one tile in a row: the session then reuses its features.
        let mut both = async |pair: &HashedPair| {
            let fused = labels(session, pair, &names, Modality::Fused).await?;
            let optical = labels(session, pair, &names, Modality::Optical).await?;
            Ok::<_, EngineError>([fused, optical])
        };
        let (before, after) = (both(&clear).await?, both(&clouded).await?);
        for (same, (before, after)) in same.iter_mut().zip(before.iter().zip(&after)) {
            *same += before.iter().zip(after).filter(|(a, b)| a == b).count();
        }
        all += before[0].len();
        count += 1;
        on_step("pairs under clouds", i + 1, pairs.len());
    }
    let share = |same: usize| same as f64 / all.max(1) as f64;
    Ok((count > 0).then(|| CloudRow {
        region,
        pairs: count,
        fused: share(same[0]),
        optical: share(same[1]),
    }))
}

impl RealScore {
    /// As Markdown tables.
    pub(super) fn markdown(&self, lines: &mut Vec<String>) {
        if let Some(score) = &self.land_cover {
            score.markdown(lines);
        }
        if !self.scenes.is_empty() {
            lines.push(String::new());
            lines.push("Held-out SEN1-2 tiles named by the largest class of their mask among the same six, right of all:".into());
            lines.push(String::new());
            table(
                lines,
                &["source", "class", "both tiles", "optical", "SAR"].map(str::to_owned),
            );
            for row in &self.scenes {
                let cells = row.right.map(|right| {
                    right.map_or("–".into(), |right| format!("{right} of {}", row.tiles))
                });
                lines.push(format!(
                    "| {} | {} | {} |",
                    row.source,
                    row.class,
                    cells.join(" | ")
                ));
            }
        }
        if !self.clouds.is_empty() {
            lines.push(String::new());
            lines.push(
                "Held-out pairs under generated thick clouds: pixels that keep the class of the clear mask, percent:"
                    .into(),
            );
            lines.push(String::new());
            table(
                lines,
                &["region", "pairs", "both tiles", "optical"].map(str::to_owned),
            );
            for row in &self.clouds {
                lines.push(format!(
                    "| {} | {} | {} | {} |",
                    row.region,
                    row.pairs,
                    percent(row.fused),
                    percent(row.optical)
                ));
            }
        }
    }
}

impl LandCoverScore {
    fn markdown(&self, lines: &mut Vec<String>) {
        lines.push(format!(
            "{} HLS tiles of 30 m from {} places that training never read, optical tile alone, against ESA WorldCover \
             and the water seen in each tile: {} % of the pixels right, mIoU {} % over {NAMES} classes. IoU and recall \
             of each class, percent:",
            self.figures.images,
            self.places.len(),
            percent(self.figures.pacc),
            percent(self.figures.miou),
        ));
        lines.push(String::new());
        let mut head = vec![String::new()];
        head.extend(
            self.figures
                .per_class
                .iter()
                .map(|class| class.name.clone()),
        );
        table(lines, &head);
        let cell = |share: Option<f64>| share.map_or("–".into(), percent);
        let iou: Vec<String> = self
            .figures
            .per_class
            .iter()
            .map(|class| cell(class.iou))
            .collect();
        let recall: Vec<String> = self
            .figures
            .per_class
            .iter()
            .map(|class| cell(class.acc))
            .collect();
        lines.push(format!("| IoU | {} |", iou.join(" | ")));
        lines.push(format!("| recall | {} |", recall.join(" | ")));
        lines.push(String::new());
        let places: Vec<String> = self
            .places
            .iter()
            .map(|(place, tiles, right)| format!("{place} ({tiles}): {}", percent(*right)))
            .collect();
        lines.push(format!(
            "Pixels right in each place, percent, with its number of tiles: {}.",
            places.join(", ")
        ));
        if let Some(calibration) = &self.calibration {
            lines.push(String::new());
            lines.push(calibration.to_string());
        }
    }
}
