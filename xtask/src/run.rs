//! Starting other programs: cargo with the shared target directory and the right toolchain, and
//! test runners whose counts are read from their output as it passes.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use mmovseg_test_support::SKIPPED_FILE;
use xtask::paths;

/// Which cargo builds for the browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// The one that is active in this folder.
    Active,
    /// A toolchain that rustup knows by this name.
    Named(String),
}

/// A cargo command in the project's folder, with the shared target directory.
pub fn cargo(toolchain: &Toolchain) -> Command {
    let mut command = match toolchain {
        Toolchain::Active => Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into())),
        Toolchain::Named(name) => {
            let mut command = Command::new("rustup");
            command.args(["run", name, "cargo"]);
            // Set by the cargo that started this program, for its own toolchain.
            command.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
            command
        }
    };
    command
        .current_dir(paths::project())
        .env("CARGO_TARGET_DIR", paths::target());
    command
}

/// Like [`cargo`], for wasm32, in a target folder of its own: cargo locks a target folder, and the
/// page is built at the same time as the native checks. `RUSTFLAGS` would silently replace the
/// flags in `.cargo/config.toml`, and the CPU tier would lose its SIMD.
pub fn wasm_cargo(toolchain: &Toolchain) -> Command {
    let mut command = cargo(toolchain);
    command
        .env("CARGO_TARGET_DIR", web_target())
        .env_remove("RUSTFLAGS");
    command
}

fn web_target() -> PathBuf {
    paths::target().join("web")
}

/// Like [`wasm_cargo`], for programs whose threads share memory. They need a standard library
/// compiled for that, which is an unstable option of the compiler (`RUSTC_BOOTSTRAP`). In a third
/// target folder, since many build scripts run again when that variable changes.
pub fn threads_cargo(toolchain: &Toolchain) -> Command {
    let features = "-Ctarget-feature=+simd128,+atomics,+bulk-memory";
    // What wasm-bindgen needs of the linker. A browser reserves addresses for the largest memory,
    // not memory.
    let linked = [
        "--shared-memory",
        "--import-memory",
        "--max-memory=4294967296",
        "--export=__wasm_init_tls",
        "--export=__tls_size",
        "--export=__tls_align",
        "--export=__tls_base",
    ];
    let linked: String = linked
        .iter()
        .map(|arg| format!(" -Clink-arg={arg}"))
        .collect();
    let mut command = wasm_cargo(toolchain);
    command
        .env("CARGO_TARGET_DIR", threads_target())
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
            features.to_owned() + &linked,
        );
    command
}

fn threads_target() -> PathBuf {
    paths::target().join("threads")
}

/// The folder of wasm files after a release build.
pub fn wasm_output() -> PathBuf {
    release_of(&web_target())
}

/// The folder of wasm files after a release build with threads.
pub fn threads_output() -> PathBuf {
    release_of(&threads_target())
}

fn release_of(target: &Path) -> PathBuf {
    target.join("wasm32-unknown-unknown").join("release")
}

