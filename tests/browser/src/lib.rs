//! Drives a headless browser through its WebDriver server: one [`Page`] per test, with its own
//! driver, browser profile and file server, all gone when the test ends. It is Chromium unless
//! `$MMOVSEG_BROWSER` says Firefox, whose driver can do less.

use std::cell::RefCell;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use fantoccini::elements::Element;
use fantoccini::wd::{Capabilities, TimeoutConfiguration};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use xtask::browser::{self, Adapter, Browser};
use xtask::paths;
use xtask::server::StaticServer;

/// How long a driver may take to answer after its start.
const DRIVER_START: Duration = Duration::from_secs(30);
/// How long a script in the page may run: a segmentation on an emulated GPU takes minutes.
const SCRIPT_LIMIT: Duration = Duration::from_secs(900);

/// The folder of the finished page.
///
/// # Errors
/// When it was not built.
pub fn dist() -> Result<PathBuf> {
    let folder = paths::dist();
    if !folder.join("index.html").is_file() {
        bail!(
            "no page in {}; run `cargo xtask build-web` first",
            folder.display()
        );
    }
    Ok(folder)
}

/// A WebDriver server, stopped when dropped. It takes the browser with it.
struct Driver {
    process: Child,
    port: u16,
}

impl Driver {
    fn start(program: &Path) -> Result<Self> {
        // Taken and given back: a driver has no way to tell which free port it chose.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let process = Command::new(program)
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { process, port })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.process.kill();
        let _ended = self.process.wait();
    }
}

/// A folder under the system's temporary one, removed when dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _kept = fs::remove_dir_all(&self.0);
    }
}

/// A browser window on a site of its own.
pub struct Page {
    client: Client,
    browser: Browser,
    /// Where files that the page saves arrive.
    downloads: PathBuf,
    // Dropped in this order: the driver (with the browser), the server, the profile.
    _driver: Driver,
    server: RefCell<Option<StaticServer>>,
    address: String,
    _scratch: Scratch,
}

/// Serves `site` and runs `test` with a fresh browser, which has opened nothing yet; its WebGPU is
/// the software one, the same on every machine. When the test fails, the page's console and a
/// screenshot are reported with the error.
///
/// # Errors
/// The test's own, or what kept the browser from starting.
pub fn with_page<F>(name: &str, site: &Path, test: F) -> Result<()>
where
    F: AsyncFnOnce(&Page) -> Result<()>,
{
    with_page_on(Adapter::Software, name, site, test)
}

/// [`with_page`] with WebGPU on `adapter`.
///
/// # Errors
/// As in [`with_page`].
pub fn with_page_on<F>(adapter: Adapter, name: &str, site: &Path, test: F) -> Result<()>
where
    F: AsyncFnOnce(&Page) -> Result<()>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let page = Page::open(adapter, name, site).await?;
        let mut result = test(&page).await;
        if let Err(error) = result {
            result = Err(page.explain(name, error).await);
        }
        // The driver's end closes the browser too; this is the polite way.
        let _closed = page.client.clone().close().await;
        result
    })
}

