//! A checkpoint as its authors released it: recognised by its tensors, described as a package is,
//! and loaded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use burn::tensor::Device;
use mmovseg_engine::{DeviceInfo, Event, Sensor, Session, package_layout};
use mmovseg_model::config::Architecture;
use mmovseg_model::segearth::{Gelu, Windows};
use mmovseg_model::{MmOvSeg, ModelConfig, Network, NetworkConfig, SegEarthConfig};
use mmovseg_raster::{PRESETS, Preset, class_colours};
use mmovseg_text::{CLIP_BPE_GZ, CLIP_TEMPLATE, CLIP_TEMPLATES, Tokenizer};
use mmovseg_weights::{
    Checkpoint, CheckpointKind, HostTensor, Manifest, Placement, StoreDtype, WeightsError,
};

use crate::layouts::Sources;

/// Bytes of weights that are read before they move to the device.
const PART_BYTES: usize = 64 << 20;
/// Side of the patches that `SegEarth-OV` reads.
const PATCH_PX: usize = 16;
/// Longer side of SAR tiles for `AlignEarth`, which reads them in one pass.
const SAR_SIDE_PX: usize = 224;

/// What a checkpoint of a CLIP does not say of itself.
#[derive(Default)]
pub struct ClipOptions {
    /// The checkpoint of `SimFeatUp`.
    pub upsampler: Option<PathBuf>,
    /// Which GELU it was trained with.
    pub gelu: Option<Gelu>,
    /// What it reads.
    pub sensor: Option<Sensor>,
}

/// A checkpoint of MM-OVSeg, GSNet or CAT-Seg, or of a CLIP for `SegEarth-OV`.
pub struct Released {
    path: PathBuf,
    /// The checkpoint, and the upsampler's where there is one.
    files: Vec<Checkpoint>,
    sources: Sources,
    config: NetworkConfig,
    /// The tensors that inference reads.
    names: Vec<String>,
    /// What the user should know.
    pub notes: Vec<String>,
}

impl Released {
    /// Reads names and shapes, and refuses what is no released variant.
    pub fn open(path: &Path, options: &ClipOptions) -> anyhow::Result<Self> {
        let checkpoint = Checkpoint::open(path)?;
        let shapes: BTreeMap<&str, &[usize]> = checkpoint.names_and_shapes().collect();
        if let Some(system) = unsupported(&shapes) {
            anyhow::bail!(
                "{}: holds {system}, which cannot be converted",
                path.display()
            );
        }
        let is_clip = clip_patch(&shapes).is_some();
        anyhow::ensure!(
            is_clip || (options.upsampler.is_none() && options.sensor.is_none()),
            "{}: is no CLIP alone, which --upsampler and --sensor are for; leave them out",
            path.display()
        );
        let mut notes = Vec::new();
        let mut files = vec![checkpoint];
        let (sources, config) = if is_clip {
            let (sources, config) = clip(path, &mut files, options, &mut notes)?;
            (sources, NetworkConfig::SegEarth(config))
        } else {
            let sources = Sources::as_named(&files[0]);
            let shapes = sources.shapes();
            let config =
                ModelConfig::from_shapes(|name| shapes.get(name).map(|shape| shape.to_vec()))
                    .with_context(|| {
                        format!(
                            "{}: is not a checkpoint of MM-OVSeg (it holds {})",
                            path.display(),
                            files[0].contents()
                        )
                    })?;
            (sources, NetworkConfig::MmOvSeg(config))
        };
        // Only names and shapes are wanted; the weights stay uninitialised.
        let network = Network::new(&config, &Device::flex())?;
        let mismatch = network.compare(sources.shapes());
        anyhow::ensure!(
            mismatch.is_empty(),
            "{}: does not fit {}: {mismatch}; give a checkpoint of the released model",
            path.display(),
            network_name(&config)
        );
        Ok(Self {
            path: path.to_owned(),
            names: network.parameter_shapes().into_keys().collect(),
            files,
            sources,
            config,
            notes,
        })
    }

