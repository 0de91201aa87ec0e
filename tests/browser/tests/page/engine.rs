//! Tiles in, mask out: the same labels as the native engine gives, and failures that are explained.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use mmovseg_browser_tests::{Page, dist, test_id, with_page};
use mmovseg_raster::{class_colours, read_label_png};
use serde_json::json;
use xtask::HEAVY;
use xtask::paths::{self, copy_tree};

use crate::common::*;

/// Side of the blocks that must agree one by one, so that one wrong patch fails.
const BLOCK_PX: usize = 16;

/// The labels of the command line, which drives the same engine natively.
fn native_labels(model: &Path, files: &[PathBuf; 2], folder: &Path) -> Result<Vec<u8>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--quiet"])
        .args(HEAVY)
        .current_dir(paths::project())
        .env("CARGO_TARGET_DIR", paths::target())
        .status()?;
    if !built.success() {
        bail!("the command line does not build");
    }
    let program = paths::target()
        .join("release")
        .join(format!("mmovseg{}", std::env::consts::EXE_SUFFIX));
    let out = folder.join("native.png");
    let done = Command::new(program)
        .arg("segment")
        .arg("--model")
        .arg(model)
        .arg("--rgb")
        .arg(&files[0])
        .arg("--sar")
        .arg(&files[1])
        .args(["--classes", CLASSES, "--device", "cpu", "--out"])
        .arg(&out)
        .output()?;
    if !done.status.success() {
        bail!("mmovseg segment: {}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(read_label_png(&fs::read(&out)?, "native.png")?.data)
}

/// At least 99.5 % of all labels agree, and 90 % in every block.
fn expect_agreement(width: usize, found: &[u8], wanted: &[u8]) {
    assert_eq!(found.len(), wanted.len(), "the masks differ in size");
    let mut blocks = std::collections::BTreeMap::<_, (usize, usize)>::new();
    for (index, (a, b)) in found.iter().zip(wanted).enumerate() {
        let block = (index % width / BLOCK_PX, index / width / BLOCK_PX);
        let (same, all) = blocks.entry(block).or_default();
        *same += usize::from(a == b);
        *all += 1;
    }
    let same: usize = blocks.values().map(|(same, _)| same).sum();
    let share = same as f64 / found.len() as f64;
    assert!(share >= 0.995, "only {share:.4} of the labels agree");
    for (block, (same, all)) in blocks {
        // Less than half a block at the edge has too few pixels to speak of a share.
        let enough = all >= BLOCK_PX * BLOCK_PX / 2;
        assert!(
            !enough || same * 10 >= all * 9,
            "block {block:?}: {same} of {all} labels agree"
        );
    }
}

/// Files and classes in, mask out, compared with the native engine.
async fn compare_with_native(
    page: &Page,
    model: &Path,
    files: &[PathBuf; 2],
    folder: &Path,
) -> Result<()> {
    upload_pair(page, files).await?;
    type_classes(page, CLASSES).await?;
    run_to_mask(page).await?;
    let (width, pixels) = canvas(page, "mask-canvas").await?;
    let names: Vec<&str> = CLASSES.split(',').map(str::trim).collect();
    let palette = class_colours(&names, &package_colours()?);
    let labels: Vec<u8> = pixels
        .iter()
        .map(|pixel| {
            let index = palette.iter().position(|colour| colour == pixel);
            u8::try_from(index.expect("every pixel of the mask is a palette colour")).unwrap()
        })
        .collect();
    expect_agreement(width, &labels, &native_labels(model, files, folder)?);
    Ok(())
}

/// What a page on a device says about it.
struct Told {
    device: &'static str,
    tier: &'static str,
    /// Threads that share the CPU's work, for what the browser calls its processors.
    threads: Option<fn(u32) -> u32>,
}

/// The self-test, then a real pair where there is one; a generated scene where not, or in any case.
fn same_as_native(name: &str, site: &Path, told: &Told, always_generated: bool) -> Result<()> {
    let Some(model) = model()? else {
        return Ok(());
    };
    let folder = Folder::new(name);
    let generated = scene_files(&folder.0, 11);
    with_page(name, site, async |page| {
        page.goto(&format!("?device={}", told.device)).await?;
        page.wait_for("[data-testid=self-test][data-state=passed]", LONG)
            .await?;
        assert_eq!(page.text(&test_id("tier")).await?, told.tier);
        if let Some(threads) = told.threads {
            assert_eq!(threads_told(page).await?, threads(processors(page).await?));
        }
        let real = real_files(&folder.0)?;
        if always_generated || real.is_none() {
            compare_with_native(page, &model, &generated, &folder.0).await?;
        }
        if let Some(real) = real {
            compare_with_native(page, &model, &real, &folder.0).await?;
        } else {
            eprintln!("the data folder has no real pair: the generated one alone was compared");
        }
        page.expect_clean_console().await
    })
}

/// `cargo xtask serve` serves the page before the engine for WebGPU is built.
#[test]
fn a_site_without_the_engine_for_webgpu_runs_on_the_cpu_and_says_why() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    let site = Folder::new("one-engine-site");
    copy_tree(&dist()?, &site.0)?;
    rewrite(&site.0.join("index.html"), |html| {
        let both = "name=\"mmovseg-engines\" content=\"cpu gpu\"";
        assert!(html.contains(both), "{html}");
        html.replace(both, "name=\"mmovseg-engines\" content=\"cpu\"")
    })?;
    for file in ["mmovseg_worker.js", "mmovseg_worker_bg.wasm"] {
        fs::remove_file(site.0.join("engine").join(file))?;
        fs::remove_file(site.0.join("engine").join(format!("{file}.br")))?;
    }
    with_page("one-engine", &site.0, async |page| {
        page.goto("?device=gpu").await?;
        page.wait_for("[data-testid=self-test][data-state=passed]", LONG)
            .await?;
        assert_eq!(page.text(&test_id("tier")).await?, "CPU");
        let text = value(page, "document.body.textContent").await?;
        let text = text.as_str().expect("text");
        assert!(text.contains("is still being built"), "{text}");
        Ok(())
    })
}

