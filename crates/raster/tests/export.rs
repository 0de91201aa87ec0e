//! Exports, read back: PNG and `GeoTIFF` by the crate's own decoder and by every tag, `GeoJSON` by
//! geometry.

#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;

use mmovseg_raster::{
    GeoJsonOptions, GeoKeys, GeoRef, RasterError, Samples, colour_png, decode, default_palette,
    indexed_png, label_geotiff, read_label_png, share_geotiff,
};
use proptest::prelude::*;
use serde_json::Value;
use tiff::tags::Tag;

fn names(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("class {i}")).collect()
}

fn geojson(
    labels: &[u8],
    w: usize,
    h: usize,
    names: &[String],
    palette: &[[u8; 3]],
    georef: Option<&GeoRef>,
    simplify_px: f64,
) -> Result<String, RasterError> {
    let options = GeoJsonOptions {
        georef,
        simplify_px,
        ..GeoJsonOptions::default()
    };
    mmovseg_raster::geojson(labels, w, h, names, palette, &options)
}

fn utm() -> GeoRef {
    GeoRef {
        transform: [10.0, 0.0, 399_960.0, 0.0, -10.0, 5_000_040.0],
        epsg: Some(32_633),
        keys: GeoKeys {
            directory: vec![
                1, 1, 0, 5, 1024, 0, 1, 1, 1025, 0, 1, 1, 1026, 34737, 22, 0, 3072, 0, 1, 32633,
                3076, 0, 1, 9001,
            ],
            doubles: vec![6_378_137.0, 298.257_223_563],
            ascii: "WGS 84 / UTM zone 33N|".into(),
        },
        control_points: Vec::new(),
    }
}

#[test]
fn a_colour_png_shows_the_palette_and_black() {
    let palette = default_palette(2);
    let png = colour_png(&[0, 1, 255, 0], 2, 2, &palette).unwrap();
    let raster = decode(&png, "c.png").unwrap();
    let Samples::U8(bytes) = raster.samples else {
        panic!("8 bits")
    };
    assert_eq!(bytes, [palette[0], palette[1], [0; 3], palette[0]].concat());
}

#[test]
fn labels_that_do_not_fill_the_picture_are_refused() {
    let palette = default_palette(2);
    for (w, h) in [(2, 3), (0, 0), (usize::MAX, 2)] {
        assert!(indexed_png(&[0; 5], w, h, &palette).is_err());
        assert!(colour_png(&[0; 5], w, h, &palette).is_err());
        assert!(label_geotiff(&[0; 5], w, h, &palette, &names(2), None).is_err());
        assert!(geojson(&[0; 5], w, h, &names(2), &palette, None, 0.0).is_err());
    }
    assert!(label_geotiff(&[0; 4], 2, 2, &default_palette(257), &[], None).is_err());
}

