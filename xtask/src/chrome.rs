//! Finding Chromium and its driver, and the flags that give a headless Chromium without a GPU a
//! working WebGPU: SwiftShader, a Vulkan implementation on the CPU that Chromium carries itself.

use std::env;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::paths::find_program;

/// Flags for a headless run with WebGPU, without the leading dashes. The user-data folder is
/// left to the caller (ChromeDriver makes a fresh one for each session by itself).
pub const ARGS: &[&str] = &[
    "headless=new",
    "no-sandbox",
    "disable-dev-shm-usage",
    "enable-unsafe-webgpu",
    "use-webgpu-adapter=swiftshader",
    "enable-features=Vulkan",
    "enable-unsafe-swiftshader",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
];

/// The browser: `$CHROME`, else a Chromium or Chrome on the `PATH`.
#[must_use]
pub fn find_browser() -> Option<PathBuf> {
    env::var_os("CHROME").map(PathBuf::from).or_else(|| {
        find_program(&[
            "chromium",
            "chromium-browser",
            "google-chrome",
            "google-chrome-stable",
        ])
    })
}

/// The browser's WebDriver server: `$CHROMEDRIVER`, else `chromedriver` on the `PATH`.
#[must_use]
pub fn find_driver() -> Option<PathBuf> {
    env::var_os("CHROMEDRIVER")
        .map(PathBuf::from)
        .or_else(|| find_program(&["chromedriver"]))
}

/// WebDriver capabilities: [`ARGS`], the browser found here, the `extra` flags (with their
/// dashes left off), and a log of everything the page writes to its console.
#[must_use]
pub fn capabilities(extra: &[String]) -> Value {
    let mut args: Vec<String> = ARGS.iter().map(|arg| format!("--{arg}")).collect();
    args.extend(extra.iter().map(|arg| format!("--{arg}")));
    let mut options = json!({ "args": args });
    if let Some(browser) = find_browser() {
        options["binary"] = json!(browser);
    }
    json!({
        "goog:chromeOptions": options,
        "goog:loggingPrefs": { "browser": "ALL" },
    })
}
