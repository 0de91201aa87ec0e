//! What the tests of the page share: files to upload, canvases read back, a run from press to mask.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mmovseg_browser_tests::{Page, dist, test_id, with_page};
use mmovseg_raster::{OpticalOptions, Rgb8, SarOptions, open_pair, write_rgb_png};
use serde_json::{Value, json};
use xtask::paths::copy_tree;

pub const SOON: Duration = Duration::from_secs(60);
/// For loading and running the model on one core or on an emulated GPU.
pub const LONG: Duration = Duration::from_secs(900);
pub const CLASSES: &str = "water, forest, city, farmland, bare land";
/// What the page reports as an error; empty when it reports none.
pub const ERROR: &str =
    "(document.querySelector('[data-testid=error]')?.textContent ?? 'not there yet')";
/// A folder for one test's files, removed when dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mmovseg-page-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _kept = fs::remove_dir_all(&self.0);
    }
}

/// A generated pair as two PNG files.
pub fn scene_files(folder: &Path, seed: u64) -> [PathBuf; 2] {
    let scene = mmovseg_scene::generate(seed, 256);
    [("s2.png", &scene.rgb), ("s1.png", &scene.sar)].map(|(name, picture)| {
        let file = folder.join(name);
        fs::write(&file, write_rgb_png(picture).unwrap()).unwrap();
        file
    })
}

/// The middle of a real pair, where the data folder is there. It is small enough for one pass: a
/// whole tile in windows takes a quarter of an hour on an emulated GPU, and windows have tests of
/// their own.
pub fn real_files(folder: &Path) -> Result<Option<[PathBuf; 2]>> {
    const SIDE_PX: usize = 256;
    let Some(source) = mmovseg_test_support::optional_data("data/s1s2_pairs") else {
        return Ok(None);
    };
    let names = ["003_rgb.jpg", "003_sar_vh.jpg"];
    let [Ok(rgb), Ok(sar)] = names.map(|name| fs::read(source.join(name))) else {
        return Ok(None);
    };
    let pair = open_pair(
        (&rgb, names[0]),
        (&sar, names[1]),
        &OpticalOptions::default(),
        &SarOptions::default(),
    )?;
    let middle = |tile: &Rgb8| {
        let corner = [tile.width_px, tile.height_px].map(|side| (side - SIDE_PX) / 2);
        tile.crop(corner, [SIDE_PX; 2])
    };
    let files = ["real-s2.png", "real-s1.png"].map(|name| folder.join(name));
    for (file, tile) in files.iter().zip([&pair.rgb, &pair.sar]) {
        fs::write(file, write_rgb_png(&middle(tile))?)?;
    }
    Ok(Some(files))
}

/// A picture on a canvas: width and RGB bytes.
pub async fn canvas(page: &Page, id: &str) -> Result<(usize, Vec<[u8; 3]>)> {
    let reply = page
        .execute_async(&format!(
            "const canvas = document.querySelector('{}');\
             const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;\
             const hex = Array.from(data, (byte) => byte.toString(16).padStart(2, '0')).join('');\
             return {{ width: canvas.width, hex }};",
            test_id(id)
        ))
        .await?;
    let width = usize::try_from(reply["width"].as_u64().context("no width")?)?;
    let hex = reply["hex"].as_str().context("no pixels")?;
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16))
        .collect::<Result<_, _>>()?;
    let pixels = bytes.chunks_exact(4).map(|p| [p[0], p[1], p[2]]).collect();
    Ok((width, pixels))
}

/// What the page says of itself.
pub const PAGE: &str = "document.querySelector('[data-testid=page]').dataset";

pub async fn upload_pair(page: &Page, files: &[PathBuf; 2]) -> Result<()> {
    page.upload(&test_id("rgb-file"), &[&files[0]]).await?;
    page.upload(&test_id("sar-file"), &[&files[1]]).await?;
    page.wait_until(
        &format!("{PAGE}.origin === 'files' && {PAGE}.reading === 'false'"),
        SOON,
    )
    .await
}

/// Opens a panel, unless it is open.
pub async fn open_tab(page: &Page, key: &str) -> Result<()> {
    page.wait_for(&test_id(&format!("tab-{key}")), SOON).await?;
    if page.test_id(key).await.is_err() {
        page.click(&test_id(&format!("tab-{key}"))).await?;
    }
    page.wait_for(&test_id(key), SOON).await.map(drop)
}

/// Waits until nothing runs or loads.
pub async fn idle(page: &Page) -> Result<()> {
    page.wait_until(&format!("{PAGE}.busy === 'false'"), LONG)
        .await
}

/// Replaces the class list by typing.
pub async fn type_classes(page: &Page, names: &str) -> Result<()> {
    let chips = "document.querySelectorAll('[data-testid=class-chip]').length";
    while page.execute(&format!("return {chips};"), vec![]).await? != json!(0) {
        page.click("[data-testid=chip-remove]").await?;
    }
    page.type_text(&test_id("class-input"), names).await?;
    page.type_text(&test_id("class-input"), "\u{e007}").await?;
    let wanted = names.split(',').count();
    page.wait_until(&format!("{chips} === {wanted}"), SOON)
        .await
}

