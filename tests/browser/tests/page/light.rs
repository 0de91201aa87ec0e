//! Weight: what a visitor downloads, compressed as the server sends it, what a call of the engine
//! drags along, and the memory that it takes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use mmovseg_browser_tests::{dist, with_page};

use crate::common::*;

/// Most for the page before the engine loads.
const PAGE_BYTES: u64 = 400_000;

/// Most for the engine.
const ENGINE_BYTES: u64 = 4_000_000;

/// Most for the engine that knows the CPU only, with what starts its threads.
const CPU_BYTES: u64 = 2_000_000;

/// What files weigh on the wire: their compressed twins where there are any.
fn weight(folder: &Path, names: &[&str]) -> Result<u64> {
    let mut sum = 0;
    for name in names {
        let packed = folder.join(format!("{name}.br"));
        let file = if packed.is_file() {
            packed
        } else {
            folder.join(name)
        };
        let bytes = fs::metadata(&file)
            .with_context(|| format!("no {}", file.display()))?
            .len();
        eprintln!("{name}: {bytes} bytes");
        sum += bytes;
    }
    Ok(sum)
}

#[test]
fn page_and_engine_keep_to_their_budgets() -> Result<()> {
    let folder = dist()?;
    let page = [
        "index.html",
        "styles.css",
        "icon.svg",
        "start.js",
        "isolate.js",
        "first/scene.json",
        "first/optical.jpg",
        "first/sar.jpg",
        "page.js",
        "page_bg.wasm",
        "offline.js",
    ];
    let page = weight(&folder, &page)?;
    assert!(
        page <= PAGE_BYTES,
        "the page has {page} bytes, allowed {PAGE_BYTES}"
    );
    let engine = ["worker.js", "mmovseg_worker.js", "mmovseg_worker_bg.wasm"];
    let engine = weight(&folder.join("engine"), &engine)?;
    assert!(
        engine <= ENGINE_BYTES,
        "the engine has {engine} bytes, allowed {ENGINE_BYTES}"
    );
    let cpu = [
        "threads.js",
        "helper.js",
        "cpu/mmovseg_worker.js",
        "cpu/mmovseg_worker_bg.wasm",
    ];
    let cpu = weight(&folder.join("engine"), &cpu)?;
    assert!(
        cpu <= CPU_BYTES,
        "the engine for the CPU has {cpu} bytes, allowed {CPU_BYTES}"
    );
    Ok(())
}

/// Linked as a command, the engine once ran some five thousand constructors before each call from
/// JavaScript.
#[test]
fn the_engines_constructors_run_once_and_not_before_each_call() -> Result<()> {
    with_page("light-constructors", &dist()?, async |page| {
        page.goto("icon.svg").await?;
        let exported = "const engine = WebAssembly.compileStreaming(fetch('engine/mmovseg_worker_bg.wasm'));\
            return WebAssembly.Module.exports(await engine).some(({ name }) => name === '__wasm_call_ctors');";
        let exported = page.execute_async(exported).await?;
        assert!(
            exported == true,
            "the engine's wasm does not export its constructors: see web/worker/build.rs"
        );
        Ok(())
    })
}

/// Most for the engine with the default model, in bytes.
const MEMORY_BYTES: u64 = 200_000_000;

/// Answers with the size of the engine's memory, which never shrinks.
const TELL_MEMORY: &str = "
const sizes = new BroadcastChannel('memory');
sizes.onmessage = () => sizes.postMessage(memory.buffer.byteLength);
";

#[test]
fn the_default_model_keeps_to_its_memory() -> Result<()> {
    let script = format!("{CATCH_MEMORY}{TELL_MEMORY}");
    with_worker_script("light-memory", &script, async |page| {
        ready_scene(page, "scene=7").await?;
        run_to_mask(page).await?;
        let size = "const sizes = new BroadcastChannel('memory');\
            return new Promise((done) => {\
              sizes.onmessage = ({ data }) => done(data);\
              sizes.postMessage('how much?');\
            });";
        let size = page.execute_async(size).await?;
        let size = size.as_u64().context("the engine tells no size")?;
        eprintln!("memory: {size} bytes");
        assert!(
            size <= MEMORY_BYTES,
            "the engine has taken {size} bytes, allowed {MEMORY_BYTES}"
        );
        Ok(())
    })
}
