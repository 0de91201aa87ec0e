//! Set-up: checks for each tool, installs it where the system allows, and otherwise says how to get
//! it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use xtask::browser::{Browser, Found};
use xtask::paths;

use crate::run::{Toolchain, cargo, minutes, output, run, succeeds};

const WASM: &str = "wasm32-unknown-unknown";
const TRUNK_VERSION: &str = "0.21.14";
const BINARYEN_VERSION: &str = "132.0.0";
const AXE_VERSION: &str = "4.14.1";
/// The oldest wasm-opt on the `PATH` that understands what rustc 1.95 writes.
const OLDEST_BINARYEN: u32 = 120;
/// Debian's compiler with the sources of its standard library, and the linker it names.
const DEBIAN_RUST: &[&str] = &[
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "rust-web-llvm",
    "lld-22",
];
const DEBIAN_TOOLCHAIN: &str = "debian";

/// What building the page needs.
#[derive(Debug, Clone)]
pub struct WebTools {
    /// The cargo that has a standard library for wasm32.
    pub toolchain: Toolchain,
    /// The cargo that has the standard library's sources, for memory that threads share.
    pub threads_toolchain: Toolchain,
    /// Makes wasm smaller and faster; the page also works without.
    pub wasm_opt: Option<PathBuf>,
}

fn say(text: &str) {
    eprintln!("[setup] {text}");
}

/// Everything that building the page needs, installed where missing.
///
/// # Errors
/// Names the first tool that is missing and cannot be installed, with the way to get it.
pub fn web_tools() -> Result<WebTools> {
    Ok(WebTools {
        wasm_opt: wasm_opt(),
        ..compilers()?
    })
}

/// What compiling the page needs, without wasm-opt.
///
/// # Errors
/// Like [`web_tools`].
pub fn compilers() -> Result<WebTools> {
    let toolchain = wasm_toolchain()?;
    Ok(WebTools {
        threads_toolchain: with_sources(&toolchain)?,
        toolchain,
        wasm_opt: None,
    })
}

// ---- Rust's standard library for wasm32 ----

/// Finds or installs a cargo that can build for wasm32. `$MMOVSEG_WASM_TOOLCHAIN` names a rustup
/// toolchain to use instead of the search.
fn wasm_toolchain() -> Result<Toolchain> {
    if let Some(name) = env::var("MMOVSEG_WASM_TOOLCHAIN")
        .ok()
        .filter(|n| !n.is_empty())
    {
        let toolchain = Toolchain::Named(name.clone());
        ensure!(
            builds_wasm(&toolchain),
            "MMOVSEG_WASM_TOOLCHAIN names `{name}`, which cannot build for {WASM}; \
             install its target or unset the variable"
        );
        return Ok(toolchain);
    }
    let debian = Toolchain::Named(DEBIAN_TOOLCHAIN.into());
    for toolchain in [Toolchain::Active, debian.clone()] {
        if builds_wasm(&toolchain) {
            return Ok(toolchain);
        }
    }
    say(&format!("Rust's standard library for {WASM} is missing"));
    // rustup retries for long when it is offline, hence the limit on retries.
    if run(Command::new("rustup")
        .args(["target", "add", WASM])
        .env("RUSTUP_MAX_RETRIES", "1")
        .env_remove("RUST_BACKTRACE"))
    .is_ok()
        && builds_wasm(&Toolchain::Active)
    {
        return Ok(Toolchain::Active);
    }
    say("rustup cannot fetch it; building it from Debian's sources");
    debian_wasm_std().with_context(|| {
        format!(
            "Rust has no standard library for {WASM}. {}",
            way_out(&format!("target add {WASM}"))
        )
    })?;
    ensure!(
        builds_wasm(&debian),
        "the standard library built from Debian's sources does not link; \
         remove /usr/lib/rustlib/{WASM}/lib and try again"
    );
    Ok(debian)
}

/// Finds or installs a cargo with the sources of the standard library: Rust ships none for wasm32
/// that was compiled for memory shared by threads.
fn with_sources(toolchain: &Toolchain) -> Result<Toolchain> {
    if has_sources(toolchain) {
        return Ok(toolchain.clone());
    }
    say("the sources of Rust's standard library are missing");
    let mut add = Command::new("rustup");
    add.args(["component", "add", "rust-src"]);
    if let Toolchain::Named(name) = toolchain {
        add.args(["--toolchain", name]);
    }
    add.env("RUSTUP_MAX_RETRIES", "1")
        .env_remove("RUST_BACKTRACE");
    if run(&mut add).is_ok() && has_sources(toolchain) {
        return Ok(toolchain.clone());
    }
    say("rustup cannot fetch them; taking Debian's");
    let debian = debian_toolchain().and_then(|debian| {
        ensure!(has_sources(&debian), "Debian's packages hold none");
        Ok(debian)
    });
    debian.with_context(|| {
        format!(
            "The sources of Rust's standard library are missing. {}",
            way_out("component add rust-src")
        )
    })
}