impl Page {
    async fn open(adapter: Adapter, name: &str, site: &Path) -> Result<Self> {
        let scratch =
            Scratch(std::env::temp_dir().join(format!("mmovseg-{name}-{}", std::process::id())));
        let downloads = browser::downloads(&scratch.0);
        fs::create_dir_all(&downloads)?;
        let server = StaticServer::start(site, 0)?;
        let browser = Browser::of_environment()?.find()?;
        let driver = Driver::start(browser.driver())?;

        let wanted = browser.capabilities(adapter, Some(&scratch.0));
        let wanted: Capabilities = wanted
            .as_object()
            .context("capabilities are an object")?
            .clone();

        let address = format!("http://127.0.0.1:{}", driver.port);
        let start = Instant::now();
        let client = loop {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            match builder.capabilities(wanted.clone()).connect(&address).await {
                Ok(client) => break client,
                Err(error) if start.elapsed() > DRIVER_START => {
                    return Err(anyhow!("no session from the driver: {error}"));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        };
        client
            .update_timeouts(TimeoutConfiguration::new(
                Some(SCRIPT_LIMIT),
                Some(Duration::from_secs(120)),
                Some(Duration::ZERO),
            ))
            .await?;
        Ok(Self {
            client,
            browser: browser.kind(),
            downloads,
            _driver: driver,
            address: server.url(),
            server: RefCell::new(Some(server)),
            _scratch: scratch,
        })
    }

    /// The WebDriver session, for what has no helper here.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The folder where files that the page saves arrive.
    #[must_use]
    pub fn downloads(&self) -> &Path {
        &self.downloads
    }

    /// The site's address, ending with `/`.
    #[must_use]
    pub fn url(&self) -> String {
        self.address.clone()
    }

    /// Ends the site's server: from here on there is no connection.
    pub fn stop_server(&self) {
        drop(self.server.take());
    }

    /// Gives the page a viewport of this size, in CSS pixels; a window cannot be as narrow as a
    /// phone.
    ///
    /// # Errors
    /// When the browser refuses.
    pub async fn resize(&self, width_px: u32, height_px: u32) -> Result<()> {
        if self.browser == Browser::Firefox {
            return Ok(self.client.set_window_size(width_px, height_px).await?);
        }
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": false }),
        )
        .await
    }

    /// Makes the page believe that the user prefers dark colours, or light ones.
    ///
    /// # Errors
    /// When the browser refuses.
    pub async fn prefer_dark(&self, dark: bool) -> Result<()> {
        let value = if dark { "dark" } else { "light" };
        self.devtools(
            "Emulation.setEmulatedMedia",
            json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] }),
        )
        .await
    }

    async fn devtools(&self, method: &'static str, parameters: Value) -> Result<()> {
        self.client
            .issue_cmd(DevTools { method, parameters })
            .await
            .with_context(|| format!("{method} failed"))?;
        Ok(())
    }

    /// Opens `path`, relative to the site.
    ///
    /// # Errors
    /// When the browser cannot load it.
    pub async fn goto(&self, path: &str) -> Result<()> {
        let address = format!("{}{path}", self.address);
        self.client
            .goto(&address)
            .await
            .with_context(|| format!("cannot open {address}"))
    }

    /// Waits until an element matches `css`.
    ///
    /// # Errors
    /// When none does within `limit`.
    pub async fn wait_for(&self, css: &str, limit: Duration) -> Result<Element> {
        self.client
            .wait()
            .at_most(limit)
            .for_element(Locator::Css(css))
            .await
            .with_context(|| format!("nothing matches `{css}` after {limit:?}"))
    }

    /// Waits until the JavaScript expression `condition` is truthy.
    ///
    /// # Errors
    /// When it is not within `limit`, or cannot be evaluated.
    pub async fn wait_until(&self, condition: &str, limit: Duration) -> Result<()> {
        let start = Instant::now();
        let script = format!("return !!({condition});");
        while self.execute(&script, vec![]).await? != Value::Bool(true) {
            if start.elapsed() > limit {
                bail!("`{condition}` does not hold after {limit:?}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// The element with this `data-testid`, at once.
    ///
    /// # Errors
    /// When there is none.
    pub async fn test_id(&self, id: &str) -> Result<Element> {
        let css = test_id(id);
        self.client
            .find(Locator::Css(&css))
            .await
            .with_context(|| format!("nothing matches `{css}`"))
    }

    /// Clicks what matches `css`, once it is enabled: `WebDriver` clicks a disabled button without
    /// an error and without an effect.
    ///
    /// # Errors
    /// When nothing does, it is covered or hidden, or it stays disabled for a minute.
    pub async fn click(&self, css: &str) -> Result<()> {
        const ENABLED_WITHIN: Duration = Duration::from_secs(60);
        let element = self.find(css).await?;
        let start = Instant::now();
        while !element.is_enabled().await? {
            if start.elapsed() > ENABLED_WITHIN {
                bail!("`{css}` is still disabled after {ENABLED_WITHIN:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        element
            .click()
            .await
            .with_context(|| format!("cannot click `{css}`"))
    }

    /// Types into what matches `css`. `\u{e007}` is Enter, as WebDriver has it.
    ///
    /// # Errors
    /// When nothing matches or it takes no keys.
    pub async fn type_text(&self, css: &str, text: &str) -> Result<()> {
        let element = self.find(css).await?;
        element
            .send_keys(text)
            .await
            .with_context(|| format!("cannot type into `{css}`"))
    }

    /// The visible text of what matches `css`.
    ///
    /// # Errors
    /// When nothing does.
    pub async fn text(&self, css: &str) -> Result<String> {
        Ok(self.find(css).await?.text().await?)
    }

    /// Gives files to an `input[type=file]`.
    ///
    /// # Errors
    /// When nothing matches, a file is missing, or the input refuses.
    pub async fn upload(&self, css: &str, files: &[&Path]) -> Result<()> {
        let mut paths = Vec::with_capacity(files.len());
        for file in files {
            let full = file
                .canonicalize()
                .with_context(|| format!("no file {} to upload", file.display()))?;
            paths.push(full.display().to_string());
        }
        let input = self.find(css).await?;
        input
            .send_keys(&paths.join("\n"))
            .await
            .with_context(|| format!("cannot upload to `{css}`"))
    }

    /// Runs the body of a function in the page; `return` gives the value.
    ///
    /// # Errors
    /// When it throws.
    pub async fn execute(&self, script: &str, arguments: Vec<Value>) -> Result<Value> {
        self.client
            .execute(script, arguments)
            .await
            .with_context(|| format!("script failed: {script}"))
    }

    /// Runs the body of an `async` function in the page; a thrown error is an error here.
    ///
    /// # Errors
    /// When it throws or takes longer than 15 minutes.
    pub async fn execute_async(&self, body: &str) -> Result<Value> {
        let script = format!(
            "const done = arguments[arguments.length - 1];\
             (async () => {{ {body} }})().then(\
               (value) => done({{ value: value === undefined ? null : value }}),\
               (error) => done({{ error: String(error && error.stack || error) }}));"
        );
        let mut reply = self.client.execute_async(&script, vec![]).await?;
        if let Some(error) = reply.get("error") {
            bail!("script failed: {error}");
        }
        Ok(reply["value"].take())
    }

    /// Saves a picture of the window. A WebGPU canvas may come out blank: assert on data.
    ///
    /// # Errors
    /// When the browser or the disk refuses.
    pub async fn screenshot(&self, file: &Path) -> Result<()> {
        let png = self.client.screenshot().await?;
        fs::write(file, png).with_context(|| format!("cannot write {}", file.display()))
    }

    /// What the page and its Workers wrote to the console since the last call, with uncaught
    /// errors and failed requests, as `LEVEL message`; nothing in Firefox, whose driver has no log.
    ///
    /// # Errors
    /// When ChromeDriver has no log.
    pub async fn console(&self) -> Result<Vec<String>> {
        if self.browser == Browser::Firefox {
            return Ok(Vec::new());
        }
        let entries = self.client.issue_cmd(ConsoleLog).await?;
        Ok(entries
            .as_array()
            .into_iter()
            .flatten()
            .map(|entry| {
                format!(
                    "{} {}",
                    entry["level"].as_str().unwrap_or("?"),
                    entry["message"].as_str().unwrap_or("?")
                )
            })
            .collect())
    }

    /// Fails when the console holds an error (level SEVERE).
    ///
    /// # Errors
    /// With the messages.
    pub async fn expect_clean_console(&self) -> Result<()> {
        let errors: Vec<String> = self
            .console()
            .await?
            .into_iter()
            .filter(|line| line.starts_with("SEVERE"))
            .collect();
        if !errors.is_empty() {
            bail!("the console holds errors:\n{}", errors.join("\n"));
        }
        Ok(())
    }

    async fn find(&self, css: &str) -> Result<Element> {
        self.client
            .find(Locator::Css(css))
            .await
            .with_context(|| format!("nothing matches `{css}`"))
    }

    async fn explain(&self, name: &str, error: anyhow::Error) -> anyhow::Error {
        let console = self.console().await.unwrap_or_default().join("\n  ");
        let folder = paths::target().join("browser-failures");
        let file = folder.join(format!("{name}.png"));
        let picture = match fs::create_dir_all(&folder) {
            Ok(()) => self.screenshot(&file).await,
            Err(error) => Err(error.into()),
        };
        let picture = match picture {
            Ok(()) => file.display().to_string(),
            Err(error) => format!("none ({error:#})"),
        };
        error.context(format!(
            "{name} failed; screenshot: {picture}; console:\n  {console}\n"
        ))
    }
}

/// The CSS selector of a `data-testid`.
#[must_use]
pub fn test_id(id: &str) -> String {
    format!("[data-testid=\"{id}\"]")
}

/// ChromeDriver's own command for the console, which is not in the WebDriver standard.
#[derive(Debug)]
struct ConsoleLog;

impl fantoccini::wd::WebDriverCompatibleCommand for ConsoleLog {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _url: &url::Url) -> (http::Method, Option<String>) {
        (
            http::Method::POST,
            Some(json!({ "type": "browser" }).to_string()),
        )
    }
}

/// ChromeDriver's own command for the browser's developer tools.
#[derive(Debug)]
struct DevTools {
    method: &'static str,
    parameters: Value,
}

impl fantoccini::wd::WebDriverCompatibleCommand for DevTools {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        let session = session.unwrap_or_default();
        base.join(&format!("session/{session}/goog/cdp/execute"))
    }

    fn method_and_body(&self, _url: &url::Url) -> (http::Method, Option<String>) {
        let body = json!({ "cmd": self.method, "params": self.parameters });
        (http::Method::POST, Some(body.to_string()))
    }
}
