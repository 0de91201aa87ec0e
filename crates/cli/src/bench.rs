//! `mmovseg bench`: how long each stage takes on this device, how that grows with the number of
//! classes and the size of the scene, and how long a run takes in which one word has changed.

use std::path::PathBuf;
use std::time::Instant;

use clap::builder::RangedU64ValueParser;
use mmovseg_engine::{
    DeviceInfo, HashedPair, Modality, Preprocess, SegmentRequest, StageTiming, TilePair, Tiling,
};
use mmovseg_raster::Rgb8;
use serde::Serialize;

use crate::inputs::ModelArgs;
use crate::output::{Outputs, json, say};
use crate::progress::Progress;
use crate::report::{ModelReport, peak_memory_bytes};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Measured runs of each case, after one that warms up
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Numbers of classes, each a case of its own [default: as many as the model starts with]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = up_to(MAX_CLASSES as u64))]
    classes: Vec<usize>,
    /// Sides of the scene, each a case of its own; large ones are cut into windows, as `segment`
    /// does [default: 384, as a whole]
    #[arg(long, value_name = "PX,…", value_delimiter = ',', value_parser = up_to(SIDE_MAX_PX))]
    side_px: Vec<usize>,
    /// Where to write the times
    #[arg(long, value_name = "FILE.json")]
    json: Option<PathBuf>,
}

/// Side of the generated pair where none is asked for.
const SIDE_PX: usize = 384;
/// The largest scene that is generated; larger ones repeat it.
const GENERATED_PX: usize = 1024;
/// The most classes that a label, a byte, can name.
const MAX_CLASSES: usize = 255;
/// The longest side of what the command line reads.
const SIDE_MAX_PX: u64 = 10_000;

/// Whole numbers from 1 to `most`.
fn up_to(most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most)
}

#[derive(Serialize)]
struct BenchReport<'a> {
    model: ModelReport,
    device: &'a DeviceInfo,
    runs: u32,
    load_ms: f64,
    cases: Vec<Case>,
    peak_memory_bytes: Option<u64>,
}

#[derive(Serialize)]
struct Case {
    classes: usize,
    side_px: usize,
    windows: usize,
    stages: Vec<Row>,
    /// A run in which one word is new.
    changed_word: Row,
}

#[derive(Serialize)]
struct Row {
    stage: String,
    median_ms: f64,
    min_ms: f64,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    Outputs::check(args.json.as_deref())?;
    let mut progress = Progress::new();
    let started = Instant::now();
    let mut session = args.model.load(&mut |event| progress.event(event))?;
    let load_ms = started.elapsed().as_secs_f64() * 1e3;

    let own = session.manifest().default_classes.clone();
    let default_count = match own.len() {
        0 => mmovseg_scene::CLASSES.len(),
        count => count,
    };
    let names = class_names(own);
    let counts = or(args.classes, default_count);
    let tiling = if args.side_px.is_empty() {
        Tiling::Whole
    } else {
        Tiling::Auto
    };
    let sides = or(args.side_px, SIDE_PX);
    let each = args.runs as usize + 1;
    let all = counts.len() * sides.len() * each;
    let mut cases = Vec::new();
    for &side_px in &sides {
        let pair = pair(side_px);
        for &count in &counts {
            let mut request = SegmentRequest {
                classes: names[..count].to_vec(),
                modality: Modality::Fused,
                preprocess: Preprocess::Aligned,
                tiling,
                rule: None,
            };
            let (mut runs, mut edits_ms) = (Vec::new(), Vec::new());
            let mut windows = 0;
            for run in 0..each {
                progress.step("runs", cases.len() * each + run, all);
                session.forget();
                request.classes = names[..count].to_vec();
                let done = pollster::block_on(session.segment(&pair, &request, &mut |_| {}))?;
                windows = done.windows;
                // A word that is not in the cache, as somebody types it.
                request.classes[count - 1] = format!("other land {run}");
                let edit = pollster::block_on(session.segment(&pair, &request, &mut |_| {}))?;
                // The first run compiles kernels and fills caches.
                if run > 0 {
                    runs.push(done.timings);
                    edits_ms.push(edit.timings.iter().map(|timing| timing.ms).sum());
                }
            }
            cases.push(Case {
                classes: count,
                side_px,
                windows,
                stages: rows(&runs),
                changed_word: row("changed word", edits_ms),
            });
        }
    }
    drop(progress);

