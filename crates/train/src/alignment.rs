//! How well stage 1 aligned the sensors, measured on held-out pairs: whether a region's SAR
//! features find its own optical features among those of other regions.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use mmovseg_engine::{EngineError, Preprocess, TilePair, model_pixels};
use mmovseg_model::{EncoderId, MmOvSeg, Silent};
use mmovseg_raster::Rgb8;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::TrainError;
use crate::data::read::{Part, californian_pairs, indian_pairs, patch_pairs};
use crate::losses::region_means;
use crate::run::StageOptions;

/// Alignment on the held-out pairs of one kind of ground.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AlignmentScore {
    /// Where the pairs come from.
    pub region: &'static str,
    /// Pairs of tiles.
    pub pairs: usize,
    /// Regions of 3 × 3 patches that were compared.
    pub regions: usize,
    /// Mean cosine of the SAR and the optical features of a region, over the tapped blocks.
    pub cosine: f64,
    /// Mean cosine where the optical tower reads the SAR tile.
    pub cosine_of_copy: f64,
    /// Share of regions whose own optical features are the nearest of 100, 99 of them drawn from
    /// all pairs.
    pub found: f64,
    /// Share found where the optical tower reads the SAR tile.
    pub found_by_copy: f64,
}

/// Candidates of one retrieval.
const CANDIDATES: usize = 100;
/// Side of the cuts of large pairs, in pixels.
const CUT_PX: usize = 192;
/// Cuts of one large pair, along each axis.
const CUTS: usize = 2;

/// Held-out pairs as tiles, by region: cuts of the Californian pairs, and SEN1-2 patches with cuts
/// of India.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn held_out_tiles(
    data: &Path,
) -> Result<[(&'static str, Vec<TilePair>); 2], TrainError> {
    let californian = californian_pairs(data, Part::HeldOut)?;
    let mut others: Vec<TilePair> = patch_pairs(data, Part::HeldOut)?
        .into_iter()
        .map(|pair| TilePair::new(pair.rgb, pair.sar))
        .collect();
    others.extend(indian_pairs(data, Part::HeldOut)?.iter().flat_map(cuts_of));
    Ok([
        ("California", californian.iter().flat_map(cuts_of).collect()),
        ("other regions", others),
    ])
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

/// Measures a model on pairs; `None` without any. Candidates are drawn by `seed`.
///
/// # Errors
/// When the device fails.
pub(crate) async fn alignment(
    model: &MmOvSeg,
    (region, pairs): (&'static str, &[TilePair]),
    seed: u64,
    on_pair: &mut dyn FnMut(usize, usize),
) -> Result<Option<AlignmentScore>, EngineError> {
    let mut optical = Vec::new();
    let mut by_sar = [Vec::new(), Vec::new()];
    for (i, pair) in pairs.iter().enumerate() {
        let (rgb, sar) = model_pixels(&pair.rgb, &pair.sar, Preprocess::Aligned, model.config())?;
        optical.extend(region_features(model, rgb, EncoderId::DINO_OPTICAL).await?);
        by_sar[0].extend(region_features(model, sar.clone(), EncoderId::DINO_SAR).await?);
        by_sar[1].extend(region_features(model, sar, EncoderId::DINO_OPTICAL).await?);
        on_pair(i + 1, pairs.len());
    }
    let regions = optical.len();
    if regions <= CANDIDATES {
        return Ok(None);
    }
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let (mut sums, mut found) = ([0.0; 2], [0usize; 2]);
    for own in 0..regions {
        let others: Vec<usize> = (1..CANDIDATES)
            .map(|_| (own + dice.random_range(1..regions)) % regions)
            .collect();
        for (side, features) in by_sar.iter().enumerate() {
            let here = dot(&features[own], &optical[own]);
            sums[side] += f64::from(here);
            let is_nearest = others
                .iter()
                .all(|&other| dot(&features[own], &optical[other]) < here);
            found[side] += usize::from(is_nearest);
        }
    }
    let mean = |sum: f64| sum / regions as f64;
    Ok(Some(AlignmentScore {
        region,
        pairs: pairs.len(),
        regions,
        cosine: mean(sums[0]),
        cosine_of_copy: mean(sums[1]),
        found: mean(found[0] as f64),
        found_by_copy: mean(found[1] as f64),
    }))
}

/// What one DINO tower makes of the regions of a tile `[3, S, S]`: for each region the unit vectors
/// of all tapped blocks behind one another, scaled so that a dot product is the mean cosine.
async fn region_features(
    model: &MmOvSeg,
    planes: Vec<f32>,
    encoder: &str,
) -> Result<Vec<Vec<f32>>, EngineError> {
    let side = model.config().input_px;
    let device = model.devices().into_iter().next().unwrap_or_default();
    let pixels = Tensor::from_data(TensorData::new(planes, [1, 3, side, side]), &device);
    let taps = model.taps(encoder, pixels, &mut Silent);
    let scale = (taps.len() as f64).sqrt();
    let means = taps.map(|tap| region_means(tap) / scale);
    let features = Tensor::cat(means.to_vec(), 1);
    let width = features.dims()[1];
    let failed = |error: &dyn std::fmt::Debug| EngineError::Device {
        stage: encoder.to_owned(),
        reason: format!("{error:?}"),
    };
    let flat: Vec<f32> = features
        .into_data_async()
        .await
        .map_err(|e| failed(&e))?
        .try_into_vec()
        .map_err(|e| failed(&e))?;
    Ok(flat.chunks_exact(width).map(<[f32]>::to_vec).collect())
}

/// What stage 1 gave, beside its weights.
const REPORT_FILE: &str = "report.json";

/// Measures what stage 1 gave and writes it into the stage's folder.
pub(crate) fn report_of_stage(model: &MmOvSeg, options: &StageOptions) -> Result<(), TrainError> {
    let path = options.run.join("align").join(REPORT_FILE);
    let mut scores = Vec::new();
    for (region, pairs) in held_out_tiles(&options.data)? {
        let mut quiet = |_, _| {};
        let score = alignment(model, (region, &pairs), options.seed, &mut quiet);
        let Some(score) = pollster::block_on(score).map_err(TrainError::content(&path))? else {
            (options.progress)(&format!(
                "{region}: too few held-out pairs, alignment is not measured"
            ));
            continue;
        };
        (options.progress)(&score.to_string());
        scores.push(score);
    }
    let json = serde_json::to_vec_pretty(&scores).map_err(TrainError::content(&path))?;
    std::fs::write(&path, json).map_err(TrainError::file(&path, "check the run folder"))
}

impl std::fmt::Display for AlignmentScore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}, {} regions of {} pairs: cosine {:.2}, own optical features found among {CANDIDATES} in {:.1} % (chance \
             {:.0} %); with the optical tower reading the SAR tile, cosine {:.2} and {:.1} %",
            self.region,
            self.regions,
            self.pairs,
            self.cosine,
            100.0 * self.found,
            100.0 / CANDIDATES as f64,
            self.cosine_of_copy,
            100.0 * self.found_by_copy,
        )
    }
}
