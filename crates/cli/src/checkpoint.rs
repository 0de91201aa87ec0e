//! A checkpoint as the authors released it: recognised by its tensors, described as a package is,
//! and loaded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use burn::tensor::Device;
use mmovseg_engine::{DeviceInfo, Event, Session, package_layout};
use mmovseg_model::config::Architecture;
use mmovseg_model::{MmOvSeg, ModelConfig};
use mmovseg_raster::{PRESETS, Preset, class_colours};
use mmovseg_text::{CLIP_BPE_GZ, CLIP_TEMPLATE, Tokenizer};
use mmovseg_weights::{Checkpoint, HostTensor, Manifest, Placement, StoreDtype, WeightsError};

/// Bytes of weights that are read before they move to the device.
const PART_BYTES: usize = 64 << 20;

/// A checkpoint of MM-OVSeg, GSNet or CAT-Seg.
pub struct Released {
    path: PathBuf,
    checkpoint: Checkpoint,
    config: ModelConfig,
    /// The tensors that inference reads.
    names: Vec<String>,
}

impl Released {
    /// Reads names and shapes, and refuses what is no released variant.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let checkpoint = Checkpoint::open(path)?;
        let shapes: BTreeMap<&str, &[usize]> = checkpoint.names_and_shapes().collect();
        if let Some(system) = unsupported(&shapes) {
            anyhow::bail!(
                "{}: holds {system}, which cannot be converted",
                path.display()
            );
        }
        let config = ModelConfig::from_shapes(|name| shapes.get(name).map(|shape| shape.to_vec()))
            .with_context(|| {
                format!(
                    "{}: is not a checkpoint of MM-OVSeg (it holds {})",
                    path.display(),
                    checkpoint.contents()
                )
            })?;
        // Only names and shapes are wanted; the weights stay uninitialised.
        let model = MmOvSeg::new(&config, &Device::flex())?;
        let mismatch = model.compare(shapes);
        anyhow::ensure!(
            mismatch.is_empty(),
            "{}: does not fit {}: {mismatch}; give a checkpoint of the released model",
            path.display(),
            network_name(&config)
        );
        Ok(Self {
            path: path.to_owned(),
            names: model.parameter_shapes().into_keys().collect(),
            checkpoint,
            config,
        })
    }

    /// The tensors, read one after the other.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = Result<HostTensor, WeightsError>> {
        self.names.iter().map(|name| self.checkpoint.read(name))
    }

    /// How a package of it keeps its parameters.
    pub fn layout(&self) -> impl Fn(&str) -> Placement + use<> {
        package_layout(&self.config)
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
        manifest.default_classes = benchmark(&stem).prompts();
        manifest.palette = class_colours(&manifest.default_classes, &[]);
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
        let precision = device.1.precision;
        let mut model = MmOvSeg::new(&self.config, &device.0)?;
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
            self.config,
            model,
            tokenizer,
            device,
        ))
    }
}

/// What people call a system that others publish beside MM-OVSeg and that this project does not
/// run.
fn unsupported(shapes: &BTreeMap<&str, &[usize]>) -> Option<String> {
    let begins = |prefix: &str| shapes.keys().any(|name| name.starts_with(prefix));
    if let Some([_, _, patch_px, _]) = shapes.get("visual.conv1.weight") {
        let known = if *patch_px == 16 {
            "SegEarth-OV's"
        } else {
            "RemoteCLIP's"
        };
        return Some(format!(
            "a CLIP alone with patches of {patch_px} px, such as {known}"
        ));
    }
    if begins("vision_model.") {
        return Some("a CLIP alone, as transformers stores it".to_owned());
    }
    if begins("up.range_proj.") || begins("upsampler.up") {
        return Some("SimFeatUp, the upsampler of SegEarth-OV".to_owned());
    }
    // Mask2Former's names, which its descendants keep.
    begins("sem_seg_head.pixel_decoder.")
        .then(|| "a network with mask queries, such as EBSeg".to_owned())
}

/// What people call a recognised network.
fn network_name(config: &ModelConfig) -> String {
    match config.variant.as_str() {
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
            ("visual.conv1.weight", [768, 3, 16, 16], "SegEarth-OV"),
            ("visual.conv1.weight", [768, 3, 32, 32], "RemoteCLIP"),
            (
                "vision_model.embeddings.patch_embedding.weight",
                [768, 3, 16, 16],
                "transformers",
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
        assert_eq!(named(own, &[768, 3, 16, 16]), None);
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
