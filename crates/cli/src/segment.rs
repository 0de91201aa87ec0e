//! `mmovseg segment`: tile pairs and class names in, label maps out.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use mmovseg_engine::resolution::{model_size, onto_grid};
use mmovseg_engine::{
    HashedPair, Modality, Resolution, SegmentRequest, Segmentation, Sensor, Session, TilePair,
    Tiling, pixel_shares,
};
use safetensors::tensor::{Dtype, TensorView};

use crate::classes::{ClassArgs, RuleArgs, unknown_words};
use crate::failure::complain;
use crate::inputs::{HOW_TO_KEEP_PIXELS, ModeArgs, ModelArgs, ReadingArgs, choice};
use crate::job::{Job, Outcome, about};
use crate::label_files::{LabelFiles, palette};
use crate::large_scene;
use crate::output::{Outputs, json, say};
use crate::pairs::{self, Share};
use crate::progress::Progress;
use crate::report::RunReport;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Optical tile: PNG, JPEG or GeoTIFF
    #[arg(long, value_name = "FILE", required_unless_present = "pairs")]
    rgb: Option<PathBuf>,
    /// SAR tile of the same ground: PNG, JPEG or GeoTIFF; without one the optical tile is read
    /// alone
    #[arg(long, value_name = "FILE")]
    sar: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
    /// Where to write the labels, index = position in the class list, 255 = no data: an 8-bit
    /// palette PNG, or for a name that ends in .tif a cloud-optimised GeoTIFF with the optical
    /// tile's place on the ground. With --pairs, the folder for all results
    #[arg(long, value_name = "LABELS.png|.tif")]
    out: PathBuf,
    /// Where to write the labels as polygons with class, area and mean probability, in WGS 84 where
    /// the optical tile's reference system is known
    #[arg(long, value_name = "FILE.json", conflicts_with = "pairs")]
    geojson: Option<PathBuf>,
    /// How far polygons may stray from the labels' pixel edges, in pixels
    #[arg(long, default_value = "1", value_name = "PX", value_parser = simplify, requires = "geojson")]
    simplify: f64,
    /// Where to write the probability of each class as a GeoTIFF of 8-bit bands: 0 to 254 for 0 to
    /// 1, 255 = no data
    #[arg(long, value_name = "FILE.tif", conflicts_with = "pairs")]
    probabilities: Option<PathBuf>,
    /// Where to write how undecided the classes are as a GeoTIFF: 0 for certain, 254 for all alike
    /// likely, 255 = no data
    #[arg(long, value_name = "FILE.tif", conflicts_with = "pairs")]
    entropy: Option<PathBuf>,
    /// Where to write the tensors `logits` and `prob`, f32 [T, h, w]
    #[arg(long, value_name = "FILE.safetensors", conflicts_with = "pairs")]
    logits: Option<PathBuf>,
    /// Where to write shares, device, times and memory
    #[arg(long, value_name = "FILE.json", conflicts_with = "pairs")]
    json: Option<PathBuf>,
    /// A table of many pairs with the columns optical, sar and name, whose files are looked for
    /// beside it; pairs that have a result already are passed over
    #[arg(long, value_name = "PAIRS.csv", conflicts_with_all = ["rgb", "sar"])]
    pairs: Option<PathBuf>,
    /// Which part of the pairs to do: 3/16 is every sixteenth pair from the third on
    #[arg(long, value_name = "I/N", default_value = "1/1", requires = "pairs")]
    share: Share,
}

/// How a pair is read and run.
#[derive(clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    reading: ReadingArgs,
    #[command(flatten)]
    classes: ClassArgs,
    #[command(flatten)]
    rule: RuleArgs,
    #[command(flatten)]
    mode: ModeArgs,
    /// Whether a large scene is cut into windows: auto (when it is longer than 1.5 model inputs),
    /// whole, or the windows' least overlap in pixels
    #[arg(long, default_value = "auto", value_name = "auto|whole|N", value_parser = tiling)]
    tiling: Tiling,
    /// Pixel size that the model sees: auto resamples a tile whose pixels are more than 1.5 times
    /// larger or smaller than those it was trained for (labels stay on the optical grid), native
    /// never does
    #[arg(long, default_value = "auto", value_name = "auto|native", value_parser = choice::<Resolution>(&["auto", "native"]))]
    resolution: Resolution,
}

