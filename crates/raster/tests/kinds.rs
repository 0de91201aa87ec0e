//! One small file of each kind that readers are known to get wrong, written here tag by tag. Native
//! and in a browser's Worker.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{File, SIZE_PX, geo_keys, scale_and_tie_point, value};
use mmovseg_raster::{
    OpticalOptions, RasterError, Samples, SarOptions, decode, open_pair, optical_to_rgb, sar_to_rgb,
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::{wasm_bindgen_test as test, wasm_bindgen_test_configure};

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test_configure!(run_in_dedicated_worker);

fn plane(band: usize) -> Vec<u8> {
    let [w, h] = SIZE_PX;
    (0..w * h).map(|i| value(i % w, i / w, band)).collect()
}

fn interleaved(bands: usize) -> Vec<u8> {
    let planes: Vec<_> = (0..bands).map(plane).collect();
    (0..planes[0].len())
        .flat_map(|i| planes.iter().map(move |plane| plane[i]))
        .collect()
}

fn rgb() -> File {
    File::new(interleaved(3), &[8, 8, 8], 2)
}

fn grey() -> File {
    File::new(plane(0), &[8], 1)
}

fn bytes_of(samples: &Samples) -> &[u8] {
    match samples {
        Samples::U8(bytes) => bytes,
        other => panic!("{}", other.type_name()),
    }
}

#[test]
fn strips_without_and_with_wrong_sizes_are_read() {
    for sizes in [None, Some(vec![0]), Some(vec![7]), Some(vec![1 << 30])] {
        let mut file = grey();
        file.remove(279);
        if let Some(sizes) = &sizes {
            file.longs(279, sizes);
        }
        let raster = decode(&file.bytes(), "s.tif").unwrap();
        assert_eq!(bytes_of(&raster.samples), plane(0), "{sizes:?}");
    }
    // Pixels that are not there are damage, whatever the table says.
    let bytes = grey().bytes();
    let error = decode(&bytes[..bytes.len() - 40], "s.tif").unwrap_err();
    assert!(matches!(error, RasterError::Damaged { .. }), "{error}");
}

#[test]
fn white_is_zero_and_bit_order_are_applied() {
    let inverted: Vec<u8> = plane(0).iter().map(|v| 255 - v).collect();
    let white = File::new(inverted, &[8], 0);
    let reversed: Vec<u8> = plane(0).iter().map(|v| v.reverse_bits()).collect();
    let mut lsb_first = File::new(reversed, &[8], 1);
    lsb_first.shorts(266, &[2]);
    for file in [white, lsb_first] {
        let raster = decode(&file.bytes(), "s.tif").unwrap();
        assert_eq!(bytes_of(&raster.samples), plane(0));
    }
}

#[test]
fn few_bits_are_spread_over_the_range_of_a_picture() {
    let [w, h] = SIZE_PX;
    let nibbles: Vec<u8> = plane(0).iter().map(|v| v >> 4).collect();
    let packed: Vec<u8> = nibbles
        .chunks(w)
        .flat_map(|row| {
            row.chunks(2)
                .map(|pair| pair[0] << 4 | pair.get(1).unwrap_or(&0))
        })
        .collect();
    let raster = decode(&File::new(packed, &[4], 1).bytes(), "s.tif").unwrap();
    assert_eq!(
        (bytes_of(&raster.samples), raster.bits),
        (nibbles.as_slice(), 4)
    );
    let (tile, _) = sar_to_rgb(&raster, &SarOptions::default()).unwrap();
    assert_eq!(tile.picture.pixel(3, 5), [nibbles[5 * w + 3] * 17; 3]);

    // 12 bits: two values in three bytes.
    let values: Vec<u16> = (0..w * h).map(|i| (i * 37 % 4096) as u16).collect();
    let packed: Vec<u8> = values
        .chunks(2)
        .flat_map(|v| [(v[0] >> 4) as u8, (v[0] << 4 | v[1] >> 8) as u8, v[1] as u8])
        .collect();
    let raster = decode(&File::new(packed, &[12], 1).bytes(), "s.tif").unwrap();
    assert_eq!(raster.samples, Samples::U16(values));
}

#[test]
fn unread_compressions_are_named() {
    let mut file = grey();
    file.shorts(259, &[34_925]);
    assert_eq!(
        decode(&file.bytes(), "l.tif").unwrap_err().to_string(),
        "l.tif: LZMA compression cannot be read; rewrite it with deflate, for example gdal_translate -co COMPRESS=DEFLATE"
    );
    // GDAL writes dual-polarisation tiles so when it is told JPEG.
    let mut file = File::new(interleaved(2), &[8; 2], 1);
    file.shorts(259, &[7]);
    let error = decode(&file.bytes(), "j.tif").unwrap_err().to_string();
    assert!(error.contains("JPEG compression of 2 bands"), "{error}");
}

#[test]
fn integers_of_17_to_31_bits_are_read() {
    let [w, h] = SIZE_PX;
    for bits in [17_u16, 20, 24, 31] {
        let values: Vec<u32> = (0..w * h)
            .map(|i| (i as u32).wrapping_mul(2_654_435_761) >> (32 - bits))
            .collect();
        let mut packed = Vec::new();
        for row in values.chunks(w) {
            let mut line = vec![0_u8; (w * usize::from(bits)).div_ceil(8)];
            let all = row
                .iter()
                .flat_map(|value| (0..bits).rev().map(move |bit| value >> bit & 1));
            for (at, bit) in all.enumerate() {
                line[at / 8] |= (bit as u8) << (7 - at % 8);
            }
            packed.extend(line);
        }
        let raster = decode(&File::new(packed, &[bits], 1).bytes(), "b.tif").unwrap();
        assert_eq!(raster.samples, Samples::U32(values), "{bits}");
    }
}

/// The tag was obeyed in files without compression: each row was summed up to noise.
#[test]
fn a_predictor_without_compression_is_passed_over() {
    let mut file = grey();
    file.shorts(317, &[2]);
    let raster = decode(&file.bytes(), "p.tif").unwrap();
    assert_eq!(bytes_of(&raster.samples), plane(0));
}

#[test]
fn inks_become_colours_and_unread_colours_are_named() {
    let raster = decode(&File::new(interleaved(4), &[8; 4], 5).bytes(), "c.tif").unwrap();
    assert_eq!(raster.bands, 3);
    let left =
        |band: usize| f64::from(255 - value(3, 5, band)) * f64::from(255 - value(3, 5, 3)) / 255.0;
    for band in 0..3 {
        assert!((raster.sample(3, 5, band) - left(band)).abs() <= 0.5);
    }
    for (photometric, name) in [(8, "CIELab"), (6, "YCbCr"), (32_845, "LogLuv")] {
        let file = File::new(interleaved(3), &[8; 3], photometric);
        let error = decode(&file.bytes(), "c.tif").unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn palettes_of_8_and_of_16_bits_are_colours_for_both_sensors() {
    let [w, _] = SIZE_PX;
    for scale in [1, 257] {
        let mut file = File::new(plane(0), &[8], 3);
        let map: Vec<u16> = (0..3)
            .flat_map(|c| (0..256).map(move |i: u16| (255 - i) / (c + 1) * scale))
            .collect();
        file.shorts(320, &map);
        let raster = decode(&file.bytes(), "p.tif").unwrap();
        let index = u16::from(plane(0)[5 * w + 3]);
        let wanted = [1, 2, 3].map(|c| ((255 - index) / c) as u8);
        let (tile, _) = optical_to_rgb(&raster, &OpticalOptions::default()).unwrap();
        assert_eq!(tile.picture.pixel(3, 5), wanted, "{scale}");
        let (tile, _) = sar_to_rgb(&raster, &SarOptions::default()).unwrap();
        assert_eq!(tile.picture.pixel(3, 5), wanted, "{scale}");
    }
}

/// Alpha, no-data and an internal mask hide the same pixels, which become black.
#[test]
fn alpha_no_data_and_masks_hide_pixels() {
    let [w, h] = SIZE_PX;
    let hidden = |i: usize| i % w < 9 && i / w < 5;
    let mut rgba = interleaved(4);
    let mut marked = interleaved(3);
    for i in 0..w * h {
        rgba[4 * i + 3] = if hidden(i) { 0 } else { 255 };
        if hidden(i) {
            marked[3 * i..3 * i + 3].fill(251);
        }
    }
    let mut with_alpha = File::new(rgba, &[8; 4], 2);
    with_alpha.shorts(338, &[2]);
    let mut with_nodata = File::new(marked, &[8; 3], 2);
    with_nodata.ascii(42_113, "251");
    let bits: Vec<u8> = (0..h)
        .flat_map(|y| {
            (0..w.div_ceil(8)).map(move |byte| {
                (0..8)
                    .filter(|bit| !hidden(y * w + byte * 8 + bit))
                    .fold(0, |bits, bit| bits | 128 >> bit)
            })
        })
        .collect();
    let mut mask = File::new(bits, &[1], 4);
    mask.longs(254, &[4]);
    let mut with_mask = rgb();
    with_mask.then(mask);
    for (file, name) in [
        (with_alpha, "alpha"),
        (with_nodata, "no-data"),
        (with_mask, "mask"),
    ] {
        let raster = decode(&file.bytes(), "m.tif").unwrap();
        let (tile, _) = optical_to_rgb(&raster, &OpticalOptions::default()).unwrap();
        let valid = tile.valid.unwrap();
        for (i, &valid) in valid.iter().enumerate() {
            assert_eq!(valid, !hidden(i), "{name}: {i}");
            let wanted = if hidden(i) {
                [0; 3]
            } else {
                [0, 1, 2].map(|band| value(i % w, i / w, band))
            };
            assert_eq!(tile.picture.pixel(i % w, i / w), wanted, "{name}: {i}");
        }
    }
    // Alpha beside grey is no second polarisation.
    let mut pixels = interleaved(2);
    pixels.iter_mut().skip(1).step_by(2).for_each(|v| *v = 255);
    let mut file = File::new(pixels, &[8; 2], 1);
    file.shorts(338, &[1]);
    let raster = decode(&file.bytes(), "g.tif").unwrap();
    let (tile, _) = sar_to_rgb(&raster, &SarOptions::default()).unwrap();
    assert_eq!(
        (tile.picture.pixel(3, 5), tile.valid),
        ([value(3, 5, 0); 3], None)
    );
}

#[test]
fn a_pixel_is_invalid_when_all_used_bands_are() {
    let [w, h] = SIZE_PX;
    let mut values: Vec<u16> = (0..3 * w * h)
        .map(|i| 1000 + (i * 7 % 900) as u16)
        .collect();
    values[0..3].fill(0);
    values[4] = 0;
    let mut file = File::new(
        values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        &[16; 3],
        2,
    );
    file.ascii(42_113, "0");
    let raster = decode(&file.bytes(), "n.tif").unwrap();
    let (tile, _) = optical_to_rgb(&raster, &OpticalOptions::default()).unwrap();
    let valid = tile.valid.unwrap();
    assert!(!valid[0] && valid[1..].iter().all(|&v| v));
    let [r, g, b] = tile.picture.pixel(1, 0);
    assert!(r > 0 && g == 0 && b > 0, "{r} {g} {b}");
}

#[test]
fn undeclared_markers_at_the_edge_are_no_data() {
    let [w, h] = SIZE_PX;
    for marker in [-9999.0_f32, -32_768.0, f32::MIN] {
        let db = |i: usize| {
            if i % w < 6 {
                marker
            } else {
                -20.0 + (i * 31 % 97) as f32 / 9.0
            }
        };
        let values: Vec<u8> = (0..w * h).flat_map(|i| db(i).to_le_bytes()).collect();
        let mut file = File::new(values, &[32], 1);
        file.shorts(339, &[3]);
        let raster = decode(&file.bytes(), "d.tif").unwrap();
        let (tile, notes) = sar_to_rgb(&raster, &SarOptions::default()).unwrap();
        let valid = tile.valid.unwrap();
        assert!((0..w * h).all(|i| valid[i] == (i % w >= 6)), "{marker}");
        assert!(notes[0].contains("does not declare"), "{notes:?}");
        assert!(notes[1].contains("decibel"), "{notes:?}");
    }
}

#[test]
fn pages_of_one_size_are_bands_and_others_are_named() {
    let mut file = grey();
    file.then(File::new(plane(1), &[8], 1));
    file.then(rgb());
    let raster = decode(&file.bytes(), "p.tif").unwrap();
    assert_eq!(raster.bands, 2);
    assert_eq!(bytes_of(&raster.samples), interleaved(2));
    assert!(
        raster
            .notes
            .iter()
            .any(|note| note.contains("1 further pages")),
        "{:?}",
        raster.notes
    );
}

#[test]
fn band_names_scale_and_offset_are_used() {
    let item = |band: usize, role: &str, text: &str| {
        format!("<Item name=\"X\" sample=\"{band}\" role=\"{role}\">{text}</Item>")
    };
    let mut file = rgb();
    let names = ["B2", "B3", "B4"];
    let items: String = (0..3).map(|i| item(i, "description", names[i])).collect();
    file.ascii(42_112, &format!("<GDALMetadata>{items}</GDALMetadata>"));
    let raster = decode(&file.bytes(), "b.tif").unwrap();
    let (tile, notes) = optical_to_rgb(&raster, &OpticalOptions::default()).unwrap();
    assert_eq!(
        tile.picture.pixel(3, 5),
        [2, 1, 0].map(|band| value(3, 5, band))
    );
    assert!(notes[0].contains("by their names"), "{notes:?}");

    // Decibel stored as whole numbers, and the same as floats.
    let [w, h] = SIZE_PX;
    let stored: Vec<u16> = (0..w * h)
        .map(|i| 30_000 + (i * 97 % 9000) as u16)
        .collect();
    let mut scaled = File::new(
        stored.iter().flat_map(|v| v.to_le_bytes()).collect(),
        &[16],
        1,
    );
    let items = item(0, "scale", "0.001") + &item(0, "offset", "-50");
    scaled.ascii(42_112, &format!("<GDALMetadata>{items}</GDALMetadata>"));
    let decibel = |v: &u16| (f64::from(*v) * 0.001 - 50.0) as f32;
    let floats = stored
        .iter()
        .flat_map(|v| decibel(v).to_le_bytes())
        .collect();
    let mut clean = File::new(floats, &[32], 1);
    clean.shorts(339, &[3]);
    let [scaled, clean] = [scaled, clean].map(|file| {
        let raster = decode(&file.bytes(), "s.tif").unwrap();
        sar_to_rgb(&raster, &SarOptions::default()).unwrap().0
    });
    assert_eq!(scaled, clean);
}

#[test]
fn places_come_from_the_strongest_tag_and_never_from_the_base_of_a_projection() {
    // Scale and tie point beside an identity matrix.
    let mut file = grey();
    scale_and_tie_point(&mut file, 10.0, [500_000.0, 3_700_000.0]);
    let identity = (0..16).map(|i| f64::from(i % 5 == 0)).collect::<Vec<_>>();
    file.doubles(34_264, &identity);
    geo_keys(
        &mut file,
        &[(1024, 1), (2048, 4326), (3072, 32_767), (3074, 16_011)],
    );
    let georef = decode(&file.bytes(), "g.tif").unwrap().georef.unwrap();
    assert_eq!(
        georef.transform,
        [10.0, 0.0, 500_000.0, 0.0, -10.0, 3_700_000.0]
    );
    assert_eq!(georef.epsg, Some(32_611));

    // A projection of its own on WGS 84: not degrees.
    let mut file = grey();
    scale_and_tie_point(&mut file, 10.0, [500_000.0, 3_700_000.0]);
    geo_keys(
        &mut file,
        &[(1024, 1), (2048, 4326), (3072, 32_767), (3075, 1)],
    );
    assert_eq!(
        decode(&file.bytes(), "g.tif").unwrap().georef.unwrap().epsg,
        None
    );
}

/// A SAR tile that only control points place, from right to left, onto the optical grid.
#[test]
fn control_points_place_a_flipped_tile() {
    let [w, h] = SIZE_PX;
    let mut optical = rgb();
    scale_and_tie_point(&mut optical, 10.0, [500_000.0, 5_000_000.0]);
    geo_keys(&mut optical, &[(1024, 1), (3072, 32_633)]);
    let flipped: Vec<u8> = plane(0)
        .chunks(w)
        .flat_map(|row| row.iter().rev().copied())
        .collect();
    let mut sar = File::new(flipped, &[8], 1);
    let points: Vec<f64> = [(0, 0), (w, 0), (0, h), (w, h), (w / 2, h / 2), (w, h / 2)]
        .into_iter()
        .flat_map(|(x, y)| {
            let (x, y) = (x as f64, y as f64);
            [
                w as f64 - x,
                y,
                0.0,
                500_000.0 + 10.0 * x,
                5_000_000.0 - 10.0 * y,
                0.0,
            ]
        })
        .collect();
    sar.doubles(33_922, &points);
    geo_keys(&mut sar, &[(1024, 1), (3072, 32_633)]);
    let pair = open_pair(
        (&optical.bytes(), "o.tif"),
        (&sar.bytes(), "s.tif"),
        &OpticalOptions::default(),
        &SarOptions::default(),
    )
    .unwrap();
    assert!(
        pair.notes[0].contains("6 ground control points"),
        "{:?}",
        pair.notes
    );
    for (x, y) in [(2, 2), (20, 9), (33, 24)] {
        let found = pair.sar.pixel(x, y)[0];
        assert!(found.abs_diff(value(x, y, 0)) <= 1, "{x} {y}: {found}");
    }
    assert_eq!(pair.sar_valid, None);
}

/// Degrees, web Mercator and the European grid onto UTM, against positions that PROJ gives.
#[test]
fn tiles_in_other_reference_systems_land_where_proj_puts_them() {
    // North-west and south-east corners of the optical tile, by PROJ 9.
    let corners: [(u16, u16, [f64; 2], [f64; 2]); 3] = [
        (
            2,
            4326,
            [15.0, 45.153_477_183],
            [15.005_088_544, 45.151_046_615],
        ),
        (
            1,
            3857,
            [1_669_792.362, 5_645_715.775],
            [1_670_358.816, 5_645_332.111],
        ),
        (
            1,
            3035,
            [4_714_496.013, 2_462_247.138],
            [4_714_913.024, 2_462_004.777],
        ),
    ];
    for (model, code, north_west, south_east) in corners {
        let mut optical = rgb();
        scale_and_tie_point(&mut optical, 10.0, [500_000.0, 5_000_000.0]);
        geo_keys(&mut optical, &[(1024, 1), (3072, 32_633)]);
        let mut sar = grey();
        let [w, h] = SIZE_PX.map(|side| side as f64);
        let step = [
            (south_east[0] - north_west[0]) / w,
            (north_west[1] - south_east[1]) / h,
        ];
        sar.doubles(33_550, &[step[0], step[1], 0.0]);
        sar.doubles(33_922, &[0.0, 0.0, 0.0, north_west[0], north_west[1], 0.0]);
        geo_keys(
            &mut sar,
            &[(1024, model), (if model == 2 { 2048 } else { 3072 }, code)],
        );
        let pair = open_pair(
            (&optical.bytes(), "o.tif"),
            (&sar.bytes(), "s.tif"),
            &OpticalOptions::default(),
            &SarOptions::default(),
        );
        let pair = pair.unwrap_or_else(|error| panic!("EPSG:{code}: {error}"));
        assert!(pair.outlines.iter().all(Option::is_some));
        // Both diagonals are the same line on the ground, and the values rise along it in steps of
        // ten.
        for i in 2..24 {
            let (x, y) = (i * 40 / 27, i);
            let (found, wanted) = (pair.sar.pixel(x, y)[0], value(x, y, 0));
            let wraps = !(20..230).contains(&wanted);
            assert!(
                wraps || found.abs_diff(wanted) <= 14,
                "EPSG:{code} at {x} {y}: {found} {wanted}"
            );
        }
    }
}

#[test]
fn tiles_that_do_not_overlap_are_refused_with_both_places() {
    let placed = |x: f64| {
        let mut file = grey();
        scale_and_tie_point(&mut file, 10.0, [x, 5_000_000.0]);
        geo_keys(&mut file, &[(1024, 1), (3072, 32_633)]);
        file.bytes()
    };
    let error = open_pair(
        (&placed(500_000.0), "o.tif"),
        (&placed(600_000.0), "s.tif"),
        &OpticalOptions::default(),
        &SarOptions::default(),
    )
    .unwrap_err()
    .to_string();
    assert!(
        error.contains("longitude 15.0000 to") && error.contains("longitude 16.27"),
        "{error}"
    );
}

/// NAD27 needs grids that are not part of the program: never taken for WGS 84.
#[test]
fn a_reference_system_without_a_known_shift_is_not_used() {
    let placed = |code: u16| {
        let mut file = grey();
        scale_and_tie_point(&mut file, 10.0, [500_000.0, 3_700_000.0]);
        geo_keys(&mut file, &[(1024, 1), (3072, code)]);
        file.bytes()
    };
    let pair = open_pair(
        (&placed(32_611), "o.tif"),
        (&placed(26_711), "s.tif"),
        &OpticalOptions::default(),
        &SarOptions::default(),
    )
    .unwrap();
    let note = &pair.notes[0];
    assert!(
        note.contains("EPSG:26711 has a datum") && note.contains("check"),
        "{note}"
    );
}
