//! Every way to fail becomes one line on stderr and exit status 2.

use std::io::Write as _;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Once;

use crate::output::printable;

/// Status of a command that could not do its work.
const FAILED: u8 = 2;

/// Runs a command. An error, and even a bug that panics, ends in one line on stderr.
pub fn guard(command: impl FnOnce() -> anyhow::Result<ExitCode>) -> ExitCode {
    // A device's own threads may panic too, often one after another; the first says why.
    static FIRST: Once = Once::new();
    panic::set_hook(Box::new(|info| {
        FIRST.call_once(|| {
            let what = info.payload_as_str().unwrap_or("unknown");
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            complain(&format!(
                "internal error at {place}: {what}; please report it, or try --device cpu"
            ));
        });
    }));
    match panic::catch_unwind(AssertUnwindSafe(command)) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            complain(&chain(&error));
            ExitCode::from(FAILED)
        }
        Err(_) => ExitCode::from(FAILED),
    }
}

/// Help and version go to stdout and end the program; wrong usage becomes an error of one line.
pub fn usage<T>(error: clap::Error) -> anyhow::Result<T> {
    use clap::error::ErrorKind;
    if !error.use_stderr() {
        error.exit();
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        anyhow::bail!("no subcommand was given; `mmovseg --help` lists them");
    }
    let text = error.render().to_string();
    let what: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let what = what.join(" ");
    anyhow::bail!("{}; --help tells more", what.trim_start_matches("error: "))
}

/// An error and its causes, leaving out causes that the message before already tells.
pub fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Writes one line to stderr, whatever the text holds.
pub fn complain(text: &str) {
    let line: Vec<&str> = text.split_whitespace().collect();
    // When even stderr is closed there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "mmovseg: {}", printable(&line.join(" ")));
}
