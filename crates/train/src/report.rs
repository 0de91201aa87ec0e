//! What the default model is measured by, in one table: generated scenes under every cloud and with
//! every sensor, EuroSAT tiles named by their largest class, and real pairs whose mask should stay
//! when a cloud is pulled over the optical tile.

use std::path::{Path, PathBuf};

use mmovseg_engine::{Modality, Preprocess, SegmentRequest, Session, TilePair, Tiling};
use mmovseg_raster::{Rgb8, add_cloud};
use mmovseg_scene::{CLASSES, CloudKind, cloud_for, generate};
use serde::Serialize;

use crate::TrainError;
use crate::data::{HELD_OUT_EVERY, Sources, from_jpeg, is_held_out, read_tar};
use crate::metrics::{ConfusionMatrix, Figures};

/// Side of the generated scenes and of the cuts of real pairs, in pixels of 10 m.
const SCENE_PX: usize = 192;
/// Cuts of one real pair, along each axis.
const CUTS: usize = 2;

/// What to measure on.
#[derive(Clone, Debug)]
pub struct ReportOptions {
    /// Folder with `eurosat_rgb` and `s1s2_pairs`; what is not there is left out.
    pub data: PathBuf,
    /// Generated scenes.
    pub scenes: usize,
    /// Seed of the first of them; the others follow.
    pub seed: u64,
    /// Held-out EuroSAT tiles of each class.
    pub tiles: usize,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Generated scenes, by clouds and sensors.
    pub scenes: Vec<SceneRow>,
    /// EuroSAT.
    pub eurosat: Option<EurosatScore>,
    /// Real pairs.
    pub pairs: Option<PairScore>,
}

/// Figures on generated scenes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SceneRow {
    /// `none`, `thin` or `thick`.
    pub cloud: &'static str,
    /// Sensors listened to.
    pub modality: Modality,
    /// Figures.
    pub figures: Figures,
}

/// Held-out EuroSAT tiles, each named by the largest class of its mask among ten prompts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EurosatScore {
    /// Tiles asked.
    pub tiles: usize,
    /// Share named right with EuroSAT's own names in plain words.
    pub names: f64,
    /// The same with synonyms that training did not see.
    pub synonyms: f64,
    /// Share named right of each class, by names and by synonyms.
    pub per_class: Vec<(&'static str, f64, f64)>,
}

/// Real pairs held out by place: pixels that keep their class when a thick cloud covers the optical tile.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairScore {
    /// Cuts of pairs.
    pub cuts: usize,
    /// Share with both tiles.
    pub fused: f64,
    /// Share with the optical tile alone, against its own clear mask.
    pub optical: f64,
}

/// EuroSAT's classes: file, name in plain words, a synonym that no training label has used.
const EUROSAT_PROMPTS: [(&str, &str, &str); 10] = [
    ("AnnualCrop", "annual crop", "wheat field"),
    ("Forest", "forest", "rainforest"),
    ("HerbaceousVegetation", "herbaceous vegetation", "brushland"),
    ("Highway", "highway", "expressway"),
    ("Industrial", "industrial area", "business park"),
    ("Pasture", "pasture", "paddock"),
    ("PermanentCrop", "permanent crop", "fruit trees"),
    ("Residential", "residential area", "housing estate"),
    ("River", "river", "stream"),
    ("SeaLake", "sea or lake", "lagoon"),
];

