//! `cargo xtask test` and `check`: runs lints and tests, cheapest first, and prints a summary.

use std::fs;
use std::panic::resume_unwind;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xtask::browser::{Adapter, Browser, Found};
use xtask::paths;
use xtask::{BROWSER_TESTS, HEAVY};

use crate::run::{Counts, Toolchain, cargo, output, run, run_tests};
use crate::setup::{self, WebTools};
use crate::web;

/// Native packages without Burn that are kept out of [`HEAVY`], because their dependencies would
/// switch on features that make cargo build Burn a second time.
const LIGHT: &[&str] = &[
    "-p",
    "mmovseg-page",
    "-p",
    "mmovseg-protocol",
    "-p",
    "xtask",
];

struct Step {
    name: &'static str,
    result: Result<Counts>,
    took: Duration,
}

/// Steps that ran so far. The others run even if one fails, so that one run shows all failures.
#[derive(Default)]
struct Report {
    steps: Vec<Step>,
}

impl Report {
    /// Runs a step that passes or fails as a whole.
    fn gate(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) -> bool {
        self.step(name, || {
            work().map(|()| Counts {
                passed: 1,
                ..Counts::default()
            })
        })
    }

    /// Runs a test runner.
    fn tests(&mut self, name: &'static str, command: impl FnOnce() -> Result<Command>) -> bool {
        self.step(name, || {
            let (fine, mut counts) = run_tests(&mut command()?)?;
            if !fine && counts.failed == 0 {
                // The tests did not compile, or the runner ended before its summary.
                counts.failed = 1;
            }
            Ok(counts)
        })
    }

    fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<Counts>) -> bool {
        eprintln!("\n=== {name}");
        let start = Instant::now();
        let result = work();
        if let Err(error) = &result {
            eprintln!("{name}: {error:#}");
        }
        let fine = matches!(&result, Ok(counts) if counts.failed == 0);
        self.steps.push(Step {
            name,
            result,
            took: start.elapsed(),
        });
        fine
    }

    /// A step that cannot run because an earlier one failed.
    fn fail(&mut self, name: &'static str, reason: &'static str) {
        self.step(name, || bail!("{reason}"));
    }

    /// A step that this machine cannot run.
    fn skip(&mut self, name: &'static str, reason: &str) {
        self.step(name, || {
            Ok(Counts {
                skipped: vec![format!("{name}: {reason}")],
                ..Counts::default()
            })
        });
    }

    /// Prints the table and what was skipped; the last line is `N passed, N failed, N skipped`.
    fn finish(self) -> Result<()> {
        let mut total = Counts::default();
        println!("\n=== summary");
        for step in self.steps {
            let counts = step.result.unwrap_or_else(|_| Counts {
                failed: 1,
                ..Counts::default()
            });
            println!(
                "{:6} {:32} {:4} passed {:4} failed {:4} skipped {:7.1} s",
                if counts.failed == 0 { "ok" } else { "FAILED" },
                step.name,
                counts.passed,
                counts.failed,
                counts.skipped.len(),
                step.took.as_secs_f64()
            );
            total.passed += counts.passed;
            total.failed += counts.failed;
            total.skipped.extend(counts.skipped);
        }
        for test in &total.skipped {
            println!("skipped: {test}");
        }
        println!(
            "{} passed, {} failed, {} skipped",
            total.passed,
            total.failed,
            total.skipped.len()
        );
        if total.failed > 0 {
            bail!("some checks failed");
        }
        Ok(())
    }
}

/// Formatting and lints only.
///
/// # Errors
/// When one fails.
pub fn check() -> Result<()> {
    let mut report = Report::default();
    quick_lints(&mut report);
    native_lints(&mut report);
    report.finish()
}

/// Everything: lints, native tests, and unless `native_only` the page, the golden tests and the
/// page in Chromium.
///
/// # Errors
/// When anything fails.
pub fn test(native_only: bool) -> Result<()> {
    let mut report = Report::default();
    setup::vulkan();
    quick_lints(&mut report);
    if native_only {
        native(&mut report);
        return report.finish();
    }

    let mut tools = None;
    report.gate("set up wasm and the browser", || {
        tools = Some((setup::web_tools()?, setup::browser(Browser::Chromium)?));
        Ok(())
    });
    let Some((tools, browser)) = tools else {
        native(&mut report);
        return report.finish();
    };
    // At the same time: each leaves a core idle for much of its time.
    let (page, built) = thread::scope(|scope| {
        let page = scope.spawn(|| page(&tools));
        native(&mut report);
        page.join().unwrap_or_else(|panic| resume_unwind(panic))
    });
    report.steps.extend(page.steps);
    report.tests("golden and decoding tests in Chromium", || {
        golden(&tools, &browser)
    });
    if built {
        report.tests("page in Chromium", || Ok(in_browser(&browser)));
    } else {
        report.fail("page in Chromium", "there is no page to test");
    }
    report.finish()
}

/// Lints for the browser's target and builds the page; tells whether that succeeded.
fn page(tools: &WebTools) -> (Report, bool) {
    let mut report = Report::default();
    if matches!(tools.toolchain, Toolchain::Active) {
        report.gate("clippy, wasm32", || web::lint(tools));
    } else {
        report.skip(
            "clippy, wasm32",
            "the toolchain that builds for wasm32 has no clippy",
        );
    }
    let built = report.gate("build the page", || web::build(tools, &paths::dist()));
    (report, built)
}

