//! What the vision stages learn from: generated scenes, EuroSAT collages and real pairs, each as
//! the pixels that inference would see, with a label for each pixel where there is one.
//!
//! Every sample is a function of a seed, so a run that resumes sees what it would have seen.

use std::path::{Path, PathBuf};

use mmovseg_engine::normalise_pixels;
use mmovseg_model::ModelConfig;
use mmovseg_model::config::Radiometry;
use mmovseg_raster::{Cloud, Rgb8, add_cloud, decode, resize_bilinear, robust_rgb, robust_sar};
use mmovseg_scene::{CLASSES, CloudKind, cloud_for, generate};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::TrainError;

/// A pixel without a label.
pub const IGNORE: u8 = 255;
/// Real pairs kept out of training: every seventh tile, 10 of 69.
pub const HELD_OUT_EVERY: usize = 7;

/// A list of classes that labels are indices into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Legend {
    /// Those of generated scenes, [`CLASSES`].
    Scenes,
    /// Those of EuroSAT, [`EUROSAT`].
    EuroSat,
}

impl Legend {
    /// Every legend.
    pub const ALL: [Self; 2] = [Self::Scenes, Self::EuroSat];

    /// What each class may be called, its own name first.
    #[must_use]
    pub fn words(self) -> Vec<Vec<&'static str>> {
        match self {
            Self::Scenes => CLASSES
                .iter()
                .map(|class| [&[class.name], class.synonyms].concat())
                .collect(),
            Self::EuroSat => EUROSAT.iter().map(|(_, words)| words.to_vec()).collect(),
        }
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(self) -> usize {
        match self {
            Self::Scenes => CLASSES.len(),
            Self::EuroSat => EUROSAT.len(),
        }
    }
}

/// One training sample.
#[derive(Clone)]
pub struct Sample {
    /// Optical tile with its cloud, normalised, `[3, side_px, side_px]`.
    pub optical: Vec<f32>,
    /// The same without cloud, where a stage asks for a clear teacher.
    pub clear: Vec<f32>,
    /// SAR tile, normalised, or zeros.
    pub sar: Vec<f32>,
    /// Whether there is a SAR tile.
    pub has_sar: bool,
    /// Whether the optical tile is without clouds.
    pub is_clear: bool,
    /// Index into the legend a pixel, or [`IGNORE`].
    pub label: Vec<u8>,
    /// What labels mean.
    pub legend: Legend,
    /// Whether it is one labelled tile, to be judged as a whole.
    pub is_whole: bool,
}

impl Sample {
    /// Side of its square.
    #[must_use]
    pub fn side_px(&self) -> usize {
        self.label.len().isqrt()
    }
}

/// How often the optical tile is clear, thinly or thickly clouded, in hundredths; thick is the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloudMix {
    /// Without clouds.
    pub clear: u8,
    /// Under thin clouds.
    pub thin: u8,
}

impl CloudMix {
    /// For teaching what land cover looks like: under a thick cloud there is nothing to see.
    pub const MOSTLY_CLEAR: Self = Self {
        clear: 70,
        thin: 25,
    };
    /// No clouds.
    pub const CLEAR: Self = Self {
        clear: 100,
        thin: 0,
    };
    /// For teaching to lean on SAR where the optical tile fails, and on both where it does not.
    pub const CLOUDY: Self = Self {
        clear: 30,
        thin: 25,
    };
}

/// The square that a model reads.
#[derive(Clone, Copy, Debug)]
pub struct Square {
    /// Its side.
    pub side_px: usize,
    /// What happens to bytes before they are normalised.
    pub radiometry: Radiometry,
}

impl Square {
    /// That of a model.
    #[must_use]
    pub fn of(config: &ModelConfig) -> Self {
        Self {
            side_px: config.input_px,
            radiometry: config.radiometry,
        }
    }

    fn optical(self, rgb: &Rgb8) -> Vec<f32> {
        match self.radiometry {
            Radiometry::AsIs => normalise_pixels(rgb),
            Radiometry::Robust => normalise_pixels(&robust_rgb(rgb)),
        }
    }

