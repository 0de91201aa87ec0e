//! Coming back: offline, by a link, with another model; nothing fetched that was kept, nothing
//! unchecked.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use mmovseg_browser_tests::{dist, test_id, with_page};
use serde_json::json;
use xtask::paths::copy_tree;
use xtask::server::StaticServer;

use crate::common::*;

/// Waits until the service worker has the page's files and answers for it.
const UNTIL_KEPT: &str = "await navigator.serviceWorker.ready;\
    for (let i = 0; i < 600; i++) {\
      for (const name of (await caches.keys()).filter((name) => name.startsWith('mmovseg-page-'))) {\
        const complete = await (await caches.open(name)).match('./complete');\
        if (complete && navigator.serviceWorker.controller) return;\
      }\
      await new Promise((done) => setTimeout(done, 100));\
    }\
    throw new Error('the page was not kept');";

#[test]
fn after_the_first_visit_the_page_segments_without_a_server() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    with_page("keep-offline", &dist()?, async |page| {
        ready_scene(page, "scene=7").await?;
        page.execute_async(UNTIL_KEPT).await?;
        page.stop_server();
        page.goto("?device=cpu&scene=8").await?;
        page.wait_for("[data-testid=rgb-canvas][data-ready=true]", SOON)
            .await?;
        run_to_mask(page).await
    })
}

/// As on GitHub Pages: no headers that isolate the page, and a path of its own for each site.
#[test]
fn a_host_without_headers_gives_threads_on_the_first_visit_and_the_second_needs_no_host()
-> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    let site = Folder::new("keep-bare-host-site");
    copy_tree(&dist()?, &site.0.join("of/somebody"))?;
    let host = StaticServer::without_isolation(&site.0)?;
    let url = format!("{}of/somebody/", host.url());
    with_page("keep-bare-host", &dist()?, async |page| {
        let visit = async || {
            page.client()
                .goto(&format!("{url}?device=cpu&scene=7"))
                .await?;
            page.wait_for("[data-testid=self-test][data-state=passed]", LONG)
                .await?;
            threads_told(page).await
        };
        let told = visit().await?;
        let several = mmovseg_types::browser_threads(true, processors(page).await?);
        assert_eq!(told, several);
        run_to_mask(page).await?;
        page.expect_clean_console().await?;
        page.execute_async(UNTIL_KEPT).await?;
        drop(host);
        assert_eq!(visit().await?, several);
        run_to_mask(page).await
    })
}

#[test]
fn a_link_brings_back_words_scene_cloud_sensors_and_window() -> Result<()> {
    with_page("keep-link", &dist()?, async |page| {
        page.goto("?device=cpu&model=absent&scene=7").await?;
        page.wait_for("[data-testid=rgb-canvas][data-ready=true]", SOON)
            .await?;
        type_classes(page, "lake, woods, town").await?;
        page.execute(
            "document.querySelector('[data-testid=modality] [value=sar]').click();",
            vec![],
        )
        .await?;
        page.click(&test_id("cloud-thin")).await?;
        page.click(&test_id("zoom-in")).await?;
        page.wait_until(
            "location.search.includes('view=') && location.search.includes('lake')",
            SOON,
        )
        .await?;
        let state = "[location.search,\
            Array.from(document.querySelectorAll('[data-testid=class-chip]'), (chip) => chip.dataset.class),\
            document.querySelector('[data-testid=modality] :checked').value,\
            document.querySelector('[data-testid=cloud-opacity]').value,\
            document.querySelector('[data-testid=rgb-canvas]').style.transform]";
        let before = value(page, state).await?;
        assert_eq!(before[1], json!(["lake", "woods", "town"]));
        assert_eq!(before[3], json!("50"));
        let picture = canvas(page, "rgb-canvas").await?;
        let link = before[0].as_str().unwrap_or_default().to_owned();
        page.goto("?device=cpu&model=absent").await?;
        page.goto(&link).await?;
        page.wait_for("[data-testid=rgb-canvas][data-ready=true]", SOON)
            .await?;
        let after = value(page, state).await?;
        assert_eq!(before, after);
        assert!(
            canvas(page, "rgb-canvas").await? == picture,
            "the scene or its cloud differs"
        );
        Ok(())
    })
}

