//! What the default model is measured by, in one table: generated scenes under every cloud and with
//! every sensor, EuroSAT tiles named by their largest class, and real pairs whose mask should stay
//! when a cloud is pulled over the optical tile.

use std::path::{Path, PathBuf};

use mmovseg_engine::{HashedPair, Modality, Preprocess, SegmentRequest, Session, TilePair, Tiling};
use mmovseg_raster::{Rgb8, add_cloud};
use mmovseg_scene::{CLASSES, CloudKind, class_names, cloud_for, generate};
use serde::Serialize;

use crate::TrainError;
pub use crate::alignment::AlignmentScore;
use crate::alignment::{alignment, held_out_cuts};
use crate::data::{EUROSAT, from_jpeg, is_held_out, read_tar};
use crate::metrics::{ConfusionMatrix, Figures};

/// Side of the generated scenes, in pixels of 10 m.
const SCENE_PX: usize = 192;

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
    /// The same scenes, three classes asked for by words that no label has used.
    pub unseen_words: Vec<SceneRow>,
    /// EuroSAT.
    pub eurosat: Option<EurosatScore>,
    /// Real pairs.
    pub pairs: Option<PairScore>,
    /// How alike both sensors' features are on real pairs.
    pub alignment: Option<AlignmentScore>,
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

