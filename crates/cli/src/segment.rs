//! `mmovseg segment`: a tile pair and class names in, a label map out.

use std::path::PathBuf;
use std::time::Instant;

use mmovseg_engine::{SegmentRequest, Segmentation};
use mmovseg_raster::{palette_for, indexed_png};
use mmovseg_weights::Manifest;
use safetensors::tensor::{Dtype, TensorView};

use crate::failure::complain;
use crate::inputs::{ClassArgs, ModeArgs, ModelArgs, TileArgs};
use crate::output::{Outputs, json, say};
use crate::progress::Progress;
use crate::report::RunReport;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    tiles: TileArgs,
    #[command(flatten)]
    classes: ClassArgs,
    #[command(flatten)]
    mode: ModeArgs,
    /// Where to write the labels: an 8-bit palette PNG, index = position in the class list
    #[arg(long, value_name = "LABELS.png")]
    out: PathBuf,
    /// Where to write the tensors `logits` and `prob`, f32 [T, h, w]
    #[arg(long, value_name = "FILE.safetensors")]
    logits: Option<PathBuf>,
    /// Where to write shares, device, times and memory
    #[arg(long, value_name = "FILE.json")]
    json: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    Outputs::check(
        [Some(&args.out), args.logits.as_ref(), args.json.as_ref()]
            .into_iter()
            .flatten()
            .map(|p| p.as_path()),
    )?;
    let request = SegmentRequest {
        classes: args.classes.names()?,
        modality: args.mode.modality,
        preprocess: args.mode.preprocess,
        tiling: mmovseg_engine::Tiling::Auto,
    };
    let pair = args.tiles.open()?;

    let mut progress = Progress::new();
    let started = Instant::now();
    let mut session = args.model.load(&mut |event| progress.event(event))?;
    let load_ms = started.elapsed().as_secs_f64() * 1e3;
    let result =
        pollster::block_on(session.segment(&pair, &request, &mut |event| progress.event(event)))?;
    drop(progress);

    let palette = palette(session.manifest(), &result.classes);
    let mut outputs = Outputs::default();
    outputs.add(
        &args.out,
        &indexed_png(&result.labels, result.width_px, result.height_px, &palette)?,
    )?;
    if let Some(path) = &args.logits {
        outputs.add(path, &tensors(&result)?)?;
    }
    if let Some(path) = &args.json {
        outputs.add(
            path,
            &json(&RunReport::of(&session, &result, load_ms, &pair.notes))?,
        )?;
    }
    outputs.commit()?;

    for note in &pair.notes {
        complain(&format!("note: {note}"));
    }
    for (class, share) in result.classes.iter().zip(&result.share) {
        say(&format!("{:5.1} %  {class}", 100.0 * share));
    }
    Ok(())
}

/// The package's own colours for its own classes, else a benchmark's for its list, else colours
/// that all kinds of sight tell apart.
fn palette(manifest: &Manifest, classes: &[String]) -> Vec<[u8; 3]> {
    if manifest.default_classes == classes && manifest.palette.len() == classes.len() {
        manifest.palette.clone()
    } else {
        palette_for(classes)
    }
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
