//! `mmovseg report`: everything that the default model is held to, in one table.

use std::path::PathBuf;

use anyhow::Context as _;
use mmovseg_raster::write_rgb_png;
use mmovseg_train::report::{ReportOptions, pictures, report};

use crate::inputs::ModelArgs;
use crate::output::{Outputs, json, say};
use crate::progress::Progress;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Folder with eurosat_rgb and s1s2_pairs; what is not there is left out
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
    /// Generated scenes
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..))]
    scenes: u32,
    /// Seed of the first scene; the others follow
    #[arg(long, value_name = "S", default_value_t = 700_001)]
    seed: u64,
    /// Held-out EuroSAT tiles of each class
    #[arg(long, value_name = "N", default_value_t = 600)]
    tiles: u32,
    /// Where to write the table
    #[arg(long, value_name = "FILE.md")]
    out: Option<PathBuf>,
    /// Where to write eight held-out 30 m tiles with their masks and labels, chosen by rank of
    /// their accuracy from the worst to the best
    #[arg(long, value_name = "FILE.png")]
    pictures: Option<PathBuf>,
    /// Where to write the figures
    #[arg(long, value_name = "FILE.json")]
    json: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    Outputs::check(
        [&args.out, &args.json, &args.pictures]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path),
    )?;
    let options = ReportOptions {
        data: args.data,
        scenes: args.scenes as usize,
        seed: args.seed,
        tiles: args.tiles as usize,
    };
    let mut progress = Progress::new();
    let mut session = args.model.load(&mut |event| progress.event(event))?;
    let report = pollster::block_on(report(&mut session, &options, &mut |what, done, total| {
        progress.step(what, done, total);
    }))?;
    let mut table = report.markdown(&args.model.model, &options);
    let mut outputs = Outputs::default();
    if let Some(path) = &args.pictures {
        let mut on_step = |what, done, total| progress.step(what, done, total);
        let found = pictures(&mut session, &options.data, &mut on_step);
        let sheet = pollster::block_on(found)?.with_context(|| {
            format!(
                "{}: has fewer than eight held-out 30 m tiles; leave --pictures out",
                options.data.display()
            )
        })?;
        table = format!("{table}\nPictures. {}\n", sheet.caption);
        outputs.add(path, &write_rgb_png(&sheet.picture)?)?;
    }
    drop(progress);
    if let Some(path) = &args.out {
        outputs.add(path, table.as_bytes())?;
    }
    if let Some(path) = &args.json {
        outputs.add(path, &json(&report)?)?;
    }
    outputs.commit()?;
    say(&table);
    Ok(())
}
