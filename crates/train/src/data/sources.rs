//! Samples drawn from the data folder: generated scenes, EuroSAT collages, 30 m tiles with land
//! cover, real pairs and SAR tiles. Every sample is a function of a seed, so a run that resumes
//! sees the same samples.

use std::path::Path;

use mmovseg_raster::{Cloud, Rgb8, add_cloud, resize_bilinear};
use mmovseg_scene::{CloudKind, cloud_for, generate, generate_world};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::TrainError;
use crate::data::augment::{
    Radiometric, brighten, dihedral, source, vary_optical, vary_sar_scale, vary_texture,
};
use crate::data::pseudo_label::{ANY, NEIGHBOURHOOD_PX, PatchLabel, plain_ground};
use crate::data::read::{self, LabelledTile, Part, PatchPair, SarTile};
use crate::data::sample::{Kind, Sample, Square};
use crate::labels::{EUROSAT, IGNORE, LabelSet};

/// How often the optical tile is clear, thinly or thickly clouded, in hundredths; thick is the
/// rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloudMix {
    /// Without clouds.
    pub clear: u8,
    /// Under thin clouds.
    pub thin: u8,
}

impl CloudMix {
    /// For optical towers: under a thick cloud there is nothing to classify.
    pub const MOSTLY_CLEAR: Self = Self {
        clear: 70,
        thin: 25,
    };
    /// No clouds.
    pub const CLEAR: Self = Self {
        clear: 100,
        thin: 0,
    };
    /// For fusion: SAR where the optical tile is hidden, both where it is not.
    pub const CLOUDY: Self = Self {
        clear: 30,
        thin: 25,
    };
}

/// A kind of sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A generated scene.
    Scene,
    /// One EuroSAT tile, enlarged.
    Tile,
    /// EuroSAT tiles side by side, or one.
    Collage,
    /// A crop of a 30 m tile with land cover.
    WorldCover,
    /// A crop of a Californian pair.
    CalifornianPair,
    /// A crop of a pair of another region.
    OtherPair,
    /// A SAR tile without an optical tile.
    Sar,
}

/// Share of generated scenes that show ground of the whole world.
const WORLD_SCENES: f64 = 0.5;
/// Side of a EuroSAT tile.
const EUROSAT_PX: usize = 64;
/// Least side of a crop of a 30 m tile: enlarged four times.
const WORLD_COVER_LEAST_PX: usize = 48;
/// Share of 30 m tiles whose brightness is brought to that of 8-bit true colour.
const BRIGHTENED: f64 = 0.6;

/// Tiles of the data folder, decoded, and what a model reads.
pub struct Sources {
    eurosat: Vec<Vec<Vec<u8>>>,
    world_cover: Vec<LabelledTile>,
    /// Positions in `world_cover` of each place: places are drawn alike, whatever their number of
    /// tiles.
    places: Vec<Vec<usize>>,
    californian: Vec<(Rgb8, Rgb8)>,
    indian: Vec<(Rgb8, Rgb8)>,
    patches: Vec<PatchPair>,
    sar: Vec<SarTile>,
    square: Square,
}

impl Sources {
    /// Opens the training part of what `data` holds; any part of it may be absent.
    ///
    /// # Errors
    /// When a file is there but cannot be read.
    pub fn open(data: &Path, square: Square, progress: fn(&str)) -> Result<Self, TrainError> {
        let world_cover = read::labelled_tiles(data, Part::Train)?;
        let mut places: Vec<(u16, Vec<usize>)> = Vec::new();
        for (i, tile) in world_cover.iter().enumerate() {
            match places.iter_mut().find(|(place, _)| *place == tile.place) {
                Some((_, tiles)) => tiles.push(i),
                None => places.push((tile.place, vec![i])),
            }
        }
        let sources = Self {
            eurosat: read::eurosat(data, Part::Train)?,
            world_cover,
            places: places.into_iter().map(|(_, tiles)| tiles).collect(),
            californian: read::californian_pairs(data, Part::Train)?,
            indian: read::indian_pairs(data, Part::Train)?,
            patches: read::patch_pairs(data, Part::Train)?,
            sar: read::sar_tiles(data, Part::Train)?,
            square,
        };
        progress(&format!(
            "training data: {} EuroSAT tiles, {} land-cover tiles of {} places, {} Californian pairs, {} other \
             pairs, {} SAR tiles",
            sources.eurosat.iter().map(Vec::len).sum::<usize>(),
            sources.world_cover.len(),
            sources.places.len(),
            sources.californian.len(),
            sources.patches.len() + sources.indian.len(),
            sources.sar.len()
        ));
        Ok(sources)
    }

