//! Readers of the data folder: archives, pictures, label maps, and the tiles of each of its parts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use mmovseg_raster::{Rgb8, decode, read_label_png};

use crate::TrainError;
use crate::data::pseudo_label::{BARE, FARMLAND, FOREST, PatchLabel, patch_label};
use crate::data::split;
use crate::labels::{EUROSAT, IGNORE, world_cover_class};

/// Which side of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// For training.
    Train,
    /// For measuring.
    HeldOut,
}

impl Part {
    fn takes(self, is_held_out: bool) -> bool {
        (self == Self::HeldOut) == is_held_out
    }
}

/// A 30 m optical tile with land cover for each pixel.
pub struct LabelledTile {
    /// File name without its ending.
    pub name: String,
    /// Place number.
    pub place: u16,
    /// Optical tile.
    pub rgb: Rgb8,
    /// Index into [`WORLD_COVER`](crate::labels::WORLD_COVER) for each pixel, or [`IGNORE`].
    pub label: Vec<u8>,
}

/// A co-registered pair of a SEN1-2 patch.
pub struct PatchPair {
    /// Region of interest, such as `ROIs1868_summer_59`.
    pub region: String,
    /// Number of the patch within its region.
    pub patch: u32,
    /// Optical tile.
    pub rgb: Rgb8,
    /// SAR tile.
    pub sar: Rgb8,
    /// What is known of its ground.
    pub known: PatchLabel,
}

/// A SAR tile with labels, without an optical tile.
pub struct SarTile {
    /// SAR tile.
    pub sar: Rgb8,
    /// Class of generated scenes for each pixel, or [`IGNORE`].
    pub label: Vec<u8>,
    /// Whether the label names the tile as a whole.
    pub is_whole: bool,
}

/// EuroSAT's JPEGs of each class, in the order of [`EUROSAT`]; empty where a class is missing.
///
/// # Errors
/// When a file is there but cannot be read.
pub fn eurosat(data: &Path, part: Part) -> Result<Vec<Vec<Vec<u8>>>, TrainError> {
    let folder = data.join("eurosat_rgb");
    let files = EUROSAT.map(|(name, _)| folder.join(format!("{name}.tar")));
    if files.iter().any(|path| !path.exists()) {
        return Ok(Vec::new());
    }
    let takes = |index| part.takes(split::is_held_out_eurosat(index));
    files.iter().map(|path| tar_entries(path, takes)).collect()
}

/// The Californian pairs, optical and SAR.
///
/// # Errors
/// When a file cannot be read.
pub fn californian_pairs(data: &Path, part: Part) -> Result<Vec<(Rgb8, Rgb8)>, TrainError> {
    let folder = data.join("s1s2_pairs");
    stems(&folder, "_rgb.jpg")
        .into_iter()
        .enumerate()
        .filter(|(i, _)| part.takes(split::is_held_out_pair(*i)))
        .map(|(_, stem)| {
            Ok((
                picture(&folder.join(format!("{stem}_rgb.jpg")))?,
                picture(&folder.join(format!("{stem}_sar_vh.jpg")))?,
            ))
        })
        .collect()
}

/// The pairs of India, optical and SAR.
///
/// # Errors
/// When a file cannot be read.
pub fn indian_pairs(data: &Path, part: Part) -> Result<Vec<(Rgb8, Rgb8)>, TrainError> {
    let folder = data.join("real/india_s1s2");
    stems(&folder, ".jpg")
        .into_iter()
        .filter_map(|stem| Some(stem.strip_prefix("optical-image-")?.to_owned()))
        .filter(|number| part.takes(split::is_held_out_india(number)))
        .map(|number| {
            Ok((
                picture(&folder.join(format!("optical-image-{number}.jpg")))?,
                picture(&folder.join(format!("sar-image-{number}.jpg")))?,
            ))
        })
        .collect()
}

