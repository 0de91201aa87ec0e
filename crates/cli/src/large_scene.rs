//! Scenes too large for memory, such as a Sentinel-2 granule: segmented block by block.
//!
//! Blocks begin at whole steps of the windows that the scene would be cut into at once, and reach
//! a window beyond what is kept of them: the windows that decide a kept pixel are the same ones,
//! under the same radiometry, wherever the blocks' borders lie. A scene whose pixels are
//! far from those of the model is resampled block by block. What is finished is kept in a folder
//! beside the result, so that an interrupted run goes on with its next block; the GeoTIFFs are
//! written from it at the end.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use mmovseg_engine::resolution::{factor, note, onto_grid};
use mmovseg_engine::{
    ENTROPY_BAND, HashedPair, PixelShares, Preprocess, Resolution, SegmentRequest, Segmentation,
    Sensor, Session, TilePair, Tiling, Wanted, pixel_shares,
};
use mmovseg_raster::{
    CogOptions, NO_DATA_LABEL, PairFile, RasterFile, label_options, share_options, write_cog,
};
use serde::{Deserialize, Serialize};

use crate::failure::complain;
use crate::inputs::{FileBytes, HOW_TO_KEEP_PIXELS, ReadingArgs};
use crate::job::{Job, Outcome, about, size_px};
use crate::label_files::{is_tiff, palette};
use crate::output::Outputs;
use crate::progress::Progress;

/// Longest side and largest area of a scene that is held in memory as a whole, in pixels.
const WHOLE_SIDE_PX: usize = 8192;
const WHOLE_AREA_PX: usize = 24_000_000;

/// About how long the kept part of a block is, in pixels: two pictures and all that a run holds
/// stay below half a gigabyte.
const BLOCK_PX: usize = 2048;

/// Longest window, in pixels of the scene, that blocks are cut for: a block is up to three times as
/// long.
const WINDOW_PX_MAX: usize = 4096;

/// Whether the optical tile of a job is too large to be held in memory.
pub fn is_large(job: &Job) -> anyhow::Result<bool> {
    let [w, h] = size_px(&job.rgb)?;
    Ok(w.max(h) > WHOLE_SIDE_PX || w * h > WHOLE_AREA_PX)
}