/// For each class of EuroSAT a synonym that no training label has used.
const EUROSAT_SYNONYMS: [&str; EUROSAT.len()] = [
    "wheat field",
    "rainforest",
    "brushland",
    "expressway",
    "business park",
    "paddock",
    "fruit trees",
    "housing estate",
    "stream",
    "lagoon",
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
    let (scenes, unseen_words) = scenes(session, options, on_step).await?;
    let eurosat = eurosat(session, options, on_step).await?;
    let cuts = held_out_cuts(&options.data)?;
    let pairs = pairs(session, &cuts, on_step).await?;
    let mut on_cut = |done, total| on_step("alignment", done, total);
    Ok(Report {
        scenes,
        unseen_words,
        eurosat,
        pairs,
        alignment: alignment(session.model(), &cuts, options.seed, &mut on_cut).await?,
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
) -> Result<(Vec<SceneRow>, Vec<SceneRow>), ReportError> {
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
    let lists = [false, true].map(class_names);
    let names = lists.each_ref().map(|list| {
        list.iter()
            .map(|&(name, _)| name)
            .collect::<Vec<&'static str>>()
    });
    let mut rows: Vec<_> = CLOUDS
        .iter()
        .flat_map(|&(cloud, _, modalities)| modalities.iter().map(move |&m| (cloud, m)))
        .map(|row| (row, [(); 2].map(|()| ConfusionMatrix::new(CLASSES.len()))))
        .collect();
    for i in 0..options.scenes {
        let scene = generate(options.seed.wrapping_add(i as u64), SCENE_PX);
        let mut matrices = rows.iter_mut().map(|(_, matrices)| matrices);
        for (_, kind, modalities) in CLOUDS {
            // The clouds of `mmovseg eval`, so that both give the same figures.
            let rgb = match cloud_for(i as u64, kind) {
                Some(cloud) => add_cloud(&scene.rgb, &cloud).0,
                None => scene.rgb.clone(),
            };
            let pair = HashedPair::new(TilePair::new(rgb, scene.sar.clone()));
            for (&modality, matrices) in modalities.iter().zip(&mut matrices) {
                for (names, matrix) in names.iter().zip(matrices) {
                    let labels = labels(session, &pair, names, modality).await?;
                    matrix.add(&scene.label, &labels);
                }
            }
        }
        on_step("scenes", i + 1, options.scenes);
    }
    let table = |of: usize| {
        let classes: Vec<(String, bool)> = lists[of]
            .iter()
            .map(|&(name, seen)| (name.to_owned(), seen))
            .collect();
        rows.iter()
            .map(|((cloud, modality), matrices)| SceneRow {
                cloud,
                modality: *modality,
                figures: matrices[of].figures(&classes, options.scenes),
            })
            .collect()
    };
    Ok((table(0), table(1)))
}

async fn eurosat(
    session: &mut Session,
    options: &ReportOptions,
    on_step: &mut dyn FnMut(&'static str, usize, usize),
) -> Result<Option<EurosatScore>, ReportError> {
    let file = |name: &str| options.data.join("eurosat_rgb").join(format!("{name}.tar"));
    if options.tiles == 0 || EUROSAT.iter().any(|(name, _)| !file(name).exists()) {
        return Ok(None);
    }
    let by_names = EUROSAT.map(|(_, words)| words[0]);
    let mut per_class = Vec::new();
    let (mut tiles, mut right) = (0, [0, 0]);
    for (class, (name, _)) in EUROSAT.iter().enumerate() {
        let mut held_out = read_tar(&file(name), is_held_out)?;
        held_out.truncate(options.tiles);
        let mut hits = [0, 0];
        for bytes in &held_out {
            let rgb = from_jpeg(bytes, name)?;
            let sar = Rgb8::filled(rgb.width_px, rgb.height_px, 0);
            let pair = HashedPair::new(TilePair::new(rgb, sar));
            for (prompts, hits) in [by_names, EUROSAT_SYNONYMS].iter().zip(&mut hits) {
                let labels = labels(session, &pair, prompts, Modality::Optical).await?;
                *hits += usize::from(largest(&labels, prompts.len()) == class);
            }
        }
        let share = |hits: usize| hits as f64 / held_out.len().max(1) as f64;
        per_class.push((*name, share(hits[0]), share(hits[1])));
        tiles += held_out.len();
        right.iter_mut().zip(hits).for_each(|(sum, n)| *sum += n);
        on_step("EuroSAT classes", class + 1, EUROSAT.len());
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
    held_out: &[TilePair],
    on_step: &mut dyn FnMut(&'static str, usize, usize),
) -> Result<Option<PairScore>, ReportError> {
    if held_out.is_empty() {
        return Ok(None);
    }
    let names: Vec<&str> = CLASSES.iter().map(|class| class.name).collect();
    let (mut cuts, mut same, mut all) = (0, [0, 0], 0);
    for (i, clear) in held_out.iter().enumerate() {
        let Some(cloud) = cloud_for(i as u64, CloudKind::Thick) else {
            continue;
        };
        let clear = HashedPair::new(clear.clone());
        let mut clouded = clear.clone();
        clouded.set_rgb(add_cloud(&clear.rgb, &cloud).0);
        let mut both = async |pair: &HashedPair| {
            let fused = labels(session, pair, &names, Modality::Fused).await?;
            let optical = labels(session, pair, &names, Modality::Optical).await?;
            Ok::<_, ReportError>([fused, optical])
        };
        let (before, after) = (both(&clear).await?, both(&clouded).await?);
        for (same, (before, after)) in same.iter_mut().zip(before.iter().zip(&after)) {
            *same += before.iter().zip(after).filter(|(a, b)| a == b).count();
        }
        all += before[0].len();
        cuts += 1;
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
    pair: &HashedPair,
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
            let [cloud, tiles] = row.place();
            let mut cells = vec![
                cloud.to_owned(),
                tiles.to_owned(),
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
        self.tell_unseen_words(&mut lines);
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
            let names = EUROSAT
                .iter()
                .map(|(_, words)| words[0])
                .zip(EUROSAT_SYNONYMS);
            for ((name, synonym), (_, a, b)) in names.zip(&score.per_class) {
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
        if let Some(score) = &self.alignment {
            lines.push(String::new());
            lines.push(format!(
                "Embeddings of both sensors on these pairs without clouds, {score}."
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

impl Report {
    /// The table of the classes asked for by words that no label has used.
    fn tell_unseen_words(&self, lines: &mut Vec<String>) {
        let words: Vec<&str> = CLASSES
            .iter()
            .filter_map(|class| class.unseen_word)
            .collect();
        lines.push(String::new());
        lines.push(format!(
            "The same scenes, three classes asked for by words that no training label has used ({}):",
            words.join(", ")
        ));
        lines.push(String::new());
        let head = ["clouds", "tiles read", "mIoU seen", "mIoU unseen", "hIoU"];
        table(lines, &head.map(str::to_owned));
        for row in &self.unseen_words {
            let figures = &row.figures;
            let shares = [figures.miou_seen, figures.miou_unseen, figures.hiou]
                .map(|share| share.map_or("–".into(), percent));
            let [cloud, tiles] = row.place();
            lines.push(format!("| {cloud} | {tiles} | {} |", shares.join(" | ")));
        }
    }
}

impl SceneRow {
    /// Its first two cells: clouds and tiles read.
    fn place(&self) -> [&'static str; 2] {
        match self.modality {
            Modality::Fused => [self.cloud, "both"],
            Modality::Optical => [self.cloud, "optical"],
            Modality::Sar => ["any", "SAR"],
        }
    }
}

/// A share in percent.
fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

fn table(lines: &mut Vec<String>, head: &[String]) {
    lines.push(format!("| {} |", head.join(" | ")));
    lines.push(format!("|{}", "---|".repeat(head.len())));
}

#[cfg(test)]
mod tests {
    use super::{EUROSAT_SYNONYMS, largest};
    use crate::data::Legend;

    #[test]
    fn the_largest_class_is_the_first_of_equals() {
        assert_eq!(largest(&[2, 1, 2, 1, 0, 255], 3), 1);
        assert_eq!(largest(&[], 3), 0);
    }

    #[test]
    fn words_kept_for_testing_label_nothing_in_training() {
        let trained: Vec<&str> = Legend::ALL
            .iter()
            .flat_map(|legend| legend.words().concat())
            .collect();
        let kept = mmovseg_scene::CLASSES
            .iter()
            .filter_map(|class| class.unseen_word);
        for word in EUROSAT_SYNONYMS.into_iter().chain(kept) {
            assert!(!trained.contains(&word), "{word}");
        }
    }
}