/// What a user can do when neither `rustup` with these arguments nor Debian's packages worked.
fn way_out(words: &str) -> String {
    format!(
        "Run `rustup {words}` where rustup has a network, or on Debian as root `apt-get install {}`, then try again",
        DEBIAN_RUST.join(" ")
    )
}

fn has_sources(toolchain: &Toolchain) -> bool {
    output(rustc(toolchain).args(["--print", "sysroot"])).is_some_and(|sysroot| {
        Path::new(&sysroot)
            .join("lib/rustlib/src/rust/library/std/Cargo.toml")
            .is_file()
    })
}

/// The compiler of a toolchain.
fn rustc(toolchain: &Toolchain) -> Command {
    match toolchain {
        Toolchain::Active => Command::new("rustc"),
        Toolchain::Named(name) => {
            let mut command = Command::new("rustup");
            command.args(["run", name, "rustc"]);
            command.env_remove("RUSTUP_TOOLCHAIN");
            command
        }
    }
}

/// Whether a tiny program compiles and links. Looking for folders is not enough: a library of
/// another compiler version, or a missing linker, fails only here.
fn builds_wasm(toolchain: &Toolchain) -> bool {
    let mut command = rustc(toolchain);
    let Ok(folder) = scratch("probe") else {
        return false;
    };
    let source = folder.join("probe.rs");
    if fs::write(&source, "fn main() { println!(\"{}\", 1); }").is_err() {
        return false;
    }
    let fine = succeeds(
        command
            .args(["--target", WASM, "--out-dir"])
            .arg(&folder)
            .arg(&source),
    );
    // A folder left in the cache does no harm.
    let _left = fs::remove_dir_all(folder);
    fine
}

/// An empty folder in the cache.
fn scratch(name: &str) -> Result<PathBuf> {
    let folder = paths::cache().join(format!("{name}-{}", std::process::id()));
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// Debian's compiler as a toolchain that rustup knows.
fn debian_toolchain() -> Result<Toolchain> {
    apt_install(DEBIAN_RUST)?;
    if !succeeds(Command::new("rustup").args(["run", DEBIAN_TOOLCHAIN, "rustc", "--version"])) {
        run(Command::new("rustup").args(["toolchain", "link", DEBIAN_TOOLCHAIN, "/usr"]))?;
    }
    Ok(Toolchain::Named(DEBIAN_TOOLCHAIN.into()))
}

/// Debian ships the sources of std but no std for wasm32: build it once, next to the native one.
fn debian_wasm_std() -> Result<()> {
    let library = Path::new("/usr/lib/rustlib").join(WASM).join("lib");
    let toolchain = debian_toolchain()?;
    say(&format!("building std for wasm32 (about {})", minutes(1.0)));
    let folder = scratch("wasm-std")?;
    fs::create_dir(folder.join("src"))?;
    fs::write(
        folder.join("Cargo.toml"),
        "[package]\nname = \"empty\"\nedition = \"2024\"\n[workspace]\n",
    )?;
    fs::write(folder.join("src/lib.rs"), "")?;
    run(cargo(&toolchain)
        .current_dir(&folder)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("RUSTFLAGS")
        .args(["build", "--release", "--quiet", "--target", WASM])
        .arg("-Zbuild-std=std,panic_abort"))?;

    let built = folder.join("target").join(WASM).join("release/deps");
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(&built)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
        if name.ends_with(".rlib") && !name.starts_with("libempty-") {
            files.push(path);
        }
    }
    ensure!(!files.is_empty(), "no library came out of building std");
    // Two versions of a library in one folder would be ambiguous to the compiler.
    run(as_root("rm")?.arg("-rf").arg(&library))?;
    run(as_root("mkdir")?.arg("-p").arg(&library))?;
    run(as_root("cp")?.args(&files).arg(&library))?;
    fs::remove_dir_all(folder)?;
    Ok(())
}

// ---- wasm-bindgen, wasm-opt, Trunk ----

/// The version of a package in `Cargo.lock`.
fn locked_version(package: &str) -> Result<String> {
    let lock = fs::read_to_string(paths::project().join("Cargo.lock"))
        .context("cannot read Cargo.lock")?;
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name).skip(1);
    lines
        .next()
        .and_then(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
        .map(str::to_owned)
        .with_context(|| format!("Cargo.lock has no {package}"))
}

