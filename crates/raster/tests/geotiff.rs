//! The reader against GDAL on real files of many encodings.

#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::PathBuf;

use mmovseg_raster::{OpticalOptions, RasterError, SarOptions, decode, optical_to_rgb, sar_to_rgb};
use serde_json::Value;

fn folder() -> Option<PathBuf> {
    mmovseg_test_support::data("data/geotiff")
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

fn same(a: f64, b: f64, tolerance: f64) -> bool {
    (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * b.abs().max(1.0)
}

#[test]
fn agrees_with_gdal() {
    let Some(folder) = folder() else { return };
    let expected: Value =
        serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let mut wrong = Vec::new();
    let mut read = 0;
    for (name, want) in expected.as_object().unwrap() {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let decoded = decode(&bytes, name);
        if want["complex"] == true {
            let error = decoded.unwrap_err();
            assert!(matches!(error, RasterError::Unsupported { .. }), "{error}");
            assert!(error.to_string().contains("complex"), "{error}");
            continue;
        }
        let raster = match decoded {
            Ok(raster) => raster,
            Err(error) => {
                wrong.push(error.to_string());
                continue;
            }
        };
        read += 1;
        let mut check = |ok: bool, what: String| {
            if !ok {
                wrong.push(format!("{name}: {what}"));
            }
        };
        let size = [raster.width_px, raster.height_px, raster.bands].map(|v| v as u64);
        check(
            [&want["width"], &want["height"], &want["count"]].map(|v| v.as_u64().unwrap()) == size,
            format!("size {size:?}"),
        );
        check(
            raster.samples.type_name() == want["dtype"].as_str().unwrap(),
            format!("type {}", raster.samples.type_name()),
        );
        let nodata = (!want["nodata"].is_null()).then(|| number(&want["nodata"]));
        check(
            match (nodata, raster.nodata) {
                (Some(a), Some(b)) => same(a, b, 0.0),
                (a, b) => a == b,
            },
            format!("no-data {:?}", raster.nodata),
        );
        let crs = want["crs"].as_str();
        let epsg = crs
            .and_then(|c| c.strip_prefix("EPSG:"))
            .map(|c| c.parse().unwrap());
        check(
            raster.georef.as_ref().and_then(|g| g.epsg) == epsg,
            format!("place {:?}", raster.georef),
        );
        check(
            raster.georef.is_some() == crs.is_some(),
            format!("place {:?}", raster.georef),
        );
        if let Some(georef) = &raster.georef {
            for (got, want) in georef
                .transform
                .iter()
                .zip(want["transform"].as_array().unwrap())
            {
                check(
                    same(*got, number(want), 1e-9),
                    format!("transform {:?}", georef.transform),
                );
            }
        }
        // JPEG decoders differ in rounding, above all of colour.
        let jpeg = want["compression"] == "JPEG";
        let (near, mean_near): (f64, f64) = if jpeg { (4.0, 0.5) } else { (1e-9, 1e-6) };
        for (at, key) in [
            ([0, 0], "gdal_pixel_0_0"),
            (
                [raster.width_px / 2, raster.height_px / 2],
                "gdal_pixel_center",
            ),
        ] {
            for (band, value) in want[key].as_array().unwrap().iter().enumerate() {
                let got = raster.sample(at[0], at[1], band);
                let ok = same(got, number(value), 0.0) || (got - number(value)).abs() <= near;
                check(ok, format!("{key} band {band}: {got} instead of {value}"));
            }
        }
        for (band, value) in want["gdal_min_max_mean_per_band"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
        {
            let values: Vec<f64> = (0..raster.width_px * raster.height_px)
                .map(|i| raster.samples.get(i * raster.bands + band))
                .filter(|v| !v.is_nan())
                .collect();
            if value.is_null() {
                check(values.is_empty(), format!("band {band} is not all NaN"));
                continue;
            }
            let min = values.iter().copied().fold(f64::INFINITY, f64::min);
            let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let ok = (min - number(&value[0])).abs() <= near
                && (max - number(&value[1])).abs() <= near
                && (mean - number(&value[2])).abs() <= mean_near.max(1e-6 * mean.abs());
            check(
                ok,
                format!("band {band}: {min} {max} {mean} instead of {value}"),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(read >= 17, "only {read} files were read");
}

#[test]
fn real_files_become_pictures() {
    let Some(folder) = folder() else { return };
    let open = |name: &str| decode(&std::fs::read(folder.join(name)).unwrap(), name).unwrap();
    for (name, note) in [
        ("s2_l2a_int16_12band.tif", "B04"),
        ("uint16_deflate_pred2_cog.tif", "uint16"),
        ("landsat_bigendian_deflate_4band.tif", "first three"),
    ] {
        let (rgb, notes) = optical_to_rgb(&open(name), &OpticalOptions::default()).unwrap();
        assert!(notes.iter().any(|n| n.contains(note)), "{notes:?}");
        let bytes = &rgb.picture.data;
        let mean = bytes.iter().map(|&b| f64::from(b)).sum::<f64>() / bytes.len() as f64;
        assert!((20.0..235.0).contains(&mean), "{name}: {mean}");
    }
    for (name, note) in [
        ("s1_rtc_float64_2band_strip.tif", "decibel"),
        ("s1_bigearthnet_float32_1band.tif", "decibel"),
        ("s1_float32_deflate_tiled_planar.tif", "VH"),
    ] {
        let (sar, notes) = sar_to_rgb(&open(name), &SarOptions::default()).unwrap();
        assert!(notes.iter().any(|n| n.contains(note)), "{notes:?}");
        let bytes = &sar.picture.data;
        let mean = bytes.iter().map(|&b| f64::from(b)).sum::<f64>() / bytes.len() as f64;
        assert!((60.0..200.0).contains(&mean), "{name}: {mean}");
    }
    // The palette's colours, not its indices.
    let palette = open("palette_uint8_packbits.tif");
    let (rgb, _) = optical_to_rgb(&palette, &OpticalOptions::default()).unwrap();
    let rgb = rgb.picture;
    assert!(rgb.data.iter().any(|&b| b > 2));

    let empty = sar_to_rgb(&open("s1_float32_all_nan.tif"), &SarOptions::default()).unwrap_err();
    assert!(matches!(empty, RasterError::Empty { .. }), "{empty}");
    let empty = open("uint16_lzw_pred2_planar_4band_nodata.tif");
    let empty = optical_to_rgb(&empty, &OpticalOptions::default()).unwrap_err();
    assert!(matches!(empty, RasterError::Empty { .. }), "{empty}");
}

/// Damaged files end in an error or in a picture, never in a panic.
#[test]
fn damaged_real_files_do_not_panic() {
    let Some(folder) = folder() else { return };
    let mut state = 1_u64;
    let mut random = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let pairs = folder.join("../s1s2_pairs");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.push(pairs.join("059_rgb.jpg"));
    files.push(pairs.join("059_sar_vh.jpg"));
    files.sort();
    for path in files {
        let Ok(bytes) = std::fs::read(&path) else {
            continue;
        };
        if path.extension().is_some_and(|e| e == "json") || bytes.len() > 1_000_000 {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for _ in 0..8 {
            let cut = random(bytes.len());
            let error = decode(&bytes[..cut], &name);
            // A directory at the end of the file, or pixel data cut short, cannot be read.
            assert!(
                error.is_err() || cut > bytes.len() / 2,
                "{name} cut to {cut} of {}",
                bytes.len()
            );
        }
        for round in 0..24 {
            let mut damaged = bytes.clone();
            for _ in 0..=round % 4 {
                // Directories lie at either end; bits there change the structure.
                let near = if round % 2 == 0 {
                    600.min(bytes.len())
                } else {
                    bytes.len()
                };
                let at = random(near);
                let at = if round % 4 == 2 {
                    bytes.len() - 1 - at
                } else {
                    at
                };
                damaged[at] ^= 1 << random(8);
            }
            if let Ok(raster) = decode(&damaged, &name) {
                let _ = optical_to_rgb(&raster, &OpticalOptions::default());
                let _ = sar_to_rgb(&raster, &SarOptions::default());
            }
        }
    }
}
