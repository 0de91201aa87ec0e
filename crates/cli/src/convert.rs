//! `mmovseg convert`: a released checkpoint becomes a package, with a self-test measured on it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use burn::tensor::Device;
use mmovseg_engine::add_self_test;
use mmovseg_model::config::DinoKind;
use mmovseg_model::{MmOvSeg, ModelConfig};
use mmovseg_raster::{PRESETS, Preset, palette_for};
use mmovseg_text::{CLIP_BPE_GZ, CLIP_TEMPLATE, Tokenizer};
use mmovseg_weights::{Checkpoint, Manifest, StoreDtype, write_package_then};

use crate::inputs::{choice, read};
use crate::output::{folder, say};
use crate::progress::Progress;

#[derive(clap::Args)]
pub struct Args {
    /// A .pth or .safetensors checkpoint of MM-OVSeg
    checkpoint: PathBuf,
    /// Folder to write the package to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How matrices are stored
    #[arg(long, default_value = "q8", value_parser = choice::<StoreDtype>(&["f32", "f16", "q8", "q4"]))]
    dtype: StoreDtype,
    /// A byte-pair table to use instead of CLIP's own
    #[arg(long, value_name = "FILE")]
    bpe: Option<PathBuf>,
}

/// The list of the benchmark that a released file is named after (spec §15), or PIE-RGB-SAR's.
fn benchmark(stem: &str) -> &'static Preset {
    let stem = stem.to_lowercase();
    PRESETS
        .iter()
        .filter(|preset| preset.classes.iter().all(|class| class.seen.is_some()))
        .find(|preset| stem.contains(preset.id))
        .or(Preset::by_id("pie"))
        .unwrap_or(&PRESETS[0])
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let parent = folder(&args.out);
    anyhow::ensure!(
        parent.is_dir(),
        "{}: cannot be written since the folder {} does not exist; create it first",
        args.out.display(),
        parent.display()
    );
    anyhow::ensure!(
        args.checkpoint.is_file(),
        "{}: is not a file; give a .pth or .safetensors checkpoint of MM-OVSeg",
        args.checkpoint.display()
    );
    let tokenizer = tokenizer(args.bpe.as_deref())?;
    let checkpoint = Checkpoint::open(&args.checkpoint)?;
    let (config, names) = recognise(&checkpoint, &args.checkpoint)?;
    let manifest = manifest(&config, &args.checkpoint, args.dtype)?;

    let mut progress = Progress::new();
    let count = names.len();
    let tensors = names.iter().enumerate().map(|(i, name)| {
        progress.step("convert", i + 1, count);
        checkpoint.read(name)
    });
    let manifest = write_package_then(
        &args.out,
        manifest,
        tensors,
        &tokenizer.to_json(),
        |folder, manifest| {
            pollster::block_on(add_self_test(folder, manifest))
                .context("the package's self-test cannot be measured")
        },
    )?;
    drop(progress);
    say(&format!(
        "{}: {}, {} shards, {} bytes",
        args.out.display(),
        manifest.name,
        manifest.shards.len(),
        manifest.total_bytes()
    ));
    Ok(())
}

fn tokenizer(table: Option<&Path>) -> anyhow::Result<Tokenizer> {
    match table {
        None => Ok(Tokenizer::clip(CLIP_BPE_GZ)?),
        Some(path) => Tokenizer::clip(&read(path)?).with_context(|| path.display().to_string()),
    }
}

/// The checkpoint's sizes, and the names of the tensors that inference reads.
fn recognise(checkpoint: &Checkpoint, path: &Path) -> anyhow::Result<(ModelConfig, Vec<String>)> {
    let shapes: std::collections::BTreeMap<&str, &[usize]> =
        checkpoint.names_and_shapes().collect();
    let config = ModelConfig::from_shapes(|name| shapes.get(name).map(|shape| shape.to_vec()))
        .with_context(|| format!("{}: is not a checkpoint of MM-OVSeg", path.display()))?;
    // Only names and shapes are wanted; the weights stay uninitialised.
    let model = MmOvSeg::new(&config, &Device::flex())?;
    let mismatch = model.compare(shapes);
    anyhow::ensure!(
        mismatch.is_empty(),
        "{}: does not fit MM-OVSeg {}: {mismatch}; give a checkpoint of the released model",
        path.display(),
        config.variant
    );
    Ok((config, model.parameter_shapes().into_keys().collect()))
}

fn manifest(config: &ModelConfig, path: &Path, dtype: StoreDtype) -> anyhow::Result<Manifest> {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = format!("MM-OVSeg {} ({stem})", config.variant);
    let mut manifest = Manifest::new(name, serde_json::to_value(config)?, dtype, CLIP_TEMPLATE);
    manifest.default_classes = benchmark(&stem).prompts();
    manifest.palette = palette_for(&manifest.default_classes);
    let dino = match config.dino.kind {
        DinoKind::V1 => "DINO (Apache-2.0)",
        DinoKind::V3 => "DINOv3 (Meta's DINOv3 licence)",
    };
    manifest.licence = format!(
        "The MM-OVSeg release states no licence of its own; it builds on CAT-Seg (MIT), CLIP (MIT) and {dino}. \
         Ask its authors before passing these weights on."
    );
    manifest.attribution =
        format!("Converted from {file}, a checkpoint of MM-OVSeg by its authors.");
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::benchmark;

    #[test]
    fn released_files_get_the_classes_of_their_benchmark() {
        for (stem, id) in [
            ("modelPIE", "pie"),
            ("modelPIEclean", "pie"),
            ("modelOEMthin", "oem"),
            ("modelOEMthick", "oem"),
            ("modelDDSK", "ddsk"),
            ("modelDDCH", "ddch"),
            ("my-own", "pie"),
        ] {
            assert_eq!(benchmark(stem).id, id, "{stem}");
        }
    }
}