/// Segments a large scene and writes its results.
pub fn run(
    session: &mut Session,
    job: &Job,
    (reading, resolution): (&ReadingArgs, Resolution),
    request: &SegmentRequest,
) -> anyhow::Result<Outcome> {
    anyhow::ensure!(
        is_tiff(&job.files.labels),
        "{}: labels of a scene this large are written as a GeoTIFF; give --out a name that ends in .tif",
        job.files.labels.display()
    );
    anyhow::ensure!(
        job.logits.is_none(),
        "--logits needs a scene that fits into memory; use --probabilities instead"
    );
    anyhow::ensure!(
        request.preprocess == Preprocess::Aligned && request.tiling != Tiling::Whole,
        "a scene this large runs in windows only; leave out --preprocess parity and --tiling whole"
    );
    let open = |path: &Path| -> anyhow::Result<RasterFile<'static>> {
        let name = path.display().to_string();
        Ok(RasterFile::open(Box::new(FileBytes::open(path)?), &name)?)
    };
    let (optical, sar) = reading.options();
    let sar_file = job.sar.as_ref().context(
        "a scene this large is read as a pair; name its SAR tile with --sar, or name the optical file there too and add --modality optical",
    )?;
    let names = [&job.rgb, sar_file].map(|path| path.display().to_string());
    let pair = PairFile::open(
        (open(&job.rgb)?, &names[0]),
        (open(sar_file)?, &names[1]),
        &optical,
        &sar,
    )?;
    let [width, height] = pair.size_px();
    let input_px = session.window_px();
    let overlap_px = match request.tiling {
        Tiling::Windows { overlap_px } => overlap_px.min(input_px * 3 / 4),
        _ => input_px / 2,
    };
    let gsd_m = session.manifest().gsd_m.map(f64::from);
    let pixel_sizes = (resolution == Resolution::Auto)
        .then(|| pair.pixel_size_m().zip(gsd_m))
        .flatten();
    let enlarged = pixel_sizes.and_then(|(pixel_m, gsd_m)| factor(pixel_m, gsd_m));
    let cut = Cut::new(input_px, overlap_px, enlarged.unwrap_or(1.0));
    if let Some((pixel_m, gsd_m)) = pixel_sizes {
        anyhow::ensure!(
            cut.window_px <= WINDOW_PX_MAX,
            "{}: pixels of {pixel_m:.2} m are too small beside the {gsd_m} m that the model was trained for to be resampled here in a scene this large; resample both files first, or read them as they are with --resolution native",
            job.rgb.display()
        );
    }
    let (columns, rows) = (cut.blocks(width), cut.blocks(height));
    let total = columns.len() * rows.len();

    let wanted = job.files.wanted();
    let layout = Layout {
        size_px: [width, height],
        classes: request.classes.len(),
        wanted,
    };
    let key = fingerprint(session, job, request, &(wanted, &cut))?;
    let mut store = Store::open(&job.files.labels, &key, layout)?;
    let mut notes = pair.notes.clone();
    if let Some(((pixel_m, gsd_m), factor)) = pixel_sizes.zip(enlarged) {
        let note = note(pixel_m, gsd_m, factor);
        notes.push(format!("{note} {HOW_TO_KEEP_PIXELS}"));
    }
    if store.done > 0 {
        notes.push(format!(
            "went on with block {} of {total} of an interrupted run",
            store.done + 1
        ));
    }
    let request = SegmentRequest {
        tiling: Tiling::Windows { overlap_px },
        ..request.clone()
    };
    let mut timings = Vec::new();
    let mut windows = 0;
    let mut progress = Progress::new();
    let (started, first) = (Instant::now(), store.done);
    for index in first..total {
        progress.step("blocks", index, total);
        let (column, row) = (
            &columns[index % columns.len()],
            &rows[index / columns.len()],
        );
        let at = [column.start, row.start];
        let size = [column.end - column.start, row.end - row.start];
        let part = pair.read(at, size)?;
        let found = match enlarged {
            None => segment(session, part, &request)?,
            Some(factor) => {
                let [optical, sar] =
                    [Sensor::Optical, Sensor::Sar].map(|sensor| request.modality.uses(sensor));
                let valid = part.valid(optical, sar);
                let [w, h] = size.map(|side| ((side as f64 * factor).round() as usize).max(1));
                let mut found = segment(session, part.resized(w, h), &request)?;
                onto_grid(&mut found, size, valid.as_deref());
                found
            }
        };
        let shares = pixel_shares(
            &found.labels,
            found.width_px,
            (&found.logits, found.grid_px),
            found.temperature,
            wanted,
        );
        for y in row.kept[0]..row.kept[1] {
            let from = (y - row.start) * size[0] + column.kept[0] - column.start;
            let pixels = from..from + column.kept[1] - column.kept[0];
            store.write(y, column.kept[0], &found.labels, &shares, pixels)?;
        }
        store.finish_block()?;
        windows += found.windows;
        add_timings(&mut timings, &found);
        if !progress.is_shown() {
            let left = started.elapsed().as_secs_f64() / (index + 1 - first) as f64
                * (total - index - 1) as f64;
            complain(&format!(
                "block {} of {total}, about {:.0} min left",
                index + 1,
                left / 60.0
            ));
        }
    }
    drop(progress);

    let palette = palette(session.manifest(), &request.classes);
    let about = about(session, job, &request.classes, &palette, pair.georef());
    let mut outputs = Outputs::default();
    let size = [width, height];
    let options = label_options(size, &palette, &request.classes, about.georef);
    store.export(LABELS, &job.files.labels, &options, &mut outputs)?;
    job.files.add_names(&mut outputs, &about)?;
    if let Some(path) = &job.files.probabilities {
        let options = share_options(size, &request.classes, about.georef);
        store.export(CLASSES, path, &options, &mut outputs)?;
    }
    if let Some(path) = &job.files.entropy {
        let bands = [ENTROPY_BAND.to_owned()];
        let options = share_options(size, &bands, about.georef);
        store.export(ENTROPY, path, &options, &mut outputs)?;
    }
    let share = store.shares()?;
    if job.files.geojson.is_some() {
        let labels = fs::read(store.path(LABELS))?;
        let confidence = fs::read(store.path(CONFIDENCE))?;
        job.files
            .add_polygons(&mut outputs, &labels, size, &confidence, &about)?;
    }
    outputs.commit()?;
    store.remove();
    Ok(Outcome {
        result: Segmentation {
            classes: request.classes,
            width_px: width,
            height_px: height,
            labels: Vec::new(),
            grid_px: [0, 0],
            logits: Vec::new(),
            temperature: session.manifest().temperature,
            share,
            timings,
            windows,
        },
        notes,
    })
}

fn add_timings(sum: &mut Vec<mmovseg_engine::StageTiming>, found: &Segmentation) {
    for timing in &found.timings {
        match sum.iter_mut().find(|known| known.stage == timing.stage) {
            Some(known) => known.ms += timing.ms,
            None => sum.push(timing.clone()),
        }
    }
}

/// One block along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    /// What is read.
    start: usize,
    end: usize,
    /// What is kept of it: first pixel, and the one after the last.
    kept: [usize; 2],
}