/// The SEN1-2 pairs in colour.
///
/// # Errors
/// When a file cannot be read.
pub fn patch_pairs(data: &Path, part: Part) -> Result<Vec<PatchPair>, TrainError> {
    let folder = data.join("real/sen12_rgb");
    let mut pairs = Vec::new();
    for stem in stems(&folder, "_opt.jpg") {
        let Some((region, patch)) = stem.rsplit_once("_p") else {
            continue;
        };
        let Ok(patch) = patch.parse() else { continue };
        if part.takes(split::is_held_out_patch(region, patch)) {
            pairs.push(PatchPair {
                region: region.to_owned(),
                patch,
                rgb: picture(&folder.join(format!("{stem}_opt.jpg")))?,
                sar: picture(&folder.join(format!("{stem}_sar.jpg")))?,
                known: patch_label(region, patch),
            });
        }
    }
    Ok(pairs)
}

/// The 30 m tiles with land cover. Where a tile has a map of the water seen in it, that map
/// replaces the land cover's water: many tiles show floods.
///
/// # Errors
/// When a file cannot be read, or its place is not in the manifest.
pub fn labelled_tiles(data: &Path, part: Part) -> Result<Vec<LabelledTile>, TrainError> {
    const WATER: u8 = 0;
    let real = data.join("real");
    let folder = real.join("dfc24_hls_wc");
    let stems = stems(&folder, "_rgb.jpg");
    if stems.is_empty() {
        return Ok(Vec::new());
    }
    let places = places(&real.join("manifest.csv"))?;
    let mut tiles = Vec::new();
    for name in stems {
        let file = format!("dfc24_hls_wc/{name}_rgb.jpg");
        let Some(&place) = places.get(&file) else {
            return Err(content(
                &real.join("manifest.csv"),
                format!("it has no place for {file}"),
            ));
        };
        if !part.takes(split::is_held_out_place(place)) {
            continue;
        }
        let rgb = picture(&folder.join(format!("{name}_rgb.jpg")))?;
        let mut label: Vec<u8> = label_map(&folder.join(format!("{name}_wc.png")))?
            .into_iter()
            .map(world_cover_class)
            .collect();
        let path = folder.join(format!("{name}_water.png"));
        if path.exists() {
            for (label, water) in label.iter_mut().zip(label_map(&path)?) {
                *label = match (water > 0, *label) {
                    (true, _) => WATER,
                    // Dry in this picture; what is under the usual water is not known.
                    (false, WATER) => IGNORE,
                    (false, other) => other,
                };
            }
        }
        if label.len() != rgb.width_px * rgb.height_px {
            return Err(content(
                &folder,
                format!("{name}: labels of another size than the tile"),
            ));
        }
        tiles.push(LabelledTile {
            name,
            place,
            rgb,
            label,
        });
    }
    Ok(tiles)
}

/// SAR tiles without an optical tile: SEN1-2 scenes of one class (their optical side is grey), and
/// flood tiles, where only new water is labelled.
///
/// # Errors
/// When a file cannot be read.
pub fn sar_tiles(data: &Path, part: Part) -> Result<Vec<SarTile>, TrainError> {
    const WATER: u8 = 0;
    let real = data.join("real");
    let mut tiles = Vec::new();
    for (name, class) in [
        ("agriculture", FARMLAND),
        ("forest", FOREST),
        ("gorge", BARE),
    ] {
        let folder = real.join("sen12_grey").join(name);
        for path in files(&folder, "sar_", ".jpg", part) {
            let sar = picture(&path)?;
            let label = vec![class; sar.width_px * sar.height_px];
            tiles.push(SarTile {
                sar,
                label,
                is_whole: true,
            });
        }
    }
    let folder = real.join("ombria_s1");
    for path in files(&folder, "", "_after.jpg", part) {
        let name = path
            .file_name()
            .map(|n| n.to_string_lossy().replace("_after.jpg", "_flood.png"));
        let flood = folder.join(name.unwrap_or_default());
        if !flood.exists() {
            continue;
        }
        let sar = picture(&path)?;
        let label: Vec<u8> = label_map(&flood)?
            .into_iter()
            .map(|flooded| if flooded > 0 { WATER } else { IGNORE })
            .collect();
        let is_enough = label.iter().filter(|&&l| l == WATER).count() * 50 > label.len();
        if is_enough && label.len() == sar.width_px * sar.height_px {
            tiles.push(SarTile {
                sar,
                label,
                is_whole: false,
            });
        }
    }
    Ok(tiles)
}

