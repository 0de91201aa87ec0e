//! Which tiles of the data folder are held out from training: always whole places, never single
//! tiles of a place that training reads.

/// Californian pairs: every seventh 10 km tile of the sorted list is held out, 10 of 69.
const PAIRS_EVERY: usize = 7;
/// EuroSAT: every fifth tile of each class is held out. The tiles carry no place.
const EUROSAT_EVERY: usize = 5;
/// Grey SEN1-2 pairs and flood tiles: every fifth tile is held out. They carry no place.
const UNPLACED_EVERY: usize = 5;

/// Held-out places of the 30 m WorldCover tiles, by the place numbers of `real/manifest.csv`.
/// Places whose label maps overlap (normalised cross-correlation of class edges above 0.25 at any
/// shift) are one site; of the 57 sites, sorted by their lowest place number, every third from the
/// third on is held out.
const WORLD_COVER_PLACES: [u16; 26] = [
    25, 41, 113, 163, 173, 189, 211, 218, 227, 239, 273, 291, 314, 321, 333, 346, 353, 355, 384,
    389, 391, 400, 405, 408, 418, 427,
];

/// Held-out regions of interest of the SEN1-2 pairs: an American suburb and forested hills with
/// pastures.
const REGIONS: [&str; 2] = ["ROIs1970_fall_8", "ROIs1970_fall_11"];
/// Region of European farmland: the patches from this number on, another part of the same scene,
/// are held out.
const FARMLAND: (&str, u32) = ("ROIs1868_summer_59", 1000);
/// Region of dry savanna: the patches below this number, another part of the same scene, are held
/// out.
const SAVANNA: (&str, u32) = ("ROIs1970_fall_2", 200);

/// The held-out tile of India: Ahmedabad.
const INDIA: &str = "3";

/// Whether the Californian pair at this position of the sorted list is held out.
#[must_use]
pub fn is_held_out_pair(position: usize) -> bool {
    position.is_multiple_of(PAIRS_EVERY)
}

/// Whether the EuroSAT tile of this index within its class is held out.
#[must_use]
pub fn is_held_out_eurosat(index: usize) -> bool {
    index.is_multiple_of(EUROSAT_EVERY)
}

/// Whether the grey SEN1-2 pair or flood tile at this position of the sorted list is held out.
#[must_use]
pub fn is_held_out_unplaced(position: usize) -> bool {
    position.is_multiple_of(UNPLACED_EVERY)
}

/// Whether a place of the WorldCover tiles is held out.
#[must_use]
pub fn is_held_out_place(place: u16) -> bool {
    WORLD_COVER_PLACES.contains(&place)
}

/// Whether a SEN1-2 pair, such as `ROIs1868_summer_59` and patch 12, is held out.
#[must_use]
pub fn is_held_out_patch(region: &str, patch: u32) -> bool {
    REGIONS.contains(&region)
        || (region == FARMLAND.0 && patch >= FARMLAND.1)
        || (region == SAVANNA.0 && patch < SAVANNA.1)
}

/// Whether a pair of India, by its number in the file name, is held out.
#[must_use]
pub fn is_held_out_india(number: &str) -> bool {
    number == INDIA
}

#[cfg(test)]
mod tests {
    use super::{is_held_out_patch, is_held_out_place};

    #[test]
    fn overlapping_places_are_on_one_side() {
        for site in [
            &[20u16, 77, 203, 236, 361, 364, 377, 381, 428][..],
            &[228, 394, 417, 423],
            &[113, 291, 333],
            &[189, 353, 405],
        ] {
            let held_out = site.iter().filter(|&&p| is_held_out_place(p)).count();
            assert!(held_out == 0 || held_out == site.len(), "{site:?}");
        }
    }

    #[test]
    fn regions_are_held_out_whole_or_by_a_part_of_the_scene() {
        assert!(is_held_out_patch("ROIs1970_fall_8", 1));
        assert!(is_held_out_patch("ROIs1868_summer_59", 1003));
        assert!(!is_held_out_patch("ROIs1868_summer_59", 26));
        assert!(is_held_out_patch("ROIs1970_fall_2", 9));
        assert!(!is_held_out_patch("ROIs1970_fall_2", 201));
    }
}
