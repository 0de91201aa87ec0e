//! Building the site, a folder of static files: the page, the engine's two programs with their
//! bindings, and the models.
//!
//! The engine is built twice: for the CPU, with threads that share memory, and for WebGPU, whose
//! layer does not compile for shared memory. A site may hold one of them alone; the page reads in
//! `index.html` which are there.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::panic::resume_unwind;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result};
use wasm_bindgen_cli_support::Bindgen;
use xtask::paths;

use crate::html::plain_html;
use crate::run::{run, threads_cargo, threads_output, wasm_cargo, wasm_output};
use crate::setup::WebTools;
use crate::site;

const WORKER_JS: &str = include_str!("../../web/worker/worker.js");

/// Starts the page, once it is isolated (`web/page/isolate.js`): a file of its own, since the
/// policy allows no scripts within the page.
const START_JS: &str = "import { isolated } from \"./isolate.js\";
if (await isolated()) {
  const { default: init } = await import(\"./page.js\");
  await init({ module_or_path: \"./page_bg.wasm\" });
}
";

/// The crate of the page.
const PAGE: &str = "mmovseg-page";

/// The crate of the engine's Worker, and the program that cargo writes for it.
const WORKER: &str = "mmovseg-worker";
const WORKER_PROGRAM: &str = "mmovseg_worker";

/// The crate of golden tests that also run in the browser.
pub const GOLDEN_TESTS: &str = "mmovseg-golden-tests";

/// The crate whose decoding tests also run in the browser.
const RASTER: &str = "mmovseg-raster";

/// A program of the engine that the page's Worker loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// For the CPU, with threads.
    Cpu,
    /// For WebGPU; it computes on the CPU too, with one thread.
    Gpu,
}

impl Engine {
    /// Both.
    pub const ALL: &[Self] = &[Self::Cpu, Self::Gpu];

    /// What `index.html` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
        }
    }
}

/// `cargo VERB` for wasm32 over these packages. Packages with the engine are never selected
/// together with the page: cargo unites the features of what is selected, and the engine's
/// dependencies would be compiled a second time.
fn wasm_command(tools: &WebTools, verb: &str, packages: &[&str]) -> Command {
    let mut command = wasm_cargo(&tools.toolchain);
    command.args([verb, "--release", "--target", "wasm32-unknown-unknown"]);
    for package in packages {
        command.args(["-p", package]);
    }
    command
}

/// Lints what only the browser's target compiles.
///
/// # Errors
/// When there is one.
pub fn lint(tools: &WebTools) -> Result<()> {
    for packages in [[PAGE].as_slice(), &[WORKER, GOLDEN_TESTS]] {
        run(wasm_command(tools, "clippy", packages).args(["--", "-D", "warnings"]))?;
    }
    Ok(())
}

/// `cargo test` of the golden and the decoding tests for wasm32.
pub fn golden_tests(tools: &WebTools) -> Command {
    // With the Worker, as when the site is built, so that the engine is compiled once. It has no
    // integration tests.
    let mut command = wasm_command(tools, "test", &[WORKER, GOLDEN_TESTS, RASTER]);
    command.args(["--test", "*"]);
    command
}

/// Whether the engine for WebGPU has been compiled before, so that building the site takes little
/// time.
pub fn was_built() -> bool {
    wasm_output().join(file_of(WORKER_PROGRAM)).is_file()
}

/// Builds the whole site into `folder`, which is replaced when everything is built.
///
/// # Errors
/// When a build step fails or `index.html` names a file that is missing.
pub fn build(tools: &WebTools, folder: &Path) -> Result<()> {
    assemble(tools, folder, Engine::ALL, true)
}

/// Builds what can be served soonest: the page and the engine for the CPU, neither optimised nor
/// compressed.
///
/// # Errors
/// When a build step fails or `index.html` names a file that is missing.
pub fn build_first(tools: &WebTools, folder: &Path) -> Result<()> {
    assemble(tools, folder, &[Engine::Cpu], false)
}