/// Measures a session; `on_step(what, done, total)` hears of progress.
///
/// # Errors
/// When a file of the data folder is damaged, or a run fails.
pub async fn report(
    session: &mut Session,
    options: &ReportOptions,
    on_step: &mut dyn FnMut(&'static str, usize, usize),
) -> Result<Report, ReportError> {
    Ok(Report {
        scenes: scenes(session, options, on_step).await?,
        eurosat: eurosat(session, options, on_step).await?,
        pairs: pairs(session, options, on_step).await?,
    })
}

/// What a report may fail with.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The data folder.
    #[error(transparent)]
    Data(#[from] TrainError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] mmovseg_engine::EngineError),
}

async fn scenes(
    session: &mut Session,
    options: &ReportOptions,
    on_step: &mut dyn FnMut(&'static str, usize, usize),
) -> Result<Vec<SceneRow>, ReportError> {
    // What SAR alone says does not change with the clouds.
    const CLOUDS: [(&str, CloudKind, &[Modality]); 3] = [
        (
            "none",
            CloudKind::None,
            &[Modality::Fused, Modality::Optical, Modality::Sar],
        ),
        (
            "thin",
            CloudKind::Thin,
            &[Modality::Fused, Modality::Optical],
        ),
        (
            "thick",
            CloudKind::Thick,
            &[Modality::Fused, Modality::Optical],
        ),
    ];
    let names: Vec<&str> = CLASSES.iter().map(|class| class.name).collect();
    let mut rows: Vec<_> = CLOUDS
        .iter()
        .flat_map(|&(cloud, _, modalities)| modalities.iter().map(move |&m| (cloud, m)))
        .map(|row| (row, ConfusionMatrix::new(names.len())))
        .collect();
    for i in 0..options.scenes {
        let scene = generate(options.seed.wrapping_add(i as u64), SCENE_PX);
        let mut matrices = rows.iter_mut().map(|(_, matrix)| matrix);
        for (_, kind, modalities) in CLOUDS {
            // The clouds of `mmovseg eval`, so that both give the same figures.
            let rgb = match cloud_for(i as u64, kind) {
                Some(cloud) => add_cloud(&scene.rgb, &cloud).0,
                None => scene.rgb.clone(),
            };
            let pair = TilePair::new(rgb, scene.sar.clone());
            for (&modality, matrix) in modalities.iter().zip(&mut matrices) {
                let labels = labels(session, &pair, &names, modality).await?;
                matrix.add(&scene.label, &labels);
            }
        }
        on_step("scenes", i + 1, options.scenes);
    }
    let classes: Vec<(String, bool)> = CLASSES
        .iter()
        .map(|class| (class.name.to_owned(), class.seen))
        .collect();
    Ok(rows
        .into_iter()
        .map(|((cloud, modality), matrix)| SceneRow {
            cloud,
            modality,
            figures: matrix.figures(&classes, options.scenes),
        })
        .collect())
}

async fn eurosat(
    session: &mut Session,
    options: &ReportOptions,
    on_step: &mut dyn FnMut(&'static str, usize, usize),
) -> Result<Option<EurosatScore>, ReportError> {
    let file = |name: &str| options.data.join("eurosat_rgb").join(format!("{name}.tar"));
    if options.tiles == 0
        || EUROSAT_PROMPTS
            .iter()
            .any(|(name, ..)| !file(name).exists())
    {
        return Ok(None);
    }
    let by_names = EUROSAT_PROMPTS.map(|(_, name, _)| name);
    let by_synonyms = EUROSAT_PROMPTS.map(|(_, _, synonym)| synonym);
    let mut per_class = Vec::new();
    let (mut tiles, mut right) = (0, [0, 0]);
    for (class, (name, ..)) in EUROSAT_PROMPTS.iter().enumerate() {
        let mut held_out = read_tar(&file(name), is_held_out)?;
        held_out.truncate(options.tiles);
        let mut hits = [0, 0];
        for bytes in &held_out {
            let rgb = from_jpeg(bytes, name)?;
            let sar = Rgb8::filled(rgb.width_px, rgb.height_px, 0);
            let pair = TilePair::new(rgb, sar);
            for (prompts, hits) in [by_names, by_synonyms].iter().zip(&mut hits) {
                let labels = labels(session, &pair, prompts, Modality::Optical).await?;
                *hits += usize::from(largest(&labels, prompts.len()) == class);
            }
        }
        let share = |hits: usize| hits as f64 / held_out.len().max(1) as f64;
        per_class.push((*name, share(hits[0]), share(hits[1])));
        tiles += held_out.len();
        right.iter_mut().zip(hits).for_each(|(sum, n)| *sum += n);
        on_step("EuroSAT classes", class + 1, EUROSAT_PROMPTS.len());
    }
    let share = |hits: usize| hits as f64 / tiles.max(1) as f64;
    Ok(Some(EurosatScore {
        tiles,
        names: share(right[0]),
        synonyms: share(right[1]),
        per_class,
    }))
}

async fn pairs(
    session: &mut Session,
    options: &ReportOptions,
    on_step: &mut dyn FnMut(&'static str, usize, usize),
) -> Result<Option<PairScore>, ReportError> {
    let held_out = Sources::read_pairs(&options.data.join("s1s2_pairs"), |i| {
        i.is_multiple_of(HELD_OUT_EVERY)
    })?;
    if held_out.is_empty() {
        return Ok(None);
    }
    let names: Vec<&str> = CLASSES.iter().map(|class| class.name).collect();
    let (mut cuts, mut same, mut all) = (0, [0, 0], 0);
    for (i, (rgb, sar)) in held_out.iter().enumerate() {
        let side = SCENE_PX.min(rgb.width_px / CUTS).min(rgb.height_px / CUTS);
        for cut in 0..CUTS * CUTS {
            // Middles of the quarters.
            let at = |index: usize, length: usize| (2 * index + 1) * length / (2 * CUTS) - side / 2;
            let (left, top) = (at(cut % CUTS, rgb.width_px), at(cut / CUTS, rgb.height_px));
            let (rgb, sar) = (
                rgb.crop([left, top], [side; 2]),
                sar.crop([left, top], [side; 2]),
            );
            let seed = (i * CUTS * CUTS + cut) as u64;
            let Some(cloud) = cloud_for(seed, CloudKind::Thick) else {
                continue;
            };
            let clouded = TilePair::new(add_cloud(&rgb, &cloud).0, sar.clone());
            let clear = TilePair::new(rgb, sar);
            // Both sensors' masks of one tile in a row: the session then has its features.
            let mut both = async |pair: &TilePair| {
                let fused = labels(session, pair, &names, Modality::Fused).await?;
                let optical = labels(session, pair, &names, Modality::Optical).await?;
                Ok::<_, ReportError>([fused, optical])
            };
            let (before, after) = (both(&clear).await?, both(&clouded).await?);
            for (same, (before, after)) in same.iter_mut().zip(before.iter().zip(&after)) {
                *same += before.iter().zip(after).filter(|(a, b)| a == b).count();
            }
            all += side * side;
            cuts += 1;
        }
        on_step("real pairs", i + 1, held_out.len());
    }
    let share = |same: usize| same as f64 / all.max(1) as f64;
    Ok(Some(PairScore {
        cuts,
        fused: share(same[0]),
        optical: share(same[1]),
    }))
}

/// Labels of one pass over the whole pair.
async fn labels(
    session: &mut Session,
    pair: &TilePair,
    classes: &[&str],
    modality: Modality,
) -> Result<Vec<u8>, ReportError> {
    let request = SegmentRequest {
        classes: classes.iter().map(|&name| name.to_owned()).collect(),
        modality,
        preprocess: Preprocess::Aligned,
        tiling: Tiling::Whole,
    };
    Ok(session.segment(pair, &request, &mut |_| {}).await?.labels)
}

/// The class with most pixels, the first of equals.
fn largest(labels: &[u8], classes: usize) -> usize {
    let mut counts = vec![0usize; classes];
    for &label in labels {
        if let Some(count) = counts.get_mut(usize::from(label)) {
            *count += 1;
        }
    }
    let most = counts.iter().max().copied().unwrap_or(0);
    counts.iter().position(|&count| count == most).unwrap_or(0)
}

impl Report {
    /// The report as Markdown tables, shares in percent; `model` and `options` name what was measured.
    #[must_use]
    pub fn markdown(&self, model: &Path, options: &ReportOptions) -> String {
        let percent = |value: f64| format!("{:.1}", 100.0 * value);
        let mut lines = vec![
            format!(
                "{} generated scenes from seed {} on, mIoU in percent over {} classes:",
                options.scenes,
                options.seed,
                CLASSES.len()
            ),
            String::new(),
        ];
        let mut head = vec!["clouds".to_owned(), "tiles read".into(), "mIoU".into()];
        head.extend(CLASSES.iter().map(|class| class.name.to_owned()));
        table(&mut lines, &head);
        for row in &self.scenes {
            let mut cells = vec![
                if row.modality == Modality::Sar {
                    "any"
                } else {
                    row.cloud
                }
                .to_owned(),
                match row.modality {
                    Modality::Fused => "both",
                    Modality::Optical => "optical",
                    Modality::Sar => "SAR",
                }
                .to_owned(),
                percent(row.figures.miou),
            ];
            cells.extend(
                row.figures
                    .per_class
                    .iter()
                    .map(|class| class.iou.map_or("–".into(), percent)),
            );
            lines.push(format!("| {} |", cells.join(" | ")));
        }
        if let Some(score) = &self.eurosat {
            lines.push(String::new());
            lines.push(format!(
                "{} EuroSAT tiles that training never read, named by the largest class of their mask among ten, \
                 optical tile alone, right in percent:",
                score.tiles
            ));
            lines.push(String::new());
            table(
                &mut lines,
                &["class".into(), "by name".into(), "by synonym".into()],
            );
            for ((_, name, synonym), (_, a, b)) in EUROSAT_PROMPTS.iter().zip(&score.per_class) {
                lines.push(format!(
                    "| {name} / {synonym} | {} | {} |",
                    percent(*a),
                    percent(*b)
                ));
            }
            lines.push(format!(
                "| all | {} | {} |",
                percent(score.names),
                percent(score.synonyms)
            ));
        }
        if let Some(score) = &self.pairs {
            lines.push(String::new());
            lines.push(format!(
                "{} cuts of real pairs held out by place: {} % of the pixels keep their class when a thick cloud \
                 is laid over the optical tile, {} % with the optical tile alone.",
                score.cuts,
                percent(score.fused),
                percent(score.optical)
            ));
        }
        lines.push(String::new());
        lines.push(format!(
            "Made by `mmovseg report --model {} --scenes {} --seed {} --tiles {}`.",
            model.display(),
            options.scenes,
            options.seed,
            options.tiles
        ));
        lines.push(String::new());
        lines.join("\n")
    }
}

fn table(lines: &mut Vec<String>, head: &[String]) {
    lines.push(format!("| {} |", head.join(" | ")));
    lines.push(format!("|{}", "---|".repeat(head.len())));
}

#[cfg(test)]
mod tests {
    use super::{EUROSAT_PROMPTS, largest};
    use crate::data::Legend;

    #[test]
    fn the_largest_class_is_the_first_of_equals() {
        assert_eq!(largest(&[2, 1, 2, 1, 0, 255], 3), 1);
        assert_eq!(largest(&[], 3), 0);
    }

    #[test]
    fn synonyms_of_the_report_label_nothing_in_training() {
        let trained: Vec<&str> = Legend::ALL
            .iter()
            .flat_map(|legend| legend.words().concat())
            .collect();
        for (_, _, synonym) in EUROSAT_PROMPTS {
            assert!(!trained.contains(&synonym), "{synonym}");
        }
    }
}