/// How a scene is cut into blocks, in its pixels.
#[derive(Debug)]
struct Cut {
    window_px: usize,
    /// From one window to the next.
    step_px: usize,
    /// About how long the kept part of a block is.
    block_px: usize,
}

impl Cut {
    /// For windows of `window_px` that overlap by `overlap_px`, in pixels as the model sees them,
    /// `factor` of which make a pixel of the scene.
    fn new(window_px: usize, overlap_px: usize, factor: f64) -> Self {
        let native = |px: usize| ((px as f64 / factor).round() as usize).max(1);
        Self {
            window_px: native(window_px),
            step_px: native(window_px.saturating_sub(overlap_px)),
            block_px: native(BLOCK_PX).min(BLOCK_PX),
        }
    }

    /// Cuts an axis.
    fn blocks(&self, len_px: usize) -> Vec<Block> {
        let (window_px, step) = (self.window_px, self.step_px);
        let kept = (self.block_px / step).max(1) * step;
        // Windows over a kept pixel begin less than a window before it, wherever steps begin. The
        // windows at the block's own edges must reach no kept pixel.
        let before = window_px.next_multiple_of(step);
        let mut blocks = Vec::new();
        let mut at = 0;
        while at < len_px {
            let mut to = at + kept;
            // What would be left is less than a window: it belongs to this block.
            if to + window_px > len_px {
                to = len_px;
            }
            let end = if to == len_px {
                to
            } else {
                (to + window_px).min(len_px)
            };
            blocks.push(Block {
                start: at.saturating_sub(before),
                end,
                kept: [at, to],
            });
            at = to;
        }
        blocks
    }
}

fn segment(
    session: &mut Session,
    part: TilePair,
    request: &SegmentRequest,
) -> anyhow::Result<Segmentation> {
    let part = HashedPair::new(part);
    Ok(pollster::block_on(session.segment(
        &part,
        request,
        &mut |_| {},
    ))?)
}

/// What a run depends on: a change of any of it makes what an earlier run left useless.
fn fingerprint(
    session: &Session,
    job: &Job,
    request: &SegmentRequest,
    more: &impl std::fmt::Debug,
) -> anyhow::Result<String> {
    let mut parts = vec![
        session.manifest().name.clone(),
        serde_json::to_string(&session.manifest().shards)?,
        format!("{:?}", session.manifest().temperature),
        serde_json::to_string(request)?,
        format!("{more:?}"),
    ];
    for path in [Some(&job.rgb), job.sar.as_ref()].into_iter().flatten() {
        let meta = fs::metadata(path)?;
        parts.push(format!(
            "{} {} {:?}",
            path.display(),
            meta.len(),
            meta.modified().ok()
        ));
    }
    Ok(parts.join("\n"))
}

const LABELS: &str = "labels";
const CONFIDENCE: &str = "confidence";
const CLASSES: &str = "classes";
const ENTROPY: &str = "entropy";

/// What is kept of each pixel.
#[derive(Clone, Copy)]
struct Layout {
    size_px: [usize; 2],
    classes: usize,
    wanted: Wanted,
}

impl Layout {
    /// Files and their bytes a pixel.
    fn files(&self) -> Vec<(&'static str, usize)> {
        [
            (LABELS, 1, true),
            (CONFIDENCE, 1, self.wanted.confidence),
            (CLASSES, self.classes, self.wanted.classes),
            (ENTROPY, 1, self.wanted.entropy),
        ]
        .into_iter()
        .filter(|&(.., is_wanted)| is_wanted)
        .map(|(name, bytes, _)| (name, bytes))
        .collect()
    }
}

#[derive(Serialize, Deserialize)]
struct State {
    key: String,
    done: usize,
}

/// The folder that holds what is finished of a scene.
struct Store {
    folder: PathBuf,
    key: String,
    /// Blocks that are finished.
    done: usize,
    layout: Layout,
    files: Vec<(File, usize)>,
}