/// Waits for the mask of the present tiles, class names and sensors; says yes where the page asks
/// first.
pub async fn run_to_mask(page: &Page) -> Result<()> {
    page.wait_until(
        &format!(
            "(document.querySelector('[data-testid=compute]')?.click(), {PAGE}.current === 'true') \
             || (document.querySelector('[data-testid=error]')?.textContent ?? '')"
        ),
        LONG,
    )
    .await?;
    expect_no_error(page).await
}

pub async fn expect_no_error(page: &Page) -> Result<()> {
    let text = page.text(&test_id("error")).await?;
    if !text.is_empty() {
        bail!("the page reports: {text}");
    }
    Ok(())
}

/// The package that the page uses.
pub fn model() -> Result<Option<PathBuf>> {
    let folder = dist()?.join("models/nano");
    if folder.join("model.json").is_file() {
        return Ok(Some(folder));
    }
    mmovseg_test_support::skip("the built page has no models/nano");
    Ok(None)
}

/// The class names to which the default package gives a colour.
pub fn package_colours() -> Result<Vec<(String, [u8; 3])>> {
    let manifest: Value =
        serde_json::from_slice(&fs::read(dist()?.join("models/nano/model.json"))?)?;
    let names: Vec<String> = serde_json::from_value(manifest["default_classes"].clone())?;
    let colours: Vec<[u8; 3]> = serde_json::from_value(manifest["palette"].clone())?;
    Ok(names.into_iter().zip(colours).collect())
}

/// A number that a script gives.
pub async fn number(page: &Page, expression: &str) -> Result<f64> {
    let value = page
        .execute(&format!("return {expression};"), vec![])
        .await?;
    value
        .as_f64()
        .with_context(|| format!("`{expression}` gives {value}"))
}

/// What a script gives.
pub async fn value(page: &Page, expression: &str) -> Result<Value> {
    page.execute(&format!("return {expression};"), vec![]).await
}

/// Moves a slider or fills a field as a person does, with the events that follow.
pub async fn set(page: &Page, id: &str, value: &str) -> Result<()> {
    page.execute(
        "const field = document.querySelector(`[data-testid=\"${arguments[0]}\"]`);\
         field.value = arguments[1];\
         for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, { bubbles: true }));",
        vec![json!(id), json!(value)],
    )
    .await
    .map(drop)
}

/// Waits until the status line holds `words`.
pub async fn status(page: &Page, words: &str, limit: Duration) -> Result<()> {
    page.wait_until(
        &format!(
            "document.querySelector('[data-testid=status]').textContent.includes({})",
            json!(words)
        ),
        limit,
    )
    .await
}

/// A page on the CPU with a generated scene, its model ready.
pub async fn ready_scene(page: &Page, query: &str) -> Result<()> {
    page.goto(&format!("?device=cpu&{query}")).await?;
    page.wait_for("[data-testid=rgb-canvas][data-ready=true]", SOON)
        .await?;
    page.wait_for("[data-testid=self-test][data-state=passed]", LONG)
        .await
        .map(drop)
}

/// Processors as the browser counts them.
pub async fn processors(page: &Page) -> Result<u32> {
    let told = value(page, "navigator.hardwareConcurrency").await?;
    let told = told.as_u64().context("the browser counts no processors")?;
    Ok(told.try_into()?)
}

/// Threads that a page on the CPU says it has.
pub async fn threads_told(page: &Page) -> Result<u32> {
    let told = page.text(&test_id("device")).await?;
    let (count, rest) = told.split_once(' ').context("no words about threads")?;
    anyhow::ensure!(rest.starts_with("thread"), "{told} names no threads");
    Ok(count.parse()?)
}

/// For [`with_worker_script`]: keeps hold of the memory of the engine that is started.
pub const CATCH_MEMORY: &str = "
let memory;
const instantiate = WebAssembly.instantiateStreaming;
WebAssembly.instantiateStreaming = async function (...given) {
  const made = await instantiate.apply(this, given);
  memory = made.instance.exports.memory;
  return made;
};
";

/// Runs `test` on the built page with a Worker that runs `script` ahead of its own, where there is
/// a model.
pub fn with_worker_script(
    name: &str,
    script: &str,
    test: impl AsyncFnOnce(&Page) -> Result<()>,
) -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    let site = Folder::new(name);
    copy_tree(&dist()?, &site.0)?;
    rewrite(&site.0.join("engine/worker.js"), |own| {
        format!("{script}{own}")
    })?;
    with_page(name, &site.0, test)
}

/// Changes a file of a copied site, and takes away its compressed twin, which the server would
/// rather send.
pub fn rewrite(file: &Path, change: impl FnOnce(String) -> String) -> Result<()> {
    fs::write(file, change(fs::read_to_string(file)?))?;
    let mut twin = file.as_os_str().to_owned();
    twin.push(".br");
    fs::remove_file(twin)?;
    Ok(())
}
