//! Files that the user chose or dropped: which is optical, which is SAR.

use web_sys::{File, FileList};

/// The files of a list.
pub fn all(list: Option<FileList>) -> Vec<File> {
    let Some(list) = list else {
        return Vec::new();
    };
    (0..list.length())
        .filter_map(|index| list.get(index))
        .collect()
}

/// Whether a file's name says that it is SAR.
pub fn looks_like_sar(name: &str) -> bool {
    let name = name.to_lowercase();
    name.split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| {
            matches!(
                word,
                "sar" | "s1" | "s1a" | "s1b" | "s1c" | "vv" | "vh" | "hh" | "hv" | "radar" | "grd"
            )
        })
}

/// Of two files, whether the first is the SAR one: their names decide, else the order stays.
pub fn first_is_sar(first: &str, second: &str) -> bool {
    looks_like_sar(first) && !looks_like_sar(second)
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
}