    fn sar(self, sar: &Rgb8, dice: &mut ChaCha8Rng) -> Vec<f32> {
        match self.radiometry {
            Radiometry::AsIs => normalise_pixels(sar),
            Radiometry::Robust => normalise_pixels(&bend(&robust_sar(sar), dice)),
        }
    }
}

/// Where samples come from.
pub struct Sources {
    eurosat: Vec<Vec<Vec<u8>>>,
    pairs: Vec<(Rgb8, Rgb8)>,
    square: Square,
}

/// EuroSAT's classes in its own order: file, and what its tiles may be called, the plain name first.
/// Of a Highway or River tile, a part is what its name says; EuroSAT names it whole.
pub const EUROSAT: [(&str, &[&str]); 10] = [
    (
        "AnnualCrop",
        &[
            "annual crop",
            "annual crop land",
            "farmland",
            "cropland",
            "arable land",
            "ploughed field",
            "crops",
            "agricultural field",
            "maize field",
            "tilled land",
            "corn field",
            "cereal field",
            "grain field",
            "vegetable field",
            "crop rows",
            "cultivated field",
            "farm field",
            "rape field",
        ],
    ),
    (
        "Forest",
        &[
            "forest",
            "woodland",
            "trees",
            "tree cover",
            "dense forest",
            "woods",
            "coniferous forest",
            "mixed forest",
            "forested area",
            "broadleaf forest",
            "deciduous forest",
            "jungle",
            "tropical forest",
            "forest canopy",
        ],
    ),
    (
        "HerbaceousVegetation",
        &[
            "herbaceous vegetation",
            "herbaceous vegetation land",
            "shrubland",
            "scrub",
            "wild grassland",
            "heathland",
            "bushes",
            "shrubs",
            "moorland",
            "scrubland",
            "chaparral",
            "tall grass",
            "rough grassland",
            "undergrowth",
            "wild vegetation",
        ],
    ),
    (
        "Highway",
        &[
            "highway",
            "motorway",
            "road",
            "main road",
            "interstate",
            "roadway",
            "asphalt road",
            "dual carriageway",
            "trunk road",
            "multi-lane road",
            "turnpike",
            "highway junction",
        ],
    ),
    (
        "Industrial",
        &[
            "industrial area",
            "industrial buildings",
            "commercial area",
            "warehouses",
            "factory",
            "industrial zone",
            "commercial buildings",
            "factories",
            "business district",
            "industrial park",
            "trading estate",
            "office park",
            "logistics centre",
            "warehouse complex",
            "commercial estate",
            "retail park",
            "storage halls",
        ],
    ),
    (
        "Pasture",
        &[
            "pasture",
            "pasture land",
            "meadow",
            "grazing land",
            "grassy field",
            "green field",
            "hay meadow",
            "grazing field",
            "cattle pasture",
            "horse pasture",
            "enclosed meadow",
            "fenced meadow",
            "grass field",
            "livestock pasture",
            "lawn",
        ],
    ),
    (
        "PermanentCrop",
        &[
            "permanent crop",
            "permanent crop land",
            "orchard",
            "vineyard",
            "plantation",
            "olive grove",
            "orchards",
            "vineyards",
            "fruit orchard",
            "apple orchard",
            "apple trees",
            "citrus trees",
            "olive trees",
            "nut trees",
            "fruit plantation",
            "fruit farm",
            "vines",
        ],
    ),
    (
        "Residential",
        &[
            "residential area",
            "residential buildings",
            "houses",
            "suburb",
            "housing",
            "town",
            "village",
            "neighbourhood",
            "apartment blocks",
            "residential district",
            "housing development",
            "family houses",
            "suburban homes",
            "homes",
            "dwellings",
        ],
    ),
    (
        "River",
        &[
            "river",
            "river channel",
            "watercourse",
            "canal",
            "river water",
            "river bank",
            "brook",
            "tributary",
            "running water",
            "river course",
        ],
    ),
    (
        "SeaLake",
        &[
            "sea or lake",
            "water",
            "sea",
            "lake",
            "open water",
            "ocean",
            "water body",
            "reservoir",
            "bay",
            "coastal water",
            "lake water",
            "sea water",
            "gulf",
            "pond",
            "inland lake",
            "shallow sea",
        ],
    ),
];
/// Share of scenes and real pairs whose radiometry is disturbed.
const DISTURBED: f64 = 0.8;
/// The same of collages: a tile of forest and one of lake differ by a few counts of red, which casts and
/// offsets of other sensors drown.
const DISTURBED_COLLAGES: f64 = 0.35;