#[test]
fn the_cpu_tier_shares_its_work_and_labels_as_the_native_engine_does() -> Result<()> {
    let told = Told {
        device: "cpu",
        tier: "CPU",
        threads: Some(|processors| mmovseg_types::browser_threads(true, processors)),
    };
    same_as_native("page-cpu", &dist()?, &told, true)
}

#[test]
fn one_thread_serves_where_several_cannot_be_had() -> Result<()> {
    let site = Folder::new("page-one-thread-site");
    copy_tree(&dist()?, &site.0)?;
    fs::remove_file(site.0.join("engine/helper.js"))?;
    fs::remove_file(site.0.join("engine/helper.js.br"))?;
    let told = Told {
        device: "cpu",
        tier: "CPU",
        threads: Some(|_| 1),
    };
    same_as_native("page-one-thread", &site.0, &told, true)
}

#[test]
fn webgpu_labels_as_the_native_engine_does() -> Result<()> {
    // The test browser's adapter is SwiftShader; on a machine with a GPU this name differs.
    // A pass there takes a minute and more; its self-test has seen a generated scene.
    let told = Told {
        device: "gpu",
        tier: "WebGPU, software",
        threads: None,
    };
    same_as_native("page-gpu", &dist()?, &told, false)
}

#[test]
fn a_generated_scene_is_shown_scored_clouded_and_survives_a_cancelled_run() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    with_page("page-scene", &dist()?, async |page| {
        page.goto("?device=cpu&scene=7").await?;
        page.wait_for("[data-testid=rgb-canvas][data-ready=true]", SOON)
            .await?;
        // Stopped before the model is there, and gone on with.
        page.click(&test_id("stop")).await?;
        page.wait_for(&test_id("compute"), SOON).await?;
        run_to_mask(page).await?;
        let scores = "document.querySelectorAll('[data-testid=iou]').length";
        // Six of seven: bare land is neither in this scene nor in its mask.
        page.wait_until(&format!("{scores} === 6"), SOON).await?;

        let clear = canvas(page, "rgb-canvas").await?.1;
        page.click(&test_id("cloud-thick")).await?;
        // A changed cloud runs again by itself; half the classes' scores have then changed.
        page.wait_until(
            "document.querySelector('[data-testid=progress]').textContent !== ''",
            SOON,
        )
        .await?;
        status(page, "Done in", LONG).await?;
        let clouded = canvas(page, "rgb-canvas").await?.1;
        let changed = clear.iter().zip(&clouded).filter(|(a, b)| a != b).count();
        assert!(
            changed * 2 > clear.len(),
            "a thick cloud changed {changed} pixels only"
        );
        expect_no_error(page).await
    })
}

