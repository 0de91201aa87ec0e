//! `mmovseg bench`: how long each stage takes on this device.

use std::path::PathBuf;
use std::time::Instant;

use mmovseg_engine::{
    DeviceInfo, Modality, Preprocess, SegmentRequest, StageTiming, TilePair, Tiling,
};
use serde::Serialize;

use crate::inputs::ModelArgs;
use crate::output::{Outputs, json, say};
use crate::progress::Progress;
use crate::report::{ModelReport, peak_memory_bytes};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Measured runs, after one that warms up
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Where to write the times
    #[arg(long, value_name = "FILE.json")]
    json: Option<PathBuf>,
}

/// Side of the generated pair.
const SIZE_PX: usize = 384;

#[derive(Serialize)]
struct BenchReport<'a> {
    model: ModelReport,
    device: &'a DeviceInfo,
    classes: usize,
    size_px: usize,
    runs: u32,
    load_ms: f64,
    stages: Vec<Row>,
    peak_memory_bytes: Option<u64>,
}

#[derive(Serialize)]
struct Row {
    stage: &'static str,
    median_ms: f64,
    min_ms: f64,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    Outputs::check(args.json.as_deref())?;
    let mut progress = Progress::new();
    let started = Instant::now();
    let mut session = args.model.load(&mut |event| progress.event(event))?;
    let load_ms = started.elapsed().as_secs_f64() * 1e3;

    let mut classes = session.manifest().default_classes.clone();
    if classes.is_empty() {
        classes = mmovseg_scene::CLASSES
            .iter()
            .map(|class| class.name.to_owned())
            .collect();
    }
    let scene = mmovseg_scene::generate(1, SIZE_PX);
    let pair = TilePair::new(scene.rgb, scene.sar);
    let request = SegmentRequest {
        classes,
        modality: Modality::Fused,
        preprocess: Preprocess::Aligned,
        tiling: Tiling::Whole,
    };
    let mut runs = Vec::new();
    for run in 0..=args.runs {
        progress.step("runs", run as usize, args.runs as usize + 1);
        session.forget();
        let timings = pollster::block_on(session.segment(&pair, &request, &mut |_| {}))?.timings;
        // The first run compiles kernels and fills caches.
        if run > 0 {
            runs.push(timings);
        }
    }
    drop(progress);

    let report = BenchReport {
        model: ModelReport::of(&session),
        device: session.device_info(),
        classes: request.classes.len(),
        size_px: SIZE_PX,
        runs: args.runs,
        load_ms,
        stages: rows(&runs),
        peak_memory_bytes: peak_memory_bytes(),
    };
    if let Some(path) = &args.json {
        let mut outputs = Outputs::default();
        outputs.add(path, &json(&report)?)?;
        outputs.commit()?;
    }
    say(&format!(
        "{} on {}, {} runs",
        session.manifest().name,
        session.device_info().name,
        args.runs
    ));
    for row in &report.stages {
        say(&format!(
            "{:12} {:9.1} ms median {:9.1} ms least",
            row.stage, row.median_ms, row.min_ms
        ));
    }
    Ok(())
}

/// Each stage over all runs, then their sum.
fn rows(runs: &[Vec<StageTiming>]) -> Vec<Row> {
    let stages = runs
        .first()
        .into_iter()
        .flatten()
        .map(|timing| timing.stage);
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

fn row(stage: &'static str, mut ms: Vec<f64>) -> Row {
    ms.sort_by(f64::total_cmp);
    let (low, high) = (ms[(ms.len() - 1) / 2], ms[ms.len() / 2]);
    Row {
        stage,
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
            .map(|row| (row.stage, row.median_ms, row.min_ms))
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