/// Side of a EuroSAT tile.
const EUROSAT_PX: usize = 64;

impl Sources {
    /// Opens what `data` holds of `eurosat_rgb` and `s1s2_pairs`; either may be absent. Of
    /// EuroSAT, the fifth of the tiles whose index is a multiple of five is never read.
    ///
    /// # Errors
    /// When a file is there but cannot be read.
    pub fn open(data: &Path, square: Square, progress: fn(&str)) -> Result<Self, TrainError> {
        let mut eurosat = Vec::new();
        for (name, _) in EUROSAT {
            let path = data.join("eurosat_rgb").join(format!("{name}.tar"));
            if path.exists() {
                eurosat.push(read_tar(&path, |index| !is_held_out(index))?);
            }
        }
        if eurosat.len() != EUROSAT.len() {
            eurosat.clear();
            progress("no EuroSAT found: collages are left out");
        }
        let pairs = Self::read_pairs(&data.join("s1s2_pairs"), |i| i % HELD_OUT_EVERY != 0)?;
        progress(&format!("{} real pairs", pairs.len()));
        Ok(Self {
            eurosat,
            pairs,
            square,
        })
    }

    /// Real pairs of a folder whose position in the sorted list passes `keep`.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read_pairs(
        folder: &Path,
        keep: impl Fn(usize) -> bool,
    ) -> Result<Vec<(Rgb8, Rgb8)>, TrainError> {
        let mut names = Vec::new();
        if let Ok(entries) = std::fs::read_dir(folder) {
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if let Some(stem) = name.strip_suffix("_rgb.jpg") {
                    names.push(stem.to_owned());
                }
            }
        }
        names.sort();
        let mut pairs = Vec::new();
        for (_, stem) in names.iter().enumerate().filter(|(i, _)| keep(*i)) {
            let open = |suffix: &str| -> Result<Rgb8, TrainError> {
                picture(&folder.join(format!("{stem}{suffix}")))
            };
            pairs.push((open("_rgb.jpg")?, open("_sar_vh.jpg")?));
        }
        Ok(pairs)
    }

    /// Whether there are real pairs.
    #[must_use]
    pub fn has_pairs(&self) -> bool {
        !self.pairs.is_empty()
    }

    /// Whether there is EuroSAT.
    #[must_use]
    pub fn has_eurosat(&self) -> bool {
        !self.eurosat.is_empty()
    }

    /// A generated scene.
    #[must_use]
    pub fn scene(&self, seed: u64, clouds: CloudMix) -> Sample {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        // Even seeds below 2⁶³: the evaluation sets of this project are odd ones.
        let scene_seed = (dice.next_u64() >> 1) & !1;
        // Pixels of 10 m, and often of 5 to 20 m: tiles of another size than the model's square are
        // brought to it.
        let wanted = self.square.side_px;
        let side = match dice.random_range(0..100u8) {
            0..50 => wanted,
            50..62 => dice.random_range(wanted / 2..=wanted),
            _ => dice.random_range(wanted..=2 * wanted),
        };
        let scene = generate(scene_seed, side);
        let fit = |picture: &Rgb8| resize_bilinear(picture, wanted, wanted);
        let nearest = |i: usize| (2 * i + 1) * side / (2 * wanted);
        let label = (0..wanted * wanted)
            .map(|i| scene.label[nearest(i / wanted) * side + nearest(i % wanted)])
            .collect();
        self.finish(
            fit(&scene.rgb),
            Some(fit(&scene.sar)),
            label,
            (clouds, DISTURBED),
            &mut dice,
        )
    }

    /// A collage of EuroSAT tiles, often the same class in neighbouring places: 3 × 3 of them in a
    /// square of 192 px, or fewer and enlarged, as a small tile is when it stands alone.
    ///
    /// # Errors
    /// When a tile cannot be decoded.
    pub fn collage(&self, seed: u64, clouds: CloudMix) -> Result<Sample, TrainError> {
        let mut dice = ChaCha8Rng::seed_from_u64(seed ^ 0xC011_A6E0);
        let most = (self.square.side_px / EUROSAT_PX).max(1);
        let across = match dice.random_range(0..6u8) {
            0..3 => 1,
            3 => most.min(2),
            _ => most,
        };
        self.mosaic(across, clouds, &mut dice)
    }

    /// A EuroSAT tile that stands alone, enlarged.
    ///
    /// # Errors
    /// When it cannot be decoded.
    pub fn tile(&self, seed: u64, clouds: CloudMix) -> Result<Sample, TrainError> {
        let mut dice = ChaCha8Rng::seed_from_u64(seed ^ 0x0711_E000);
        self.mosaic(1, clouds, &mut dice)
    }

    /// `across × across` EuroSAT tiles.
    fn mosaic(
        &self,
        across: usize,
        clouds: CloudMix,
        dice: &mut ChaCha8Rng,
    ) -> Result<Sample, TrainError> {
        let wanted = self.square.side_px;
        let mut rgb = Rgb8::filled(wanted, wanted, 0);
        let mut label = vec![IGNORE; wanted * wanted];
        let side = wanted / across;
        // Neighbours of few kinds, as on the ground.
        let palette: [usize; 3] = std::array::from_fn(|_| dice.random_range(0..EUROSAT.len()));
        for cell in 0..across * across {
            let kind = palette[dice.random_range(0..palette.len())];
            let tiles = &self.eurosat[kind];
            let tile = &tiles[dice.random_range(0..tiles.len())];
            let tile = resize_bilinear(&from_jpeg(tile, EUROSAT[kind].0)?, side, side);
            let flip = dice.random_bool(0.5);
            let (top, left) = (cell / across * side, cell % across * side);
            for y in 0..side {
                for x in 0..side {
                    let from = if flip { side - 1 - x } else { x };
                    let at = (top + y) * wanted + left + x;
                    rgb.data[at * 3..at * 3 + 3].copy_from_slice(&tile.pixel(from, y));
                    label[at] = kind as u8;
                }
            }
        }
        Ok(Sample {
            legend: Legend::EuroSat,
            is_whole: across == 1,
            ..self.finish(rgb, None, label, (clouds, DISTURBED_COLLAGES), dice)
        })
    }

    /// A random crop of a real pair, labelled where [`plain_ground`] is sure.
    #[must_use]
    pub fn pair(&self, seed: u64, clouds: CloudMix) -> Sample {
        let mut dice = ChaCha8Rng::seed_from_u64(seed ^ 0x9A1B_0000);
        let (rgb, sar) = &self.pairs[dice.random_range(0..self.pairs.len())];
        let wanted = self.square.side_px;
        let side = dice
            .random_range(wanted * 2 / 3..=wanted * 2)
            .min(rgb.width_px)
            .min(rgb.height_px);
        let left = dice.random_range(0..=rgb.width_px - side);
        let top = dice.random_range(0..=rgb.height_px - side);
        let cut =
            |picture: &Rgb8| resize_bilinear(&picture.crop([left, top], [side; 2]), wanted, wanted);
        let (rgb, sar) = (cut(rgb), cut(sar));
        let label = plain_ground(&rgb, &sar, NEIGHBOURHOOD_PX * wanted / side);
        self.finish(rgb, Some(sar), label, (clouds, DISTURBED), &mut dice)
    }

    /// Turns and mirrors everything together, disturbs the radiometry, lays a cloud over the optical
    /// tile, and applies the radiometry that inference applies.
    fn finish(
        &self,
        rgb: Rgb8,
        sar: Option<Rgb8>,
        label: Vec<u8>,
        (clouds, disturbed): (CloudMix, f64),
        dice: &mut ChaCha8Rng,
    ) -> Sample {
        let square = self.square;
        let turn = dice.random_range(0..8u8);
        let rgb = dihedral(&rgb, turn);
        let mut labels = vec![IGNORE; label.len()];
        for (i, l) in labels.iter_mut().enumerate() {
            *l = label[source(i, square.side_px, turn)];
        }
        let rgb = if dice.random_bool(disturbed) {
            disturb(&rgb, dice)
        } else {
            rgb
        };
        let cloud = cloud(clouds, dice);
        let is_clear = cloud.is_none();
        let cloudy = cloud.map_or_else(|| rgb.clone(), |cloud| add_cloud(&rgb, &cloud).0);
        let has_sar = sar.is_some();
        let sar = match sar {
            Some(sar) => square.sar(&disturb_sar(&dihedral(&sar, turn), dice), dice),
            None => vec![0.0; 3 * square.side_px * square.side_px],
        };
        Sample {
            optical: square.optical(&cloudy),
            clear: square.optical(&rgb),
            sar,
            has_sar,
            is_clear,
            label: labels,
            legend: Legend::Scenes,
            is_whole: false,
        }
    }
}

