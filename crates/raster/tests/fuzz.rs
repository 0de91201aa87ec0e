//! Mutated files through every reader of rasters. Run for longer as CONTRIBUTING.md says.

#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{File, SIZE_PX, geo_keys, scale_and_tie_point, value};
use mmovseg_raster::{
    OpticalOptions, RasterFile, SarOptions, decode, default_palette, indexed_png, label_geotiff,
    open_pair, optical_to_rgb, read_label_png, sar_to_rgb,
};
use mmovseg_test_support::fuzz::Target;

/// Small files of every kind: the fixtures, and files made tag by tag.
fn seeds() -> Vec<Vec<u8>> {
    let own = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let mut paths: Vec<_> = std::fs::read_dir(format!("{own}/tests/fixtures"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end != "md"))
        .collect();
    paths.sort();
    let mut seeds: Vec<Vec<u8>> = paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();

    let [w, h] = SIZE_PX;
    let bytes = |bands: usize| -> Vec<u8> {
        (0..w * h)
            .flat_map(|i| (0..bands).map(move |band| value(i % w, i / w, band)))
            .collect()
    };
    let mut rgba = File::new(bytes(4), &[8; 4], 2);
    rgba.shorts(338, &[2]);
    let mut palette = File::new(bytes(1), &[8], 3);
    palette.shorts(320, &[77; 768]);
    let mut masked = File::new(bytes(3), &[8; 3], 2);
    let mut mask = File::new(vec![0xaa; w.div_ceil(8) * h], &[1], 4);
    mask.longs(254, &[4]);
    masked.then(mask);
    let mut pages = File::new(bytes(1), &[8], 1);
    pages.then(File::new(bytes(1), &[8], 1));
    let mut placed = File::new(bytes(1), &[8], 1);
    scale_and_tie_point(&mut placed, 10.0, [500_000.0, 3_700_000.0]);
    geo_keys(
        &mut placed,
        &[
            (1024, 1),
            (2048, 4326),
            (3072, 32_767),
            (3075, 1),
            (3076, 9001),
        ],
    );
    let mut points = File::new(bytes(1), &[8], 1);
    let tie_points: Vec<f64> = (0..9)
        .flat_map(|i| {
            [
                f64::from(i % 3) * 20.0,
                f64::from(i / 3) * 13.0,
                0.0,
                14.0 + f64::from(i % 3),
                46.0 - f64::from(i / 3),
                0.0,
            ]
        })
        .collect();
    points.doubles(33_922, &tie_points);
    geo_keys(&mut points, &[(1024, 2), (2048, 4326)]);
    let mut described = File::new(bytes(2), &[16], 1);
    described.ascii(
        42_112,
        "<GDALMetadata><Item name=\"SCALE\" sample=\"0\" role=\"scale\">0.01</Item></GDALMetadata>",
    );
    described.ascii(42_113, "0");
    seeds.extend(
        [rgba, palette, masked, pages, placed, points, described]
            .iter()
            .map(File::bytes),
    );
    seeds.push(File::new(bytes(4), &[8; 4], 5).bytes());
    seeds.push(File::new(bytes(1), &[4], 0).bytes());
    seeds.push(File::new(bytes(2), &[12], 1).bytes());
    let labels: Vec<u8> = bytes(1).iter().map(|v| v % 5).collect();
    let colours = default_palette(5);
    seeds.push(indexed_png(&labels, w, h, &colours).unwrap());
    seeds.push(label_geotiff(&labels, w, h, &colours, &["a".into()], None).unwrap());
    seeds
}

/// Everything that is done with a file of a stranger.
fn use_everything(bytes: &[u8], other: &[u8]) {
    if let Ok(raster) = decode(bytes, "x") {
        // Larger pictures than a seed's only repeat what is done for each pixel.
        if raster.width_px * raster.height_px <= 1 << 16 {
            let _ = optical_to_rgb(&raster, &OpticalOptions::default());
            let _ = sar_to_rgb(&raster, &SarOptions::default());
            let _ = open_pair(
                (bytes, "x"),
                (other, "y"),
                &OpticalOptions::default(),
                &SarOptions::default(),
            );
        }
    }
    let _ = read_label_png(bytes, "x");
    if let Ok(file) = RasterFile::open(Box::new(bytes), "x") {
        let [w, h] = file.size_px();
        let _ = file.read(
            [w / 2, h / 2],
            [w.div_ceil(2).min(64), h.div_ceil(2).min(64)],
        );
    }
}

#[test]
fn mutated_rasters_neither_panic_nor_hang() {
    let corpus = seeds();
    let target = Target {
        name: "rasters",
        corpus: &corpus,
        words: &[],
        seconds: 30,
    };
    target.run(|bytes| use_everything(bytes, &corpus[0]));
}
