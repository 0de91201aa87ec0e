//! Writes what a run trained as a package, with its self-test.

use std::path::Path;

use burn::tensor::Device;
use mmovseg_model::MmOvSeg;
use mmovseg_scene::CLASSES;
use mmovseg_weights::{HostTensor, MANIFEST_FILE, Manifest, StoreDtype, parse_manifest};

use crate::TrainError;
use crate::import::{self, Imported};
use crate::origin::{NANO_TEMPLATE, config_of, has_text};
use crate::run::result;

/// Where the default model's training data comes from, for its manifest.
const ATTRIBUTION: &str = "Trained by the mmovseg project on generated scenes, EuroSAT (Helber et al., MIT), \
    Sentinel-1/Sentinel-2 tiles of VolkovVl/Optical-SAR-dataset, SEN1-2 (Schmitt et al. 2018), Ombria and India \
    (contain modified Copernicus Sentinel data), and HLS tiles of the IEEE Data Fusion Contest 2024 (contain \
    modified Copernicus and NASA data) with ESA WorldCover 2021 (CC BY 4.0); text distilled from \
    all-MiniLM-L6-v2 (Apache-2.0) over WordNet 3.0.";
/// Ground resolution of most training tiles, metres a pixel.
const GSD_M: f32 = 10.0;

/// Writes what the segment stage gave as a package.
///
/// # Errors
/// When a stage has not been run or the folder cannot be written.
pub fn write_nano(run: &Path, out: &Path, dtype: StoreDtype) -> Result<Manifest, TrainError> {
    let device = Device::flex();
    let imported = Imported::open(run)?;
    let config = config_of(run, imported.as_ref());
    let model = MmOvSeg::new(&config, &device).map_err(|e| TrainError::content(out)(e))?;
    let model = result(run, "segment", model)?;
    let folder = if has_text(run) {
        "text"
    } else {
        import::FOLDER
    };
    let path = run.join(folder).join("tokenizer.json");
    let tokenizer = std::fs::read(&path).map_err(|source| TrainError::File {
        path,
        source,
        hint: "run the stage `text` first",
    })?;
    let architecture = serde_json::to_value(&config).map_err(|e| TrainError::content(out)(e))?;
    if let Some(Imported { mut manifest, .. }) = imported.filter(|i| i.config.variant != "nano") {
        // Words, palette, licence and attribution are those of the weights it started from.
        manifest.dtype = dtype;
        manifest.shards.clear();
        return pack(model, manifest, &tokenizer, out);
    }
    let mut manifest = Manifest::new("nano", architecture, dtype, NANO_TEMPLATE);
    // Its words lie far enough apart: quantised, they label the same (models/nano/README.md).
    manifest.text_dtype = Some(dtype);
    manifest.default_classes = CLASSES.iter().map(|class| class.name.to_owned()).collect();
    manifest.palette = vec![
        [0, 114, 178],
        [0, 110, 60],
        [213, 94, 0],
        [110, 110, 110],
        [240, 200, 60],
        [140, 200, 90],
        [196, 154, 108],
    ];
    manifest.licence = "MIT OR Apache-2.0".into();
    manifest.gsd_m = Some(GSD_M);
    manifest.attribution = ATTRIBUTION.into();
    pack(model, manifest, &tokenizer, out)
}

/// Writes a model as a package with a self-test.
///
/// # Errors
/// When the device gives no values or the folder cannot be written.
pub(crate) fn pack(
    model: MmOvSeg,
    manifest: Manifest,
    tokenizer: &[u8],
    out: &Path,
) -> Result<Manifest, TrainError> {
    // In the order of a converted package: what training left alone is then in the same shards.
    let layout = mmovseg_engine::package_layout(&model.config().encoders);
    let mut exported = model.export();
    exported.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    let tensors = exported.into_iter().map(|(name, shape, flat)| {
        let data = flat.into_data().try_into_vec().map_err(|error| {
            mmovseg_weights::WeightsError::Tensor {
                name: name.clone(),
                reason: format!("the device gave no values ({error:?})"),
            }
        })?;
        Ok(HostTensor { name, shape, data })
    });
    // The page checks itself against the self-test's figures before it shows a first mask.
    mmovseg_weights::write_package_then(
        out,
        manifest,
        tensors,
        tokenizer,
        &layout,
        |folder, manifest| {
            pollster::block_on(mmovseg_engine::add_self_test(folder, manifest))
                .map_err(|e| TrainError::content(folder)(e))
        },
    )
}

/// Writes the temperature of calibrated probabilities into a package's manifest.
///
/// # Errors
/// When the manifest cannot be read or written, or would not read back.
pub fn set_temperature(package: &Path, temperature: f32) -> Result<(), TrainError> {
    let path = package.join(MANIFEST_FILE);
    let hint = "give a package folder that can be written";
    let json = std::fs::read(&path).map_err(TrainError::file(&path, hint))?;
    let mut manifest = parse_manifest(&json)?;
    manifest.temperature = Some(temperature);
    let json = serde_json::to_vec_pretty(&manifest).map_err(TrainError::content(&path))?;
    parse_manifest(&json)?;
    // Written beside and renamed: a stop leaves a whole manifest.
    let part = package.join("model.json.part");
    std::fs::write(&part, json).map_err(TrainError::file(&part, hint))?;
    std::fs::rename(&part, &path).map_err(TrainError::file(&path, hint))
}