    /// The tensors, read one after the other.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = Result<HostTensor, WeightsError>> {
        self.names
            .iter()
            .map(|name| self.sources.read(&self.files, name))
    }

    /// How a package of it keeps its parameters.
    pub fn layout(&self) -> impl Fn(&str) -> Placement + use<> {
        package_layout(self.config.encoders())
    }

    /// What a package of it says of itself.
    pub fn manifest(&self, dtype: StoreDtype) -> anyhow::Result<Manifest> {
        let part = |part: Option<&std::ffi::OsStr>| {
            part.unwrap_or_default().to_string_lossy().into_owned()
        };
        let (file, stem) = (part(self.path.file_name()), part(self.path.file_stem()));
        let config = &self.config;
        let network = network_name(config);
        let name = format!("{network} ({stem})");
        let mut manifest = Manifest::new(name, serde_json::to_value(config)?, dtype, CLIP_TEMPLATE);
        let list = match config {
            NetworkConfig::MmOvSeg(_) => benchmark(&stem),
            NetworkConfig::SegEarth(config) => words(config.visual.sensor),
        };
        manifest.default_classes = list.prompts();
        manifest.palette = class_colours(&manifest.default_classes, &[]);
        let config = match config {
            NetworkConfig::MmOvSeg(config) => config,
            NetworkConfig::SegEarth(config) => {
                manifest.prompt_template = "a photo of a {}.".into();
                manifest.prompt_templates = CLIP_TEMPLATES.map(str::to_owned).to_vec();
                manifest.licence = "OpenAI's CLIP is MIT; SegEarth-OV's upsampler and AlignEarth's weights state no licence. \
                     Ask their authors before passing these weights on."
                    .into();
                let upsampler = match config.upsampler {
                    Some(_) => " and SimFeatUp",
                    None => "",
                };
                manifest.attribution = format!(
                    "Converted from {file}, a checkpoint of CLIP{upsampler}, for the network of SegEarth-OV (Li et al., CVPR 2025)."
                );
                return Ok(manifest);
            }
        };
        let dense = config.dense().next().map(|encoder| encoder.architecture);
        manifest.licence = match dense {
            None => "CAT-Seg (MIT), built on CLIP (MIT).".into(),
            Some(architecture) => {
                let dino = match architecture {
                    Architecture::DinoV3 => "DINOv3 (Meta's DINOv3 licence)",
                    Architecture::DinoV1 | Architecture::ClipVit => "DINO (Apache-2.0)",
                };
                format!(
                    "The {network} release states no licence of its own; it builds on CAT-Seg (MIT), CLIP (MIT) and \
                     {dino}. Ask its authors before passing these weights on."
                )
            }
        };
        manifest.attribution =
            format!("Converted from {file}, a checkpoint of {network} by its authors.");
        Ok(manifest)
    }

    /// Its weights on a device, in the device's precision, with CLIP's own words.
    pub fn load(
        self,
        device: (Device, DeviceInfo),
        on: &mut dyn FnMut(Event),
    ) -> anyhow::Result<Session> {
        let NetworkConfig::MmOvSeg(config) = &self.config else {
            anyhow::bail!(
                "{}: is a CLIP alone; make a package of it with `mmovseg convert` and its --upsampler, and give that",
                self.path.display()
            );
        };
        let precision = device.1.precision;
        let mut model = MmOvSeg::new(config, &device.0)?;
        let total_bytes = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        let (mut done, mut waiting) = (0, 0);
        let mut part = BTreeMap::new();
        for tensor in self.tensors() {
            let HostTensor { name, shape, data } = tensor?;
            waiting += size_of_val(data.as_slice());
            part.insert(name, (shape, data));
            if waiting >= PART_BYTES {
                model = model.load_as(&mut part, precision);
                done += waiting as u64;
                waiting = 0;
                on(Event::Download {
                    done_bytes: done.min(total_bytes),
                    total_bytes,
                });
            }
        }
        model = model.load_as(&mut part, precision);
        let manifest = self.manifest(StoreDtype::F32)?;
        let tokenizer = Tokenizer::clip(CLIP_BPE_GZ)?;
        Ok(Session::assemble(
            manifest,
            config.clone(),
            model,
            tokenizer,
            device,
        ))
    }
}

