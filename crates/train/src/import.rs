//! Putting a package into a run, so that training goes on from its weights: the default model's
//! own, or those of a converted checkpoint.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use mmovseg_model::{MmOvSeg, ModelConfig};
use mmovseg_text::Tokenizer;
use mmovseg_weights::{Assembler, MANIFEST_FILE, Manifest, decode_shard, parse_manifest};

use crate::TrainError;

/// Where a run keeps what it started from.
pub(crate) const FOLDER: &str = "start";
const TOKENIZER: &str = "tokenizer.json";

/// What a package says of itself, as a run keeps it.
pub(crate) struct Imported {
    pub manifest: Manifest,
    pub config: ModelConfig,
    pub tokenizer: Tokenizer,
}

impl Imported {
    /// What was put into a run, if anything was.
    pub fn open(run: &Path) -> Result<Option<Self>, TrainError> {
        let folder = run.join(FOLDER);
        let path = folder.join(MANIFEST_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let (manifest, config) = read_manifest(&path)?;
        let tokenizer = Tokenizer::from_json(&read(&folder.join(TOKENIZER))?)?;
        Ok(Some(Self {
            manifest,
            config,
            tokenizer,
        }))
    }
}

/// A package in memory.
pub(crate) struct OpenedPackage {
    pub model: MmOvSeg,
    pub manifest: Manifest,
    pub tokenizer: Tokenizer,
    /// The tokenizer's file.
    pub tokenizer_json: Vec<u8>,
}

/// Reads a whole package onto `device`.
///
/// # Errors
/// When it is missing or damaged, or holds the tensors of another network.
pub(crate) fn open_package(package: &Path, device: &Device) -> Result<OpenedPackage, TrainError> {
    let (manifest, config) = read_manifest(&package.join(MANIFEST_FILE))?;
    let tokenizer_json = read(&package.join(&manifest.tokenizer.file))?;
    manifest
        .tokenizer
        .check(&tokenizer_json)
        .map_err(|e| TrainError::content(package)(e))?;
    let mut model = MmOvSeg::new(&config, device).map_err(|e| TrainError::content(package)(e))?;
    let wanted = model.parameter_shapes();
    let mut assembler = Assembler::new();
    let mut seen = Vec::new();
    for shard in &manifest.shards {
        let path = package.join(&shard.file);
        let parts =
            decode_shard(&read(&path)?, shard).map_err(|e| TrainError::content(&path)(e))?;
        let mut ready = BTreeMap::new();
        for part in parts {
            if let Some(tensor) = assembler
                .push(part)
                .map_err(|e| TrainError::content(&path)(e))?
            {
                seen.push((tensor.name.clone(), tensor.shape.clone()));
                if wanted.get(&tensor.name) == Some(&tensor.shape) {
                    ready.insert(tensor.name, (tensor.shape, tensor.data));
                }
            }
        }
        model = model.load(&mut ready);
    }
    assembler
        .finish()
        .map_err(|e| TrainError::content(package)(e))?;
    let mismatch = model.compare(
        seen.iter()
            .map(|(name, shape)| (name.as_str(), shape.as_slice())),
    );
    if !mismatch.is_empty() {
        return Err(TrainError::content(package)(mismatch));
    }
    Ok(OpenedPackage {
        model,
        manifest,
        tokenizer: Tokenizer::from_json(&tokenizer_json)?,
        tokenizer_json,
    })
}

/// Puts the weights and the tokenizer of a package into a run.
///
/// # Errors
/// When the package is missing or damaged, the run already has a start, or it cannot be written.
pub fn start_from(package: &Path, run: &Path) -> Result<Manifest, TrainError> {
    let folder = run.join(FOLDER);
    if folder.exists() {
        return Err(TrainError::content(&folder)(
            "this run already has a start; name another run folder",
        ));
    }
    let OpenedPackage {
        model,
        manifest,
        tokenizer_json,
        ..
    } = open_package(package, &Device::flex())?;
    let made = |source| TrainError::File {
        path: folder.clone(),
        source,
        hint: "give a folder that can be written and has room",
    };
    std::fs::create_dir_all(&folder).map_err(made)?;
    std::fs::write(folder.join(TOKENIZER), &tokenizer_json).map_err(made)?;
    model
        .save_file(folder.join("model.bpk"))
        .map_err(|e| TrainError::content(&folder)(e))?;
    let text = serde_json::to_vec_pretty(&manifest).map_err(|e| TrainError::content(&folder)(e))?;
    // Last: a run whose start is half written has none.
    std::fs::write(folder.join(MANIFEST_FILE), text).map_err(made)?;
    Ok(manifest)
}

fn read_manifest(path: &Path) -> Result<(Manifest, ModelConfig), TrainError> {
    let manifest = parse_manifest(&read(path)?).map_err(|e| TrainError::content(path)(e))?;
    let config = serde_json::from_value(manifest.architecture.clone())
        .map_err(|e| TrainError::content(path)(format!("no architecture of this program ({e})")))?;
    Ok((manifest, config))
}

fn read(path: &Path) -> Result<Vec<u8>, TrainError> {
    std::fs::read(path).map_err(|source| TrainError::File {
        path: path.to_owned(),
        source,
        hint: "give a package folder, such as models/nano",
    })
}