/// Runs to the end with this terminal's input and output.
///
/// # Errors
/// When the program cannot be started or does not end with status 0.
pub fn run(command: &mut Command) -> Result<()> {
    let text = describe(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start `{text}`"))?;
    if !status.success() {
        bail!("`{text}` failed ({status})");
    }
    Ok(())
}

/// About how long something takes here that keeps one core busy for so many minutes.
pub fn minutes(of_one_core: f64) -> String {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    // The last steps of a build leave most cores idle, however many there are.
    let minutes = of_one_core / cores.min(8) as f64;
    if minutes < 1.5 {
        return "one minute".to_owned();
    }
    format!("{minutes:.0} minutes")
}

/// Runs without showing anything and tells whether it ended with status 0.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Standard output as text, when the program ended with status 0.
pub fn output(command: &mut Command) -> Option<String> {
    let out = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
    let out = out.ok().filter(|out| out.status.success())?;
    Some(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// The command line as a person would type it.
pub fn describe(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// What a test runner reported.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed or ran out of time.
    pub failed: usize,
    /// Tests that did not run, each as `TEST: REASON`.
    pub skipped: Vec<String>,
}

impl Counts {
    /// Adds the numbers of a summary line of `cargo nextest` or of libtest; other lines add
    /// nothing.
    fn read(&mut self, line: &str) {
        // Libtest's own line is not indented; nextest shows that of a failed test so, and counts it
        // itself.
        let nextest = line.trim_start().starts_with("Summary [");
        if !nextest && !line.starts_with("test result:") {
            return;
        }
        let words: Vec<&str> = line
            .split(|c: char| c.is_whitespace() || c == ',' || c == ';')
            .filter(|word| !word.is_empty())
            .collect();
        for pair in words.windows(2) {
            let Ok(count) = pair[0].parse::<usize>() else {
                continue;
            };
            match pair[1] {
                "passed" => self.passed += count,
                "failed" | "timed" => self.failed += count,
                _ => {}
            }
        }
    }

    /// Moves the tests that these notes name, `TEST<tab>REASON` a line, from the passed to the
    /// skipped ones.
    fn skip(&mut self, notes: &str) {
        let mut reasons = BTreeMap::new();
        for (test, reason) in notes.lines().filter_map(|line| line.split_once('\t')) {
            // A test may ask for several files that are missing.
            reasons.entry(test).or_insert(reason);
        }
        self.passed = self.passed.saturating_sub(reasons.len());
        self.skipped.extend(
            reasons
                .into_iter()
                .map(|(test, reason)| format!("{test}: {reason}")),
        );
    }
}

/// Runs a test runner, shows its output and counts its tests. Tests that report themselves as
/// skipped (`mmovseg_test_support::skip`) are passed to the runner and are counted apart here.
///
/// # Errors
/// When the program cannot be started; failed tests are no error here but `false`.
pub fn run_tests(command: &mut Command) -> Result<(bool, Counts)> {
    // Steps run at the same time: each has a file of its own.
    static STEPS: AtomicUsize = AtomicUsize::new(0);
    let step = STEPS.fetch_add(1, Ordering::Relaxed);
    let name = format!("skipped-{}-{step}.txt", std::process::id());
    let notes = paths::cache().join(name);
    fs::create_dir_all(paths::cache())?;
    fs::write(&notes, "").with_context(|| format!("cannot write {}", notes.display()))?;
    let (succeeded, mut counts) = count_tests(command.env(SKIPPED_FILE, &notes))?;
    counts.skip(&fs::read_to_string(&notes)?);
    fs::remove_file(&notes)?;
    Ok((succeeded, counts))
}

fn count_tests(command: &mut Command) -> Result<(bool, Counts)> {
    let text = describe(command);
    // nextest writes its summary to stderr, libtest to stdout: one pipe for each.
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{text}`"))?;
    let stderr = child.stderr.take().context("no pipe for stderr")?;
    let stdout = child.stdout.take().context("no pipe for stdout")?;
    let errors = std::thread::spawn(move || pass_on(stderr, std::io::stderr()));
    let mut counts = pass_on(stdout, std::io::stdout());
    if let Ok(more) = errors.join() {
        counts.passed += more.passed;
        counts.failed += more.failed;
    }
    Ok((child.wait()?.success(), counts))
}

fn pass_on(from: impl std::io::Read, mut to: impl Write) -> Counts {
    let mut counts = Counts::default();
    let mut lines = BufReader::new(from);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        // A closed terminal must not stop the tests.
        let _closed = to.write_all(&line).and_then(|()| to.flush());
        counts.read(&String::from_utf8_lossy(&line));
        line.clear();
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::Counts;

    fn read(line: &str) -> (usize, usize) {
        let mut counts = Counts::default();
        counts.read(line);
        (counts.passed, counts.failed)
    }

    #[test]
    fn tests_that_skip_themselves_are_counted_once_and_not_as_passed() {
        let mut counts = Counts {
            passed: 9,
            failed: 1,
            skipped: Vec::new(),
        };
        counts.skip("b\tno data\na\tno browser\nb\tno more data\n");
        assert_eq!((counts.passed, counts.failed), (7, 1));
        assert_eq!(counts.skipped, ["a: no browser", "b: no data"]);
    }

    #[test]
    fn summaries_are_counted_and_other_lines_are_not() {
        assert_eq!(
            read(
                "     Summary [   0.004s] 10 tests run: 8 passed (1 slow), 1 failed, 1 timed out, 3 skipped"
            ),
            (8, 2)
        );
        assert_eq!(
            read("test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out"),
            (3, 1)
        );
        assert_eq!(read("12 passed in the log of a test"), (0, 0));
        assert_eq!(
            read("    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured"),
            (0, 0)
        );
    }
}
