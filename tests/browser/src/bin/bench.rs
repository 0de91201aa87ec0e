//! Runs the bench's page in Chromium: `bench ADAPTER SITE JOBS` measures each job of a JSON list in
//! turn and prints the reports as JSON lines as they come. ADAPTER is what WebGPU runs on:
//! `software` or `hardware`. A job with `stages` times the engine of the finished page, which SITE
//! then is (`stages.js`).

use std::path::Path;

use anyhow::{Context, Result, bail};
use mmovseg_browser_tests::{Page, with_page_on};
use serde_json::Value;
use std::time::Duration;
use xtask::browser::Adapter;

/// What WebGPU runs on, as the browser tells it.
const CARD: &str = "const adapter = await navigator.gpu?.requestAdapter();\
    if (!adapter) return null;\
    const { vendor, architecture, device, description, isFallbackAdapter } = adapter.info;\
    return { vendor, architecture, device, description, fallback: isFallbackAdapter };";

/// What times the page's engine.
const STAGES: &str = include_str!("stages.js");

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [adapter, site, jobs] = &arguments[..] else {
        bail!("usage: bench ADAPTER SITE JOBS");
    };
    let adapter = Adapter::of(adapter)?;
    let jobs: Vec<Value> = serde_json::from_str(jobs).context("JOBS is a JSON list")?;
    for (index, job) in jobs.iter().enumerate() {
        // A browser for each: memory that one job leaves in pieces has slowed the first seconds of
        // the next.
        with_page_on(adapter, "bench", Path::new(site), async |page| {
            let script = if job["stages"] == true {
                // Of the same server, and without the page.
                page.goto("icon.svg").await?;
                format!("const job = {job};\n{STAGES}")
            } else {
                page.goto("").await?;
                page.wait_for("[data-ready=yes]", Duration::from_secs(60))
                    .await?;
                format!("return window.measure({job})")
            };
            if index == 0 {
                println!("{}", told(page, adapter).await?);
            }
            println!("{}", page.execute_async(&script).await?);
            Ok(())
        })?;
    }
    Ok(())
}

/// Browser and card.
async fn told(page: &Page, adapter: Adapter) -> Result<Value> {
    let browser = page.execute("return navigator.userAgent", vec![]).await?;
    let card = page.execute_async(CARD).await?;
    // Chromium falls back to SwiftShader without a word.
    if adapter == Adapter::Hardware && card["fallback"] != false {
        bail!(
            "WebGPU has no graphics card but {card}: see that its Vulkan driver is installed, \
             and that VK_ICD_FILENAMES, where set, names it"
        );
    }
    Ok(serde_json::json!({ "browser": browser, "adapter": card }))
}
