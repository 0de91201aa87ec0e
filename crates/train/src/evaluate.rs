//! Measures a session on a folder of tile pairs with ground truth (the data folder of the command
//! line: `rgb/`, `sar/`, `label/`, `classes.json`).

use std::path::{Path, PathBuf};

use mmovseg_engine::{
    EngineError, HashedPair, Modality, Preprocess, SegmentRequest, Session, Tiling, WordRule,
};
use mmovseg_raster::{
    Cloud, OpticalOptions, RasterError, SarOptions, add_cloud, open_pair, read_label_png,
};
use serde::Deserialize;

use crate::metrics::{ConfusionMatrix, Figures, IGNORE};

/// What an evaluation may fail with.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// A file could not be read.
    #[error("{path}: {reason}; {hint}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system or the parser said.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// A tile could not be decoded.
    #[error(transparent)]
    Raster(#[from] RasterError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// How to run an evaluation.
pub struct EvaluateOptions {
    /// The data folder.
    pub data: PathBuf,
    /// Which tiles to use.
    pub modality: Modality,
    /// How tiles become the model's square.
    pub preprocess: Preprocess,
    /// What the model is asked for, one entry a class.
    pub words: Vec<String>,
    /// How a model that compares pixels with words decides.
    pub rule: Option<WordRule>,
}

#[derive(Deserialize)]
struct ClassEntry {
    name: String,
    #[serde(default = "yes")]
    seen: bool,
}

fn yes() -> bool {
    true
}

/// File of a data folder that names its classes.
const CLASSES_FILE: &str = "classes.json";

fn classes(data: &Path) -> Result<Vec<ClassEntry>, EvaluateError> {
    let path = data.join(CLASSES_FILE);
    serde_json::from_slice(&read(&path)?).map_err(|error| {
        bad(
            &path,
            &error,
            "write a list of {\"name\", \"seen\"} objects",
        )
    })
}

/// The class names of a data folder, in the order of the labels.
///
/// # Errors
/// When the folder does not name them.
pub fn class_names(data: &Path) -> Result<Vec<String>, EvaluateError> {
    Ok(classes(data)?.into_iter().map(|class| class.name).collect())
}

/// Runs every pair of the folder. `cloud(i)` is laid over the `i`-th optical tile, in the order of
/// the sorted names; `on_image(done, total)` hears of progress.
///
/// # Errors
/// When the folder is not a data folder, or a pair cannot be run.
pub async fn evaluate(
    session: &mut Session,
    options: &EvaluateOptions,
    cloud: &dyn Fn(usize) -> Option<Cloud>,
    on_image: &mut dyn FnMut(usize, usize),
) -> Result<Figures, EvaluateError> {
    let classes = classes(&options.data)?;
    let names = &options.words;
    if names.len() != classes.len() {
        let reason = format!(
            "it has {} classes, and {} were asked for",
            classes.len(),
            names.len()
        );
        return Err(bad(
            &options.data.join(CLASSES_FILE),
            &reason,
            "choose a list of as many classes",
        ));
    }
    let labels = list(&options.data.join("label"))?;
    let rgb_files = list(&options.data.join("rgb"))?;
    let sar_files = list(&options.data.join("sar"))?;
    if labels.is_empty() {
        return Err(bad(
            &options.data.join("label"),
            &"it holds no labels",
            "give every tile pair a label map",
        ));
    }
    let mut matrix = ConfusionMatrix::new(classes.len());
    for (i, label) in labels.iter().enumerate() {
        let rgb = partner(&rgb_files, label, &options.data.join("rgb"))?;
        let sar = partner(&sar_files, label, &options.data.join("sar"))?;
        let name = |path: &Path| path.display().to_string();
        let mut pair = open_pair(
            (&read(rgb)?, &name(rgb)),
            (&read(sar)?, &name(sar)),
            &OpticalOptions::default(),
            &SarOptions::default(),
        )?;
        if let Some(cloud) = cloud(i) {
            pair.rgb = add_cloud(&pair.rgb, &cloud).0;
        }
        let truth = read_label_png(&read(label)?, &name(label))?;
        if (truth.width_px, truth.height_px) != (pair.rgb.width_px, pair.rgb.height_px) {
            return Err(bad(
                label,
                &"it is not of the optical tile's size",
                "give labels on the optical grid",
            ));
        }
        if let Some(stray) = truth
            .data
            .iter()
            .find(|&&l| l != IGNORE && usize::from(l) >= names.len())
        {
            let reason = format!("label {stray} has no class in a list of {}", names.len());
            return Err(bad(
                label,
                &reason,
                "correct classes.json, or mark such pixels 255 to ignore them",
            ));
        }
        let request = SegmentRequest {
            classes: names.clone(),
            modality: options.modality,
            preprocess: options.preprocess,
            tiling: Tiling::Whole,
            rule: options.rule,
        };
        let result = session
            .segment(&HashedPair::new(pair), &request, &mut |_| {})
            .await?;
        matrix.add(&truth.data, &result.labels);
        on_image(i + 1, labels.len());
    }
    let names: Vec<(String, bool)> = classes
        .into_iter()
        .map(|class| (class.name, class.seen))
        .collect();
    Ok(matrix.figures(&names, labels.len()))
}

fn read(path: &Path) -> Result<Vec<u8>, EvaluateError> {
    std::fs::read(path).map_err(|error| {
        bad(
            path,
            &error,
            "give a folder with rgb/, sar/, label/ and classes.json",
        )
    })
}

/// The files of a folder, sorted.
fn list(folder: &Path) -> Result<Vec<PathBuf>, EvaluateError> {
    let hint = "give a folder with rgb/, sar/, label/ and classes.json";
    let entries = std::fs::read_dir(folder).map_err(|error| bad(folder, &error, hint))?;
    // Desktops leave hidden files of their own beside the tiles.
    let hidden = |path: &Path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'))
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && !hidden(path))
        .collect();
    files.sort();
    Ok(files)
}

/// The file of the same name but for its ending.
fn partner<'a>(
    files: &'a [PathBuf],
    label: &Path,
    folder: &Path,
) -> Result<&'a Path, EvaluateError> {
    files
        .iter()
        .find(|file| file.file_stem() == label.file_stem())
        .map(PathBuf::as_path)
        .ok_or_else(|| {
            bad(
                folder,
                &format!("no tile goes with {}", label.display()),
                "give every label its pair",
            )
        })
}

fn bad(path: &Path, reason: &dyn std::fmt::Display, hint: &'static str) -> EvaluateError {
    EvaluateError::File {
        path: path.to_owned(),
        reason: reason.to_string(),
        hint,
    }
}
