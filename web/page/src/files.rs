//! Files that the user chose, dropped or pasted: which is optical, which is SAR, which belong
//! together.

use std::collections::BTreeMap;

use leptos::ev;
use wasm_bindgen::JsCast as _;
use web_sys::{File, FileList, HtmlInputElement};

/// Words in file names that tell SAR.
const SAR_WORDS: &[&str] = &[
    "sar", "s1", "s1a", "s1b", "s1c", "vv", "vh", "hh", "hv", "radar", "grd",
];

/// Words in file names that tell optical.
const OPTICAL_WORDS: &[&str] = &["rgb", "opt", "optical", "s2", "s2a", "s2b", "s2c", "tci"];

/// The file input that an event comes from.
pub fn input_of(event: &ev::Event) -> Option<HtmlInputElement> {
    event.target()?.dyn_into().ok()
}

/// The files of a list.
pub fn all(list: Option<FileList>) -> Vec<File> {
    let Some(list) = list else {
        return Vec::new();
    };
    (0..list.length())
        .filter_map(|index| list.get(index))
        .collect()
}

fn words(name: &str) -> Vec<String> {
    name.to_lowercase()
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Whether a file's name says that it is SAR.
pub fn looks_like_sar(name: &str) -> bool {
    words(name)
        .iter()
        .any(|word| SAR_WORDS.contains(&word.as_str()))
}

/// Of two files, whether the first is the SAR one: their names decide, else the order stays.
pub fn first_is_sar(first: &str, second: &str) -> bool {
    looks_like_sar(first) && !looks_like_sar(second)
}

/// A pair among files: its name, and the positions of its optical and its SAR file.
pub type NamedPair = (String, usize, usize);

/// Pairs among file names: two belong together when they differ only in the words for the sensor
/// and in the ending. Also gives the names without a partner.
pub fn pairs(names: &[String]) -> (Vec<NamedPair>, Vec<String>) {
    let mut groups = BTreeMap::<String, Vec<usize>>::new();
    for (index, name) in names.iter().enumerate() {
        let base = name
            .rsplit_once('.')
            .map_or(name.as_str(), |(base, _)| base);
        let key: Vec<String> = words(base)
            .into_iter()
            .filter(|word| !SAR_WORDS.contains(&word.as_str()))
            .filter(|word| !OPTICAL_WORDS.contains(&word.as_str()))
            .collect();
        groups.entry(key.join("-")).or_default().push(index);
    }
    let (mut found, mut left) = (Vec::new(), Vec::new());
    for (key, group) in groups {
        let sar = |index: usize| looks_like_sar(&names[index]);
        let key = if key.is_empty() { "pair".into() } else { key };
        match group[..] {
            [a, b] if sar(b) && !sar(a) => found.push((key, a, b)),
            [a, b] if sar(a) && !sar(b) => found.push((key, b, a)),
            _ => left.extend(group.into_iter().map(|index| names[index].clone())),
        }
    }
    (found, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_sensors_apart_and_order_decides_otherwise() {
        assert!(first_is_sar("tile_s1.png", "tile_s2.png"));
        assert!(!first_is_sar("tile_s2.png", "tile_s1.png"));
        assert!(!first_is_sar("a.png", "b.png"));
        assert!(!first_is_sar("VV.tif", "VH.tif"));
        assert!(!looks_like_sar("sarajevo.png"));
        assert!(looks_like_sar("S1A_IW_GRDH_VV.tif"));
    }

    #[test]
    fn files_are_paired_by_what_is_left_of_their_names() {
        let names: Vec<String> = [
            "003_rgb.jpg",
            "004_sar_vh.jpg",
            "003_sar_vh.jpg",
            "004_rgb.png",
            "x.png",
        ]
        .map(str::to_owned)
        .to_vec();
        let (found, left) = pairs(&names);
        assert_eq!(found, [("003".into(), 0, 2), ("004".into(), 3, 1)]);
        assert_eq!(left, ["x.png"]);
        let (found, left) = pairs(&["a_s1.png".into(), "a_vv.png".into()]);
        assert!(found.is_empty());
        assert_eq!(left.len(), 2);
    }
}
