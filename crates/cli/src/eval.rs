//! `mmovseg eval`: scores on a folder of tile pairs with ground truth.

use std::path::PathBuf;

use mmovseg_raster::{Cloud, Preset};
use mmovseg_scene::{CloudKind, cloud_for};
use mmovseg_train::evaluate::{EvaluateOptions, class_names, evaluate};

use crate::classes::{RuleArgs, preset};
use crate::inputs::{ModeArgs, ModelArgs};
use crate::output::{Outputs, json, say};
use crate::progress::Progress;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Folder with rgb/, sar/, label/ and classes.json
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    mode: ModeArgs,
    /// A ready list whose words stand for the classes of classes.json, in their order
    #[arg(long, value_name = "NAME", value_parser = preset())]
    preset: Option<&'static Preset>,
    #[command(flatten)]
    rule: RuleArgs,
    /// Clouds over the optical tiles: none, thin, thick, or SEED:OPACITY with an opacity of 0 to 1
    #[arg(long, default_value = "none", value_parser = clouds)]
    cloud: Clouds,
    /// Where to write the scores
    #[arg(long, value_name = "FILE.json")]
    json: Option<PathBuf>,
}

/// Clouds over a data set: every image has its own, always the same.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Clouds {
    Kind(CloudKind),
    Given { seed: u64, opacity: f32 },
}

/// Share of the tile under a cloud that is given by seed and opacity.
const COVER: f32 = 0.8;

impl Clouds {
    fn over(self, image: usize) -> Option<Cloud> {
        match self {
            Self::Kind(kind) => cloud_for(image as u64, kind),
            Self::Given { seed, opacity } => Some(Cloud {
                seed: seed.wrapping_add(image as u64),
                opacity,
                cover: COVER,
            }),
        }
    }
}

fn clouds(text: &str) -> Result<Clouds, String> {
    let kind = match text {
        "none" => CloudKind::None,
        "thin" => CloudKind::Thin,
        "thick" => CloudKind::Thick,
        _ => {
            let wrong = || "give none, thin, thick or SEED:OPACITY, as in 7:0.5".to_owned();
            let (seed, opacity) = text.split_once(':').ok_or_else(wrong)?;
            let seed = seed.parse().map_err(|_| wrong())?;
            let opacity = opacity
                .parse()
                .ok()
                .filter(|o| (0.0..=1.0).contains(o))
                .ok_or_else(wrong)?;
            return Ok(Clouds::Given { seed, opacity });
        }
    };
    Ok(Clouds::Kind(kind))
}

pub fn run(args: Args) -> anyhow::Result<()> {
    Outputs::check(args.json.as_deref())?;
    anyhow::ensure!(
        args.data.is_dir(),
        "{}: is not a folder; give a folder with rgb/, sar/, label/ and classes.json",
        args.data.display()
    );
    let words = match args.preset {
        Some(preset) => preset.prompts(),
        None => class_names(&args.data)?,
    };
    let rule = args.rule.rule(args.preset, &words)?;
    let options = EvaluateOptions {
        data: args.data,
        modality: args.mode.modality,
        preprocess: args.mode.preprocess,
        words,
        rule,
    };
    let mut progress = Progress::new();
    let mut session = args.model.load(&mut |event| progress.event(event))?;
    let cloud = |image: usize| args.cloud.over(image);
    let figures = pollster::block_on(evaluate(
        &mut session,
        &options,
        &cloud,
        &mut |done, total| {
            progress.step("images", done, total);
        },
    ))?;
    drop(progress);
    if let Some(path) = &args.json {
        let mut outputs = Outputs::default();
        outputs.add(path, &json(&figures)?)?;
        outputs.commit()?;
    }

    let percent =
        |value: Option<f64>| value.map_or("    –".into(), |v| format!("{:5.1}", 100.0 * v));
    for class in &figures.per_class {
        let seen = if class.seen { "" } else { "  (unseen)" };
        say(&format!(
            "{} IoU  {} acc  {}{seen}",
            percent(class.iou),
            percent(class.acc),
            class.name
        ));
    }
    say(&format!(
        "{} mIoU {} seen {} unseen {} hIoU {} mAcc {} pAcc {} fwIoU, {} images",
        percent(Some(figures.miou)),
        percent(figures.miou_seen),
        percent(figures.miou_unseen),
        percent(figures.hiou),
        percent(Some(figures.macc)),
        percent(Some(figures.pacc)),
        percent(Some(figures.fwiou)),
        figures.images
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clouds_are_read_and_nonsense_is_refused() {
        assert_eq!(clouds("thin"), Ok(Clouds::Kind(CloudKind::Thin)));
        assert_eq!(
            clouds("7:0.5"),
            Ok(Clouds::Given {
                seed: 7,
                opacity: 0.5
            })
        );
        for wrong in ["", "fog", "7", "7:", ":0.5", "-1:0.5", "7:1.5", "7:NaN"] {
            assert!(clouds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_image_has_its_own_cloud_and_keeps_it() {
        for text in ["thick", "7:0.5"] {
            let Ok(clouds) = clouds(text) else {
                unreachable!("{text} is a cloud")
            };
            assert_eq!(clouds.over(3), clouds.over(3));
            assert_ne!(clouds.over(3), clouds.over(4));
        }
        assert_eq!(Clouds::Kind(CloudKind::None).over(0), None);
    }
}
