//! Normalisation of real pairs: the same ground looks the same, however the file was scaled.

#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use mmovseg_raster::{
    Raster, Rgb8, Samples, SarOptions, decode, optical_to_rgb, robust_rgb, robust_sar, sar_to_rgb,
};

/// Every pair's picture of one kind, in order of name; none where the data is missing, and the test
/// is then skipped.
fn pictures(suffix: &str, most: usize) -> Vec<Rgb8> {
    let Some(folder) = mmovseg_test_support::data("data/s1s2_pairs") else {
        return Vec::new();
    };
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.to_string_lossy().ends_with(suffix));
    paths.sort();
    let step = paths.len().div_ceil(most);
    paths
        .iter()
        .step_by(step)
        .map(|path| {
            let raster = decode(&std::fs::read(path).unwrap(), "tile").unwrap();
            optical_to_rgb(&raster, &Default::default())
                .unwrap()
                .0
                .picture
        })
        .collect()
}

fn raster(picture: &Rgb8, samples: Samples) -> Raster {
    Raster::plain(
        "made.tif",
        [picture.width_px, picture.height_px],
        1,
        samples,
    )
}

fn mean_difference(a: &Rgb8, b: &Rgb8) -> f64 {
    let sum: f64 = a
        .data
        .iter()
        .zip(&b.data)
        .map(|(&a, &b)| f64::from(a.abs_diff(b)))
        .sum();
    sum / a.data.len() as f64
}

/// The tiles hold linear amplitude in 8 bits. The same ground as decibel, power and 16-bit
/// amplitude must come out the same after normalisation, whole and in crops of any content.
#[test]
fn sar_looks_the_same_from_any_scale() {
    let (mut wrong, mut tests) = (Vec::new(), 0);
    for (tile, picture) in pictures("_sar_vh.jpg", 35).iter().enumerate() {
        for (x, y, side) in [(0, 0, 1024), (0, 0, 256), (512, 512, 256), (768, 100, 192)] {
            let linear = picture.crop([x, y], [side; 2]);
            let grey: Vec<f32> = linear
                .data
                .iter()
                .step_by(3)
                .map(|&b| f32::from(b))
                .collect();
            let wanted = robust_sar(&linear);
            let files = [
                (
                    "dB",
                    Samples::F32(grey.iter().map(|v| 20.0 * v.log10() - 47.0).collect()),
                ),
                (
                    "power",
                    Samples::F64(grey.iter().map(|&v| f64::from(v).powi(2) * 3e-6).collect()),
                ),
                (
                    "amplitude",
                    Samples::U16(grey.iter().map(|&v| v as u16 * 3).collect()),
                ),
            ];
            for (kind, samples) in files {
                let (read, _) =
                    sar_to_rgb(&raster(&linear, samples), &SarOptions::default()).unwrap();
                let difference = mean_difference(&robust_sar(&read.picture), &wanted);
                tests += 1;
                if difference > 2.0 {
                    wrong.push(format!(
                        "tile {tile}, {kind}, {side} px at {x} {y}: {difference}"
                    ));
                }
            }
        }
    }
    // Scale is told from speckle, which a crop of bright town and dark water can hide.
    assert!(
        wrong.len() * 100 <= tests,
        "{} of {tests}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Normalising twice changes little: what is already in range stays.
#[test]
fn normalisation_is_stable() {
    for picture in pictures("_sar_vh.jpg", 6) {
        let once = robust_sar(&picture);
        assert!(mean_difference(&robust_sar(&once), &once) < 1.0);
    }
    for picture in pictures("_rgb.jpg", 6) {
        let once = robust_rgb(&picture);
        let difference = mean_difference(&robust_rgb(&once), &once);
        assert!(difference < 4.0, "{difference}");
    }
}

/// A darker, flatter copy of a tile (another stretch of the same ground) comes out like the
/// original.
#[test]
fn optical_looks_the_same_from_any_stretch() {
    for picture in pictures("_rgb.jpg", 12) {
        let mut flat = picture.clone();
        for byte in &mut flat.data {
            *byte = (f32::from(*byte) * 0.5 + 20.0).round() as u8;
        }
        let difference = mean_difference(&robust_rgb(&flat), &robust_rgb(&picture));
        assert!(difference < 2.0, "{difference}");
    }
}

/// A tile of one kind of ground shows how dark that ground is; a full range leaves nothing to tell.
#[test]
fn a_flat_tile_stays_as_dark_as_it_was() {
    let tile = |middle: u32, reach: u32| {
        let bytes: Vec<u8> = (0..64_u32 * 64)
            .map(|i| (middle - reach + i * 2_654_435_761 % (2 * reach + 1)) as u8)
            .collect();
        Rgb8::from_grey(64, 64, &bytes)
    };
    let mean = |picture: &Rgb8| {
        picture.data.iter().map(|&b| f64::from(b)).sum::<f64>() / picture.data.len() as f64
    };
    let [forest, meadow] = [60, 110].map(|middle| mean(&robust_rgb(&tile(middle, 12))));
    assert!((80.0..100.0).contains(&forest), "{forest}");
    assert!((155.0..175.0).contains(&meadow), "{meadow}");
    // Nothing leaves the range, however dark or bright.
    for middle in [13, 240] {
        let out = robust_rgb(&tile(middle, 12));
        let clipped = out.data.iter().filter(|&&b| b == 0 || b == 255).count();
        assert_eq!(clipped, 0, "{middle}");
    }
    let [dark, bright] = [90, 130].map(|middle| mean(&robust_rgb(&tile(middle, 80))));
    assert!((dark - bright).abs() < 4.0, "{dark} {bright}");
}

#[test]
fn even_tiles_do_not_become_noise() {
    // Two levels apart: rounding noise, nothing else.
    let bytes: Vec<u8> = (0..64 * 64)
        .map(|i| 100 + (i * 7919 % 13 / 6) as u8)
        .collect();
    let even = Rgb8::from_grey(64, 64, &bytes);
    for (name, out) in [("rgb", robust_rgb(&even)), ("sar", robust_sar(&even))] {
        let (min, max) = (
            out.data.iter().min().unwrap(),
            out.data.iter().max().unwrap(),
        );
        assert!(max - min <= 16, "{name}: {min} to {max}");
        assert!((100..160).contains(min), "{name}: {min} to {max}");
    }
    for byte in [0, 1, 255] {
        let plain = Rgb8::filled(33, 9, byte);
        assert_eq!(robust_rgb(&plain).data.len(), plain.data.len());
        assert_eq!(robust_sar(&plain).data.len(), plain.data.len());
    }
    let nothing = Rgb8::filled(0, 0, 0);
    assert_eq!(robust_rgb(&nothing), nothing);
    assert_eq!(robust_sar(&nothing), nothing);
}

/// Fill (a scene's border) neither moves the stretch nor turns grey.
#[test]
fn fill_stays_black() {
    let half = |fill: bool| {
        let bytes: Vec<u8> = (0..128_u32 * 128)
            .map(|i| {
                if fill && i % 128 < 40 {
                    0
                } else {
                    (60 + i * 2_654_435_761 % 97) as u8
                }
            })
            .collect();
        Rgb8::from_grey(128, 128, &bytes)
    };
    for normalise in [robust_rgb, robust_sar] {
        let (with, without) = (normalise(&half(true)), normalise(&half(false)));
        assert_eq!(with.pixel(3, 50), [0; 3]);
        let difference = (40..128)
            .map(|x| with.pixel(x, 50)[0].abs_diff(without.pixel(x, 50)[0]))
            .max();
        assert!(difference.unwrap() <= 6, "{difference:?}");
    }
}
