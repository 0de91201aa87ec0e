//! Files made here, so that every encoding, every refusal and every damage is tested on any
//! machine.

#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::Cursor;

use mmovseg_raster::{
    GeoKeys, GeoRef, MAX_SIDE_PX, OpticalOptions, RasterError, Rgb8, Samples, SarOptions, SarScale,
    Stretch, Tile, decode, default_palette, indexed_png, open_pair, optical_to_rgb, read_label_png,
    sar_to_rgb, write_rgb_png,
};
use proptest::prelude::*;
use tiff::encoder::{TiffEncoder, colortype};
use tiff::tags::Tag;

/// A `GeoTIFF` of one kind, with place and no-data when given.
fn tiff<C: colortype::ColorType>(
    w: u32,
    h: u32,
    data: &[C::Inner],
    georef: Option<GeoRef>,
    nodata: Option<&str>,
) -> Vec<u8>
where
    [C::Inner]: tiff::encoder::TiffValue,
{
    let mut out = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut out).unwrap();
    let mut image = encoder.new_image::<C>(w, h).unwrap();
    let tags = image.encoder();
    if let Some(GeoRef {
        transform: [a, _, c, _, e, f],
        epsg,
        ..
    }) = georef
    {
        tags.write_tag(Tag::ModelPixelScaleTag, &[a, -e, 0.0][..])
            .unwrap();
        tags.write_tag(Tag::ModelTiepointTag, &[0.0, 0.0, 0.0, c, f, 0.0][..])
            .unwrap();
        let epsg = epsg.unwrap_or(32_767) as u16;
        let keys = [1, 1, 0, 2, 1025, 0, 1, 1, 3072, 0, 1, epsg];
        tags.write_tag(Tag::GeoKeyDirectoryTag, &keys[..]).unwrap();
    }
    if let Some(nodata) = nodata {
        tags.write_tag(Tag::GdalNodata, nodata).unwrap();
    }
    image.write_data(data).unwrap();
    out.into_inner()
}

fn utm(pixel: f64, x: f64, y: f64) -> Option<GeoRef> {
    Some(GeoRef {
        transform: [pixel, 0.0, x, 0.0, -pixel, y],
        epsg: Some(32_633),
        keys: GeoKeys::default(),
        control_points: Vec::new(),
    })
}

/// Grey that depends on the place alone: 1 per 10 m eastwards, 2 per 10 m southwards.
fn ground(w: u32, h: u32, georef: Option<GeoRef>) -> Vec<u8> {
    let georef = georef.unwrap();
    (0..w * h)
        .map(|i| {
            let [x, y] = georef.to_map(f64::from(i % w) + 0.5, f64::from(i / w) + 0.5);
            (40.0 + x / 10.0 - y / 5.0).round() as u8
        })
        .collect()
}

fn rgb_tiff(w: u32, h: u32, georef: Option<GeoRef>) -> Vec<u8> {
    let data: Vec<u8> = ground(w, h, georef.clone())
        .iter()
        .flat_map(|&v| [v; 3])
        .collect();
    tiff::<colortype::RGB8>(w, h, &data, georef, None)
}

fn pair(rgb: &[u8], sar: &[u8]) -> Result<mmovseg_raster::TilePair, RasterError> {
    open_pair(
        (rgb, "rgb.tif"),
        (sar, "sar.tif"),
        &OpticalOptions::default(),
        &SarOptions::default(),
    )
}

