//! The `mmovseg` command: a thin shell over the engine and the training.
//!
//! Each subcommand is a module: its `Args` hold what was typed, its `run` turns them into requests
//! to the engine and writes what comes back. Results go to files and stdout; stderr gets progress,
//! notes, and one line when something is wrong (exit status 2).

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod checkpoint;
mod classes;
mod convert;
mod display;
mod eval;
mod failure;
mod inputs;
mod job;
mod label_files;
mod large_scene;
mod layouts;
mod measure;
mod output;
mod pairs;
mod progress;
mod report;
mod scene;
mod segment;
mod trace;
mod train;
mod verify;

/// Open-vocabulary segmentation of optical and SAR tile pairs.
#[derive(Parser)]
#[command(name = "mmovseg", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Label every pixel of a tile pair with one of the classes
    Segment(segment::Args),
    /// Turn a released checkpoint into a model package
    Convert(convert::Args),
    /// Check a package's files and its golden self-test; exit status 1 when either fails
    Verify(verify::Args),
    /// Measure a model on a folder of tile pairs with ground truth
    Eval(eval::Args),
    /// Measure the default model on all that it is held to, as a table
    Report(measure::Args),
    /// Draw tile pairs with ground truth, as `eval` reads them
    Scene(scene::Args),
    /// Train the default model, stage by stage
    Train(train::Args),
    /// Time the stages of a run
    Bench(bench::Args),
    /// Write every stage of a run under its golden name
    Trace(trace::Args),
}

/// Tensors of megabytes come and go at each operation; the system's allocator gives each back to
/// the kernel, which clears its pages anew: a fifth of a training step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    display::silence_device_selection();
    failure::guard(|| {
        let cli = Cli::try_parse().or_else(failure::usage)?;
        // A pass is hundreds of short operations: the thread that asks for them takes part, since
        // to wake others each time and sleep meanwhile costs a tenth of nano's. Training waits for
        // threads of its own, which need the cores meanwhile.
        if !matches!(cli.command, Command::Train(_)) {
            rayon::ThreadPoolBuilder::new()
                .use_current_thread()
                .build_global()?;
        }
        match cli.command {
            Command::Segment(args) => return segment::run(args),
            Command::Convert(args) => convert::run(args),
            Command::Verify(args) => return verify::run(args),
            Command::Eval(args) => eval::run(args),
            Command::Report(args) => measure::run(args),
            Command::Scene(args) => scene::run(args),
            Command::Train(args) => train::run(args),
            Command::Bench(args) => bench::run(args),
            Command::Trace(args) => trace::run(args),
        }?;
        Ok(ExitCode::SUCCESS)
    })
}
