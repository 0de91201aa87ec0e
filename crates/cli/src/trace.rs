//! `mmovseg trace`: every stage of a run under its golden name.

use std::path::PathBuf;

use mmovseg_engine::{HashedPair, SegmentRequest, Tiling};
use mmovseg_model::{Trace, TracedTensor};
use safetensors::tensor::{Dtype, TensorView};

use crate::classes::{ClassArgs, RuleArgs};
use crate::inputs::{ModeArgs, ModelArgs, TileArgs};
use crate::output::{Outputs, say};
use crate::progress::Progress;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    tiles: TileArgs,
    #[command(flatten)]
    classes: ClassArgs,
    #[command(flatten)]
    rule: RuleArgs,
    #[command(flatten)]
    mode: ModeArgs,
    /// Where to write the stages, and the labels as `label`
    #[arg(long, value_name = "STAGES.safetensors")]
    out: PathBuf,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    Outputs::check([args.out.as_path()])?;
    let classes = args.classes.names()?;
    let request = SegmentRequest {
        rule: args.rule.rule(args.classes.preset, &classes)?,
        classes,
        modality: args.mode.modality,
        preprocess: args.mode.preprocess,
        tiling: Tiling::Whole,
    };
    let pair = HashedPair::new(args.tiles.open()?);
    let mut progress = Progress::new();
    let mut session = args.model.load(&mut |event| progress.event(event))?;
    let mut trace = Trace::default();
    let result = pollster::block_on(session.trace(&pair, &request, &mut trace))?;

    let count = trace.stages.len();
    let mut stages = Vec::with_capacity(count);
    for (i, stage) in trace.stages.into_iter().enumerate() {
        stages.push(fetch(stage)?);
        progress.step("read back", i + 1, count);
    }
    let mut views = stages
        .iter()
        .map(|(name, shape, bytes)| {
            Ok((
                name.as_str(),
                TensorView::new(Dtype::F32, shape.clone(), bytes)?,
            ))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    views.push((
        "label",
        TensorView::new(
            Dtype::U8,
            vec![result.height_px, result.width_px],
            &result.labels,
        )?,
    ));

    let mut outputs = Outputs::default();
    outputs.add(&args.out, &safetensors::serialize(views, None)?)?;
    outputs.commit()?;
    drop(progress);
    say(&format!("{}: {count} stages", args.out.display()));
    Ok(())
}

/// A stage's values, off the device: name, shape, little-endian f32.
fn fetch(stage: TracedTensor) -> anyhow::Result<(String, Vec<usize>, Vec<u8>)> {
    let TracedTensor { name, shape, flat } = stage;
    let failed = |what: String| {
        anyhow::anyhow!("stage {name} cannot be read off the device ({what}); use --device cpu")
    };
    let data =
        pollster::block_on(flat.into_data_async()).map_err(|error| failed(format!("{error:?}")))?;
    let values: Vec<f32> = data
        .try_into_vec()
        .map_err(|error| failed(format!("{error:?}")))?;
    let bytes = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    Ok((name, shape, bytes))
}