fn cloud(mix: CloudMix, dice: &mut ChaCha8Rng) -> Option<Cloud> {
    let roll = dice.random_range(0..100u8);
    let kind = if roll < mix.clear {
        CloudKind::None
    } else if roll < mix.clear + mix.thin {
        CloudKind::Thin
    } else {
        CloudKind::Thick
    };
    cloud_for(dice.next_u64(), kind)
}

/// Reach of the means in [`plain_ground`], in pixels of 10 m.
const NEIGHBOURHOOD_PX: usize = 8;

/// What both tiles of a real pair say plainly, the rest without label: built-up ground where the echo
/// of a whole neighbourhood is strong and the ground is not reddish, bare land where the ground is
/// reddish, bright, and echoes little. The thresholds are read off the pairs of this project's data
/// folder (Southern California, both tiles over their 99 % quantile).
fn plain_ground(rgb: &Rgb8, sar: &Rgb8, reach: usize) -> Vec<u8> {
    const CITY: u8 = 2;
    const BARE: u8 = 6;
    let (w, h) = (rgb.width_px, rgb.height_px);
    let plane = |picture: &Rgb8, f: fn(&[u8]) -> f32| -> Vec<f32> {
        mean(
            &picture.data.chunks_exact(3).map(f).collect::<Vec<_>>(),
            [w, h],
            reach.max(1),
        )
    };
    let echo = plane(sar, |p| f32::from(p[0]));
    let redness = plane(rgb, |p| f32::from(p[0]) - f32::from(p[2]));
    let light = plane(rgb, |p| p.iter().map(|&v| f32::from(v)).sum::<f32>() / 3.0);
    (0..w * h)
        .map(|i| {
            if echo[i] > 105.0 && redness[i] < -15.0 {
                CITY
            } else if echo[i] < 80.0 && redness[i] > -12.0 && light[i] > 95.0 {
                BARE
            } else {
                IGNORE
            }
        })
        .collect()
}