#[test]
fn place_decides_where_sar_lands() {
    let place = utm(10.0, 0.0, 0.0);
    let rgb = rgb_tiff(60, 40, place.clone());
    for (pixel, x, y, w, h) in [
        (10.0, 0.0, 0.0, 60, 40),
        (10.0, -100.0, 200.0, 100, 90),
        (20.0, -40.0, 40.0, 40, 30),
        (5.0, 0.0, 0.0, 120, 80),
        (2.0, 0.0, 0.0, 300, 200),
    ] {
        let sar = utm(pixel, x, y);
        let sar = tiff::<colortype::Gray8>(w, h, &ground(w, h, sar.clone()), sar, None);
        let pair = pair(&rgb, &sar).unwrap();
        assert_eq!((pair.sar.width_px, pair.sar.height_px), (60, 40));
        let known = |geo: Option<GeoRef>| geo.map(|geo| (geo.transform, geo.epsg));
        assert_eq!(known(pair.georef), known(place.clone()));
        // The ground is a plane, so that resampling must find it again (away from the edges).
        for (row, col) in (2..38).flat_map(|row| (2..58).map(move |col| (row, col))) {
            let difference = pair.sar.pixel(col, row)[0].abs_diff(pair.rgb.pixel(col, row)[0]);
            assert!(difference <= 1, "{pixel} m: {difference} at {col} {row}");
        }
        let moved = (pixel, w, h) != (10.0, 60, 40);
        assert_eq!(
            pair.notes.iter().any(|n| n.contains("EPSG:32633")),
            moved,
            "{:?}",
            pair.notes
        );
    }
    // Half of the tile is beyond the SAR scene: black there, and said so.
    let sar = utm(10.0, 300.0, 0.0);
    let sar = tiff::<colortype::Gray8>(60, 40, &ground(60, 40, sar.clone()), sar, None);
    let half = pair(&rgb, &sar).unwrap();
    assert_eq!(half.sar.pixel(29, 20), [0; 3]);
    assert_ne!(half.sar.pixel(30, 20), [0; 3]);
    assert!(half.notes[0].contains("50 %"), "{:?}", half.notes);

    let sar = utm(10.0, 9000.0, 0.0);
    let away = tiff::<colortype::Gray8>(60, 40, &[9; 2400], sar, None);
    let error = pair(&rgb, &away).unwrap_err();
    assert!(matches!(error, RasterError::NoOverlap { .. }), "{error}");
}

#[test]
fn without_a_common_place_sar_is_stretched() {
    let rgb = rgb_tiff(60, 40, utm(10.0, 0.0, 0.0));
    let sar = tiff::<colortype::Gray8>(30, 20, &[77; 600], None, None);
    let stretched = pair(&rgb, &sar).unwrap();
    assert_eq!(stretched.sar, Rgb8::filled(60, 40, 77));
    assert!(
        stretched.notes[0].contains("stretched from 30 x 20"),
        "{:?}",
        stretched.notes
    );
    let same = tiff::<colortype::Gray8>(60, 40, &[77; 2400], None, None);
    let same = pair(&rgb, &same).unwrap();
    assert!(
        same.notes[0].contains("aligned pixel by pixel"),
        "{:?}",
        same.notes
    );
}

#[test]
fn deep_optical_data_is_stretched_jointly() {
    // Reflectances with a no-data corner, and a bright outlier that must not set the scale.
    let mut data: Vec<u16> = (0..100 * 100)
        .flat_map(|i| {
            let v = 1000 + i % 100 * 20;
            [v, v / 2, v / 2]
        })
        .collect();
    data[..300].fill(0);
    data[3 * 5000] = 60_000;
    let file = tiff::<colortype::RGB16>(100, 100, &data, None, Some("0"));
    let raster = decode(&file, "deep.tif").unwrap();
    assert_eq!(raster.nodata, Some(0.0));
    let (rgb, notes) = optical_to_rgb(&raster, &OpticalOptions::default()).unwrap();
    assert_eq!(rgb.picture.pixel(50, 0), [0; 3]);
    assert!(!rgb.is_valid(50, 0) && rgb.is_valid(50, 1));
    let [r, g, b] = rgb.picture.pixel(99, 60);
    assert!(r > 240 && g == b && (60..130).contains(&g), "{r} {g} {b}");
    assert!(notes[0].contains("uint16"), "{notes:?}");

    let range = Stretch::Range {
        low: 0.0,
        high: 2550.0,
    };
    let options = OpticalOptions {
        bands: Some([2, 0, 0]),
        stretch: range,
    };
    let (rgb, _) = optical_to_rgb(&raster, &options).unwrap();
    assert_eq!(rgb.picture.pixel(25, 60), [75, 150, 150]);
    let options = OpticalOptions {
        bands: Some([0, 1, 3]),
        ..options
    };
    let error = optical_to_rgb(&raster, &options).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("band 4 was asked for but the file has 3"),
        "{error}"
    );
    for (low, high) in [(98.0, 2.0), (f32::NAN, 98.0), (-1.0, 98.0)] {
        let options = OpticalOptions {
            stretch: Stretch::Percentile { low, high },
            ..Default::default()
        };
        assert!(matches!(
            optical_to_rgb(&raster, &options),
            Err(RasterError::Argument(_))
        ));
    }
}