/// The golden tests of the model and the tests of decoding in one browser, alone.
///
/// # Errors
/// When the set-up or a test fails.
pub fn test_wasm(browser: Browser) -> Result<()> {
    let (tools, browser) = (setup::web_tools()?, setup::browser(browser)?);
    let mut report = Report::default();
    report.tests("golden and decoding tests", || golden(&tools, &browser));
    report.finish()
}

/// The tests of the page in one browser, alone, on a fresh build.
///
/// # Errors
/// When the set-up, the build or a test fails.
pub fn test_browser(browser: Browser, build: bool) -> Result<()> {
    let browser = setup::browser(browser)?;
    if build {
        web::build(&setup::web_tools()?, &paths::dist())?;
    }
    let mut report = Report::default();
    report.tests("page", || Ok(in_browser(&browser)));
    if browser.kind() == Browser::Firefox {
        for name in NOT_IN_FIREFOX {
            report.skip(name, "Firefox's driver cannot run it");
        }
    }
    report.finish()
}

/// Lints that need neither Burn nor a browser.
fn quick_lints(report: &mut Report) {
    report.gate("rustfmt", || {
        run(cargo(&Toolchain::Active).args(["fmt", "--all", "--check"]))
    });
    // In the release profile, whose build scripts and macros the other steps use too.
    report.gate("clippy, page and tools", || {
        run(cargo(&Toolchain::Active)
            .args(["clippy", "--release", "--all-targets"])
            .args(LIGHT)
            .args(["-p", BROWSER_TESTS, "--", "-D", "warnings"]))
    });
}

fn native_lints(report: &mut Report) {
    report.gate("clippy, native", || {
        run(cargo(&Toolchain::Active)
            .args(["clippy", "--release", "--all-targets"])
            .args(HEAVY)
            .args(["--", "-D", "warnings"]))
    });
}

/// Native lints and tests.
fn native(report: &mut Report) {
    native_lints(report);
    report.tests("tests of page and tools", || Ok(runner(LIGHT)));
    report.tests("native tests", || Ok(runner(HEAVY)));
    report.tests("doc tests", || {
        let mut command = cargo(&Toolchain::Active);
        command.args(["test", "--release", "--doc"]).args(HEAVY);
        Ok(command)
    });
}

/// `cargo nextest` where it is installed, else `cargo test`.
fn runner(selection: &[&str]) -> Command {
    let mut command = cargo(&Toolchain::Active);
    if has_nextest() {
        command
            .args(["nextest", "run", "--release", "--no-fail-fast"])
            .args(["--no-tests", "pass", "--config-file"])
            .arg(paths::project().join("xtask/assets/nextest.toml"));
    } else {
        command.args(["test", "--release", "--no-fail-fast"]);
        command.args(["--lib", "--bins", "--tests"]);
    }
    command.args(selection);
    command
}

fn has_nextest() -> bool {
    output(cargo(&Toolchain::Active).args(["nextest", "--version"])).is_some()
}

/// Tests of the page that Firefox's driver cannot run: it cannot give a folder to an input, builds
/// a paste without files, and has no developer tools to set dark colours or to log the console.
const NOT_IN_FIREFOX: [&str; 4] = [
    "a_package_opens_from_a_folder_or_an_address_and_is_checked",
    "files_can_be_pasted_and_dropped",
    "axe_finds_nothing_serious_at_any_width_in_light_and_dark",
    "a_failing_test_reports_the_console",
];

fn in_browser(browser: &Found) -> Command {
    setup::axe();
    let mut command = runner(&["-p", BROWSER_TESTS]);
    if has_nextest() {
        // Timeouts are chosen for two at once; nextest.toml lists those that run alone.
        command.args(["--test-threads", "2"]);
    } else {
        command.env("RUST_TEST_THREADS", "1");
    }
    if browser.kind() == Browser::Firefox {
        let skipped = NOT_IN_FIREFOX.iter().flat_map(|name| ["--skip", *name]);
        command.arg("--").args(skipped);
    }
    command
        .envs(browser.variables())
        .env("MMOVSEG_DIST_DIR", paths::dist());
    command
}

/// The integration tests of the golden crate and of decoding, built for wasm32 and run by
/// wasm-bindgen's runner.
fn golden(tools: &WebTools, browser: &Found) -> Result<Command> {
    let file = paths::cache().join("webdriver.json");
    fs::create_dir_all(paths::cache())?;
    let wanted = browser.capabilities(Adapter::Software, None);
    fs::write(&file, wanted.to_string())
        .with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = web::golden_tests(tools);
    command
        .env(
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER",
            setup::wasm_test_runner()?,
        )
        .envs(browser.variables())
        .env("WASM_BINDGEN_TEST_WEBDRIVER_JSON", file)
        .env("WASM_BINDGEN_TEST_DRIVER_TIMEOUT", "60")
        .env("WASM_BINDGEN_TEST_TIMEOUT", "1800");
    Ok(command)
}