#[test]
fn a_missing_model_and_a_broken_file_are_explained_and_the_page_goes_on() -> Result<()> {
    let folder = Folder::new("broken");
    let good = scene_files(&folder.0, 3);
    let broken = folder.0.join("broken.png");
    fs::write(&broken, b"not a picture")?;
    with_page("page-broken", &dist()?, async |page| {
        page.goto("?device=cpu&model=absent&scene=7").await?;
        page.wait_until(&format!("{ERROR}.includes('model.json')"), SOON)
            .await?;
        page.wait_for(&test_id("retry"), SOON).await?;

        // The scene is there all the same, pixel for pixel.
        page.wait_for("[data-testid=rgb-canvas][data-ready=true]", SOON)
            .await?;
        let scene = mmovseg_scene::generate(7, 256);
        let (width, pixels) = canvas(page, "rgb-canvas").await?;
        assert_eq!(width, 256);
        assert!(
            pixels.as_flattened() == scene.rgb.data,
            "the optical picture differs from the scene"
        );
        let (_, pixels) = canvas(page, "sar-canvas").await?;
        assert!(
            pixels.as_flattened() == scene.sar.data,
            "the SAR picture differs from the scene"
        );

        page.upload(&test_id("rgb-file"), &[&broken]).await?;
        page.upload(&test_id("sar-file"), &[&good[1]]).await?;
        page.wait_until(&format!("{ERROR}.includes('broken.png')"), SOON)
            .await?;
        page.upload(&test_id("rgb-file"), &[&good[0]]).await?;
        page.wait_until(&format!("{ERROR} === ''"), SOON).await?;
        status(page, "Tiles ready", SOON).await
    })
}

#[test]
fn model_files_are_kept_mended_when_damaged_and_cleared() -> Result<()> {
    let Some(model) = model()? else {
        return Ok(());
    };
    let mut on_disk = 0;
    for entry in fs::read_dir(&model)? {
        let entry = entry?;
        // The card is for people: no load reads it.
        if entry.file_name() != "README.md" {
            on_disk += entry.metadata()?.len();
        }
    }
    let ready = "[data-testid=self-test][data-state=passed]";
    with_page("page-kept", &dist()?, async |page| {
        page.goto("?device=cpu").await?;
        page.wait_for(ready, LONG).await?;
        open_tab(page, "model").await?;
        page.wait_for(&test_id("kept"), SOON).await?;
        let told = "return document.querySelector('[data-testid=kept]').dataset.bytes;";
        let told = page.execute(told, vec![]).await?;
        assert_eq!(told, json!(on_disk.to_string()));

        // One kept shard is spoilt, another marked: the first must be fetched again, the second
        // not.
        let before = page
            .execute_async(
                "const store = await caches.open('mmovseg-packages');\
                 const shards = (await store.keys()).map((key) => key.url).filter((url) => url.endsWith('.safetensors'));\
                 const [spoilt, marked] = shards;\
                 const bytes = await (await store.match(spoilt)).arrayBuffer();\
                 const damaged = new Uint8Array(bytes.slice(0));\
                 damaged[damaged.length - 1] ^= 1;\
                 await store.put(spoilt, new Response(damaged));\
                 const good = await (await store.match(marked)).arrayBuffer();\
                 await store.put(marked, new Response(good, { headers: { 'x-mark': 'kept' } }));\
                 return { spoilt, marked, last: new Uint8Array(bytes).at(-1) };",
            )
            .await?;
        page.goto("?device=cpu&again=1").await?;
        page.wait_for(ready, LONG).await?;
        expect_no_error(page).await?;
        let after = page
            .execute_async(&format!(
                "const store = await caches.open('mmovseg-packages');\
                 const bytes = new Uint8Array(await (await store.match({})).arrayBuffer());\
                 const mark = (await store.match({})).headers.get('x-mark');\
                 return {{ last: bytes.at(-1), mark }};",
                before["spoilt"], before["marked"],
            ))
            .await?;
        assert_eq!(after, json!({ "last": before["last"], "mark": "kept" }));

        open_tab(page, "model").await?;
        page.click(&test_id("kept-clear")).await?;
        page.wait_until("!document.querySelector('[data-testid=kept]')", SOON)
            .await?;
        let has = page
            .execute_async("return await caches.has('mmovseg-packages');")
            .await?;
        assert_eq!(has, json!(false));
        page.expect_clean_console().await
    })
}

