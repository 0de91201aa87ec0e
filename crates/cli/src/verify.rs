//! `mmovseg verify`: is a package whole, and does it compute here what it computed when made?

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use mmovseg_weights::{MANIFEST_FILE, parse_manifest, verify_hashes};

use crate::failure::chain;
use crate::inputs::{EngineArgs, load, read};
use crate::output::say;
use crate::progress::Progress;

#[derive(clap::Args)]
pub struct Args {
    /// Folder of the model package
    #[arg(value_name = "PATH")]
    package: PathBuf,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Exit status when a check fails, as against a command that cannot run.
const FAILED_CHECK: u8 = 1;

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let path = args.package.join(MANIFEST_FILE);
    let manifest = parse_manifest(&read(&path)?).with_context(|| path.display().to_string())?;
    let problems = verify_hashes(&args.package)?;
    for problem in &problems {
        say(&format!("hashes     FAILED  {problem}"));
    }
    if !problems.is_empty() {
        say("self-test  skipped until the files are whole");
        return Ok(ExitCode::from(FAILED_CHECK));
    }
    let (files, bytes) = (manifest.shards.len() + 1, manifest.total_bytes());
    say(&format!("hashes     ok  {files} files, {bytes} bytes"));

    let mut progress = Progress::new();
    let tested = load(&args.package, &args.engine, &mut |event| {
        progress.event(event)
    })
    .and_then(|mut session| {
        progress.step("self-test", 0, 1);
        let report = pollster::block_on(session.self_test())?;
        Ok((report, session.device_info().label()))
    });
    drop(progress);
    match tested {
        Ok((report, device)) => {
            let (verdict, code) = if report.passed {
                ("ok", ExitCode::SUCCESS)
            } else {
                ("FAILED", ExitCode::from(FAILED_CHECK))
            };
            say(&format!(
                "self-test  {verdict}  on {device}, largest error {:.1e} of {:.1e} allowed",
                report.max_error, report.tolerance
            ));
            Ok(code)
        }
        Err(error) => {
            say(&format!("self-test  FAILED  {}", chain(&error)));
            Ok(ExitCode::from(FAILED_CHECK))
        }
    }
}