/// Side of the patches of a CLIP alone, in `OpenAI`'s and `open_clip`'s names or in those of
/// `transformers`; `None` for anything else.
fn clip_patch(shapes: &BTreeMap<&str, &[usize]>) -> Option<usize> {
    let names = [
        "visual.conv1.weight",
        "vision_model.embeddings.patch_embedding.weight",
    ];
    let shape = names.iter().find_map(|name| shapes.get(name))?;
    match **shape {
        [_, _, patch_px, _] => Some(patch_px),
        _ => None,
    }
}

/// A CLIP, with its upsampler where that is given.
fn clip(
    path: &Path,
    files: &mut Vec<Checkpoint>,
    options: &ClipOptions,
    notes: &mut Vec<String>,
) -> anyhow::Result<(Sources, SegEarthConfig)> {
    let mut sources = Sources::of_clip(&files[0]);
    match &options.upsampler {
        Some(path) => {
            let upsampler = Checkpoint::open(path)?;
            sources.add_upsampler(&upsampler, files.len());
            anyhow::ensure!(
                sources
                    .shapes()
                    .contains_key("upsampler.fixup_proj.1.weight"),
                "{}: is not a checkpoint of SimFeatUp (it holds {})",
                path.display(),
                upsampler.contents()
            );
            files.push(upsampler);
        }
        None => notes.push(
            "without --upsampler FILE (SimFeatUp) the patches' logits are enlarged bilinearly"
                .to_owned(),
        ),
    }
    let shapes = sources.shapes();
    let mut config =
        SegEarthConfig::from_shapes(|name| shapes.get(name).map(|shape| shape.to_vec()))
            .with_context(|| {
                format!(
                    "{}: is not a CLIP with both towers (it holds {})",
                    path.display(),
                    files[0].contents()
                )
            })?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = name.to_lowercase();
    let is_sar = name
        .split(|c: char| !c.is_alphanumeric())
        .any(|part| part == "sar");
    let found = if is_sar { Sensor::Sar } else { Sensor::Optical };
    config.visual.sensor = options.sensor.unwrap_or(found);
    if config.visual.sensor == Sensor::Sar {
        config.variant = "SegEarth-OV for SAR".into();
        config.long_side_px = SAR_SIDE_PX;
        config.windows = Windows {
            crop_px: 0,
            stride_px: 0,
        };
    }
    let (gelu, why) = match options.gelu {
        Some(gelu) => (gelu, "as asked for"),
        None if name.contains("alignearth") => (Gelu::Exact, "as AlignEarth has it"),
        None => trained_gelu(path, files[0].kind()),
    };
    config.gelu = gelu;
    let gelu = match gelu {
        Gelu::Quick => "QuickGELU",
        Gelu::Exact => "the exact GELU",
    };
    notes.push(format!(
        "the activation is {gelu}, {why} (--gelu changes it)"
    ));
    Ok((sources, config))
}

