//! Reads the files of `generate.py` with this project's reader and with `tiff-reader`, and compares
//! every sample, size, mask, no-data value and place with what GDAL read.
//!
//! `raster-compare FOLDER` prints what is wrong or refused and the table;
//! `raster-compare time FILE...` prints milliseconds of each reader.

mod ours;
mod theirs;
mod truth;

use std::path::PathBuf;
use std::time::Instant;

use truth::{Found, Truth};

/// A reader: bytes of a file to what it found, or why it refuses.
type Reader = fn(&[u8]) -> Result<Found, String>;

const READERS: [(&str, Reader); 2] = [("ours", ours::read), ("tiff-reader", theirs::read)];

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("time") => time(&arguments.split_off(1)),
        Some(folder) => compare(folder),
        None => eprintln!("raster-compare FOLDER | raster-compare time FILE..."),
    }
}

fn compare(folder: &str) {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder that generate.py wrote")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect();
    paths.sort();
    std::panic::set_hook(Box::new(|_| {}));
    let mut kinds: Vec<String> = Vec::new();
    // Right, wrong and refused files of each reader, by kind.
    let mut table: Vec<[[usize; 3]; READERS.len()]> = Vec::new();
    for path in &paths {
        let truth = Truth::open(path);
        let bytes = std::fs::read(path.with_extension("tif")).expect("the file");
        let file = path.file_stem().unwrap_or_default().to_string_lossy();
        let row = kinds.iter().position(|kind| kind == truth.kind());
        let row = row.unwrap_or_else(|| {
            kinds.push(truth.kind().into());
            table.push([[0; 3]; READERS.len()]);
            table.len() - 1
        });
        for (reader, (name, read)) in READERS.into_iter().enumerate() {
            let (outcome, why) = match std::panic::catch_unwind(|| read(&bytes)) {
                Err(_) => (2, "panic".into()),
                Ok(Err(why)) => (2, why),
                Ok(Ok(found)) => match truth.differences(&found).as_slice() {
                    [] => (0, String::new()),
                    list => (1, list.join("; ")),
                },
            };
            table[row][reader][outcome] += 1;
            if outcome > 0 {
                println!(
                    "{name}\t{}\t{file}\t{why}",
                    ["", "wrong", "refused"][outcome]
                );
            }
        }
    }
    let mut sum = [[0; 3]; READERS.len()];
    for readers in &table {
        for (sum, counts) in sum.iter_mut().flatten().zip(readers.iter().flatten()) {
            *sum += counts;
        }
    }
    kinds.push("all".into());
    table.push(sum);
    println!(
        "right / silently wrong / refused: {}, {}",
        READERS[0].0, READERS[1].0
    );
    for (kind, readers) in kinds.iter().zip(&table) {
        let files: usize = readers[0].iter().sum();
        let cells = readers.map(|[right, wrong, refused]| format!("{right} / {wrong} / {refused}"));
        println!("| {kind} | {files} | {} |", cells.join(" | "));
    }
}

fn time(files: &[String]) {
    const ROUNDS: usize = 5;
    const PIXELS: [fn(&[u8]) -> usize; READERS.len()] = [ours::pixels, theirs::pixels];
    for path in files {
        let bytes = std::fs::read(path).expect("the file");
        let mut least = [[f64::MAX; 2]; READERS.len()];
        // In turns, so that a busy moment of the machine meets both.
        for _ in 0..ROUNDS {
            for (read, least) in PIXELS.iter().zip(&mut least) {
                let (start, cpu) = (Instant::now(), cpu_ms());
                assert!(std::hint::black_box(read(&bytes)) > 0, "{path} is read");
                let now = [start.elapsed().as_secs_f64() * 1e3, cpu_ms() - cpu];
                *least = [0, 1].map(|i| least[i].min(now[i]));
            }
        }
        for ((name, _), [wall, cpu]) in READERS.iter().zip(least) {
            println!("{path}\t{name}\t{wall:.0} ms, {cpu:.0} ms of CPU");
        }
    }
}

/// CPU time of all threads of this process on Linux, in steps of 10 ms; 0 elsewhere.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        * 10.0
}