#[test]
fn a_geotiff_keeps_labels_colours_names_and_place_in_every_tag() {
    let (w, h) = (300, 270);
    let labels: Vec<u8> = (0..w * h)
        .map(|i| if i == 7 { 255 } else { (i / 500 % 3) as u8 })
        .collect();
    let palette = default_palette(3);
    let names = ["water", "forêt <1>", "a & b"].map(String::from);
    let geo = utm();
    let file = label_geotiff(&labels, w, h, &palette, &names, Some(&geo)).unwrap();

    let raster = decode(&file, "l.tif").unwrap();
    assert_eq!((raster.width_px, raster.height_px, raster.bands), (w, h, 1));
    assert_eq!(raster.samples, Samples::U8(labels));
    assert_eq!(raster.nodata, Some(255.0));
    assert_eq!(raster.georef.as_ref(), Some(&geo));
    assert_eq!(raster.palette.unwrap()[..3], palette);

    let mut decoder = tiff::decoder::Decoder::new(Cursor::new(&file)).unwrap();
    let found: BTreeSet<u16> = decoder.tag_iter().map(|t| t.unwrap().0.to_u16()).collect();
    let number = |decoder: &mut tiff::decoder::Decoder<_>, tag: Tag| {
        decoder.get_tag(tag).unwrap().into_u64_vec().unwrap()
    };
    let expected = [
        (Tag::ImageWidth, vec![300]),
        (Tag::ImageLength, vec![270]),
        (Tag::BitsPerSample, vec![8]),
        (Tag::Compression, vec![8]),
        (Tag::PhotometricInterpretation, vec![3]),
        (Tag::SamplesPerPixel, vec![1]),
        (Tag::PlanarConfiguration, vec![1]),
        (Tag::SampleFormat, vec![1]),
        (Tag::NewSubfileType, vec![0]),
        (Tag::TileWidth, vec![512]),
        (Tag::TileLength, vec![512]),
    ];
    let mut known: BTreeSet<u16> = expected.iter().map(|(tag, _)| tag.to_u16()).collect();
    for (tag, want) in expected {
        assert_eq!(number(&mut decoder, tag), want, "{tag:?}");
    }
    let sizes = number(&mut decoder, Tag::TileByteCounts);
    let offsets = number(&mut decoder, Tag::TileOffsets);
    assert_eq!((sizes.len(), offsets.len()), (1, 1));
    for (at, size) in offsets.iter().zip(&sizes) {
        assert!(at + size <= file.len() as u64);
    }
    let map = number(&mut decoder, Tag::ColorMap);
    assert_eq!(map.len(), 768);
    assert_eq!(map[256 + 1], u64::from(palette[1][1]) * 257);
    let reals = |decoder: &mut tiff::decoder::Decoder<_>, tag: Tag| {
        decoder.get_tag(tag).unwrap().into_f64_vec().unwrap()
    };
    assert_eq!(
        reals(&mut decoder, Tag::ModelPixelScaleTag),
        [10.0, 10.0, 0.0]
    );
    assert_eq!(
        reals(&mut decoder, Tag::ModelTiepointTag),
        [0.0, 0.0, 0.0, 399_960.0, 5_000_040.0, 0.0]
    );
    assert_eq!(
        reals(&mut decoder, Tag::GeoDoubleParamsTag),
        geo.keys.doubles
    );
    let keys = number(&mut decoder, Tag::GeoKeyDirectoryTag);
    assert!(
        keys.iter()
            .copied()
            .eq(geo.keys.directory.iter().map(|&k| u64::from(k)))
    );
    let text = |decoder: &mut tiff::decoder::Decoder<_>, tag: Tag| {
        decoder.get_tag(tag).unwrap().into_string().unwrap()
    };
    assert_eq!(
        text(&mut decoder, Tag::GeoAsciiParamsTag),
        "WGS 84 / UTM zone 33N|"
    );
    assert_eq!(text(&mut decoder, Tag::GdalNodata), "255");
    let metadata = text(&mut decoder, Tag::Unknown(42_112));
    for item in [
        "<Item name=\"CLASS_0\" sample=\"0\">water</Item>",
        "<Item name=\"CLASS_1\" sample=\"0\">for&#234;t &#60;1&#62;</Item>",
        "<Item name=\"CLASS_2\" sample=\"0\">a &#38; b</Item>",
    ] {
        assert!(metadata.contains(item), "{metadata}");
    }
    known.extend([
        Tag::TileOffsets.to_u16(),
        Tag::TileByteCounts.to_u16(),
        Tag::ColorMap.to_u16(),
        Tag::ModelPixelScaleTag.to_u16(),
        Tag::ModelTiepointTag.to_u16(),
        Tag::GeoDoubleParamsTag.to_u16(),
        Tag::GeoKeyDirectoryTag.to_u16(),
        Tag::GeoAsciiParamsTag.to_u16(),
        Tag::GdalNodata.to_u16(),
        42_112,
    ]);
    assert_eq!(found, known, "no tag is missing and none is unknown");
}

#[test]
fn a_rotated_grid_of_points_and_a_bare_code_come_back() {
    let mut geo = utm();
    geo.transform = [7.0, 2.0, 500_000.0, 2.0, -7.0, 4_000_000.0];
    geo.keys.directory[11] = 2;
    let bare = GeoRef {
        keys: GeoKeys::default(),
        ..utm()
    };
    let degrees = GeoRef {
        transform: [0.001, 0.0, 12.0, 0.0, -0.001, 45.0],
        epsg: Some(4326),
        keys: GeoKeys::default(),
        control_points: Vec::new(),
    };
    for geo in [geo, bare, degrees] {
        let file = label_geotiff(&[0, 1], 2, 1, &default_palette(2), &[], Some(&geo)).unwrap();
        let back = decode(&file, "l.tif").unwrap().georef.unwrap();
        assert_eq!((back.transform, back.epsg), (geo.transform, geo.epsg));
    }
    let file = label_geotiff(&[0, 1], 2, 1, &default_palette(2), &[], None).unwrap();
    assert_eq!(decode(&file, "l.tif").unwrap().georef, None);
}

type Ring = Vec<[f64; 2]>;