/// Means over squares of `2 reach + 1` pixels, edges repeated, `[h, w]`.
fn mean(plane: &[f32], [w, h]: [usize; 2], reach: usize) -> Vec<f32> {
    let along = |from: &[f32], [w, h]: [usize; 2]| {
        // One axis; the result is turned, so that two calls do both.
        let mut out = vec![0.0; w * h];
        for y in 0..h {
            let at = |x: isize| from[y * w + x.clamp(0, w as isize - 1) as usize];
            let reach = reach as isize;
            let mut sum: f32 = (-reach..=reach).map(at).sum();
            for x in 0..w as isize {
                out[x as usize * h + y] = sum / (2 * reach + 1) as f32;
                sum += at(x + reach + 1) - at(x - reach);
            }
        }
        out
    };
    along(&along(plane, [w, h]), [h, w])
}

/// Gain, offset, gamma, haze and colour cast, as sensors and stretches differ.
fn disturb(rgb: &Rgb8, dice: &mut ChaCha8Rng) -> Rgb8 {
    // 16-bit tiles arrive stretched by their own percentiles.
    if dice.random_bool(0.25) {
        return stretched(rgb);
    }
    let gamma = dice.random_range(0.7f32..1.4);
    let black = dice.random_range(-15.0f32..30.0);
    let gain = dice.random_range(0.7f32..1.3);
    let cast: [f32; 3] = std::array::from_fn(|_| gain * dice.random_range(0.82f32..1.2));
    // Air scatters blue most; products without its correction look bluish and flat.
    let haze = if dice.random_bool(0.4) {
        dice.random_range(0.0f32..1.0)
    } else {
        0.0
    };
    let tables: Vec<Vec<u8>> = cast
        .iter()
        .zip([10.0, 24.0, 48.0])
        .map(|(c, scattered)| {
            (0..256)
                .map(|v| {
                    let ground = (v as f32 / 255.0).powf(gamma) * 255.0 * c * (1.0 - 0.25 * haze);
                    (ground + black + haze * scattered).clamp(0.0, 255.0) as u8
                })
                .collect()
        })
        .collect();
    let mut out = rgb.clone();
    for pixel in out.data.chunks_exact_mut(3) {
        for (value, table) in pixel.iter_mut().zip(&tables) {
            *value = table[usize::from(*value)];
        }
    }
    out
}

