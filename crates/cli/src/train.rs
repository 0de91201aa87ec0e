//! `mmovseg train`: the stages that make the default model, each one command that resumes.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use mmovseg_engine::{Tier, open_device};
use mmovseg_train::TrainError;
use mmovseg_train::feed::{FedStage, stream};
use mmovseg_train::import::start_from;
use mmovseg_train::origin::TowerSize;
use mmovseg_train::package::{set_temperature, write_nano};
use mmovseg_train::report::calibration;
use mmovseg_train::run::StageOptions;
use mmovseg_train::stages::align::{AlignLoss, train_align};
use mmovseg_train::stages::optical::train_optical;
use mmovseg_train::stages::pixels::train_pixels;
use mmovseg_train::stages::segment::train_segment;
use mmovseg_train::text::{TextOptions, add_words, train_text};
use mmovseg_weights::StoreDtype;

use crate::inputs::{DeviceArgs, ModelArgs, choice};
use crate::output::say;
use crate::progress::Progress;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    stage: Stage,
}

/// The stages, in the order to run them.
#[derive(Subcommand)]
enum Stage {
    /// Start a run from a package's weights instead of from nothing
    Start(StartArgs),
    /// Distil the text tower and its vocabulary from a sentence encoder
    Text(TextArgs),
    /// Teach both optical towers
    Optical(VisionArgs),
    /// Teach the SAR tower to see what the optical one sees
    Align(AlignArgs),
    /// Teach the pixels' towers of the default model, everything else frozen
    Pixels(VisionArgs),
    /// Teach all but the text tower under clouds; --package writes the model when done
    Segment(SegmentArgs),
    /// Write what the stage `segment` of a run gave as a package
    Package(PackageArgs),
    /// Fit the temperature of a package's probabilities to held-out tiles and write it into the
    /// manifest
    Calibrate(CalibrateArgs),
    /// Add whole words to a package's vocabulary, by phrases that its text tower knows
    Words(WordsArgs),
    /// Send the samples of a stage to standard output, for crates/train/torch/train.py
    Feed(FeedArgs),
}

#[derive(clap::Args)]
struct StartArgs {
    /// A package folder: the default model, or a converted checkpoint
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Folder of the run
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// New towers of this many channels (a multiple of 32); only the text tower is kept then
    #[arg(long, value_name = "N", requires = "layers")]
    width: Option<usize>,
    /// Blocks of the new towers
    #[arg(long, value_name = "N", requires = "width")]
    layers: Option<usize>,
}

#[derive(clap::Args)]
struct TextArgs {
    #[command(flatten)]
    common: Common,
    /// Folder with WordNet 3.0's data.noun
    #[arg(long, value_name = "DIR")]
    wordnet: PathBuf,
    /// Folder with all-MiniLM-L6-v2's model.safetensors and tokenizer.json
    #[arg(long, value_name = "DIR")]
    teacher: PathBuf,
}