/// Builds the site with these engines. `finish` adds what makes it smaller, which takes minutes.
fn assemble(tools: &WebTools, folder: &Path, with: &[Engine], finish: bool) -> Result<()> {
    let staging = paths::beside(folder, "new");
    if staging.exists() {
        fs::remove_dir_all(&staging)
            .with_context(|| format!("cannot replace {}", staging.display()))?;
    }
    fs::create_dir_all(&staging)?;
    say("compiling the page");
    run(&mut wasm_command(tools, "build", &[PAGE]))?;
    engines(tools, &staging, with, finish)?;
    models(&staging)?;
    let wasm = wasm_output().join(file_of(PAGE));
    bind(tools, &wasm, "page", &staging, finish.then_some(&["-Oz"]))?;
    let source = paths::project().join("web/page");
    let html =
        fs::read_to_string(source.join("index.html")).context("cannot read web/page/index.html")?;
    let engines: Vec<_> = with.iter().map(|engine| engine.name()).collect();
    let html = plain_html(&html, &source, &staging, &engines)?;
    fs::write(staging.join("index.html"), html)?;
    fs::write(staging.join("start.js"), START_JS)?;
    site::write_hosting_files(&staging)?;
    site::keep_offline(&staging)?;
    if finish {
        say("compressing");
        site::compress(&staging)?;
    }
    // The site may be served meanwhile.
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot replace {}", folder.display()))?;
    }
    fs::rename(&staging, folder).with_context(|| format!("cannot write {}", folder.display()))
}

/// Adds the engines and the models to `folder`: what Trunk cannot build by itself.
///
/// # Errors
/// When a build step fails.
pub fn build_engine(tools: &WebTools, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    engines(tools, folder, Engine::ALL, true)?;
    models(folder)
}

/// Builds the bench's page into `folder`.
///
/// # Errors
/// When a build step fails.
pub fn build_bench(tools: &WebTools, folder: &Path) -> Result<()> {
    const BENCH: &str = "mmovseg-bench";
    run(&mut wasm_command(tools, "build", &[WORKER, BENCH]))?;
    paths::copy_tree(&paths::project().join("tests/bench/page"), folder)?;
    let program = "mmovseg_bench";
    let wasm = wasm_output().join(file_of(program));
    bind(tools, &wasm, program, folder, Some(&["-O2"]))?;
    compile_for_threads(tools, BENCH)?;
    add_cpu_engine(tools, program, folder, true)
}