impl Store {
    /// Opens what an earlier run of the same kind has left, or begins anew.
    fn open(labels: &Path, key: &str, layout: Layout) -> anyhow::Result<Self> {
        let name = labels.file_name().unwrap_or_default().to_string_lossy();
        let folder = labels.with_file_name(format!(".{name}.unfinished"));
        let failed = || format!("{}: cannot be made a folder for results", folder.display());
        let state = fs::read(folder.join(STATE)).ok();
        let state: Option<State> = state.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let done = match state {
            Some(state) if state.key == key => state.done,
            _ => {
                if folder.exists() {
                    fs::remove_dir_all(&folder).with_context(failed)?;
                }
                fs::create_dir(&folder).with_context(failed)?;
                0
            }
        };
        let pixels = layout.size_px[0] as u64 * layout.size_px[1] as u64;
        let files = layout.files().into_iter().map(|(name, bytes)| {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(folder.join(name))?;
            file.set_len(pixels * bytes as u64)?;
            Ok((file, bytes))
        });
        let files = files.collect::<io::Result<Vec<_>>>().with_context(failed)?;
        Ok(Self {
            folder,
            key: key.to_owned(),
            done,
            layout,
            files,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes pixels of a block into row `y` from column `x` on.
    fn write(
        &mut self,
        y: usize,
        x: usize,
        labels: &[u8],
        shares: &PixelShares,
        pixels: std::ops::Range<usize>,
    ) -> anyhow::Result<()> {
        let names = self.layout.files();
        let first = (y * self.layout.size_px[0] + x) as u64;
        for ((file, bytes), (name, _)) in self.files.iter_mut().zip(names) {
            let values = match name {
                LABELS => labels,
                CONFIDENCE => &shares.confidence,
                CLASSES => &shares.classes,
                _ => &shares.entropy,
            };
            let part = &values[pixels.start * *bytes..pixels.end * *bytes];
            file.seek(SeekFrom::Start(first * *bytes as u64))
                .and_then(|_| file.write_all(part))
                .with_context(|| format!("{}: is the disk full?", self.folder.display()))?;
        }
        Ok(())
    }

    /// Notes that a block is finished, so that it need not be done again.
    fn finish_block(&mut self) -> anyhow::Result<()> {
        self.done += 1;
        let state = State {
            key: self.key.clone(),
            done: self.done,
        };
        let mut outputs = Outputs::default();
        outputs.add(&self.path(STATE), &serde_json::to_vec(&state)?)?;
        outputs.commit()
    }

    /// Writes one of the files as a GeoTIFF.
    fn export(
        &self,
        name: &str,
        path: &Path,
        options: &CogOptions<'_>,
        outputs: &mut Outputs,
    ) -> anyhow::Result<()> {
        let mut pixels = io::BufReader::with_capacity(1 << 20, File::open(self.path(name))?);
        outputs.add_with(path, &mut |out| {
            write_cog(out, options, &mut |_, row| pixels.read_exact(row))
        })
    }

    /// Share of each class in the pixels that have data.
    fn shares(&self) -> anyhow::Result<Vec<f64>> {
        let mut counts = [0_u64; 256];
        let mut file = File::open(self.path(LABELS))?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            for &label in &buffer[..read] {
                counts[usize::from(label)] += 1;
            }
        }
        let all: u64 = counts.iter().sum();
        let valid = all - counts[usize::from(NO_DATA_LABEL)];
        Ok(counts[..self.layout.classes]
            .iter()
            .map(|&count| count as f64 / valid.max(1) as f64)
            .collect())
    }

    /// Removes the folder once the results are in place.
    fn remove(self) {
        // What is left behind is in nobody's way: a later run of the same kind starts from it.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Name of the file that says how far a scene is.
const STATE: &str = "state.json";

#[cfg(test)]
mod tests {
    use super::{BLOCK_PX, Cut};

    #[test]
    fn blocks_keep_every_pixel_once_and_see_all_windows_over_them() {
        for (len, window, overlap) in [
            (10_980, 192, 96),
            (10_980, 384, 192),
            (9000, 192, 50),
            (2049, 192, 96),
            (100, 192, 96),
        ] {
            let step = window - overlap;
            let blocks = Cut::new(window, overlap, 1.0).blocks(len);
            let mut at = 0;
            for block in &blocks {
                assert_eq!(block.kept[0], at);
                at = block.kept[1];
                assert!(block.start <= block.kept[0] && block.kept[1] <= block.end);
                assert!(block.end <= len && block.end - block.start < BLOCK_PX + 4 * window);
                assert_eq!(block.start % step, 0);
                // Windows at the block's edges reach no kept pixel.
                assert!(block.start == 0 || block.start + window <= block.kept[0]);
                assert!(block.end == len || block.end - window >= block.kept[1]);
                if block.end < len {
                    assert_eq!((block.end - block.start - window) % step, 0);
                }
            }
            assert_eq!(at, len);
        }
    }

    #[test]
    fn blocks_of_a_resampled_scene_are_no_larger_for_the_model() {
        for (len, factor) in [(10_980, 3.0), (10_980, 0.6), (30_000, 0.05)] {
            let cut = Cut::new(192, 96, factor);
            let blocks = cut.blocks(len);
            assert_eq!(
                blocks.iter().map(|b| b.kept[1] - b.kept[0]).sum::<usize>(),
                len
            );
            for block in blocks {
                let shown = (block.end - block.start) as f64 * factor;
                assert!(shown < (BLOCK_PX + 4 * 192) as f64, "{block:?}");
                assert_eq!(block.start % cut.step_px, 0);
            }
        }
    }
}