    /// Whether the data folder holds this source.
    #[must_use]
    pub fn has(&self, source: Source) -> bool {
        match source {
            Source::Scene => true,
            Source::Tile | Source::Collage => !self.eurosat.is_empty(),
            Source::WorldCover => !self.world_cover.is_empty(),
            Source::CalifornianPair => !self.californian.is_empty(),
            Source::OtherPair => !self.patches.is_empty() || !self.indian.is_empty(),
            Source::Sar => !self.sar.is_empty(),
        }
    }

    /// One of the sources by their shares in hundredths, which may leave a rest: a generated scene
    /// then, as where the data folder lacks the source.
    pub(crate) fn choose(&self, shares: &[(Source, u8)], dice: &mut ChaCha8Rng) -> Source {
        let mut roll = dice.random_range(0..100u8);
        for &(source, share) in shares {
            if roll < share {
                return if self.has(source) {
                    source
                } else {
                    Source::Scene
                };
            }
            roll -= share;
        }
        Source::Scene
    }

    /// A sample of a source that the data folder holds.
    ///
    /// # Errors
    /// When a tile cannot be decoded.
    pub fn draw(&self, source: Source, seed: u64, clouds: CloudMix) -> Result<Sample, TrainError> {
        let mut dice = ChaCha8Rng::seed_from_u64(seed ^ (source as u64) << 56);
        let dice = &mut dice;
        match source {
            Source::Scene => Ok(self.scene(clouds, dice)),
            Source::Tile => self.mosaic(1, clouds, dice),
            Source::Collage => {
                let most = (self.square.side_px / EUROSAT_PX).max(1);
                let across = match dice.random_range(0..6u8) {
                    0..3 => 1,
                    3 => most.min(2),
                    _ => most,
                };
                self.mosaic(across, clouds, dice)
            }
            Source::WorldCover => Ok(self.world_cover(clouds, dice)),
            Source::CalifornianPair => Ok(self.californian_pair(clouds, dice)),
            Source::OtherPair => Ok(self.other_pair(clouds, dice)),
            Source::Sar => Ok(self.sar_tile(dice)),
        }
    }

    fn scene(&self, clouds: CloudMix, dice: &mut ChaCha8Rng) -> Sample {
        // Even seeds below 2⁶³: evaluation sets have odd ones.
        let scene_seed = (dice.next_u64() >> 1) & !1;
        // Pixels of 10 m, and often of 5 to 20 m.
        let wanted = self.square.side_px;
        let side = match dice.random_range(0..100u8) {
            0..50 => wanted,
            50..62 => dice.random_range(wanted / 2..=wanted),
            _ => dice.random_range(wanted..=2 * wanted),
        };
        let draw = if dice.random_bool(WORLD_SCENES) {
            generate_world
        } else {
            generate
        };
        let scene = draw(scene_seed, side);
        let fit = |picture: &Rgb8| resize_bilinear(picture, wanted, wanted);
        let label = resize_labels(&scene.label, side, wanted);
        self.finish(
            Tiles {
                rgb: Some(fit(&scene.rgb)),
                sar: Some(fit(&scene.sar)),
                label,
                ..Tiles::of(LabelSet::Scenes)
            },
            (clouds, Radiometric::USUAL),
            dice,
        )
    }