/// The page once ignored what a package says of its classes: it started with a list of its own, and
/// the same class had one colour on the command line and another on the page.
#[test]
fn the_page_starts_with_the_packages_classes_and_colours() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    let site = Folder::new("page-package-classes-site");
    copy_tree(&dist()?, &site.0)?;
    let file = site.0.join("models/nano/model.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&file)?)?;
    manifest["default_classes"] = json!(["lake", "woods"]);
    manifest["palette"] = json!([[1, 2, 3], [200, 20, 100]]);
    fs::write(&file, serde_json::to_vec(&manifest)?)?;
    let chips = "Array.from(document.querySelectorAll('[data-testid=class-chip]'), (chip) =>\
        [chip.dataset.class, chip.querySelector('.swatch').style.backgroundColor])";
    with_page("page-package-classes", &site.0, async |page| {
        ready_scene(page, "scene=7").await?;
        assert_eq!(
            value(page, chips).await?,
            json!([["lake", "rgb(1, 2, 3)"], ["woods", "rgb(200, 20, 100)"]])
        );
        run_to_mask(page).await?;
        let (_, pixels) = canvas(page, "mask-canvas").await?;
        assert!(
            pixels
                .iter()
                .all(|p| [[1, 2, 3], [200, 20, 100]].contains(p))
        );

        // A class that the package does not know gets another colour, and the known ones keep
        // theirs.
        page.type_text(&test_id("class-input"), "dunes\u{e007}")
            .await?;
        page.wait_until(&format!("{chips}.length === 3"), SOON)
            .await?;
        let after = value(page, chips).await?;
        assert_eq!(after[0][1], json!("rgb(1, 2, 3)"));
        assert_ne!(after[2][1], after[0][1]);
        Ok(())
    })
}

#[test]
fn a_benchmarks_list_shows_its_own_colours_and_plain_names() -> Result<()> {
    with_page("page-preset", &dist()?, async |page| {
        page.goto("?device=cpu&model=absent").await?;
        page.wait_for(&test_id("presets"), SOON).await?;
        set(page, "presets", "pie").await?;
        let chips = page
            .execute(
                "return Array.from(document.querySelectorAll('[data-testid=class-chip]'), (chip) => [\
                 chip.querySelector('input').value,\
                 chip.querySelector('.swatch').style.backgroundColor,\
                 Array.from(chip.querySelectorAll('.note'), (note) => note.textContent).join()]);",
                vec![],
            )
            .await?;
        assert_eq!(
            chips,
            json!([
                ["backbroad", "rgb(128, 128, 128)", "background"],
                ["city", "rgb(235, 51, 36)", ""],
                ["road", "rgb(255, 253, 85)", "unseen"],
                ["water", "rgb(66, 236, 245)", "unseen"],
                ["forest", "rgb(56, 168, 0)", ""],
                ["farmland", "rgb(168, 112, 0)", ""],
            ])
        );
        Ok(())
    })
}
