//! Makes the files that the page shows before its model has arrived: `first_scene SITE FOLDER`
//! computes them with the engine of the finished page in SITE (`first_scene.js`) and writes them
//! into FOLDER, which is `web/page/first`. To be run again when the default model, the scenes or
//! the list of stages change; a test of the page compares. The pictures in the repository were
//! encoded again with Pillow at quality 60, progressive, SAR in grey, which saves a quarter.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use mmovseg_browser_tests::with_page;
use serde_json::Value;

/// The scene of a page that is opened without one in its address.
const SEED: u32 = 11;

const SCRIPT: &str = include_str!("first_scene.js");

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [site, folder] = &arguments[..] else {
        bail!("usage: first_scene SITE FOLDER");
    };
    let folder = Path::new(folder);
    fs::create_dir_all(folder)?;
    with_page("first-scene", Path::new(site), async |page| {
        // Of the same server, and without the page.
        page.goto("icon.svg").await?;
        let script = format!("const job = {{ seed: {SEED} }};\n{SCRIPT}");
        let found = page.execute_async(&script).await?;
        for (name, key) in [("optical.jpg", "optical"), ("sar.jpg", "sar")] {
            let bytes: Vec<u8> = serde_json::from_value(found[key].clone())
                .with_context(|| format!("no bytes of {name}"))?;
            fs::write(folder.join(name), bytes)?;
        }
        for key in ["scene", "stages"] {
            write_json(&folder.join(format!("{key}.json")), &found[key])?;
        }
        Ok(())
    })
}

fn write_json(file: &Path, value: &Value) -> Result<()> {
    fs::write(file, serde_json::to_string(value)? + "\n")
        .with_context(|| format!("cannot write {}", file.display()))
}