/// The files of a folder with this start and ending, sorted, of one part of the split without
/// places.
fn files(folder: &Path, start: &str, end: &str, part: Part) -> Vec<PathBuf> {
    stems(folder, end)
        .into_iter()
        .filter(|stem| stem.starts_with(start))
        .enumerate()
        .filter(|(i, _)| part.takes(split::is_held_out_unplaced(*i)))
        .map(|(_, stem)| folder.join(format!("{stem}{end}")))
        .collect()
}

/// File names of a folder with this ending, without it, sorted; none where there is no folder.
fn stems(folder: &Path, end: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some(
                entry
                    .file_name()
                    .to_string_lossy()
                    .strip_suffix(end)?
                    .to_owned(),
            )
        })
        .collect();
    names.sort();
    names
}

/// Place number of each file of the manifest whose label is `place N`.
fn places(manifest: &Path) -> Result<HashMap<String, u16>, TrainError> {
    let text = String::from_utf8(bytes(manifest)?).map_err(|e| content(manifest, e))?;
    Ok(text
        .lines()
        .filter_map(|line| {
            // The kind of a file is quoted and holds commas.
            let (file, rest) = line.split_once(',')?;
            let (_, label) = rest.split_once(",place ")?;
            let digits = label.split(',').next()?;
            Some((file.to_owned(), digits.parse().ok()?))
        })
        .collect())
}

fn label_map(path: &Path) -> Result<Vec<u8>, TrainError> {
    let labels = read_label_png(&bytes(path)?, &path.display().to_string());
    Ok(labels.map_err(|e| content(path, e))?.data)
}

/// An optical or SAR picture as RGB.
///
/// # Errors
/// When it cannot be read or decoded.
pub fn picture(path: &Path) -> Result<Rgb8, TrainError> {
    from_jpeg(&bytes(path)?, &path.display().to_string())
}

/// A picture from its bytes.
///
/// # Errors
/// When it cannot be decoded.
pub fn from_jpeg(bytes: &[u8], name: &str) -> Result<Rgb8, TrainError> {
    let broken = |error: mmovseg_raster::RasterError| content(name.as_ref(), error);
    let raster = decode(bytes, name).map_err(broken)?;
    mmovseg_raster::optical_to_rgb(&raster, &Default::default())
        .map(|(tile, _)| tile.picture)
        .map_err(broken)
}

fn bytes(path: &Path) -> Result<Vec<u8>, TrainError> {
    std::fs::read(path).map_err(TrainError::file(path, "check the data folder"))
}

fn content(path: &Path, error: impl std::fmt::Display) -> TrainError {
    TrainError::content(path)(error)
}

/// The bytes of a tar's files whose index passes `takes`.
fn tar_entries(path: &Path, takes: impl Fn(usize) -> bool) -> Result<Vec<Vec<u8>>, TrainError> {
    let fail = |source| TrainError::file(path, "check the data folder")(source);
    let mut archive = tar::Archive::new(std::fs::File::open(path).map_err(fail)?);
    let mut tiles = Vec::new();
    let mut index = 0usize;
    for entry in archive.entries().map_err(fail)? {
        let mut entry = entry.map_err(fail)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).map_err(fail)?;
        if takes(index) {
            tiles.push(bytes);
        }
        index += 1;
    }
    Ok(tiles)
}
