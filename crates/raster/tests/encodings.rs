//! Small files of many encodings, made from arithmetic (see `fixtures/README.md`), sample by
//! sample. Native and in a browser's Worker.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use mmovseg_raster::{Raster, RasterError, decode};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::{wasm_bindgen_test as test, wasm_bindgen_test_configure};

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test_configure!(run_in_dedicated_worker);

const SIZE_PX: [usize; 2] = [40, 27];

macro_rules! fixtures {
    ($($name:literal),* $(,)?) => {
        // A browser has no file system.
        const FIXTURES: &[(&str, &[u8])] =
            &[$(($name, include_bytes!(concat!("fixtures/", $name)))),*];
    };
}

fixtures![
    "bigtiff_deflate_predictor2_12_bands.tif",
    "deflate_predictor3_tiled.tif",
    "float16_predictor3.tif",
    "jpeg_rgb_planar.tif",
    "jpeg_ycbcr_tiled.tif",
    "lerc.tif",
    "lerc_deflate_alpha.tif",
    "lerc_zstd_nan.tif",
    "lzw_predictor3_big_endian.tif",
    "packbits_strips.tif",
    "rotated_point.tif",
    "smooth.jpg",
    "webp_lossless_tiled.tif",
    "zstd_predictor2_planar_big_endian.tif",
];

fn bytes_of(name: &str) -> &'static [u8] {
    let fixture = FIXTURES.iter().find(|fixture| fixture.0 == name);
    fixture.unwrap().1
}

fn fixture(name: &str) -> Result<Raster, RasterError> {
    decode(bytes_of(name), name)
}

fn open(name: &str, type_name: &str, bands: usize) -> Raster {
    let raster = fixture(name).unwrap();
    assert_eq!([raster.width_px, raster.height_px], SIZE_PX, "{name}");
    assert_eq!(
        (raster.samples.type_name(), raster.bands),
        (type_name, bands),
        "{name}"
    );
    raster
}

/// Whether this build does not read a file's compression.
fn is_left_out(name: &str) -> bool {
    cfg!(target_arch = "wasm32") && (name.starts_with("lerc") || name.starts_with("webp"))
}

fn places() -> impl Iterator<Item = (usize, usize)> {
    (0..SIZE_PX[1]).flat_map(|y| (0..SIZE_PX[0]).map(move |x| (x, y)))
}

#[test]
fn lossless_encodings_are_exact() {
    for (name, type_name, bands) in [
        ("zstd_predictor2_planar_big_endian.tif", "uint16", 3),
        ("deflate_predictor3_tiled.tif", "float32", 2),
        ("lzw_predictor3_big_endian.tif", "float64", 1),
        ("bigtiff_deflate_predictor2_12_bands.tif", "int16", 12),
        ("float16_predictor3.tif", "float32", 2),
        ("packbits_strips.tif", "uint8", 3),
        ("lerc.tif", "float32", 1),
        ("webp_lossless_tiled.tif", "uint8", 3),
    ] {
        if is_left_out(name) {
            continue;
        }
        let raster = open(name, type_name, bands);
        let transform = [10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0];
        assert_eq!(
            raster.georef.as_ref().map(|geo| (geo.transform, geo.epsg)),
            Some((transform, Some(32_633))),
            "{name}"
        );
        for (x, y) in places() {
            for band in 0..bands {
                let v = ((7 * x + 13 * y + 31 * band) % 251) as f64;
                let wanted = match type_name {
                    "uint8" => v,
                    "uint16" => 150.0 * v,
                    "int16" => v - 100.0,
                    _ => v / 8.0 - 10.0,
                };
                assert_eq!(raster.sample(x, y, band), wanted, "{name}: {x} {y} {band}");
            }
        }
    }
}

#[test]
fn jpeg_is_close() {
    for name in ["jpeg_ycbcr_tiled.tif", "jpeg_rgb_planar.tif", "smooth.jpg"] {
        let raster = open(name, "uint8", 3);
        let mut worst = 0.0_f64;
        for (x, y) in places() {
            let wanted = [40 + 4 * x, 200 - 3 * y, 60 + 2 * x + 2 * y];
            for (band, wanted) in wanted.into_iter().enumerate() {
                worst = worst.max((raster.sample(x, y, band) - wanted as f64).abs());
            }
        }
        assert!(worst <= 12.0, "{name}: {worst}");
    }
}

#[test]
fn a_cut_jpeg_is_refused() {
    let file = bytes_of("smooth.jpg");
    for keep in [3, 20, file.len() / 2, file.len() - 2] {
        let error = decode(&file[..keep], "cut.jpg").unwrap_err();
        assert!(
            matches!(error, RasterError::Damaged { format: "JPEG", .. }),
            "{keep}: {error}"
        );
    }
}

/// A matrix instead of scale and tie point, given for pixel centres.
#[test]
fn rotated_places_of_pixel_centres_become_corners() {
    let georef = open("rotated_point.tif", "uint8", 1).georef.unwrap();
    assert_eq!(georef.epsg, Some(4326));
    for (got, wanted) in georef
        .transform
        .iter()
        .zip([0.1, 0.02, 5.0, 0.02, -0.1, 50.0])
    {
        assert!((got - wanted).abs() < 1e-12, "{georef:?}");
    }
    let [x, y] = georef.to_map(12.5, 3.25);
    let [col, row] = georef.to_pixel(x, y).unwrap();
    assert!((col - 12.5).abs() < 1e-9 && (row - 3.25).abs() < 1e-9);
}

#[test]
fn compressions_that_are_left_out_are_refused_by_name() {
    for (name, what) in [("lerc.tif", "LERC"), ("webp_lossless_tiled.tif", "WebP")] {
        match fixture(name) {
            Ok(_) => assert!(!is_left_out(name), "{name}"),
            Err(error) => {
                assert!(is_left_out(name), "{name}: {error}");
                assert!(error.to_string().contains(what), "{error}");
            }
        }
    }
}

/// libtiff moves alpha and missing floats into LERC's mask.
#[cfg(not(target_arch = "wasm32"))]
#[test]
fn what_a_lerc_mask_hides_is_alpha_or_no_number() {
    let hidden = |x: usize, y: usize| (5..20).contains(&x) && (3..9).contains(&y);
    let value = |x: usize, y: usize, band: usize| ((7 * x + 13 * y + 31 * band) % 251) as f64;
    let with_alpha = open("lerc_deflate_alpha.tif", "uint8", 4);
    let with_nan = open("lerc_zstd_nan.tif", "float32", 2);
    let mask = with_alpha.mask.as_ref().unwrap();
    for (x, y) in places() {
        assert_eq!(mask[y * SIZE_PX[0] + x] == 0, hidden(x, y), "{x} {y}");
        let alpha = if hidden(x, y) { 0.0 } else { 255.0 };
        assert_eq!(with_alpha.sample(x, y, 3), alpha, "{x} {y}");
        for band in 0..3 {
            let found = with_alpha.sample(x, y, band);
            assert!(hidden(x, y) || found == value(x, y, band), "{x} {y}");
        }
        let [first, second] = [0, 1].map(|band| with_nan.sample(x, y, band));
        assert_eq!(first.is_nan(), hidden(x, y), "{x} {y}");
        assert!(hidden(x, y) || first == value(x, y, 0) / 8.0 - 10.0);
        assert_eq!(second, value(x, y, 1) / 8.0 - 10.0, "{x} {y}");
    }
}