    let report = BenchReport {
        model: ModelReport::of(&session),
        device: session.device_info(),
        runs: args.runs,
        load_ms,
        cases,
        peak_memory_bytes: peak_memory_bytes(),
    };
    if let Some(path) = &args.json {
        let mut outputs = Outputs::default();
        outputs.add(path, &json(&report)?)?;
        outputs.commit()?;
    }
    for case in &report.cases {
        say(&format!(
            "{} on {}, {} classes, {} px in {} windows, {} runs",
            session.manifest().name,
            session.device_info().label(),
            case.classes,
            case.side_px,
            case.windows,
            args.runs
        ));
        for row in case.stages.iter().chain([&case.changed_word]) {
            say(&format!(
                "{:12} {:9.1} ms median {:9.1} ms least",
                row.stage, row.median_ms, row.min_ms
            ));
        }
    }
    Ok(())
}

fn or(asked: Vec<usize>, default: usize) -> Vec<usize> {
    if asked.is_empty() {
        vec![default]
    } else {
        asked
    }
}

/// As many names as can be asked for: the model's own first, then those of generated scenes.
fn class_names(own: Vec<String>) -> Vec<String> {
    let scenes = || mmovseg_scene::CLASSES.iter();
    let plain = scenes().map(|class| class.name);
    let synonyms = scenes().flat_map(|class| class.synonyms.iter().copied());
    let more = plain.chain(synonyms).map(str::to_owned);
    let numbered = (0..).map(|i| format!("land cover {i}"));
    let mut names: Vec<String> = Vec::new();
    for name in own.into_iter().chain(more).chain(numbered) {
        if names.len() == MAX_CLASSES {
            break;
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A generated scene, repeated where it does not reach.
fn pair(side_px: usize) -> HashedPair {
    let part_px = side_px.min(GENERATED_PX);
    let scene = mmovseg_scene::generate(1, part_px);
    let repeat = |tile: Rgb8| {
        if part_px == side_px {
            return tile;
        }
        let mut out = Rgb8::filled(side_px, side_px, 0);
        for (i, pixel) in out.data.chunks_exact_mut(3).enumerate() {
            let [x, y] = [i % side_px % part_px, i / side_px % part_px];
            pixel.copy_from_slice(&tile.pixel(x, y));
        }
        out
    };
    HashedPair::new(TilePair::new(repeat(scene.rgb), repeat(scene.sar)))
}

/// Each stage over all runs, then their sum.
fn rows(runs: &[Vec<StageTiming>]) -> Vec<Row> {
    let stages = runs
        .first()
        .into_iter()
        .flatten()
        .map(|timing| timing.stage.clone());
    let mut rows: Vec<Row> = stages
        .map(|stage| {
            let ms = |run: &Vec<StageTiming>| {
                run.iter().filter(|t| t.stage == stage).map(|t| t.ms).sum()
            };
            row(stage.name(), runs.iter().map(ms).collect())
        })
        .collect();
    rows.push(row(
        "total",
        runs.iter()
            .map(|run| run.iter().map(|t| t.ms).sum())
            .collect(),
    ));
    rows
}

fn row(stage: &str, mut ms: Vec<f64>) -> Row {
    ms.sort_by(f64::total_cmp);
    let (low, high) = (ms[(ms.len() - 1) / 2], ms[ms.len() / 2]);
    Row {
        stage: stage.to_owned(),
        median_ms: (low + high) / 2.0,
        min_ms: ms[0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mmovseg_engine::Stage;

    #[test]
    fn median_and_least_of_each_stage_and_of_the_sum() {
        let run = |text: f64, head: f64| {
            vec![
                StageTiming {
                    stage: Stage::Text,
                    ms: text,
                },
                StageTiming {
                    stage: Stage::Head,
                    ms: head,
                },
            ]
        };
        let rows = rows(&[
            run(3.0, 10.0),
            run(1.0, 30.0),
            run(2.0, 20.0),
            run(8.0, 40.0),
        ]);
        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.stage.as_str(), row.median_ms, row.min_ms))
            .collect();
        assert_eq!(
            told,
            [
                ("text", 2.5, 1.0),
                ("head", 25.0, 10.0),
                ("total", 26.5, 13.0)
            ]
        );
    }
}