/// The 2 % and 98 % percentiles of all values as 0 and 255.
fn stretched(rgb: &Rgb8) -> Rgb8 {
    let mut sorted = rgb.data.clone();
    sorted.sort_unstable();
    let at = |percent: usize| {
        f32::from(
            sorted
                .get(sorted.len() * percent / 100)
                .copied()
                .unwrap_or(0),
        )
    };
    let (low, high) = (at(2), at(98));
    let gain = 255.0 / (high - low).max(1.0);
    let mut out = rgb.clone();
    for value in &mut out.data {
        *value = ((f32::from(*value) - low) * gain).clamp(0.0, 255.0) as u8;
    }
    out
}

/// Gain and gamma of a SAR tile: linear, amplitude and dB pictures all occur.
fn disturb_sar(sar: &Rgb8, dice: &mut ChaCha8Rng) -> Rgb8 {
    let gain = dice.random_range(0.7f32..1.4);
    let gamma = dice.random_range(0.8f32..1.1);
    let table: Vec<u8> = (0..256)
        .map(|v| ((v as f32 / 255.0).powf(gamma) * 255.0 * gain).clamp(0.0, 255.0) as u8)
        .collect();
    let mut out = sar.clone();
    for value in &mut out.data {
        *value = table[usize::from(*value)];
    }
    out
}

/// Another polarisation or calibration spreads the same ground otherwise over the decibels: half of
/// the tiles get a bent curve after the stretch.
fn bend(sar: &Rgb8, dice: &mut ChaCha8Rng) -> Rgb8 {
    if dice.random_bool(0.5) {
        return sar.clone();
    }
    let gamma = dice.random_range(0.75f32..1.3);
    let mut table = [0u8; 256];
    for (v, out) in table.iter_mut().enumerate() {
        *out = ((v as f32 / 255.0).powf(gamma) * 255.0).round() as u8;
    }
    let mut out = sar.clone();
    for value in &mut out.data {
        *value = table[usize::from(*value)];
    }
    out
}

/// One of the eight symmetries of the square.
fn dihedral(picture: &Rgb8, turn: u8) -> Rgb8 {
    let mut out = picture.clone();
    for (i, pixel) in out.data.chunks_exact_mut(3).enumerate() {
        let from = source(i, picture.width_px, turn) * 3;
        pixel.copy_from_slice(&picture.data[from..from + 3]);
    }
    out
}

/// Where pixel `i` of a turned square comes from.
fn source(i: usize, side_px: usize, turn: u8) -> usize {
    let (mut y, mut x) = (i / side_px, i % side_px);
    if turn & 1 != 0 {
        x = side_px - 1 - x;
    }
    if turn & 2 != 0 {
        y = side_px - 1 - y;
    }
    if turn & 4 != 0 {
        (x, y) = (y, x);
    }
    y * side_px + x
}

