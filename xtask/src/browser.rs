//! Finding a browser and its WebDriver server, and the options that give it WebGPU without a
//! window. All tests run in Chromium, on SwiftShader (a Vulkan implementation on the CPU that comes
//! with Chromium) or on the machine's GPU. Firefox is run on request, with another shader compiler
//! and the machine's Vulkan driver.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::paths::find_program;

/// What Chromium's WebGPU runs on.
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

    /// Chromium's flags for it, without the leading dashes.
    fn args(self) -> &'static [&'static str] {
        match self {
            Self::Software => &[
                "use-webgpu-adapter=swiftshader",
                "enable-features=Vulkan",
                "enable-unsafe-swiftshader",
            ],
            // Seen with NVIDIA's driver and no display: without a surface to draw on, Chromium's
            // own drawing has to go through EGL and WebGPU alone through Vulkan, or no
            // card is found. The GPU sandbox keeps drivers from files that they read in
            // containers.
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

/// Chromium's flags for a headless run with WebGPU on any adapter, without the leading dashes.
const CHROMIUM_ARGS: &[&str] = &[
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

/// Size of the window, in pixels.
const WINDOW_PX: [u32; 2] = [1280, 900];

/// A browser that tests can drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Browser {
    /// Chromium or Chrome.
    Chromium,
    /// Firefox.
    Firefox,
}

impl Browser {
    /// The variable that tells the tests of the page which browser is meant.
    pub const VARIABLE: &str = "MMOVSEG_BROWSER";

    /// The browser that [`Self::VARIABLE`] names, else Chromium.
    ///
    /// # Errors
    /// When it names no browser.
    pub fn of_environment() -> Result<Self> {
        env::var(Self::VARIABLE).map_or(Ok(Self::Chromium), |name| Self::of(&name))
    }

    /// Its name on command lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Chromium => "chromium",
            Self::Firefox => "firefox",
        }
    }

    /// The browser of a name.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(name: &str) -> Result<Self> {
        match name {
            "chromium" => Ok(Self::Chromium),
            "firefox" => Ok(Self::Firefox),
            _ => bail!("no browser `{name}`: chromium, firefox"),
        }
    }

    /// The variable that holds the path of the browser, and the names it has on the `PATH`.
    fn program_names(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Chromium => (
                "CHROME",
                &[
                    "chromium",
                    "chromium-browser",
                    "google-chrome",
                    "google-chrome-stable",
                ],
            ),
            Self::Firefox => ("FIREFOX", &["firefox", "firefox-esr"]),
        }
    }

    /// The variable that holds the path of its WebDriver server, and the names on the `PATH`.
    fn driver_names(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Chromium => ("CHROMEDRIVER", &["chromedriver"]),
            Self::Firefox => ("GECKODRIVER", &["geckodriver"]),
        }
    }

    /// The browser and its WebDriver server: what the variables name, else from the `PATH`.
    ///
    /// # Errors
    /// When one is missing.
    pub fn find(self) -> Result<Found> {
        let find = |(variable, names): (&'static str, &[&str])| {
            let path = env::var_os(variable).map(PathBuf::from);
            match path.or_else(|| find_program(names)) {
                Some(path) => Ok((variable, path)),
                None => bail!("no {} on the PATH; set {variable}", names[0]),
            }
        };
        Ok(Found {
            kind: self,
            program: find(self.program_names())?,
            driver: find(self.driver_names())?,
        })
    }
}

/// A browser of this machine.
#[derive(Clone, Debug)]
pub struct Found {
    kind: Browser,
    program: (&'static str, PathBuf),
    driver: (&'static str, PathBuf),
}

impl Found {
    /// Which one it is.
    #[must_use]
    pub fn kind(&self) -> Browser {
        self.kind
    }

    /// Its WebDriver server.
    #[must_use]
    pub fn driver(&self) -> &Path {
        &self.driver.1
    }

    /// The variables by which tests find it.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, PathBuf); 3] {
        let name = (Browser::VARIABLE, PathBuf::from(self.kind.name()));
        [name, self.program.clone(), self.driver.clone()]
    }

    /// WebDriver capabilities of a headless run; Chromium's WebGPU is on `adapter`, and it logs
    /// everything that the page writes to its console. The browser's profile and the files that it
    /// saves (in [`downloads`]) lie in the folder `scratch`; without one the driver chooses a
    /// place.
    #[must_use]
    pub fn capabilities(&self, adapter: Adapter, scratch: Option<&Path>) -> Value {
        match self.kind {
            Browser::Chromium => self.chromium(adapter, scratch),
            Browser::Firefox => self.firefox(scratch),
        }
    }

    fn chromium(&self, adapter: Adapter, scratch: Option<&Path>) -> Value {
        let [width, height] = WINDOW_PX;
        let size = format!("window-size={width},{height}");
        let profile =
            scratch.map(|folder| format!("user-data-dir={}", folder.join("profile").display()));
        let args = CHROMIUM_ARGS.iter().chain(adapter.args()).copied();
        let args = args.chain([size.as_str()]).chain(profile.as_deref());
        let args: Vec<String> = args.map(|arg| format!("--{arg}")).collect();
        let mut options = json!({ "args": args, "binary": self.program.1 });
        if let Some(folder) = scratch {
            options["prefs"] = json!({
                "download.default_directory": downloads(folder),
                "download.prompt_for_download": false,
            });
        }
        json!({
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" },
        })
    }

    fn firefox(&self, scratch: Option<&Path>) -> Value {
        let [width, height] = WINDOW_PX;
        // On Linux the first switches WebGPU on, the second allows Mesa's software driver.
        let mut preferences = json!({
            "dom.webgpu.enabled": true,
            "gfx.webgpu.ignore-blocklist": true,
        });
        if let Some(folder) = scratch {
            preferences["browser.download.folderList"] = json!(2);
            preferences["browser.download.dir"] = json!(downloads(folder));
        }
        json!({ "moz:firefoxOptions": {
            "args": ["-headless", format!("--width={width}"), format!("--height={height}")],
            "binary": self.program.1,
            "prefs": preferences,
        } })
    }
}

/// Where a browser saves files, in the folder that [`Found::capabilities`] was given.
#[must_use]
pub fn downloads(scratch: &Path) -> PathBuf {
    scratch.join("downloads")
}
