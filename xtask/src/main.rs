//! `cargo xtask`: sets up, builds, serves, tests and measures.

mod bench;
mod checks;
mod html;
mod run;
mod setup;
mod site;
mod web;

use std::env;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use xtask::browser::Browser;
use xtask::paths;
use xtask::server::{Mount, StaticServer, listen};

use crate::run::{Toolchain, minutes};

/// Sets up, builds, serves and tests mmovseg.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Set up what is missing, build the page and serve it on 127.0.0.1
    Serve {
        /// Port to listen on; 0 takes a free one
        #[arg(long, default_value_t = 8080)]
        port: u16,
        /// Serve dist/ as it is
        #[arg(long)]
        no_build: bool,
        /// Also serve this model package, at models/FOLDER-NAME; may be repeated
        #[arg(long, value_name = "FOLDER")]
        model: Vec<PathBuf>,
    },
    /// Set up what is missing and run every test, in Chromium too
    Test {
        /// Leave out what needs the browser: lints and native tests only
        #[arg(long)]
        native: bool,
    },
    /// The cheap part of `test`: formatting and lints
    Check,
    /// Install every tool: wasm32 std, wasm-bindgen, wasm-opt, Trunk, Chromium, Vulkan
    Setup,
    /// Build the page into dist/, as static files for any host, and print their sizes
    BuildWeb,
    /// Build the engine and the default model into dist/ (Trunk's hook)
    BuildEngine,
    /// The golden tests of the model and the tests of decoding in a browser
    TestWasm {
        /// Firefox must be installed, as geckodriver must
        #[arg(long, default_value = "chromium", value_name = "chromium|firefox", value_parser = Browser::of)]
        browser: Browser,
    },
    /// The tests of the page in a browser
    TestBrowser {
        /// Firefox must be installed, as geckodriver must
        #[arg(long, default_value = "chromium", value_name = "chromium|firefox", value_parser = Browser::of)]
        browser: Browser,
        /// Test dist/ as it is
        #[arg(long)]
        no_build: bool,
    },
    /// Time the network's parts beside PyTorch, onnxruntime and onnxruntime-web
    Bench(bench::Options),
    /// Run Trunk with the tools and the toolchain of this project, as in `trunk serve`
    #[command(disable_help_flag = true)]
    Trunk {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(task: Task) -> Result<()> {
    match task {
        Task::Serve {
            port,
            no_build,
            model,
        } => serve(port, no_build, &model),
        Task::Test { native } => checks::test(native),
        Task::Check => checks::check(),
        Task::Setup => {
            let tools = setup::web_tools()?;
            setup::wasm_bindgen()?;
            setup::vulkan();
            setup::browser(Browser::Chromium)?;
            setup::axe();
            setup::trunk()?;
            println!("all tools are there");
            if let Toolchain::Named(name) = tools.toolchain {
                println!("wasm32 builds use `cargo +{name}`");
            }
            Ok(())
        }
        Task::BuildWeb => {
            web::build(&setup::web_tools()?, &paths::dist())?;
            site::print_sizes(&paths::dist())
        }
        Task::BuildEngine => {
            let folder = env::var_os("TRUNK_STAGING_DIR").map_or_else(paths::dist, PathBuf::from);
            web::build_engine(&setup::web_tools()?, &folder)
        }
        Task::TestWasm { browser } => checks::test_wasm(browser),
        Task::TestBrowser { browser, no_build } => checks::test_browser(browser, !no_build),
        Task::Bench(options) => bench::bench(&options),
        Task::Trunk { arguments } => trunk(&arguments),
    }
}

fn serve(port: u16, no_build: bool, models: &[PathBuf]) -> Result<()> {
    let mut mounts = vec![Mount::root(&paths::dist())];
    for folder in models {
        let folder = folder
            .canonicalize()
            .with_context(|| format!("no model package at {}", folder.display()))?;
        let name = folder
            .file_name()
            .and_then(|name| name.to_str())
            .with_context(|| format!("{} has no usable name", folder.display()))?;
        mounts.push(Mount {
            prefix: format!("/models/{name}/"),
            folder,
        });
    }
    // The port may be taken: find out before building.
    let listener = listen(port)?;
    if no_build {
        return announce(listener, &mounts)?.wait();
    }
    if web::was_built() {
        web::build(&setup::web_tools()?, &paths::dist())?;
        return announce(listener, &mounts)?.wait();
    }
    let start = Instant::now();
    // The engine for the CPU has fewer dependencies and runs in every browser, so it is served
    // first.
    eprintln!(
        "[serve] first build: the page and the engine for the CPU, about {}; the engine for WebGPU follows while the page is \
         served, about {} more",
        minutes(FIRST_BUILD_MIN),
        minutes(WHOLE_BUILD_MIN)
    );
    web::build_first(&setup::compilers()?, &paths::dist())?;
    let server = announce(listener, &mounts)?;
    println!(
        "This took {:.1} minutes. The page computes on the CPU for now; the engine for WebGPU is being built, about {}.",
        start.elapsed().as_secs_f64() / 60.0,
        minutes(WHOLE_BUILD_MIN)
    );
    // If this fails, the page is served without it.
    match setup::web_tools().and_then(|tools| web::build(&tools, &paths::dist())) {
        Ok(()) => println!(
            "The engine for WebGPU is there after {:.1} minutes: reload the page at {}",
            start.elapsed().as_secs_f64() / 60.0,
            server.url()
        ),
        Err(error) => eprintln!(
            "error: {error:#}\nThe page is still served and computes on the CPU; `cargo xtask serve` tries again."
        ),
    }
    server.wait()
}

/// Minutes that the page and the engine for the CPU keep one core busy when nothing is built
/// (docs/performance.md, "First build").
const FIRST_BUILD_MIN: f64 = 22.0;

/// Minutes that the engine for WebGPU and the optimised site keep one core busy after that.
const WHOLE_BUILD_MIN: f64 = 25.0;

fn announce(listener: TcpListener, mounts: &[Mount]) -> Result<StaticServer> {
    let server = StaticServer::on(listener, mounts)?;
    println!("mmovseg is served at {}  (stop with Ctrl+C)", server.url());
    Ok(server)
}

/// Trunk finds wasm-bindgen and wasm-opt on the `PATH` and calls `cargo`, so both are prepared.
fn trunk(arguments: &[String]) -> Result<()> {
    let tools = setup::web_tools()?;
    let wasm_bindgen = setup::wasm_bindgen()?;
    let mut folders: Vec<PathBuf> = [Some(&wasm_bindgen), tools.wasm_opt.as_ref()]
        .into_iter()
        .flatten()
        .filter_map(|program| program.parent().map(PathBuf::from))
        .collect();
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let mut command = Command::new(setup::trunk()?);
    command
        .args(arguments)
        .current_dir(paths::project())
        .env("PATH", env::join_paths(folders)?)
        .env("CARGO_TARGET_DIR", paths::target())
        .env_remove("RUSTFLAGS");
    if let Toolchain::Named(name) = tools.toolchain {
        command.env("RUSTUP_TOOLCHAIN", name).env_remove("CARGO");
    }
    run::run(&mut command)
}