/// Compiles these engines and puts them into `folder/engine`.
fn engines(tools: &WebTools, folder: &Path, with: &[Engine], finish: bool) -> Result<()> {
    let engine = folder.join("engine");
    fs::create_dir_all(&engine)?;
    fs::write(engine.join("worker.js"), WORKER_JS)?;
    // wasm-opt keeps one core busy for a minute; what is left to compile takes the others.
    thread::scope(|scope| {
        let gpu = if with.contains(&Engine::Gpu) {
            say("compiling the engine for WebGPU");
            run(&mut wasm_command(tools, "build", &[WORKER]))?;
            let wasm = wasm_output().join(file_of(WORKER_PROGRAM));
            let engine = &engine;
            Some(scope.spawn(move || {
                let optimisation = finish.then_some(["-O2"].as_slice());
                bind(tools, &wasm, WORKER_PROGRAM, engine, optimisation)
            }))
        } else {
            None
        };
        if with.contains(&Engine::Cpu) {
            say("compiling the engine for the CPU, with the standard library for threads");
            compile_for_threads(tools, WORKER)?;
            add_cpu_engine(tools, WORKER_PROGRAM, &engine, finish)?;
        }
        // A panic in the thread is a bug: pass it on.
        gpu.map_or(Ok(()), |gpu| {
            gpu.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    })
}

/// Compiles a package for the CPU alone, with threads.
fn compile_for_threads(tools: &WebTools, package: &str) -> Result<()> {
    run(threads_cargo(&tools.threads_toolchain)
        .args(["build", "--release", "--target", "wasm32-unknown-unknown"])
        .arg("-Zbuild-std=std,panic_abort")
        .args(["-p", package, "--no-default-features"])
        .args(["--features", "threads"]))
}

/// Puts the program that [`compile_for_threads`] gave into `cpu` within `folder`, and beside it
/// what starts its threads.
fn add_cpu_engine(tools: &WebTools, program: &str, folder: &Path, finish: bool) -> Result<()> {
    let wasm = threads_output().join(file_of(program));
    let optimisation = finish.then_some(["-O2", "--enable-threads"].as_slice());
    bind(tools, &wasm, program, &folder.join("cpu"), optimisation)?;
    let source = paths::project().join("web/threads");
    for script in ["threads.js", "helper.js"] {
        fs::copy(source.join(script), folder.join(script))?;
    }
    Ok(())
}

/// Copies the packages in `models/`.
fn models(folder: &Path) -> Result<()> {
    let models = paths::project().join("models");
    let mut found = false;
    for entry in fs::read_dir(&models).context("cannot read models/")? {
        let path = entry?.path();
        if path.join("model.json").is_file() {
            let name = path.file_name().context("a model without a name")?;
            paths::copy_tree(&path, &folder.join("models").join(name))?;
            found = true;
        }
    }
    if !found {
        say("models/ holds no model; the page will ask for one");
    }
    Ok(())
}

fn say(text: &str) {
    eprintln!("[web] {text}");
}

/// The wasm file that cargo writes for a package or a program.
fn file_of(name: &str) -> String {
    format!("{name}.wasm")
}

/// Runs wasm-bindgen on a wasm file, then wasm-opt with these options if any: `name.js` and
/// `name_bg.wasm` in `folder`.
fn bind(
    tools: &WebTools,
    input: &Path,
    name: &str,
    folder: &Path,
    optimisation: Option<&[&str]>,
) -> Result<()> {
    Bindgen::new()
        .input_path(input)
        .web(true)?
        .typescript(false)
        // The command line's default: the script finds the module beside it without being told.
        .omit_default_module_path(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .out_name(name)
        .generate(folder)
        .with_context(|| format!("cannot write the bindings of {}", input.display()))?;
    if let (Some(wasm_opt), Some(optimisation)) = (&tools.wasm_opt, optimisation) {
        optimise(
            wasm_opt,
            &folder.join(format!("{name}_bg.wasm")),
            optimisation,
        )?;
    }
    Ok(())
}

/// wasm-opt on a file in place. It takes minutes on the engine, so results are cached by content.
fn optimise(wasm_opt: &Path, wasm: &Path, optimisation: &[&str]) -> Result<()> {
    const ARGS: &[&str] = &[
        "--strip-debug",
        "--enable-simd",
        "--enable-bulk-memory",
        "--enable-bulk-memory-opt",
        "--enable-nontrapping-float-to-int",
        "--enable-sign-ext",
        "--enable-mutable-globals",
        "--enable-reference-types",
        "--enable-multivalue",
        "--enable-extended-const",
    ];
    let bytes = fs::read(wasm)?;
    let mut hasher = DefaultHasher::new();
    (&bytes, ARGS, optimisation).hash(&mut hasher);
    let folder = paths::cache().join("wasm-opt");
    let cached = folder.join(format!("{:016x}-{}.wasm", hasher.finish(), bytes.len()));
    if !cached.is_file() {
        say(&format!(
            "wasm-opt on {} ({} MB)",
            wasm.display(),
            bytes.len() / 1_000_000
        ));
        fs::create_dir_all(&folder)?;
        let fresh = cached.with_extension(format!("{}", std::process::id()));
        run(Command::new(wasm_opt)
            .args(optimisation)
            .args(ARGS)
            .arg(wasm)
            .arg("-o")
            .arg(&fresh))?;
        fs::rename(fresh, &cached)?;
    }
    fs::copy(&cached, wasm)?;
    Ok(())
}
