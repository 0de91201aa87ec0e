//! Finding Chromium and its driver, and the flags that give a headless Chromium a working WebGPU: on
//! SwiftShader, a Vulkan implementation on the CPU that Chromium carries itself, or on the machine's own
//! graphics card.

use std::env;
use std::path::PathBuf;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::paths::find_program;

/// What the browser's WebGPU runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adapter {
    /// SwiftShader on the CPU, the same on every machine.
    Software,
    /// The machine's own graphics card, by its Vulkan driver.
    Hardware,
}

impl Adapter {
    /// Its name on command lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Software => "software",
            Self::Hardware => "hardware",
        }
    }

    /// The adapter of a name.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(name: &str) -> Result<Self> {
        match name {
            "software" => Ok(Self::Software),
            "hardware" => Ok(Self::Hardware),
            _ => bail!("no adapter `{name}`: software, hardware"),
        }
    }

    /// Its flags, without the leading dashes.
    fn args(self) -> &'static [&'static str] {
        match self {
            Self::Software => &[
                "use-webgpu-adapter=swiftshader",
                "enable-features=Vulkan",
                "enable-unsafe-swiftshader",
            ],
            // Seen with NVIDIA's driver and no display: without a surface to draw on, Chromium's own drawing has
            // to go through EGL and WebGPU alone through Vulkan, or no card is found. The GPU sandbox keeps
            // drivers from files that they read in containers.
            Self::Hardware => &[
                "use-webgpu-adapter=default",
                "enable-features=Vulkan",
                "use-vulkan=native",
                "disable-vulkan-surface",
                "use-gl=angle",
                "use-angle=gl-egl",
                "ozone-platform=headless",
                "ignore-gpu-blocklist",
                "disable-gpu-sandbox",
            ],
        }
    }
}

/// Flags for a headless run with WebGPU on any adapter, without the leading dashes. The user-data
/// folder is left to the caller (ChromeDriver makes a fresh one for each session by itself).
const ARGS: &[&str] = &[
    "headless=new",
    "no-sandbox",
    "disable-dev-shm-usage",
    "enable-unsafe-webgpu",
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

/// WebDriver capabilities: the flags of a headless run on `adapter`, the browser found here, the
/// `extra` flags (with their dashes left off), and a log of everything the page writes to its console.
#[must_use]
pub fn capabilities(adapter: Adapter, extra: &[String]) -> Value {
    let args = ARGS.iter().chain(adapter.args()).copied();
    let args: Vec<String> = args
        .chain(extra.iter().map(String::as_str))
        .map(|arg| format!("--{arg}"))
        .collect();
    let mut options = json!({ "args": args });
    if let Some(browser) = find_browser() {
        options["binary"] = json!(browser);
    }
    json!({
        "goog:chromeOptions": options,
        "goog:loggingPrefs": { "browser": "ALL" },
    })
}
