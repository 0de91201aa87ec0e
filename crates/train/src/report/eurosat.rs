//! Held-out EuroSAT tiles, each named by the largest class of its mask.

use std::path::Path;

use mmovseg_engine::{HashedPair, Modality, Session, TilePair};
use mmovseg_raster::Rgb8;
use serde::Serialize;

use super::common::{labels, largest, percent, table};
use super::error::ReportError;
use crate::data::read::{self, Part, from_jpeg};
use crate::labels::EUROSAT;

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

/// Measures a session on up to `tiles` held-out tiles of each class; `None` where there are none.
pub(super) async fn measure(
    session: &mut Session,
    (data, tiles_each): (&Path, usize),
    on_class: &mut dyn FnMut(usize, usize),
) -> Result<Option<EurosatScore>, ReportError> {
    let held_out = match tiles_each {
        0 => Vec::new(),
        _ => read::eurosat(data, Part::HeldOut)?,
    };
    if held_out.is_empty() {
        return Ok(None);
    }
    let by_names = EUROSAT.map(|(_, words)| words[0]);
    let mut per_class = Vec::new();
    let (mut tiles, mut right) = (0, [0, 0]);
    for (class, ((name, _), mut held_out)) in EUROSAT.iter().zip(held_out).enumerate() {
        held_out.truncate(tiles_each);
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
        on_class(class + 1, EUROSAT.len());
    }
    let share = |hits: usize| hits as f64 / tiles.max(1) as f64;
    Ok(Some(EurosatScore {
        tiles,
        names: share(right[0]),
        synonyms: share(right[1]),
        per_class,
    }))
}

impl EurosatScore {
    /// As a Markdown table.
    pub(super) fn markdown(&self, lines: &mut Vec<String>) {
        lines.push(format!(
                "{} EuroSAT tiles that training never read, named by the largest class of their mask among ten, \
                 optical tile alone, right in percent:",
                self.tiles
            ));
        lines.push(String::new());
        table(
            lines,
            &["class".into(), "by name".into(), "by synonym".into()],
        );
        let names = EUROSAT
            .iter()
            .map(|(_, words)| words[0])
            .zip(EUROSAT_SYNONYMS);
        for ((name, synonym), (_, a, b)) in names.zip(&self.per_class) {
            lines.push(format!(
                "| {name} / {synonym} | {} | {} |",
                percent(*a),
                percent(*b)
            ));
        }
        lines.push(format!(
            "| all | {} | {} |",
            percent(self.names),
            percent(self.synonyms)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::EUROSAT_SYNONYMS;
    use crate::labels::LabelSet;

    #[test]
    fn words_kept_for_testing_label_nothing_in_training() {
        let trained: Vec<&str> = LabelSet::ALL
            .iter()
            .flat_map(|set| set.words().concat())
            .collect();
        let kept = mmovseg_scene::CLASSES
            .iter()
            .filter_map(|class| class.unseen_word);
        for word in EUROSAT_SYNONYMS.into_iter().chain(kept) {
            assert!(!trained.contains(&word), "{word}");
        }
    }
}
