//! Mutated files through every reader: nothing panics, hangs or takes a gigabyte.
//!
//! A minute in the tests; for longer, say how many seconds:
//! `MMOVSEG_FUZZ_SECONDS=3600 cargo test --release -p mmovseg-raster --test fuzz -- --nocapture`.
//! A failure prints the seed of its input; `MMOVSEG_FUZZ_SEED` repeats it.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use common::{File, SIZE_PX, geo_keys, scale_and_tie_point, value};
use mmovseg_raster::{
    OpticalOptions, RasterFile, SarOptions, decode, default_palette, indexed_png, label_geotiff,
    open_pair, optical_to_rgb, read_label_png, sar_to_rgb,
};

/// Longest that one input may take on a machine that does other things too.
const SLOW: Duration = Duration::from_secs(10);

/// The numbers of Steele, Lea and Flood's SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

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

fn mutate(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    const EDGES: [u32; 9] = [0, 1, 2, 255, 256, 32_767, 65_535, 0x7fff_ffff, u32::MAX];
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(6) {
        let len = bytes.len();
        if len < 16 {
            break;
        }
        // Headers and directories decide more than pixels do.
        let at = match random.below(3) {
            0 => random.below(len.min(400)),
            1 => len - 1 - random.below(len.min(400)),
            _ => random.below(len),
        };
        match random.below(8) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => {
                let edge = EDGES[random.below(EDGES.len())].to_le_bytes();
                let end = (at + 4).min(len);
                bytes[at..end].copy_from_slice(&edge[..end - at]);
            }
            3 => {
                let edge = (EDGES[random.below(EDGES.len())] as u16).to_be_bytes();
                let end = (at + 2).min(len);
                bytes[at..end].copy_from_slice(&edge[..end - at]);
            }
            4 => bytes.truncate(at),
            5 => {
                let from = random.below(len);
                let count = random.below(64).min(len - from).min(len - at);
                let part = bytes[from..from + count].to_vec();
                bytes[at..at + count].copy_from_slice(&part);
            }
            6 => {
                let other = &seeds[random.below(seeds.len())];
                let count = random.below(128).min(other.len()).min(len - at);
                bytes[at..at + count].copy_from_slice(&other[..count]);
            }
            _ => {
                let count = random.below(32);
                bytes.splice(at..at, std::iter::repeat_n(random.next() as u8, count));
            }
        }
    }
    bytes
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

fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim_end().parse().ok()?;
    Some(kib * 1024)
}

#[test]
fn mutated_files_neither_panic_nor_hang() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seconds = number("MMOVSEG_FUZZ_SECONDS").unwrap_or(60);
    let seeds = seeds();
    let good = seeds[0].clone();
    let one = number("MMOVSEG_FUZZ_SEED");
    let started = Instant::now();
    // Every run of a minute sees other inputs; a failure names its own.
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let first = one.unwrap_or_else(|| clock.map_or(0, |now| now.as_nanos() as u64));
    let (mut inputs, mut slowest) = (0_u64, Duration::ZERO);
    while started.elapsed() < Duration::from_secs(seconds) {
        let seed = first.wrapping_add(inputs);
        let bytes = mutate(&seeds, &mut Random(seed));
        let begun = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| use_everything(&bytes, &good)));
        let took = begun.elapsed();
        assert!(
            result.is_ok(),
            "a panic: repeat it with MMOVSEG_FUZZ_SEED={seed}"
        );
        assert!(
            took < SLOW,
            "{took:?}: repeat it with MMOVSEG_FUZZ_SEED={seed}"
        );
        slowest = slowest.max(took);
        inputs += 1;
        if one.is_some() {
            break;
        }
    }
    let peak = peak_memory_bytes();
    eprintln!("{inputs} inputs in {seconds} s, slowest {slowest:?}, peak memory {peak:?} bytes");
    assert!(inputs > 0);
    // Two rasters of the limit at most, of which little is ever written to.
    assert!(peak.is_none_or(|bytes| bytes < 3 << 30), "{peak:?}");
}