/// Polygons of each class by its index.
fn polygons(text: &str) -> BTreeMap<usize, Vec<Vec<Ring>>> {
    let json: Value = serde_json::from_str(text).unwrap();
    assert_eq!(json["type"], "FeatureCollection");
    let mut map: BTreeMap<usize, Vec<Vec<Ring>>> = BTreeMap::new();
    for feature in json["features"].as_array().unwrap() {
        assert_eq!(feature["type"], "Feature");
        assert_eq!(feature["geometry"]["type"], "Polygon");
        let index = feature["properties"]["index"].as_u64().unwrap() as usize;
        assert_eq!(feature["properties"]["class"], format!("class {index}"));
        let rings: Vec<Ring> =
            serde_json::from_value(feature["geometry"]["coordinates"].clone()).unwrap();
        map.entry(index).or_default().push(rings);
    }
    map
}

fn area(ring: &Ring) -> f64 {
    let sum: f64 = ring
        .windows(2)
        .map(|p| p[0][0] * p[1][1] - p[1][0] * p[0][1])
        .sum();
    sum / 2.0
}

fn inside(ring: &Ring, [x, y]: [f64; 2]) -> bool {
    let crossings = ring.windows(2).filter(|p| {
        let [[x0, y0], [x1, y1]] = [p[0], p[1]];
        (y0 > y) != (y1 > y) && x < x0 + (y - y0) / (y1 - y0) * (x1 - x0)
    });
    crossings.count() % 2 == 1
}

/// Whether two segments share more than end points of both.
fn cross([a, b]: [[i64; 2]; 2], [c, d]: [[i64; 2]; 2]) -> bool {
    let turn = |a: [i64; 2], b: [i64; 2], c: [i64; 2]| {
        ((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])).signum()
    };
    let on = |a: [i64; 2], b: [i64; 2], p: [i64; 2]| {
        p != a
            && p != b
            && turn(a, b, p) == 0
            && (a[0].min(b[0])..=a[0].max(b[0])).contains(&p[0])
            && (a[1].min(b[1])..=a[1].max(b[1])).contains(&p[1])
    };
    if on(a, b, c) || on(a, b, d) || on(c, d, a) || on(c, d, b) {
        return true;
    }
    turn(a, b, c) * turn(a, b, d) < 0 && turn(c, d, a) * turn(c, d, b) < 0
}

/// Rings are closed, simple and rightly turned; borders are drawn by the two sides alike, or by one
/// at the frame and beside pixels without a class; no two borders meet but at their ends.
fn sound(map: &BTreeMap<usize, Vec<Vec<Ring>>>) {
    let mut borders: BTreeMap<[[i64; 2]; 2], usize> = BTreeMap::new();
    for polygon in map.values().flatten() {
        for (i, ring) in polygon.iter().enumerate() {
            assert!(ring.len() >= 4 && ring.first() == ring.last(), "{ring:?}");
            assert_eq!(area(ring) > 0.0, i == 0, "{ring:?}");
            let mut seen: Vec<_> = ring[1..].iter().map(|p| p.map(|v| v as i64)).collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), ring.len() - 1, "a ring meets itself: {ring:?}");
            for pair in ring.windows(2) {
                let mut pair = [pair[0], pair[1]].map(|p| p.map(|v| v as i64));
                pair.sort_unstable();
                *borders.entry(pair).or_default() += 1;
            }
            if i > 0 {
                // Of three neighbouring corners of a hole one at most is on the outer ring.
                let middle = |k: usize| {
                    let [a, b] = [ring[k], ring[k + 1]];
                    [f64::midpoint(a[0], b[0]), f64::midpoint(a[1], b[1])]
                };
                assert!(inside(&polygon[0], middle(0)) || inside(&polygon[0], middle(1)));
            }
        }
    }
    assert!(borders.values().all(|&n| n <= 2));
    let borders: Vec<_> = borders.into_keys().collect();
    for (i, &a) in borders.iter().enumerate() {
        for &b in &borders[i + 1..] {
            assert!(!cross(a, b), "{a:?} and {b:?} cross");
        }
    }
}

