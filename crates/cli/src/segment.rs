//! `mmovseg segment`: a tile pair and class names in, a label map out.

use std::path::{Path, PathBuf};
use std::time::Instant;

use mmovseg_engine::{HashedPair, SegmentRequest, Segmentation, TilePair, Tiling};
use mmovseg_raster::{geojson, indexed_png, label_geotiff, palette_for};
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
    /// Whether a large scene is cut into windows: auto (when it is longer than 1.5 model inputs),
    /// whole, or the windows' least overlap in pixels
    #[arg(long, default_value = "auto", value_name = "auto|whole|N", value_parser = tiling)]
    tiling: Tiling,
    /// Where to write the labels, index = position in the class list: an 8-bit palette PNG, or for
    /// a name that ends in .tif a GeoTIFF with the optical tile's place on the ground
    #[arg(long, value_name = "LABELS.png|.tif")]
    out: PathBuf,
    /// Where to write the labels as polygons, in WGS 84 where the optical tile's reference system is
    /// known
    #[arg(long, value_name = "FILE.json")]
    geojson: Option<PathBuf>,
    /// How far polygons may stray from the labels' pixel edges, in pixels
    #[arg(long, default_value = "1", value_name = "PX", value_parser = simplify, requires = "geojson")]
    simplify: f64,
    /// Where to write the tensors `logits` and `prob`, f32 [T, h, w]
    #[arg(long, value_name = "FILE.safetensors")]
    logits: Option<PathBuf>,
    /// Where to write shares, device, times and memory
    #[arg(long, value_name = "FILE.json")]
    json: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    Outputs::check(
        [
            Some(&args.out),
            args.geojson.as_ref(),
            args.logits.as_ref(),
            args.json.as_ref(),
        ]
        .into_iter()
        .flatten()
        .map(|p| p.as_path()),
    )?;
    let request = SegmentRequest {
        classes: args.classes.names()?,
        modality: args.mode.modality,
        preprocess: args.mode.preprocess,
        tiling: args.tiling,
    };
    let pair = HashedPair::new(args.tiles.open()?);

    let mut progress = Progress::new();
    let started = Instant::now();
    let mut session = args.model.load(&mut |event| progress.event(event))?;
    let load_ms = started.elapsed().as_secs_f64() * 1e3;
    let result =
        pollster::block_on(session.segment(&pair, &request, &mut |event| progress.event(event)))?;
    drop(progress);

    let palette = palette(session.manifest(), &result.classes);
    let mut outputs = Outputs::default();
    outputs.add(&args.out, &labels(&args.out, &result, &palette, &pair)?)?;
    if let Some(path) = &args.geojson {
        let text = geojson(
            &result.labels,
            result.width_px,
            result.height_px,
            &result.classes,
            &palette,
            pair.georef.as_ref(),
            args.simplify,
        )?;
        outputs.add(path, text.as_bytes())?;
    }
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

/// The labels in the format that the file's name asks for.
fn labels(
    path: &Path,
    result: &Segmentation,
    palette: &[[u8; 3]],
    pair: &TilePair,
) -> anyhow::Result<Vec<u8>> {
    let (w, h) = (result.width_px, result.height_px);
    let tiff = path.extension().is_some_and(|end| {
        ["tif", "tiff"]
            .iter()
            .any(|known| end.eq_ignore_ascii_case(known))
    });
    Ok(if tiff {
        let geo = pair.georef.as_ref();
        label_geotiff(&result.labels, w, h, palette, &result.classes, geo)?
    } else {
        indexed_png(&result.labels, w, h, palette)?
    })
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
