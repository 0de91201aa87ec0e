//! Small files of many encodings, made from arithmetic (see `fixtures/README.md`), sample by
//! sample.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use mmovseg_raster::{Raster, RasterError, decode};

const SIZE_PX: [usize; 2] = [40, 27];

fn fixture(name: &str) -> Result<Raster, RasterError> {
    let path = format!(
        "{}/tests/fixtures/{name}",
        std::env::var("CARGO_MANIFEST_DIR").unwrap()
    );
    decode(&std::fs::read(path).unwrap(), name)
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
    ] {
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
    let path = format!(
        "{}/tests/fixtures/smooth.jpg",
        std::env::var("CARGO_MANIFEST_DIR").unwrap()
    );
    let file = std::fs::read(path).unwrap();
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
fn unread_compressions_are_named() {
    let error = fixture("lerc.tif").unwrap_err().to_string();
    assert_eq!(
        error,
        "lerc.tif: LERC compression cannot be read; rewrite it with deflate, for example gdal_translate -co COMPRESS=DEFLATE"
    );
}
