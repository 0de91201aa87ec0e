//! What the default model is measured by, in one document: real ground first, then EuroSAT,
//! generated scenes and the alignment of the sensors.

mod common;
mod error;
mod eurosat;
mod pictures;
mod real;
mod scenes;

use std::path::{Path, PathBuf};

use mmovseg_engine::Session;
use serde::Serialize;

use crate::alignment::{AlignmentScore, alignment, held_out_tiles};
pub use crate::calibration::Calibration;
pub use error::ReportError;
use eurosat::EurosatScore;
pub use pictures::{PictureSheet, pictures};
use real::RealScore;
use scenes::SceneScore;

/// What to measure on.
#[derive(Clone, Debug)]
pub struct ReportOptions {
    /// The data folder; what is not there is left out.
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
    /// Real ground.
    pub real: RealScore,
    /// EuroSAT.
    pub eurosat: Option<EurosatScore>,
    /// Generated scenes.
    pub scenes: SceneScore,
    /// How alike both sensors' features are on real pairs, by region.
    pub alignment: Vec<AlignmentScore>,
}

/// Measures a session; `on_step(what, done, total)` reports progress.
///
/// # Errors
/// When a file of the data folder is damaged, or a run fails.
pub async fn report(
    session: &mut Session,
    options: &ReportOptions,
    on_step: &mut dyn FnMut(&'static str, usize, usize),
) -> Result<Report, ReportError> {
    let held_out = held_out_tiles(&options.data)?;
    let real = real::measure(session, &options.data, &held_out[0].1, on_step).await?;
    let eurosat = eurosat::measure(
        session,
        (&options.data, options.tiles),
        &mut |done, total| {
            on_step("EuroSAT classes", done, total);
        },
    )
    .await?;
    let scenes = scenes::measure(
        session,
        (options.scenes, options.seed),
        &mut |done, total| {
            on_step("scenes", done, total);
        },
    )
    .await?;
    let mut scores = Vec::new();
    for (region, pairs) in &held_out {
        let mut on_pair = |done, total| on_step("alignment", done, total);
        let score = alignment(
            session.fused()?,
            (region, pairs),
            options.seed,
            &mut on_pair,
        )
        .await?;
        scores.extend(score);
    }
    Ok(Report {
        real,
        eurosat,
        scenes,
        alignment: scores,
    })
}

/// Fits the temperature of a session's probabilities to the held-out land-cover tiles; `None` where
/// there are none.
///
/// # Errors
/// When a file of the data folder is damaged, or a run fails.
pub async fn calibration(
    session: &mut Session,
    data: &Path,
    on_step: &mut dyn FnMut(&'static str, usize, usize),
) -> Result<Option<Calibration>, ReportError> {
    let score = real::land_cover(session, data, on_step).await?;
    Ok(score.and_then(|score| score.calibration))
}

impl Report {
    /// The report as Markdown, shares in percent; `model` and `options` name what was measured.
    #[must_use]
    pub fn markdown(&self, model: &Path, options: &ReportOptions) -> String {
        let mut lines = Vec::new();
        self.real.markdown(&mut lines);
        if let Some(score) = &self.eurosat {
            lines.push(String::new());
            score.markdown(&mut lines);
        }
        lines.push(String::new());
        self.scenes.markdown(&mut lines);
        if !self.alignment.is_empty() {
            lines.push(String::new());
            lines.push(
                "Alignment of the sensors' features on held-out pairs without clouds:".into(),
            );
            lines.push(String::new());
            lines.extend(self.alignment.iter().map(|score| format!("- {score}.")));
        }
        lines.push(String::new());
        lines.push(format!(
            "Made by `mmovseg report --model {} --data DIR --scenes {} --seed {} --tiles {}`.",
            model.display(),
            options.scenes,
            options.seed,
            options.tiles
        ));
        lines.push(String::new());
        lines.join("\n")
    }
}
