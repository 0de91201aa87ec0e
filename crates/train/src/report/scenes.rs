//! Generated scenes under every cloud and with every sensor.

use mmovseg_engine::{EngineError, HashedPair, Modality, Session, TilePair};
use mmovseg_raster::add_cloud;
use mmovseg_scene::{CLASSES, CloudKind, class_names, cloud_for, generate};
use serde::Serialize;

use super::common::{labels, percent, table};
use crate::metrics::{ConfusionMatrix, Figures};

/// Side of the generated scenes, in pixels of 10 m.
const SCENE_PX: usize = 192;

/// Figures on generated scenes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SceneScore {
    /// Number of scenes.
    pub scenes: usize,
    /// Seed of the first one.
    pub seed: u64,
    /// By clouds and sensors.
    pub rows: Vec<SceneRow>,
    /// By clouds and sensors, three classes asked for by words that no label has used.
    pub unseen_words: Vec<SceneRow>,
}

/// Figures under one kind of cloud with one set of sensors.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SceneRow {
    /// `none`, `thin` or `thick`.
    pub cloud: &'static str,
    /// Tiles that were read.
    pub modality: Modality,
    /// Figures.
    pub figures: Figures,
}

/// Measures a session on `count` scenes from `seed` on; `on_scene(done, total)` reports progress.
pub(super) async fn measure(
    session: &mut Session,
    (count, seed): (usize, u64),
    on_scene: &mut dyn FnMut(usize, usize),
) -> Result<SceneScore, EngineError> {
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
    for i in 0..count {
        let scene = generate(seed.wrapping_add(i as u64), SCENE_PX);
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
        on_scene(i + 1, count);
    }
    let rows_of = |of: usize| {
        let classes: Vec<(String, bool)> = lists[of]
            .iter()
            .map(|&(name, seen)| (name.to_owned(), seen))
            .collect();
        rows.iter()
            .map(|((cloud, modality), matrices)| SceneRow {
                cloud,
                modality: *modality,
                figures: matrices[of].figures(&classes, count),
            })
            .collect()
    };
    Ok(SceneScore {
        scenes: count,
        seed,
        rows: rows_of(0),
        unseen_words: rows_of(1),
    })
}

impl SceneScore {
    /// As Markdown tables.
    pub(super) fn markdown(&self, lines: &mut Vec<String>) {
        lines.push(format!(
            "{} generated scenes from seed {} on, mIoU in percent over {} classes:",
            self.scenes,
            self.seed,
            CLASSES.len()
        ));
        lines.push(String::new());
        let mut head = vec!["clouds".to_owned(), "tiles read".into(), "mIoU".into()];
        head.extend(CLASSES.iter().map(|class| class.name.to_owned()));
        table(lines, &head);
        for row in &self.rows {
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
        self.unseen_words_markdown(lines);
    }

    /// The table of the classes asked for by words that no label has used.
    fn unseen_words_markdown(&self, lines: &mut Vec<String>) {
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