/// Labels as patches: noise that is smoothed by majority, now and then with 255.
fn maps(side: usize) -> impl Strategy<Value = (usize, usize, Vec<u8>)> {
    (1..=side, 1..=side, 0..3_usize).prop_flat_map(|(w, h, rounds)| {
        let label = prop_oneof![9 => 0..4_u8, 1 => Just(255_u8)];
        proptest::collection::vec(label, w * h).prop_map(move |mut labels| {
            for _ in 0..rounds {
                let old = labels.clone();
                for (i, label) in labels.iter_mut().enumerate() {
                    let (x, y) = (i % w, i / w);
                    let mut votes = [0; 256];
                    for ny in y.saturating_sub(1)..(y + 2).min(h) {
                        for nx in x.saturating_sub(1)..(x + 2).min(w) {
                            votes[usize::from(old[ny * w + nx])] += 1;
                        }
                    }
                    let best = (0..256).max_by_key(|&l| votes[l]).unwrap();
                    *label = best as u8;
                }
            }
            (w, h, labels)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn polygons_are_the_labels((w, h, labels) in maps(12)) {
        let text = geojson(&labels, w, h, &names(4), &default_palette(4), None, 0.0).unwrap();
        let map = polygons(&text);
        sound(&map);
        for (&class, polygons) in &map {
            let pixels = labels.iter().filter(|&&l| usize::from(l) == class).count();
            let total: f64 = polygons.iter().flatten().map(area).sum();
            prop_assert_eq!(total, pixels as f64);
        }
        for (i, &label) in labels.iter().enumerate() {
            let centre = [(i % w) as f64 + 0.5, (i / w) as f64 + 0.5];
            let holders: Vec<usize> = map
                .iter()
                .filter(|(_, polygons)| {
                    polygons.iter().any(|rings| {
                        inside(&rings[0], centre) && !rings[1..].iter().any(|r| inside(r, centre))
                    })
                })
                .map(|(&class, _)| class)
                .collect();
            let wanted: &[usize] = if label < 4 { &[usize::from(label)] } else { &[] };
            prop_assert_eq!(holders, wanted);
        }
    }

    #[test]
    fn simplified_borders_stay_shared_apart_and_near((w, h, labels) in maps(24), tolerance in 0.3..4.0_f64) {
        // All pixels have a class here, so that together they must fill the picture.
        let labels: Vec<u8> = labels.iter().map(|&l| l % 4).collect();
        let palette = default_palette(4);
        let exact = geojson(&labels, w, h, &names(4), &palette, None, 0.0).unwrap();
        let text = geojson(&labels, w, h, &names(4), &palette, None, tolerance).unwrap();
        prop_assert!(text.len() <= exact.len());
        let (exact, map) = (polygons(&exact), polygons(&text));
        sound(&map);
        let total: f64 = map.values().flatten().flatten().map(area).sum();
        prop_assert_eq!(total, (w * h) as f64);
        for (class, polygons) in &exact {
            prop_assert_eq!(polygons.len(), map[class].len());
            let segments: Vec<[[f64; 2]; 2]> = map[class]
                .iter()
                .flatten()
                .flat_map(|ring| ring.windows(2).map(|p| [p[0], p[1]]))
                .collect();
            for p in polygons.iter().flatten().flatten() {
                let nearest = segments.iter().map(|&s| distance(*p, s)).fold(f64::MAX, f64::min);
                prop_assert!(nearest <= tolerance + 1e-9);
            }
        }
    }
}

fn distance([px, py]: [f64; 2], [[ax, ay], [bx, by]]: [[f64; 2]; 2]) -> f64 {
    let (dx, dy) = (bx - ax, by - ay);
    let t = (((px - ax) * dx + (py - ay) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
    (px - ax - t * dx).hypot(py - ay - t * dy)
}

#[test]
fn a_region_that_touches_itself_at_a_corner_has_simple_rings() {
    #[rustfmt::skip]
    let labels = [
        0, 0, 0, 0,
        0, 1, 0, 0,
        0, 0, 1, 0,
        0, 0, 0, 0,
    ];
    let text = geojson(&labels, 4, 4, &names(2), &default_palette(2), None, 0.0).unwrap();
    let map = polygons(&text);
    sound(&map);
    assert_eq!(map[&0][0].len(), 3, "two holes that meet at a corner");
    assert_eq!(
        map[&1].len(),
        2,
        "pixels that meet at a corner are two polygons"
    );
    #[rustfmt::skip]
    let labels = [
        0, 0, 0,
        0, 1, 0,
        0, 0, 1,
    ];
    let text = geojson(&labels, 3, 3, &names(2), &default_palette(2), None, 0.0).unwrap();
    let map = polygons(&text);
    sound(&map);
    assert_eq!(
        map[&0][0].len(),
        2,
        "the outer ring meets itself and is cut there"
    );
}

#[test]
fn known_systems_become_degrees_and_others_say_that_they_do_not() {
    let names = names(1);
    let palette = default_palette(1);
    let json = |geo: Option<&GeoRef>| -> Value {
        let text = geojson(&[0], 1, 1, &names, &palette, geo, 0.0).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let plain = json(None);
    assert!(plain["coordinates"].as_str().unwrap().contains("pixels"));
    assert_eq!(
        plain["features"][0]["geometry"]["coordinates"],
        serde_json::json!([[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]])
    );
    assert_eq!(plain["features"][0]["properties"]["area_px"], 1);
    assert_eq!(plain["features"][0]["properties"]["colour"], "#0072b2");
    let mut other = utm();
    other.epsg = Some(26_711);
    let member = json(Some(&other))["coordinates"].clone();
    assert!(member.as_str().unwrap().contains("26711"));

    let known = json(Some(&utm()));
    assert_eq!(known.get("coordinates"), None);
    let ring: Ring =
        serde_json::from_value(known["features"][0]["geometry"]["coordinates"][0].clone()).unwrap();
    assert!(area(&ring) > 0.0, "counterclockwise on the ground");
    // 100 m² of the grid; UTM is 0.04 % too small in the middle of a zone, here nearly so.
    let ground = known["features"][0]["properties"]["area_m2"]
        .as_f64()
        .unwrap();
    assert!((ground - 100.0).abs() < 0.2, "{ground}");
    // By PROJ: the north-western corner of a Sentinel-2 tile.
    assert!(
        ring.iter()
            .any(|p| (p[0] - 13.727_450_3).abs() < 2e-7 && (p[1] - 45.146_747_2).abs() < 2e-7),
        "{ring:?}"
    );
}

#[test]
fn names_with_quotes_and_controls_stay_json() {
    let name = "a \"b\" \\ \n \u{1} é 🌲".to_owned();
    let text = geojson(&[0], 1, 1, std::slice::from_ref(&name), &[], None, 0.0).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["features"][0]["properties"]["class"], name);
}

#[test]
fn the_same_file_is_read_by_the_label_reader() {
    let labels: Vec<u8> = (0..600).map(|i| (i % 5) as u8).collect();
    let file = label_geotiff(&labels, 30, 20, &default_palette(5), &names(5), None).unwrap();
    assert_eq!(read_label_png(&file, "l.tif").unwrap().data, labels);
}

#[test]
fn polygons_carry_probability_and_what_else_is_said() {
    let labels = [0, 0, 1, 255];
    let options = GeoJsonOptions {
        confidence: Some(&[254, 127, 0, 255]),
        properties: &[("source", "a \"b\".tif".into())],
        ..GeoJsonOptions::default()
    };
    let text =
        mmovseg_raster::geojson(&labels, 4, 1, &names(2), &default_palette(2), &options).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let features = json["features"].as_array().unwrap();
    assert_eq!(features.len(), 2, "no polygon where there is no data");
    assert_eq!(features[0]["properties"]["probability"], 0.75);
    assert_eq!(features[1]["properties"]["probability"], 0.0);
    assert_eq!(features[0]["properties"]["source"], "a \"b\".tif");
}

/// A file larger than a tile has overviews, whose directories follow the first one at the file's
/// start.
#[test]
fn large_files_have_overviews_and_their_pixels_come_back() {
    let (w, h) = (1100, 700);
    let labels: Vec<u8> = (0..w * h)
        .map(|i| (i % w / 137 + i / w / 91) as u8 % 7)
        .collect();
    let file = label_geotiff(&labels, w, h, &default_palette(7), &names(7), Some(&utm())).unwrap();
    assert_eq!(decode(&file, "l.tif").unwrap().samples, Samples::U8(labels));
    let mut decoder = tiff::decoder::Decoder::new(Cursor::new(&file)).unwrap();
    let mut sizes = vec![decoder.dimensions().unwrap()];
    while decoder.more_images() {
        decoder.next_image().unwrap();
        sizes.push(decoder.dimensions().unwrap());
    }
    assert_eq!(sizes, [(1100, 700), (550, 350), (275, 175)]);

    let bands = names(3);
    let shares: Vec<u8> = (0..w * h * 3)
        .map(|i| (i / 3 % w * 254 / w) as u8)
        .collect();
    let file = share_geotiff(&shares, w, h, &bands, None).unwrap();
    let raster = decode(&file, "p.tif").unwrap();
    assert_eq!((raster.bands, raster.samples), (3, Samples::U8(shares)));
    assert_eq!(raster.band_info[2].name.as_deref(), Some("class 2"));
    assert_eq!((raster.nodata, raster.alpha_band), (Some(255.0), None));
}