/// The files of the default model, copied to a folder.
fn copied(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dist()?.join("models/nano"))? {
        let path = entry?.path();
        let to = folder.join(path.file_name().unwrap());
        fs::copy(&path, &to)?;
        files.push(to);
    }
    files.sort();
    Ok(files)
}

#[test]
fn a_package_opens_from_a_folder_or_an_address_and_is_checked() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    let folder = Folder::new("package");
    let files = copied(&folder.0)?;
    with_page("keep-package", &dist()?, async |page| {
        page.goto("?device=cpu&model=absent").await?;
        page.wait_until(&format!("{ERROR}.includes('model.json')"), SOON)
            .await?;
        open_tab(page, "model").await?;

        // The whole folder, by the folder picker.
        page.upload(&test_id("model-folder"), &[&folder.0]).await?;
        page.wait_for("[data-testid=self-test][data-state=passed]", LONG)
            .await?;
        assert_eq!(page.text(&test_id("model-name")).await?, "nano");
        page.wait_until(&format!("{ERROR} === ''"), SOON).await?;

        // The same, by its address on this server; another server is not asked.
        page.type_text(
            &test_id("model-url"),
            "https://example.org/models/nano/\u{e007}",
        )
        .await?;
        page.wait_until(&format!("{ERROR}.includes('another server')"), SOON)
            .await?;
        page.execute(
            "document.querySelector('[data-testid=model-url]').value = '';",
            vec![],
        )
        .await?;
        page.type_text(&test_id("model-url"), "models/nano\u{e007}")
            .await?;
        page.wait_until(
            "document.querySelector('[data-testid=tier]').dataset.tier === 'starting'",
            SOON,
        )
        .await?;
        page.wait_for("[data-testid=self-test][data-state=passed]", LONG)
            .await?;

        // A byte changed in a shard: refused by name.
        let shard = files
            .iter()
            .find(|file| {
                file.extension()
                    .is_some_and(|ending| ending == "safetensors")
            })
            .unwrap();
        let mut bytes = fs::read(shard)?;
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(shard, bytes)?;
        page.upload(&test_id("model-folder"), &[&folder.0]).await?;
        let name = shard.file_name().unwrap().to_string_lossy().into_owned();
        page.wait_until(&format!("{ERROR}.includes('{name}')"), LONG)
            .await?;
        page.wait_for(&test_id("retry"), SOON).await?;
        Ok(())
    })
}

#[test]
fn loading_onto_the_gpu_takes_no_more_memory_than_three_shards() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    with_page("keep-memory", &dist()?, async |page| {
        page.goto("?device=gpu").await?;
        open_tab(page, "model").await?;
        page.wait_for(&test_id("memory"), LONG).await?;
        let data = "document.querySelector('[data-testid=memory]').dataset";
        let grown = number(page, &format!("Number({data}.grown)")).await?;
        let shard = number(page, &format!("Number({data}.largestShard)")).await?;
        // A shard may have up to 16 MiB; small packages are held to that size too.
        let limit = 3.0 * shard.max(16.0 * 1024.0 * 1024.0);
        eprintln!("grown by {grown} bytes, the largest shard has {shard}");
        assert!(
            grown <= limit,
            "memory grew by {grown} bytes, allowed {limit}"
        );
        Ok(())
    })
}

#[test]
fn loading_can_be_stopped_and_gone_on_with() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    with_page("keep-stop", &dist()?, async |page| {
        page.goto("?device=cpu&scene=7").await?;
        page.wait_for(&test_id("stop"), SOON).await?;
        page.click(&test_id("stop")).await?;
        status(page, "Loading was stopped", SOON).await?;
        page.wait_until(
            "document.querySelector('[data-testid=tier]').dataset.tier === 'stopped'",
            SOON,
        )
        .await?;
        page.click(&test_id("new-scene")).await?;
        run_to_mask(page).await
    })
}