#[derive(clap::Args)]
struct VisionArgs {
    #[command(flatten)]
    common: Common,
    /// The data folder: any of eurosat_rgb, s1s2_pairs and real
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

#[derive(clap::Args)]
struct AlignArgs {
    #[command(flatten)]
    vision: VisionArgs,
    /// What to minimise
    #[arg(long, default_value = "info-nce", value_parser = choice::<AlignLoss>(&["info-nce", "l1"]))]
    loss: AlignLoss,
}

#[derive(clap::Args)]
struct SegmentArgs {
    #[command(flatten)]
    vision: VisionArgs,
    /// Folder to write the finished model to, as a package
    #[arg(long, value_name = "DIR")]
    package: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(clap::Args)]
struct StoreArgs {
    /// How the package stores matrices
    #[arg(long, default_value = "q8", value_parser = choice::<StoreDtype>(&["f32", "f16", "q8", "q4"]))]
    dtype: StoreDtype,
}

#[derive(clap::Args)]
struct PackageArgs {
    /// Folder of the run
    #[arg(long, value_name = "DIR", default_value = "runs/nano")]
    run: PathBuf,
    /// Folder to write the model to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(clap::Args)]
struct CalibrateArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// The data folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

#[derive(clap::Args)]
struct WordsArgs {
    /// Folder of the package
    #[arg(long, value_name = "DIR")]
    package: PathBuf,
    /// Folder to write the package with the words to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(clap::Args)]
struct FeedArgs {
    /// The stage
    #[arg(value_parser = choice::<FedStage>(&["optical", "align", "segment"]))]
    stage: FedStage,
    /// Step to begin with
    #[arg(long, value_name = "N", default_value_t = 0)]
    first: usize,
    #[command(flatten)]
    vision: VisionArgs,
}

#[derive(clap::Args)]
struct Common {
    /// Folder of the run: results, checkpoints and loss logs of all stages
    #[arg(long, value_name = "DIR", default_value = "runs/nano")]
    run: PathBuf,
    /// Optimiser steps [default: the stage's own]
    #[arg(long, value_name = "N", value_parser = positive)]
    steps: Option<usize>,
    /// Samples a step [default: the stage's own]
    #[arg(long, value_name = "N", value_parser = positive)]
    batch: Option<usize>,
    /// Highest learning rate [default: the stage's own]
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Seed of weights and data
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Learn from this many samples only, over and over (vision stages)
    #[arg(long, value_name = "N", value_parser = positive)]
    samples: Option<usize>,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Steps, batch and learning rate of a vision stage on two CPU cores.
struct Defaults(usize, usize, f64);

/// Samples a thread on the CPU, whatever its cores: figures do not hang on the machine.
const CPU_PART: usize = 2;

const OPTICAL: Defaults = Defaults(3000, 32, 6e-4);
/// Batch and rate of the paper.
const ALIGN: Defaults = Defaults(1500, 8, 3e-4);
const PIXELS: Defaults = Defaults(5000, 4, 1e-3);
const SEGMENT: Defaults = Defaults(2000, 8, 1e-3);

fn positive(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|&n| n > 0)
        .ok_or_else(|| "give a whole number from 1".into())
}

pub fn run(args: Args) -> anyhow::Result<()> {
    match args.stage {
        Stage::Start(args) => {
            let manifest = start_from(&args.from, &args.run)?;
            if let (Some(width), Some(layers)) = (args.width, args.layers) {
                TowerSize { width, layers }.write(&args.run)?;
            }
            say(&format!(
                "{}: starts from {}",
                args.run.display(),
                manifest.name
            ));
            Ok(())
        }
        Stage::Text(args) => text(args),
        Stage::Optical(args) => vision(&args, &OPTICAL, train_optical),
        Stage::Align(args) => Ok(train_align(&options(&args.vision, &ALIGN)?, args.loss)?),
        Stage::Pixels(args) => vision(&args, &PIXELS, train_pixels),
        Stage::Segment(args) => {
            vision(&args.vision, &SEGMENT, train_segment)?;
            args.package.as_deref().map_or(Ok(()), |out| {
                package(&args.vision.common.run, out, args.store.dtype)
            })
        }
        Stage::Package(args) => package(&args.run, &args.out, args.store.dtype),
        Stage::Calibrate(args) => calibrate(&args),
        Stage::Words(args) => words(&args),
        Stage::Feed(args) => feed(&args),
    }
}

fn text(args: TextArgs) -> anyhow::Result<()> {
    let Common {
        run,
        steps,
        batch,
        learning_rate,
        seed,
        samples: _,
        device,
    } = args.common;
    let mut options = TextOptions::nano(run.join("text"), args.wordnet, args.teacher);
    options.steps = steps.unwrap_or(options.steps);
    options.batch = batch.unwrap_or(options.batch);
    options.learning_rate = learning_rate.unwrap_or(options.learning_rate);
    options.seed = seed;
    options.device = pollster::block_on(open_device(device.device))?.0;
    options.progress = tell;
    let report = train_text(&options)?;
    say(&serde_json::to_string_pretty(&report)?);
    Ok(())
}

fn words(args: &WordsArgs) -> anyhow::Result<()> {
    let added = add_words(&args.package, &args.out)?;
    for word in &added {
        say(&format!(
            "{}: cosine with its meaning {:.3} before, {:.3} now; takes the place of {}",
            word.word, word.before, word.after, word.replaces
        ));
    }
    say(&format!(
        "{}: {} words added",
        args.out.display(),
        added.len()
    ));
    Ok(())
}

fn vision(
    args: &VisionArgs,
    defaults: &Defaults,
    stage: fn(&StageOptions) -> Result<(), TrainError>,
) -> anyhow::Result<()> {
    Ok(stage(&options(args, defaults)?)?)
}

fn feed(args: &FeedArgs) -> anyhow::Result<()> {
    let defaults = match args.stage {
        FedStage::Optical => &OPTICAL,
        FedStage::Align => &ALIGN,
        FedStage::Segment => &SEGMENT,
    };
    let options = options(&args.vision, defaults)?;
    let mut out = std::io::stdout().lock();
    Ok(stream(args.stage, &options, args.first, &mut out)?)
}

fn options(args: &VisionArgs, defaults: &Defaults) -> anyhow::Result<StageOptions> {
    let common = &args.common;
    let batch = common.batch.unwrap_or(defaults.1);
    let (device, info) = pollster::block_on(open_device(common.device.device))?;
    Ok(StageOptions {
        data: args.data.clone(),
        run: common.run.clone(),
        steps: common.steps.unwrap_or(defaults.0),
        batch,
        part: match info.tier {
            Tier::Cpu => CPU_PART,
            _ => batch,
        },
        learning_rate: common.learning_rate.unwrap_or(defaults.2),
        samples: common.samples,
        seed: common.seed,
        device,
        progress: tell,
    })
}

fn package(run: &Path, out: &Path, dtype: StoreDtype) -> anyhow::Result<()> {
    let manifest = write_nano(run, out, dtype)?;
    say(&format!(
        "{}: {}, {} bytes",
        out.display(),
        manifest.name,
        manifest.total_bytes()
    ));
    Ok(())
}

fn calibrate(args: &CalibrateArgs) -> anyhow::Result<()> {
    let mut progress = Progress::new();
    let mut session = args.model.load(&mut |event| progress.event(event))?;
    let mut on_step = |what, done, total| progress.step(what, done, total);
    let found = pollster::block_on(calibration(&mut session, &args.data, &mut on_step))?;
    drop(progress);
    let Some(found) = found else {
        anyhow::bail!(
            "{}: it holds no held-out land-cover tiles; give the data folder",
            args.data.display()
        );
    };
    set_temperature(&args.model.model, found.fitted as f32)?;
    say(&found.to_string());
    Ok(())
}

/// One line of progress: stages tell too rarely for a bar, and logs are read afterwards.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