/// Where [`install`] puts a program.
fn own_program(name: &str) -> PathBuf {
    let file = format!("{name}{}", env::consts::EXE_SUFFIX);
    paths::tools().join("bin").join(file)
}

/// Whether the second word of `program --version` is `version`.
fn has_version(program: &Path, version: &str) -> bool {
    output(Command::new(program).arg("--version"))
        .is_some_and(|text| text.split_whitespace().nth(1) == Some(version))
}

/// wasm-bindgen's command of the very version in `Cargo.lock`: Trunk needs it, and the test runner
/// comes with it. The build itself uses wasm-bindgen as a library.
///
/// # Errors
/// When it is missing and cannot be built.
pub fn wasm_bindgen() -> Result<PathBuf> {
    let version = locked_version("wasm-bindgen")?;
    let own = own_program("wasm-bindgen");
    for found in [paths::find_program(&["wasm-bindgen"]), Some(own.clone())] {
        let Some(found) = found else { continue };
        if has_version(&found, &version) {
            return Ok(found);
        }
    }
    say(&format!(
        "installing wasm-bindgen {version} (about {})",
        minutes(4.0)
    ));
    // Without --locked: its lock file may name crates that a mirror does not carry yet.
    install("wasm-bindgen-cli", &version, &[]).with_context(|| {
        format!(
            "wasm-bindgen {version} is missing; get it with \
                 `cargo install wasm-bindgen-cli --version {version}`"
        )
    })?;
    Ok(own)
}

/// wasm-bindgen's test runner, which lies next to wasm-bindgen.
///
/// # Errors
/// When it is missing and cannot be built.
pub fn wasm_test_runner() -> Result<PathBuf> {
    let wasm_bindgen = wasm_bindgen()?;
    let runner = wasm_bindgen.with_file_name(format!(
        "wasm-bindgen-test-runner{}",
        env::consts::EXE_SUFFIX
    ));
    ensure!(
        runner.is_file(),
        "wasm-bindgen-test-runner is missing next to {}; reinstall wasm-bindgen-cli",
        wasm_bindgen.display()
    );
    Ok(runner)
}

/// Trunk, for those who work on the page: `cargo xtask trunk serve`.
///
/// # Errors
/// When it is missing and cannot be built.
pub fn trunk() -> Result<PathBuf> {
    let own = own_program("trunk");
    if let Some(found) = paths::find_program(&["trunk"]) {
        return Ok(found);
    }
    if !own.is_file() {
        say(&format!(
            "installing Trunk {TRUNK_VERSION} (about {})",
            minutes(10.0)
        ));
        install("trunk", TRUNK_VERSION, &["--locked"]).with_context(|| {
            format!(
                "Trunk is missing; get it with \
                 `cargo install trunk --version {TRUNK_VERSION} --locked`"
            )
        })?;
    }
    Ok(own)
}

/// `cargo install` into the project's own tools, with little optimisation: these programs run for
/// seconds, and full optimisation takes minutes longer.
fn install(package: &str, version: &str, extra: &[&str]) -> Result<()> {
    let build = paths::cache().join("tools-build");
    fs::create_dir_all(&build)?;
    run(cargo(&Toolchain::Active)
        .current_dir(&build)
        .env("CARGO_TARGET_DIR", &build)
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .args(["install", "--quiet", package, "--version", version])
        .args(extra)
        .arg("--root")
        .arg(paths::tools()))?;
    fs::remove_dir_all(build)?;
    Ok(())
}

/// A current wasm-opt, when there is one or npm can fetch it.
fn wasm_opt() -> Option<PathBuf> {
    let own = paths::tools().join("node_modules/.bin/wasm-opt");
    if own.is_file() {
        return Some(own);
    }
    if let Some(found) = paths::find_program(&["wasm-opt"]) {
        let version = output(Command::new(&found).arg("--version")).unwrap_or_default();
        let number = version
            .split_whitespace()
            .find_map(|word| word.parse::<u32>().ok());
        if number.is_some_and(|number| number >= OLDEST_BINARYEN) {
            return Some(found);
        }
    }
    if let Some(npm) = paths::find_program(&["npm"]) {
        say("fetching wasm-opt with npm");
        let fetched = npm_install(&npm, &format!("binaryen@{BINARYEN_VERSION}"));
        if fetched.is_ok() && own.is_file() {
            return Some(own);
        }
    }
    say(
        "no wasm-opt: the page will work, but be larger and slower to start \
         (install Node.js with npm, or binaryen, to change that)",
    );
    None
}