    /// `across × across` EuroSAT tiles, neighbours often of one class.
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
        let palette: [usize; 3] = std::array::from_fn(|_| dice.random_range(0..EUROSAT.len()));
        for cell in 0..across * across {
            let class = palette[dice.random_range(0..palette.len())];
            let tiles = &self.eurosat[class];
            let tile = &tiles[dice.random_range(0..tiles.len())];
            let tile = resize_bilinear(&read::from_jpeg(tile, EUROSAT[class].0)?, side, side);
            let flip = dice.random_bool(0.5);
            let (top, left) = (cell / across * side, cell % across * side);
            for y in 0..side {
                for x in 0..side {
                    let from = if flip { side - 1 - x } else { x };
                    let at = (top + y) * wanted + left + x;
                    rgb.data[at * 3..at * 3 + 3].copy_from_slice(&tile.pixel(from, y));
                    label[at] = class as u8;
                }
            }
        }
        let tiles = Tiles {
            rgb: Some(rgb),
            label,
            is_whole: across == 1,
            ..Tiles::of(LabelSet::EuroSat)
        };
        Ok(self.finish(tiles, (clouds, Radiometric::WEAK), dice))
    }

    fn world_cover(&self, clouds: CloudMix, dice: &mut ChaCha8Rng) -> Sample {
        let place = &self.places[dice.random_range(0..self.places.len())];
        let tile = &self.world_cover[place[dice.random_range(0..place.len())]];
        let wanted = self.square.side_px;
        let (at, side) = square_in(&tile.rgb, [WORLD_COVER_LEAST_PX, tile.rgb.width_px], dice);
        let mut rgb = resize_bilinear(&tile.rgb.crop(at, [side; 2]), wanted, wanted);
        if dice.random_bool(BRIGHTENED) {
            rgb = brighten(&rgb, dice.random_range(1.2f32..2.2));
        }
        let mut label = Vec::with_capacity(side * side);
        for y in at[1]..at[1] + side {
            let row = y * tile.rgb.width_px + at[0];
            label.extend_from_slice(&tile.label[row..row + side]);
        }
        let tiles = Tiles {
            rgb: Some(rgb),
            label: resize_labels(&label, side, wanted),
            ..Tiles::of(LabelSet::WorldCover)
        };
        self.finish(tiles, (clouds, Radiometric::STRONG), dice)
    }

    fn californian_pair(&self, clouds: CloudMix, dice: &mut ChaCha8Rng) -> Sample {
        let (rgb, sar) = &self.californian[dice.random_range(0..self.californian.len())];
        let wanted = self.square.side_px;
        let ([rgb, sar], side) = self.crops([rgb, sar], [wanted * 2 / 3, wanted * 2], dice);
        let label = plain_ground(&rgb, &sar, NEIGHBOURHOOD_PX * wanted / side);
        let tiles = Tiles {
            rgb: Some(rgb),
            sar: Some(sar),
            label,
            ..Tiles::of(LabelSet::Scenes)
        };
        self.finish(tiles, (clouds, Radiometric::USUAL), dice)
    }

    fn other_pair(&self, clouds: CloudMix, dice: &mut ChaCha8Rng) -> Sample {
        let wanted = self.square.side_px;
        // One of the large Indian tiles in eight samples.
        let is_indian =
            !self.indian.is_empty() && (self.patches.is_empty() || dice.random_bool(0.125));
        let (pair, known) = if is_indian {
            let (rgb, sar) = &self.indian[dice.random_range(0..self.indian.len())];
            ([rgb, sar], PatchLabel::Candidates(ANY))
        } else {
            let pair = &self.patches[dice.random_range(0..self.patches.len())];
            ([&pair.rgb, &pair.sar], pair.known)
        };
        let ([rgb, sar], _) = self.crops(pair, [wanted * 2 / 3, wanted * 3 / 2], dice);
        let mut tiles = Tiles {
            rgb: Some(rgb),
            sar: Some(sar),
            label: vec![IGNORE; wanted * wanted],
            ..Tiles::of(LabelSet::Scenes)
        };
        match known {
            PatchLabel::Scene(class) => {
                tiles.label.fill(class);
                tiles.is_whole = true;
            }
            PatchLabel::Candidates(classes) => tiles.candidates = classes,
        }
        self.finish(tiles, (clouds, Radiometric::USUAL), dice)
    }

    fn sar_tile(&self, dice: &mut ChaCha8Rng) -> Sample {
        let tile = &self.sar[dice.random_range(0..self.sar.len())];
        let wanted = self.square.side_px;
        let (at, side) = square_in(&tile.sar, [wanted * 2 / 3, wanted * 3 / 2], dice);
        let sar = resize_bilinear(&tile.sar.crop(at, [side; 2]), wanted, wanted);
        let mut label = Vec::with_capacity(side * side);
        for y in at[1]..at[1] + side {
            let row = y * tile.sar.width_px + at[0];
            label.extend_from_slice(&tile.label[row..row + side]);
        }
        let tiles = Tiles {
            sar: Some(sar),
            label: resize_labels(&label, side, wanted),
            is_whole: tile.is_whole,
            ..Tiles::of(LabelSet::Scenes)
        };
        self.finish(tiles, (CloudMix::CLEAR, Radiometric::USUAL), dice)
    }

    /// The same random square of both tiles, of a side between `least` and `most`, at the model's
    /// size; and the side.
    fn crops(
        &self,
        pair: [&Rgb8; 2],
        sides_px: [usize; 2],
        dice: &mut ChaCha8Rng,
    ) -> ([Rgb8; 2], usize) {
        let wanted = self.square.side_px;
        let (at, side) = square_in(pair[0], sides_px, dice);
        let cut = |picture: &Rgb8| resize_bilinear(&picture.crop(at, [side; 2]), wanted, wanted);
        (pair.map(cut), side)
    }

    /// Turns and mirrors all tiles together, changes their radiometry, lays a cloud over the
    /// optical tile, and applies the radiometry of inference.
    fn finish(
        &self,
        tiles: Tiles,
        (clouds, radiometric): (CloudMix, Radiometric),
        dice: &mut ChaCha8Rng,
    ) -> Sample {
        let square = self.square;
        let turn = dice.random_range(0..8u8);
        let label = (0..tiles.label.len())
            .map(|i| tiles.label[source(i, square.side_px, turn)])
            .collect();
        let kind = Kind {
            label_set: tiles.label_set,
            has_optical: tiles.rgb.is_some(),
            has_sar: tiles.sar.is_some(),
            is_whole: tiles.is_whole,
            is_taught: tiles.candidates != 0,
        };
        let blank = || vec![0.0; 3 * square.side_px * square.side_px];
        let (optical, clear) = match tiles.rgb {
            Some(rgb) => {
                let rgb = vary_texture(&dihedral(&rgb, turn), dice);
                let rgb = vary_optical(&rgb, radiometric, dice);
                let clear = square.optical(&rgb);
                match cloud(clouds, dice) {
                    Some(cloud) => (square.optical(&add_cloud(&rgb, &cloud).0), clear),
                    None => (clear.clone(), clear),
                }
            }
            None => (blank(), blank()),
        };
        let sar = match tiles.sar {
            Some(sar) => square.sar(&vary_sar_scale(&dihedral(&sar, turn), dice), dice),
            None => blank(),
        };
        Sample {
            optical,
            clear,
            sar,
            kind,
            label,
            candidates: tiles.candidates,
        }
    }
}

