//! The parts of `cargo xtask` that the browser tests use too: folders, the static file server, and
//! how a browser is started.

pub mod browser;
pub mod paths;
pub mod server;

/// The package of the page's tests.
pub const BROWSER_TESTS: &str = "mmovseg-browser-tests";

/// The selection of everything native but the page and the tools. Each native build uses this very
/// selection, the one behind a test of the page included: cargo unites features over what is
/// selected, and another selection would compile the engine a second time.
pub const HEAVY: &[&str] = &[
    "--workspace",
    "--exclude",
    "mmovseg-page",
    "--exclude",
    "mmovseg-worker",
    "--exclude",
    "mmovseg-threads",
    "--exclude",
    BROWSER_TESTS,
    "--exclude",
    "xtask",
];
