//! `mmovseg convert`: a released checkpoint becomes a package, with a self-test measured on it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mmovseg_engine::{Sensor, add_self_test};
use mmovseg_model::segearth::Gelu;
use mmovseg_text::{CLIP_BPE_GZ, Tokenizer};
use mmovseg_weights::{StoreDtype, write_package_then};

use crate::checkpoint::{ClipOptions, Released};
use crate::failure::complain;
use crate::inputs::{choice, read};
use crate::output::{folder, say};
use crate::progress::Progress;

#[derive(clap::Args)]
pub struct Args {
    /// A checkpoint (.pth or .safetensors) of MM-OVSeg, GSNet or CAT-Seg, or a CLIP with patches of
    /// 16 px for SegEarth-OV: OpenAI's .pt, or as open_clip or transformers store it
    checkpoint: PathBuf,
    /// For SegEarth-OV: the checkpoint of SimFeatUp, which enlarges CLIP's patches to pixels
    #[arg(long, value_name = "FILE")]
    upsampler: Option<PathBuf>,
    /// For SegEarth-OV: the GELU that the CLIP was trained with [default: by the file]
    #[arg(long, value_parser = choice::<Gelu>(&["quick", "exact"]))]
    gelu: Option<Gelu>,
    /// For SegEarth-OV: the tiles that the CLIP reads [default: by the file's name; AlignEarth-SAR
    /// reads SAR]
    #[arg(long, value_parser = choice::<Sensor>(&["optical", "sar"]))]
    sensor: Option<Sensor>,
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
    let options = ClipOptions {
        upsampler: args.upsampler,
        gelu: args.gelu,
        sensor: args.sensor,
    };
    let released = Released::open(&args.checkpoint, &options)?;
    for note in &released.notes {
        complain(&format!("note: {note}"));
    }
    let manifest = released.manifest(args.dtype)?;
    let layout = released.layout();

    let mut progress = Progress::new();
    let tensors = released.tensors();
    let count = tensors.len();
    let tensors = tensors.enumerate().map(|(i, tensor)| {
        progress.step("convert", i + 1, count);
        tensor
    });
    let manifest = write_package_then(
        &args.out,
        manifest,
        tensors,
        &tokenizer.to_json(),
        &layout,
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