impl RunArgs {
    fn request(&self) -> anyhow::Result<SegmentRequest> {
        let classes = self.classes.names()?;
        Ok(SegmentRequest {
            rule: self.rule.rule(self.classes.preset, &classes)?,
            classes,
            modality: self.mode.modality,
            preprocess: self.mode.preprocess,
            tiling: self.tiling,
        })
    }
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut request = args.run.request()?;
    if let Some(list) = &args.pairs {
        let jobs = pairs::read(list, &args.out, args.share)?;
        let mut loaded = Loaded::new(&args.model, &request)?;
        return pairs::run(jobs, &args.out, args.share, &mut |job| {
            loaded.run(job, &args.run, &request)
        });
    }
    let Some(rgb) = args.rgb else {
        anyhow::bail!("no tiles were given; name them with --rgb FILE --sar FILE");
    };
    if args.sar.is_none() {
        anyhow::ensure!(
            request.modality != Modality::Sar,
            "--modality sar reads the SAR tile; name it with --sar FILE"
        );
        request.modality = Modality::Optical;
    }
    let job = Job {
        rgb,
        sar: args.sar,
        files: LabelFiles {
            labels: args.out,
            geojson: args.geojson,
            simplify_px: args.simplify,
            probabilities: args.probabilities,
            entropy: args.entropy,
        },
        logits: args.logits,
        json: args.json,
    };
    let more = [&job.logits, &job.json].into_iter().flatten();
    Outputs::check(job.files.paths().chain(more.map(PathBuf::as_path)))?;
    let outcome = if large_scene::is_large(&job)? {
        Loaded::new(&args.model, &request)?.run(&job, &args.run, &request)?
    } else {
        // Tiles that cannot be read are told before a model is loaded.
        let pair = args.run.reading.open(&job.rgb, job.sar.as_deref())?;
        Loaded::new(&args.model, &request)?.run_pair(&job, pair, &request, args.run.resolution)?
    };
    for note in &outcome.notes {
        complain(&format!("note: {note}"));
    }
    let result = &outcome.result;
    for (class, share) in result.classes.iter().zip(&result.share) {
        say(&format!("{:5.1} %  {class}", 100.0 * share));
    }
    Ok(ExitCode::SUCCESS)
}

/// A session and what loading it took.
pub struct Loaded {
    pub session: Session,
    load_ms: f64,
}

impl Loaded {
    /// Loads the model; warns of class names that it does not know.
    fn new(model: &ModelArgs, request: &SegmentRequest) -> anyhow::Result<Self> {
        let mut progress = Progress::new();
        let started = Instant::now();
        let session = model.load(&mut |event| progress.event(event))?;
        drop(progress);
        if let Some(line) = unknown_words(&session, &request.classes) {
            complain(&format!("warning: {line}"));
        }
        Ok(Self {
            session,
            load_ms: started.elapsed().as_secs_f64() * 1e3,
        })
    }

    /// Reads a pair, runs it and writes its results.
    fn run(
        &mut self,
        job: &Job,
        args: &RunArgs,
        request: &SegmentRequest,
    ) -> anyhow::Result<Outcome> {
        if !large_scene::is_large(job)? {
            let pair = args.reading.open(&job.rgb, job.sar.as_deref())?;
            return self.run_pair(job, pair, request, args.resolution);
        }
        let outcome = large_scene::run(
            &mut self.session,
            job,
            (&args.reading, args.resolution),
            request,
        )?;
        if let Some(path) = &job.json {
            let mut outputs = Outputs::default();
            let report =
                RunReport::of(&self.session, &outcome.result, self.load_ms, &outcome.notes);
            outputs.add(path, &json(&report)?)?;
            outputs.commit()?;
        }
        Ok(outcome)
    }