fn picture(path: &Path) -> Result<Rgb8, TrainError> {
    let bytes = std::fs::read(path).map_err(|source| TrainError::File {
        path: path.to_owned(),
        source,
        hint: "check the data folder",
    })?;
    from_jpeg(&bytes, &path.display().to_string())
}

pub(crate) fn from_jpeg(bytes: &[u8], name: &str) -> Result<Rgb8, TrainError> {
    let broken = |error: mmovseg_raster::RasterError| TrainError::Content {
        path: PathBuf::from(name),
        what: error.to_string(),
    };
    let raster = decode(bytes, name).map_err(broken)?;
    mmovseg_raster::optical_to_rgb(&raster, &Default::default())
        .map(|(rgb, _)| rgb)
        .map_err(broken)
}

/// Whether the EuroSAT tile of this index, within its class, is kept from training: every fifth.
pub(crate) fn is_held_out(index: usize) -> bool {
    index.is_multiple_of(5)
}

/// The bytes of a tar's JPEGs whose index passes `keep`.
pub(crate) fn read_tar(
    path: &Path,
    keep: impl Fn(usize) -> bool,
) -> Result<Vec<Vec<u8>>, TrainError> {
    let fail = |source| TrainError::File {
        path: path.to_owned(),
        source,
        hint: "check the data folder",
    };
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
        if keep(index) {
            tiles.push(bytes);
        }
        index += 1;
    }
    Ok(tiles)
}

#[cfg(test)]
mod tests {
    use super::{CloudMix, IGNORE, Sources, Square, dihedral, source};
    use mmovseg_model::ModelConfig;

    const SIDE_PX: usize = 192;

    #[test]
    fn picture_and_labels_turn_together() {
        let rgb = mmovseg_raster::Rgb8::from_grey(
            SIDE_PX,
            SIDE_PX,
            &(0..SIDE_PX * SIDE_PX)
                .map(|i| (i % 251) as u8)
                .collect::<Vec<_>>(),
        );
        for turn in 0..8 {
            let turned = dihedral(&rgb, turn);
            for i in [0, 5, 191, 192 * 7 + 3, SIDE_PX * SIDE_PX - 1] {
                assert_eq!(turned.data[i * 3], rgb.data[source(i, SIDE_PX, turn) * 3]);
            }
        }
    }

    #[test]
    fn strong_echoes_on_grey_ground_are_built_up_and_nothing_else_is_said() {
        let side = 40;
        let tile = |left: [u8; 3], right: [u8; 3]| mmovseg_raster::Rgb8 {
            width_px: side,
            height_px: side,
            data: (0..side * side)
                .flat_map(|i| if i % side < side / 2 { left } else { right })
                .collect(),
        };
        let rgb = tile([100, 120, 140], [150, 130, 110]);
        let label = super::plain_ground(&rgb, &tile([150; 3], [40; 3]), 4);
        assert_eq!((label[0], label[side - 1], label[side / 2]), (2, 6, IGNORE));
        let label = super::plain_ground(&rgb, &tile([40; 3], [150; 3]), 4);
        assert!(label.iter().all(|&l| l == IGNORE));
    }

    #[test]
    fn means_are_those_of_squares() {
        let plane: Vec<f32> = (0..35).map(|i| (i * i % 13) as f32).collect();
        let mean = super::mean(&plane, [7, 5], 1);
        for y in 1..4 {
            for x in 1..6 {
                let square =
                    (y - 1..=y + 1).flat_map(|r| plane[r * 7 + x - 1..=r * 7 + x + 1].iter());
                let want = square.sum::<f32>() / 9.0;
                assert!((mean[y * 7 + x] - want).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn a_seed_always_gives_the_same_scene() {
        let sources = Sources {
            eurosat: Vec::new(),
            pairs: Vec::new(),
            square: Square::of(&ModelConfig::nano()),
        };
        let (a, b) = (
            sources.scene(5, CloudMix::CLOUDY),
            sources.scene(5, CloudMix::CLOUDY),
        );
        assert_eq!(a.optical, b.optical);
        assert_eq!(a.sar, b.sar);
        assert!(a.label.iter().all(|&l| l != IGNORE));
    }
}