/// What [`Sources::finish`] makes a sample of.
struct Tiles {
    rgb: Option<Rgb8>,
    sar: Option<Rgb8>,
    label: Vec<u8>,
    label_set: LabelSet,
    is_whole: bool,
    candidates: u8,
}

impl Tiles {
    fn of(label_set: LabelSet) -> Self {
        Self {
            rgb: None,
            sar: None,
            label: Vec::new(),
            label_set,
            is_whole: false,
            candidates: 0,
        }
    }
}

/// A random square of a side between two lengths within a picture: column and row of its corner,
/// and its side.
fn square_in(
    picture: &Rgb8,
    [least, most]: [usize; 2],
    dice: &mut ChaCha8Rng,
) -> ([usize; 2], usize) {
    let (w, h) = (picture.width_px, picture.height_px);
    let side = dice.random_range(least..=most.max(least)).min(w).min(h);
    let at = [w, h].map(|length| dice.random_range(0..=length - side));
    (at, side)
}

/// A square of labels at another size, nearest neighbour.
fn resize_labels(label: &[u8], side: usize, wanted: usize) -> Vec<u8> {
    let nearest = |i: usize| (2 * i + 1) * side / (2 * wanted);
    (0..wanted * wanted)
        .map(|i| label[nearest(i / wanted) * side + nearest(i % wanted)])
        .collect()
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::{CloudMix, Source, Sources};
    use crate::data::sample::Square;
    use crate::labels::{IGNORE, LabelSet};
    use mmovseg_model::ModelConfig;

    #[test]
    fn a_seed_always_gives_the_same_scene() {
        let square = Square::of(&ModelConfig::nano());
        let sources = Sources::open("no data here".as_ref(), square, |_| {}).unwrap();
        let [a, b] = [(); 2].map(|()| sources.draw(Source::Scene, 5, CloudMix::CLOUDY).unwrap());
        assert_eq!(a.optical, b.optical);
        assert_eq!(a.sar, b.sar);
        assert!(a.label.iter().any(|&l| l != IGNORE));
    }

    /// Of every source of the data folder: tiles that are not constant, labels of their set.
    #[test]
    fn every_source_gives_samples() {
        let Some(data) = mmovseg_test_support::data("data") else {
            return;
        };
        let sources = Sources::open(&data, Square::of(&ModelConfig::nano()), |_| {}).unwrap();
        for source in [
            Source::Scene,
            Source::Tile,
            Source::Collage,
            Source::WorldCover,
            Source::CalifornianPair,
            Source::OtherPair,
            Source::Sar,
        ] {
            assert!(sources.has(source), "{source:?}");
            for seed in 0..6 {
                let sample = sources.draw(source, seed, CloudMix::CLOUDY).unwrap();
                let kind = sample.kind;
                let varies = |planes: &[f32]| planes.iter().any(|v| (v - planes[0]).abs() > 0.05);
                assert_eq!(
                    varies(&sample.optical),
                    kind.has_optical,
                    "{source:?} {seed}"
                );
                assert_eq!(varies(&sample.sar), kind.has_sar, "{source:?} {seed}");
                let classes = kind.label_set.classes();
                assert!(
                    sample
                        .label
                        .iter()
                        .all(|&l| l == IGNORE || usize::from(l) < classes)
                );
                let expected = match source {
                    Source::Tile | Source::Collage => LabelSet::EuroSat,
                    Source::WorldCover => LabelSet::WorldCover,
                    _ => LabelSet::Scenes,
                };
                assert_eq!(kind.label_set, expected);
                assert_eq!(kind.is_taught, sample.candidates != 0);
            }
        }
    }
}