    /// Runs a pair that is in memory and writes its results.
    fn run_pair(
        &mut self,
        job: &Job,
        pair: TilePair,
        request: &SegmentRequest,
        resolution: Resolution,
    ) -> anyhow::Result<Outcome> {
        let (georef, mut notes) = (pair.georef.clone(), pair.notes.clone());
        let native_px = [pair.rgb.width_px, pair.rgb.height_px];
        let [optical, sar] =
            [Sensor::Optical, Sensor::Sar].map(|sensor| request.modality.uses(sensor));
        let valid = pair.valid(optical, sar);
        let gsd_m = self.session.manifest().gsd_m;
        let model_px = model_size(native_px, pair.pixel_size_m(), gsd_m, resolution);
        if let Some((_, note)) = &model_px {
            notes.push(format!("{note} {HOW_TO_KEEP_PIXELS}"));
        }
        let pair = HashedPair::new(match model_px {
            Some(([w, h], _)) => pair.resized(w, h),
            None => pair,
        });
        let mut progress = Progress::new();
        let mut result = pollster::block_on(
            self.session
                .segment(&pair, request, &mut |event| progress.event(event)),
        )?;
        if model_px.is_some() {
            onto_grid(&mut result, native_px, valid.as_deref());
        }
        drop(progress);

        let palette = palette(self.session.manifest(), &result.classes);
        let about = about(
            &self.session,
            job,
            &result.classes,
            &palette,
            georef.as_ref(),
        );
        let size_px = [result.width_px, result.height_px];
        let shares = pixel_shares(
            &result.labels,
            result.width_px,
            (&result.logits, result.grid_px),
            result.temperature,
            job.files.wanted(),
        );
        let mut outputs = Outputs::default();
        job.files
            .add(&mut outputs, &result.labels, size_px, &shares, &about)?;
        if let Some(path) = &job.logits {
            outputs.add(path, &tensors(&result)?)?;
        }
        if let Some(path) = &job.json {
            let report = RunReport::of(&self.session, &result, self.load_ms, &notes);
            outputs.add(path, &json(&report)?)?;
        }
        outputs.commit()?;
        Ok(Outcome { result, notes })
    }
}

fn tiling(text: &str) -> Result<Tiling, String> {
    match text {
        "auto" => Ok(Tiling::Auto),
        "whole" => Ok(Tiling::Whole),
        _ => match text.parse() {
            Ok(overlap_px) => Ok(Tiling::Windows { overlap_px }),
            Err(_) => Err("give auto, whole, or the overlap in pixels, as in 64".into()),
        },
    }
}

fn simplify(text: &str) -> Result<f64, String> {
    let px = text.parse().ok().filter(|px| (0.0..=1000.0).contains(px));
    px.ok_or_else(|| "give a number of pixels from 0, as in 1.5".into())
}

/// Logits and their sigmoid, `[T, h, w]` each, as a safetensors file.
fn tensors(result: &Segmentation) -> anyhow::Result<Vec<u8>> {
    let [h, w] = result.grid_px;
    let shape = vec![result.classes.len(), h, w];
    let bytes = |value: &dyn Fn(f32) -> f32| -> Vec<u8> {
        result
            .logits
            .iter()
            .flat_map(|&logit| value(logit).to_le_bytes())
            .collect()
    };
    let logits = bytes(&|logit| logit);
    let prob = bytes(&|logit| 1.0 / (1.0 + (-logit).exp()));
    let views = [
        (
            "logits",
            TensorView::new(Dtype::F32, shape.clone(), &logits)?,
        ),
        ("prob", TensorView::new(Dtype::F32, shape, &prob)?),
    ];
    Ok(safetensors::serialize(views, None)?)
}