/// axe-core, which checks the page's accessibility in the browser's tests. Without npm that test is
/// skipped.
pub fn axe() {
    if paths::tools()
        .join("node_modules/axe-core/axe.min.js")
        .is_file()
    {
        return;
    }
    let Some(npm) = paths::find_program(&["npm"]) else {
        say("no npm, so no axe-core: the accessibility check is skipped");
        return;
    };
    say("fetching axe-core with npm");
    if let Err(error) = npm_install(&npm, &format!("axe-core@{AXE_VERSION}")) {
        say(&format!(
            "axe-core cannot be fetched ({error:#}): the accessibility check is skipped"
        ));
    }
}

/// The folder of a package of npm's, fetched where missing: `name@version`.
///
/// # Errors
/// When npm is missing or cannot fetch it.
pub fn npm_package(name: &str, version: &str) -> Result<PathBuf> {
    let folder = paths::tools().join("node_modules").join(name);
    if !folder.is_dir() {
        let npm = paths::find_program(&["npm"])
            .with_context(|| format!("{name} comes from npm: install Node.js with npm"))?;
        npm_install(&npm, &format!("{name}@{version}"))?;
    }
    Ok(folder)
}

/// A package of npm's into the project's own tools.
fn npm_install(npm: &Path, package: &str) -> Result<()> {
    run(Command::new(npm)
        .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
        .arg(paths::tools())
        .arg(package)
        .stdout(Stdio::null()))
}

// ---- the browser and Vulkan ----

/// A browser with its driver. Chromium is installed where it is missing; Firefox is not, for only
/// whoever asks for it by name needs it.
///
/// # Errors
/// When either is missing and not installed.
pub fn browser(wanted: Browser) -> Result<Found> {
    match wanted {
        Browser::Chromium => wanted.find().or_else(|_| {
            say("installing Chromium and ChromeDriver");
            apt_install(&["chromium", "chromium-driver"]).context(
                "the browser tests need Chromium (or Chrome) and a ChromeDriver of the same version; \
                 install both, or set CHROME and CHROMEDRIVER to their paths",
            )?;
            wanted.find()
        }),
        Browser::Firefox => wanted
            .find()
            .context("install Firefox and geckodriver (`cargo install geckodriver`)"),
    }
}

/// A Vulkan loader and a driver for the native GPU path: Mesa's lavapipe where no GPU driver is
/// installed. Not fatal: without Vulkan only the CPU is tested.
pub fn vulkan() {
    if !cfg!(target_os = "linux") || has_vulkan() {
        return;
    }
    say("installing a Vulkan loader and Mesa's software driver");
    if let Err(error) = apt_install(&["libvulkan1", "mesa-vulkan-drivers"]) {
        say(&format!(
            "no Vulkan ({error:#}): native GPU tests are skipped; \
             install libvulkan1 and a driver, such as mesa-vulkan-drivers"
        ));
    }
}

fn has_vulkan() -> bool {
    let driver = env::var_os("VK_DRIVER_FILES").is_some()
        || env::var_os("VK_ICD_FILENAMES").is_some()
        || ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"]
            .iter()
            .filter_map(|folder| fs::read_dir(folder).ok())
            .any(|mut entries| entries.next().is_some());
    let loader = ["/sbin/ldconfig", "ldconfig"].iter().any(|program| {
        output(Command::new(program).arg("-p")).is_some_and(|list| list.contains("libvulkan.so.1"))
    });
    driver && loader
}

// ---- packages ----

/// `program`, with the rights to change the system.
fn as_root(program: &str) -> Result<Command> {
    if output(Command::new("id").arg("-u")).as_deref() == Some("0") {
        return Ok(Command::new(program));
    }
    if succeeds(Command::new("sudo").args(["-n", "true"])) {
        let mut command = Command::new("sudo");
        command.args(["-n", "env", "DEBIAN_FRONTEND=noninteractive", program]);
        return Ok(command);
    }
    bail!("not root, and sudo asks for a password")
}

/// Installs Debian packages without their recommendations.
fn apt_install(packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    ensure!(
        paths::find_program(&["apt-get"]).is_some(),
        "this system has no apt-get; get {names} with its own package manager"
    );
    let hint = || format!("run `apt-get install --no-install-recommends {names}` as root");
    let install = || -> Result<()> {
        run(as_root("apt-get")?
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "--yes", "--quiet", "--no-install-recommends"])
            .args(packages)
            .stdout(Stdio::null()))
    };
    as_root("true").with_context(hint)?;
    // With an old or empty package list this fails; try again after an update.
    if install().is_ok() {
        return Ok(());
    }
    run(as_root("apt-get")?
        .args(["update", "--quiet"])
        .stdout(Stdio::null()))
    .with_context(hint)?;
    install().with_context(hint)
}
