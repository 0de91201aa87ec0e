//! What tests of several crates share: skipping with a reason, data that is not in the repository,
//! and fuzzing.
//!
//! A test that cannot run calls [`skip`] and returns. Rust's test runner counts it as passed;
//! `cargo xtask test` names a file in [`SKIPPED_FILE`], reads there which tests were skipped and
//! why, and counts them apart.

pub mod fuzz;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The variable that names the file to which skipped tests are appended, one `TEST<tab>REASON` a
/// line.
pub const SKIPPED_FILE: &str = "MMOVSEG_SKIPPED_FILE";

/// The variable that names the data folder.
pub const DATA_FOLDER: &str = "MMOVSEG_TEST_DATA";

/// Reports that the running test does not run, and why. The caller returns at once.
pub fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
    record(reason);
}

/// A file or folder of the data folder: `$MMOVSEG_TEST_DATA`, else `shared` beside the checkout.
/// Where it is missing, the running test is reported as skipped.
#[must_use]
pub fn data(path: &str) -> Option<PathBuf> {
    let found = optional_data(path);
    if found.is_none() {
        skip(&format!("the data folder has no {path}"));
    }
    found
}

/// Like [`data`], for a test that runs without it as well.
#[must_use]
pub fn optional_data(path: &str) -> Option<PathBuf> {
    let folder =
        std::env::var_os(DATA_FOLDER).map_or_else(|| project().join("../shared"), PathBuf::from);
    Some(folder.join(path)).filter(|found| found.exists())
}

/// The checkpoint fixture of one variant, `b` or `l`: released layout, tiny sizes, values by
/// [`fixture_value`].
#[must_use]
pub fn checkpoint(variant: &str) -> PathBuf {
    project()
        .join("tests/checkpoints")
        .join(format!("{variant}.pth"))
}

/// Another checkpoint fixture by its file name: `clip.pt` and `jbu.ckpt`, made by the same script.
#[must_use]
pub fn checkpoint_file(name: &str) -> PathBuf {
    project().join("tests/checkpoints").join(name)
}

/// The checkout of the running test. A build folder shared by checkouts may hold a program that was
/// compiled in another one.
fn project() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
        .join("../..")
}

/// Value `index` of the tensor `name` in the checkpoint fixtures, as `tests/checkpoints/make.py`
/// computes it: a multiple of 1/64 in −0.5..0.5, from FNV-1a over the name and a multiplicative
/// step over the index.
#[must_use]
pub fn fixture_value(name: &str, index: usize) -> f32 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let mixed = hash.wrapping_add(index as u32).wrapping_mul(0x9e37_79b1);
    (mixed >> 26) as f32 / 64.0 - 0.5
}

fn record(reason: &str) {
    let Some(file) = std::env::var_os(SKIPPED_FILE) else {
        return;
    };
    let thread = std::thread::current();
    // nextest tells the name; libtest names the thread after the test.
    let test = std::env::var("NEXTEST_TEST_NAME")
        .ok()
        .or_else(|| thread.name().map(str::to_owned))
        .unwrap_or_else(|| "a test".to_owned());
    let line = format!("{test}\t{}\n", reason.replace(['\t', '\n'], " "));
    // One write: tests of several processes append to the same file.
    let written = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&file)
        .and_then(|mut file| file.write_all(line.as_bytes()));
    if let Err(error) = written {
        panic!(
            "cannot note a skipped test in {}: {error}",
            Path::new(&file).display()
        );
    }
}
