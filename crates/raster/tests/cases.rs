//! Files that are known to go wrong in readers, against what GDAL and Pillow make of them
//! (the data folder's `cases/expected.json`), and pairs of files that must give the same picture.

#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use mmovseg_raster::{
    OpticalOptions, Raster, RasterError, SarOptions, Tile, TilePair, decode, open_pair,
    optical_to_rgb, sar_to_rgb,
};
use mmovseg_test_support::data;
use serde_json::Value;

fn raster(folder: &std::path::Path, name: &str) -> Result<Raster, RasterError> {
    decode(&std::fs::read(folder.join(name)).unwrap(), name)
}

/// What differs between a decoded file and what GDAL or Pillow read from it.
fn differences(raster: &Raster, want: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let size = [raster.width_px, raster.height_px].map(|v| v as u64);
    let wanted_size = [&want["size"][0], &want["size"][1]].map(|v| v.as_u64().unwrap());
    if size != wanted_size {
        return vec![format!("size {size:?}")];
    }
    let area = raster.width_px * raster.height_px;
    if want["oracle"] != "GDAL" {
        return wrong;
    }
    let list = |key: &str| -> Vec<f64> {
        let values = want[key].as_array().unwrap();
        values.iter().map(|v| v.as_f64().unwrap()).collect()
    };
    let (means, pixel) = (list("mean"), list("pixel_7_9"));
    // Alpha that GDAL makes up for CMYK is no band of the file; further pages are bands here.
    let bands = raster.bands.min(means.len());
    let white_is_zero = raster.bands == 1 && want["colorinterp"][0] == "palette";
    for band in 0..bands {
        let mean = (0..area)
            .map(|i| raster.samples.get(i * raster.bands + band))
            .sum::<f64>()
            / area as f64;
        let near = |a: f64, b: f64| (a - b).abs() <= 2e-4 * b.abs().max(1.0);
        let inverted = white_is_zero && near(255.0 - mean, means[band]);
        if !near(mean, means[band]) && !inverted {
            wrong.push(format!("mean of band {band}: {mean} for {}", means[band]));
        }
        let at = raster.sample(9, 7, band);
        let other = raster.sample(7, 9, band);
        let close = |v: f64| (v - pixel[band]).abs() < 1e-4;
        if !close(at) && !close(other) && !inverted {
            wrong.push(format!(
                "pixel of band {band}: {at} or {other} for {}",
                pixel[band]
            ));
        }
    }
    let nodata = want["nodata"].as_f64();
    if nodata != raster.nodata {
        wrong.push(format!("no-data {:?}", raster.nodata));
    }
    let georef = raster.georef.as_ref();
    let crs = want["crs"].as_str().unwrap_or_default();
    if let Some(code) = crs.strip_prefix("EPSG:") {
        let found = georef.and_then(|georef| georef.epsg);
        if found != code.parse().ok() {
            wrong.push(format!("EPSG code {found:?} for {code}"));
        }
        let transform = list("transform");
        let found = georef.unwrap().transform;
        for (a, b) in found.iter().zip(&transform) {
            if (a - b).abs() > 1e-9 * b.abs().max(1.0) {
                wrong.push(format!("transform {found:?}"));
                break;
            }
        }
    }
    let points = georef.map_or(0, |georef| georef.control_points.len());
    if points as u64 != want["gcps"].as_u64().unwrap_or(0) {
        wrong.push(format!("{points} control points"));
    }
    let valid = valid_pixels(raster);
    let wanted = want["valid_pixels"].as_u64().unwrap() as usize;
    // GDAL counts a pixel as invalid in each band for itself; here all bands must be.
    let of_bands = raster.bands == 1 || raster.mask.is_some() || nodata.is_none();
    if valid != wanted && of_bands {
        wrong.push(format!("{valid} valid pixels for {wanted}"));
    }
    wrong
}

/// Pixels that the file itself declares valid.
fn valid_pixels(raster: &Raster) -> usize {
    (0..raster.width_px * raster.height_px)
        .filter(|&i| {
            let masked = raster.mask.as_ref().is_some_and(|mask| mask[i] == 0);
            let empty = raster.nodata.is_some_and(|nodata| {
                (0..raster.bands).all(|b| raster.samples.get(i * raster.bands + b) == nodata)
            });
            !masked && !empty
        })
        .count()
}

