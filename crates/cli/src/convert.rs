//! `mmovseg convert`: a released checkpoint becomes a package, with a self-test measured on it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mmovseg_engine::add_self_test;
use mmovseg_text::{CLIP_BPE_GZ, Tokenizer};
use mmovseg_weights::{StoreDtype, write_package_then};

use crate::checkpoint::Released;
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
    let released = Released::open(&args.checkpoint)?;
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