/// Which GELU a CLIP was trained with: by the configuration beside it, else by the kind of file.
fn trained_gelu(path: &Path, kind: CheckpointKind) -> (Gelu, &'static str) {
    let beside = |name: &str| -> Option<serde_json::Value> {
        let bytes = std::fs::read(path.with_file_name(name)).ok()?;
        serde_json::from_slice(&bytes).ok()
    };
    let of = |is_quick: bool| if is_quick { Gelu::Quick } else { Gelu::Exact };
    if let Some(config) = beside("open_clip_config.json") {
        let is_quick = config["model_cfg"]["quick_gelu"].as_bool().unwrap_or(false);
        return (of(is_quick), "as open_clip_config.json says");
    }
    if let Some(config) = beside("config.json") {
        let act = [&config["vision_config"], &config]
            .into_iter()
            .find_map(|part| part["hidden_act"].as_str());
        return (
            of(act.unwrap_or("quick_gelu") == "quick_gelu"),
            "as config.json says",
        );
    }
    match kind {
        CheckpointKind::TorchScript => (Gelu::Quick, "as in OpenAI's archives"),
        CheckpointKind::Safetensors => (Gelu::Quick, "as in OpenAI's weights"),
        CheckpointKind::Pytorch => (Gelu::Exact, "as open_clip trains"),
    }
}

/// The words that a package of `SegEarth-OV` starts with.
fn words(sensor: Sensor) -> &'static Preset {
    let id = match sensor {
        Sensor::Optical => "segearth-oem",
        Sensor::Sar => "alignearth-pie",
    };
    Preset::by_id(id).unwrap_or(&PRESETS[0])
}

/// What people call a system that others publish beside MM-OVSeg and that this project does not
/// run.
fn unsupported(shapes: &BTreeMap<&str, &[usize]>) -> Option<String> {
    let begins = |prefix: &str| shapes.keys().any(|name| name.starts_with(prefix));
    match clip_patch(shapes) {
        Some(PATCH_PX) => return None,
        Some(patch_px) => {
            return Some(format!(
                "a CLIP alone with patches of {patch_px} px, such as RemoteCLIP's, where SegEarth-OV reads patches of {PATCH_PX}"
            ));
        }
        None => {}
    }
    if begins("up.range_proj.") || begins("upsampler.up") {
        return Some(
            "SimFeatUp alone, the upsampler of SegEarth-OV (give it as --upsampler beside a CLIP)"
                .to_owned(),
        );
    }
    // Mask2Former's names, which its descendants keep.
    begins("sem_seg_head.pixel_decoder.")
        .then(|| "a network with mask queries, such as EBSeg".to_owned())
}

/// What people call a recognised network.
fn network_name(config: &NetworkConfig) -> String {
    match config.variant() {
        variant @ ("B" | "L") => format!("MM-OVSeg {variant}"),
        variant => variant.to_owned(),
    }
}

/// The list of the benchmark that a released file is named after (docs/network.md §13), or
/// PIE-RGB-SAR's.
fn benchmark(stem: &str) -> &'static Preset {
    let stem = stem.to_lowercase();
    PRESETS
        .iter()
        .filter(|preset| preset.classes.iter().all(|class| class.seen.is_some()))
        .find(|preset| stem.contains(preset.id))
        .or(Preset::by_id("pie"))
        .unwrap_or(&PRESETS[0])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{benchmark, unsupported};

    #[test]
    fn systems_that_are_not_supported_are_named() {
        let named = |name, shape: &[usize]| unsupported(&BTreeMap::from([(name, shape)]));
        for (name, shape, says) in [
            ("visual.conv1.weight", [768, 3, 32, 32], "RemoteCLIP"),
            (
                "vision_model.embeddings.patch_embedding.weight",
                [768, 3, 32, 32],
                "RemoteCLIP",
            ),
            (
                "upsampler.up.range_proj.0.weight",
                [32, 3, 1, 1],
                "SimFeatUp",
            ),
            (
                "sem_seg_head.pixel_decoder.mask_features.weight",
                [256, 256, 1, 1],
                "EBSeg",
            ),
        ] {
            let said = named(name, &shape).unwrap_or_default();
            assert!(
                said.contains(says) && !said.contains('\n'),
                "{name}: {said}"
            );
        }
        let own = "sem_seg_head.predictor.clip_model.visual.conv1.weight";
        for own in [own, "visual.conv1.weight"] {
            assert_eq!(named(own, &[768, 3, 16, 16]), None);
        }
    }

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
