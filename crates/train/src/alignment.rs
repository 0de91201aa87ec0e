//! Cross-modal unification, measured: on real pairs held out by place, how alike the patches of both
//! sensors are, against chance and against the optical tower reading the SAR tile.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use mmovseg_engine::{EngineError, Preprocess, TilePair, model_pixels};
use mmovseg_model::{MmOvSeg, Silent};
use mmovseg_raster::Rgb8;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::TrainError;
use crate::data::{HELD_OUT_EVERY, Sources};
use crate::report::ReportError;
use crate::run::StageOptions;
use crate::vision::content;

/// Cross-modal unification on clear real pairs held out by place: what the SAR tower adds to the fusion at
/// each patch against what the optical tower adds there, each less its mean over the cut.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AlignmentScore {
    /// Patches compared.
    pub patches: usize,
    /// Mean cosine of SAR and optical embeddings of one patch.
    pub cosine: f64,
    /// The same where the optical tower reads the SAR tile.
    pub cosine_of_copy: f64,
    /// Share of patches whose optical embedding is the most alike among 100 of their cut.
    pub retrieved: f64,
    /// The same where the optical tower reads the SAR tile.
    pub retrieved_by_copy: f64,
}

/// Candidates of one retrieval.
const CANDIDATES: usize = 100;
/// Side of the cuts of real pairs, in pixels of 10 m.
const CUT_PX: usize = 192;
/// Cuts of one real pair, along each axis.
const CUTS: usize = 2;

/// Cuts of the real pairs that are held out by place; none where there are no pairs.
pub(crate) fn held_out_cuts(data: &Path) -> Result<Vec<TilePair>, TrainError> {
    let held_out = Sources::read_pairs(&data.join("s1s2_pairs"), |i| {
        i.is_multiple_of(HELD_OUT_EVERY)
    })?;
    Ok(held_out.iter().flat_map(cuts_of).collect())
}

/// Squares out of the middles of a pair's quarters.
fn cuts_of((rgb, sar): &(Rgb8, Rgb8)) -> Vec<TilePair> {
    let side = CUT_PX.min(rgb.width_px / CUTS).min(rgb.height_px / CUTS);
    let start = |index: usize, length: usize| (2 * index + 1) * length / (2 * CUTS) - side / 2;
    (0..CUTS * CUTS)
        .map(|cut| {
            let at = [
                start(cut % CUTS, rgb.width_px),
                start(cut / CUTS, rgb.height_px),
            ];
            TilePair::new(rgb.crop(at, [side; 2]), sar.crop(at, [side; 2]))
        })
        .collect()
}

/// Measures a model on cuts of real pairs, `None` without any; the other candidates of a retrieval are drawn
/// by `seed`, and `on_cut(done, total)` hears of progress.
pub(crate) async fn alignment(
    model: &MmOvSeg,
    cuts: &[TilePair],
    seed: u64,
    on_cut: &mut dyn FnMut(usize, usize),
) -> Result<Option<AlignmentScore>, ReportError> {
    if cuts.is_empty() {
        return Ok(None);
    }
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let (mut patches, mut sums, mut found) = (0usize, [0.0; 2], [0usize; 2]);
    for (i, cut) in cuts.iter().enumerate() {
        let (rgb, sar) = model_pixels(&cut.rgb, &cut.sar, Preprocess::Aligned, model.config())
            .map_err(EngineError::from)?;
        let optical = embeddings(model, rgb, false).await?;
        let by_sar = [
            embeddings(model, sar.clone(), true).await?,
            embeddings(model, sar, false).await?,
        ];
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
        for place in 0..optical.len() {
            let others: Vec<usize> = (1..CANDIDATES)
                .map(|_| (place + dice.random_range(1..optical.len())) % optical.len())
                .collect();
            for (side, features) in by_sar.iter().enumerate() {
                let here = dot(&features[place], &optical[place]);
                sums[side] += f64::from(here);
                let best = others
                    .iter()
                    .all(|&other| dot(&features[place], &optical[other]) < here);
                found[side] += usize::from(best);
            }
            patches += 1;
        }
        on_cut(i + 1, cuts.len());
    }
    let mean = |sum: f64| sum / patches.max(1) as f64;
    Ok(Some(AlignmentScore {
        patches,
        cosine: mean(sums[0]),
        cosine_of_copy: mean(sums[1]),
        retrieved: mean(found[0] as f64),
        retrieved_by_copy: mean(found[1] as f64),
    }))
}

/// What one DINO tower makes of the patches of a tile `[3, S, S]`, less their mean and of unit length.
async fn embeddings(
    model: &MmOvSeg,
    planes: Vec<f32>,
    sar: bool,
) -> Result<Vec<Vec<f32>>, TrainError> {
    let side = model.config().input_px;
    let device = model.devices().into_iter().next().unwrap_or_default();
    let pixels = Tensor::from_data(TensorData::new(planes, [1, 3, side, side]), &device);
    let [_, _, deepest] = model.dino_taps(pixels, sar, &mut Silent);
    let embeddings = model.dino_embedding(deepest, sar);
    let width = embeddings.dims()[2];
    let flat: Vec<f32> = embeddings
        .into_data_async()
        .await
        .map_err(TrainError::device(Path::new("DINO tower")))?
        .try_into_vec()
        .map_err(TrainError::device(Path::new("DINO tower")))?;
    let rows = flat.chunks_exact(width);
    let count = rows.len().max(1) as f32;
    let mut mean = vec![0.0f32; width];
    for row in rows.clone() {
        mean.iter_mut().zip(row).for_each(|(m, x)| *m += x / count);
    }
    Ok(rows
        .map(|row| {
            let less: Vec<f32> = row.iter().zip(&mean).map(|(x, m)| x - m).collect();
            let norm = less.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
            less.iter().map(|x| x / norm).collect()
        })
        .collect())
}

/// What stage 1 gave, beside its weights.
const REPORT_FILE: &str = "report.json";

/// Measures what stage 1 gave and writes it into the stage's folder; says so where there are no pairs.
pub(crate) fn report_of_stage(model: &MmOvSeg, options: &StageOptions) -> Result<(), TrainError> {
    let cuts = held_out_cuts(&options.data)?;
    let path = options.run.join("align").join(REPORT_FILE);
    let score = pollster::block_on(alignment(model, &cuts, options.seed, &mut |_, _| {}))
        .map_err(|error| content(&path, error))?;
    let Some(score) = score else {
        (options.progress)("no real pairs are held out: the alignment is not measured");
        return Ok(());
    };
    (options.progress)(&score.to_string());
    let json = serde_json::to_vec_pretty(&score).map_err(|error| content(&path, error))?;
    std::fs::write(&path, json).map_err(|source| TrainError::File {
        path,
        source,
        hint: "check the run folder",
    })
}

impl std::fmt::Display for AlignmentScore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} patches: cosine {:.2}, the matching optical patch found among {CANDIDATES} in {:.1} % ({:.0} % by chance); \
             with the optical tower reading the SAR tile, cosine {:.2} and {:.1} %",
            self.patches,
            self.cosine,
            100.0 * self.retrieved,
            100.0 / CANDIDATES as f64,
            self.cosine_of_copy,
            100.0 * self.retrieved_by_copy,
        )
    }
}
