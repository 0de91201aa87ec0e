//! A pair to segment, where its results go, and what is told of it.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use mmovseg_engine::{Segmentation, Session};
use mmovseg_raster::{GeoRef, RasterFile};

use crate::inputs::FileBytes;
use crate::label_files::{About, LabelFiles};

/// A pair and where its results go.
pub struct Job {
    pub rgb: PathBuf,
    /// Without one the optical tile is read alone.
    pub sar: Option<PathBuf>,
    pub files: LabelFiles,
    pub logits: Option<PathBuf>,
    pub json: Option<PathBuf>,
}

/// What a job tells.
pub struct Outcome {
    pub result: Segmentation,
    pub notes: Vec<String>,
}

/// What the result files say of a run.
pub fn about<'a>(
    session: &Session,
    job: &Job,
    names: &'a [String],
    palette: &'a [[u8; 3]],
    georef: Option<&'a GeoRef>,
) -> About<'a> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    About {
        names,
        palette,
        georef,
        source: file_name(&job.rgb),
        model: session.manifest().name.clone(),
        time_s: now.map_or(0, |now| now.as_secs()),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Columns and rows of a file, from its header.
pub fn size_px(path: &Path) -> anyhow::Result<[usize; 2]> {
    let name = path.display().to_string();
    Ok(RasterFile::open(Box::new(FileBytes::open(path)?), &name)?.size_px())
}