#[test]
fn files_hold_what_gdal_reads_from_them() {
    let Some(folder) = data("cases") else {
        return;
    };
    let expected: Value =
        serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let (mut right, mut wrong, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for (name, want) in expected.as_object().unwrap() {
        match raster(&folder, name) {
            Err(error) => refused.push(error.to_string()),
            Ok(raster) => match differences(&raster, want).as_slice() {
                [] => right.push(name.clone()),
                list => wrong.push(format!("{name}: {}", list.join("; "))),
            },
        }
    }
    eprintln!(
        "right {}, wrong {}, refused {}\n{}\n{}",
        right.len(),
        wrong.len(),
        refused.len(),
        wrong.join("\n"),
        refused.join("\n")
    );
    assert!(wrong.is_empty());
    // The one file whose scan is damaged: a lost restart marker moves all that follows, and what
    // Pillow makes of it is a wrong picture. To refuse it is right.
    assert_eq!(refused.len(), 1);
    assert!(refused[0].contains("restart marker"), "{refused:?}");
}

/// What must hold of two tiles.
enum Must {
    BeEqual,
    /// Where the first is valid, and it must be invalid somewhere.
    BeEqualWhereValid,
}

fn compare(a: &Tile, b: &Tile, must: &Must, tolerance: u8) -> Result<(), String> {
    let size = |t: &Tile| [t.picture.width_px, t.picture.height_px];
    if size(a) != size(b) {
        return Err(format!("sizes {:?} and {:?}", size(a), size(b)));
    }
    let pixels = |t: &Tile| {
        t.picture
            .data
            .chunks_exact(3)
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    };
    let differs = pixels(a)
        .iter()
        .zip(pixels(b))
        .enumerate()
        .filter(|(i, (x, y))| {
            a.valid.as_ref().is_none_or(|valid| valid[*i])
                && x.iter().zip(y).any(|(x, y)| x.abs_diff(*y) > tolerance)
        })
        .count();
    match (must, &a.valid) {
        _ if differs > 0 => Err(format!("{differs} pixels differ")),
        (Must::BeEqualWhereValid, None) => Err("nothing is masked".into()),
        (Must::BeEqual, Some(_)) if b.valid.is_none() => Err("something is masked".into()),
        _ => Ok(()),
    }
}

#[test]
fn files_of_one_picture_in_two_encodings_look_the_same() {
    let Some(folder) = data("cases") else {
        return;
    };
    let optical = |name: &str| {
        let raster = raster(&folder, name).map_err(|e| e.to_string())?;
        optical_to_rgb(&raster, &OpticalOptions::default())
            .map(|(tile, _)| tile)
            .map_err(|e| e.to_string())
    };
    let sar = |name: &str| {
        let raster = raster(&folder, name).map_err(|e| e.to_string())?;
        sar_to_rgb(&raster, &SarOptions::default())
            .map(|(tile, _)| tile)
            .map_err(|e| e.to_string())
    };
    use Must::{BeEqual, BeEqualWhereValid};
    let mut wrong = Vec::new();
    let mut check = |name: &str, result: Result<(), String>| {
        if let Err(what) = result {
            wrong.push(format!("{name}: {what}"));
        }
    };
    for (name, clean, must) in [
        (
            "02_rgba_white_under_alpha0.tif",
            "clean_rgb_hole.png",
            BeEqualWhereValid,
        ),
        (
            "03_rgb_nodata255.tif",
            "clean_rgb_hole.png",
            BeEqualWhereValid,
        ),
        (
            "04_rgb_internal_mask.tif",
            "clean_rgb_hole.png",
            BeEqualWhereValid,
        ),
        ("06_rgb_trns_magenta.png", "06_clean.png", BeEqualWhereValid),
        ("07_palette_8bit_colormap.tif", "07_clean.png", BeEqual),
        ("09_rgb_cmyk.tif", "09_clean.png", BeEqual),
        (
            "14_rgb_u16_nodata0_one_band_zero.tif",
            "14_clean_nonodata.tif",
            BeEqual,
        ),
        ("15c_gee_8bit_b2b3b4.tif", "base_rgb.tif", BeEqual),
        ("22b_rgb_stripbytecounts_zero.tif", "base_rgb.tif", BeEqual),
        ("24_rgb_utm_by_projection_key.tif", "base_rgb.tif", BeEqual),
        ("29_rgb_exif6.jpg", "29_clean.png", BeEqual),
    ] {
        // Decoders of JPEG interpolate colours in different ways.
        let tolerance = if name.ends_with(".jpg") { 8 } else { 1 };
        let result = optical(name).and_then(|a| compare(&a, &optical(clean)?, &must, tolerance));
        check(name, result);
    }
    for (name, clean, must) in [
        ("01_sar_gray_alpha.tif", "base_sar.tif", BeEqual),
        ("05_sar_palette.png", "05_clean_sar.png", BeEqual),
        ("08_sar_miniswhite.tif", "base_sar.tif", BeEqual),
        (
            "12_sar_uint16_scale_offset_db.tif",
            "12_clean_sar_db.tif",
            BeEqual,
        ),
        ("21_sar_no_stripbytecounts.tif", "base_sar.tif", BeEqual),
        (
            "25b_sar_scale_and_identity_matrix.tif",
            "base_sar.tif",
            BeEqual,
        ),
        ("31b_sar_nbits4.tif", "31b_clean.png", BeEqual),
        ("32_sar_fillorder2.tif", "base_sar.tif", BeEqual),
    ] {
        let result = sar(name).and_then(|a| compare(&a, &sar(clean)?, &must, 1));
        check(name, result);
    }
    let sentinel = raster(&folder, "13c_sar_nodata_untagged_9999.tif").unwrap();
    let (tile, _) = sar_to_rgb(&sentinel, &SarOptions::default()).unwrap();
    let hidden = tile.valid.unwrap().iter().filter(|&&v| !v).count();
    let marked = (0..256 * 256)
        .filter(|&i| sentinel.samples.get(i) == -9999.0)
        .count();
    check(
        "13c",
        (hidden == marked)
            .then_some(())
            .ok_or(format!("{hidden} masked of {marked}")),
    );
    let pages = raster(&folder, "11c_sar_vv_vh_pages.tif").unwrap();
    check(
        "11c",
        (pages.bands == 2)
            .then_some(())
            .ok_or(format!("{} bands", pages.bands)),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pairs_are_placed_by_their_coordinates() {
    let Some(folder) = data("cases") else {
        return;
    };
    let pair = |rgb: &str, sar: &str| -> Result<TilePair, RasterError> {
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        open_pair(
            (&read(rgb), rgb),
            (&read(sar), sar),
            &OpticalOptions::default(),
            &SarOptions::default(),
        )
    };
    // A reference system given by parameters that are those of UTM.
    let private = pair("19_rgb.tif", "19_sar_shift128.tif").unwrap();
    let utm = pair("19_utm_rgb.tif", "19_utm_sar_shift128.tif").unwrap();
    assert_eq!((private.rgb, private.sar), (utm.rgb, utm.sar));
    assert!(private.sar_valid.is_some_and(|valid| valid.contains(&true)));
    // A private system with a known one: the same numbers, but 30 km apart.
    let mixed = pair("19_rgb.tif", "19_utm_sar_shift128.tif").unwrap_err();
    assert!(mixed.to_string().contains("longitude"), "{mixed}");

    // Degrees onto UTM: within what interpolating twice leaves.
    let warped = pair("19_utm_rgb.tif", "20_sar_4326.tif").unwrap();
    let clean = pair("19_utm_rgb.tif", "20_clean_sar.tif").unwrap();
    let difference = |shift: usize| -> f64 {
        let (a, b) = (&warped.sar.data[3 * shift..], &clean.sar.data);
        let sum: f64 = a
            .iter()
            .zip(b)
            .map(|(a, b)| f64::from(a.abs_diff(*b)))
            .sum();
        sum / a.len() as f64
    };
    assert!(
        difference(0) < 5.0 && difference(1) > 2.0 * difference(0),
        "{}",
        difference(0)
    );
    let covered = warped.sar_valid.map_or(1.0, |valid| {
        valid.iter().filter(|&&v| v).count() as f64 / valid.len() as f64
    });
    assert!(covered > 0.99, "{covered}");

    let points = pair("base_rgb.tif", "18_s1_grd_gcps_flipped.tif");
    match points {
        Ok(pair) => assert!(
            pair.notes
                .iter()
                .any(|note| note.contains("control points")),
            "{:?}",
            pair.notes
        ),
        Err(error) => assert!(error.to_string().contains("different places"), "{error}"),
    }
}