#[test]
fn sar_scale_is_detected_or_chosen() {
    let db: Vec<f32> = (0..64 * 64)
        .map(|i| -25.0 + (i % 64) as f32 * 0.4)
        .collect();
    let power: Vec<f32> = db.iter().map(|v| libm::powf(10.0, v / 10.0)).collect();
    let open = |data: &[f32], scale: SarScale| {
        let file = tiff::<colortype::Gray32Float>(64, 64, data, None, None);
        let options = SarOptions {
            scale,
            ..Default::default()
        };
        sar_to_rgb(&decode(&file, "sar.tif").unwrap(), &options)
    };
    let (wanted, notes) = open(&db, SarScale::Auto).unwrap();
    assert!(
        notes[0].contains("decibel") && wanted.picture.pixel(63, 0) == [255; 3],
        "{notes:?}"
    );
    let (found, notes) = open(&power, SarScale::Auto).unwrap();
    assert!(notes[0].contains("linear power"), "{notes:?}");
    assert!(
        wanted
            .picture
            .data
            .iter()
            .zip(&found.picture.data)
            .all(|(a, b)| a.abs_diff(*b) <= 1)
    );
    // A few negative values from noise removal do not make it decibel.
    let mut noisy = power.clone();
    noisy[10] = -1e-4;
    assert!(open(&noisy, SarScale::Auto).unwrap().1[0].contains("linear"));
    assert!(open(&power, SarScale::AsIs).is_ok() && open(&power, SarScale::Decibel).is_ok());
    for empty in [f32::NAN, 0.0, f32::NEG_INFINITY] {
        let error = open(&[empty; 64 * 64], SarScale::Auto).unwrap_err();
        assert!(matches!(error, RasterError::Empty { .. }), "{error}");
    }
    // Nothing below zero can be linear.
    let error = open(&[-7.5; 64 * 64], SarScale::Linear).unwrap_err();
    assert!(matches!(error, RasterError::Empty { .. }), "{error}");
}

#[test]
fn eight_bits_pass_untouched() {
    let data: Vec<u8> = (0..5 * 4 * 3).map(|i| i * 4).collect();
    let picture = Rgb8 {
        width_px: 5,
        height_px: 4,
        data: data.clone(),
    };
    let png = write_rgb_png(&picture).unwrap();
    let tif = tiff::<colortype::RGB8>(5, 4, &data, None, None);
    for file in [png, tif] {
        let raster = decode(&file, "x").unwrap();
        assert_eq!(raster.samples, Samples::U8(data.clone()));
        assert_eq!(
            optical_to_rgb(&raster, &Default::default()).unwrap(),
            (Tile::all_valid(picture.clone()), vec![])
        );
        assert_eq!(
            sar_to_rgb(&raster, &Default::default()).unwrap(),
            (Tile::all_valid(picture.clone()), vec![])
        );
    }
}

#[test]
fn label_maps_survive() {
    let labels: Vec<u8> = (0..30).map(|i| if i == 7 { 255 } else { i % 6 }).collect();
    let palette = default_palette(6);
    let file = indexed_png(&labels, 6, 5, &palette).unwrap();
    let read = read_label_png(&file, "labels.png").unwrap();
    assert_eq!((read.width_px, read.height_px, &read.data), (6, 5, &labels));
    let raster = decode(&file, "labels.png").unwrap();
    assert_eq!(raster.palette.as_ref().unwrap()[..6], palette[..]);
    let (tile, _) = optical_to_rgb(&raster, &Default::default()).unwrap();
    assert_eq!(
        (tile.picture.pixel(1, 0), tile.picture.pixel(1, 1)),
        (palette[1], [0; 3])
    );

    let tif = tiff::<colortype::Gray16>(3, 1, &[0, 255, 4], None, None);
    assert_eq!(read_label_png(&tif, "l").unwrap().data, [0, 255, 4]);
    let tif = tiff::<colortype::Gray16>(3, 1, &[0, 256, 4], None, None);
    assert!(matches!(
        read_label_png(&tif, "l"),
        Err(RasterError::Unsupported { .. })
    ));
    assert!(indexed_png(&labels, 6, 6, &palette).is_err());
}

/// Machado et al. 2009, severity 1: what the two common colour-vision deficiencies see.
#[test]
fn first_colours_differ_for_everyone() {
    let eyes = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
    ];
    let palette = default_palette(300);
    let distinct: std::collections::HashSet<_> = palette[..80].iter().collect();
    assert_eq!(distinct.len(), 80);
    for eye in eyes {
        let seen: Vec<[f64; 3]> = palette[..8]
            .iter()
            .map(|c| eye.map(|row| (0..3).map(|i| row[i] * f64::from(c[i])).sum::<f64>()))
            .collect();
        for i in 0..seen.len() {
            for j in 0..i {
                let distance: f64 = (0..3)
                    .map(|c| (seen[i][c] - seen[j][c]).powi(2))
                    .sum::<f64>()
                    .sqrt();
                assert!(distance > 40.0, "colours {i} and {j}: {distance}");
            }
        }
    }
}

#[test]
fn what_cannot_be_read_is_said_plainly() {
    let error = decode(b"GIF89a...", "map.gif").unwrap_err();
    assert_eq!(
        error.to_string(),
        "map.gif: not a PNG, JPEG or TIFF file; convert it to one of these"
    );
    assert!(matches!(
        decode(b"", "x"),
        Err(RasterError::UnknownFormat { .. })
    ));
    // A PNG header that claims 20 000 x 20 000 px.
    let mut png = write_rgb_png(&Rgb8::filled(4, 4, 1)).unwrap();
    let side = (2 * MAX_SIDE_PX as u32).to_be_bytes();
    png[16..20].copy_from_slice(&side);
    png[20..24].copy_from_slice(&side);
    let crc = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    let error = decode(&png, "big.png").unwrap_err();
    assert!(
        error.to_string().contains("cut it into smaller tiles"),
        "{error}"
    );
    for whole in [
        write_rgb_png(&Rgb8::filled(40, 40, 1)).unwrap(),
        tiff::<colortype::Gray8>(40, 40, &[7; 1600], None, None),
    ] {
        let error = decode(&whole[..whole.len() / 2], "cut").unwrap_err();
        assert!(matches!(error, RasterError::Damaged { .. }), "{error}");
        assert!(
            error.to_string().ends_with("fetch or export it again"),
            "{error}"
        );
    }
}

fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| {
            (c >> 1) ^ (0xedb8_8320 & (c & 1).wrapping_neg())
        })
    })
}

fn use_everything(bytes: &[u8]) {
    if let Ok(raster) = decode(bytes, "x") {
        assert_eq!(
            raster.samples.len(),
            raster.width_px * raster.height_px * raster.bands
        );
        let _ = optical_to_rgb(&raster, &OpticalOptions::default());
        for scale in [
            SarScale::Auto,
            SarScale::Linear,
            SarScale::Decibel,
            SarScale::AsIs,
        ] {
            let _ = sar_to_rgb(
                &raster,
                &SarOptions {
                    polarisation: None,
                    scale,
                },
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_bytes_panic(
        head in prop::sample::select(vec![
            &b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], b"\xff\xd8\xff\xe0", b"II*\0\x08\0\0\0",
            b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0", b"",
        ]),
        tail in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        use_everything(&[head, &tail[..]].concat());
    }

    #[test]
    fn no_damage_panics(
        which in 0_usize..4,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 0..6),
        keep in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut file = match which {
            0 => write_rgb_png(&Rgb8::filled(9, 7, 3)).unwrap(),
            1 => rgb_tiff(9, 7, utm(10.0, 0.0, 0.0)),
            2 => tiff::<colortype::Gray32Float>(5, 5, &[0.5; 25], utm(1.0, 0.0, 0.0), Some("nan")),
            _ => indexed_png(&[1; 63], 9, 7, &default_palette(3)).unwrap(),
        };
        for (at, bit) in flips {
            let at = at.index(file.len());
            file[at] ^= 1 << bit;
        }
        if cut {
            file.truncate(keep.index(file.len()));
        }
        use_everything(&file);
    }

    #[test]
    fn labels_of_any_size_survive(w in 1_usize..40, h in 1_usize..40, seed in any::<u8>()) {
        let labels: Vec<u8> = (0..w * h).map(|i| (i as u8).wrapping_mul(seed)).collect();
        let file = indexed_png(&labels, w, h, &default_palette(12)).unwrap();
        prop_assert_eq!(read_label_png(&file, "l").unwrap().data, labels);
    }
}
