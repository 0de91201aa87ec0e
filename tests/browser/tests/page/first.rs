//! The first minute: a mask without a click, pictures that are large enough, controls in sight, a
//! page of somebody else's around the engine.

use std::fs;

use anyhow::{Context, Result};
use mmovseg_browser_tests::{dist, test_id, with_page};
use mmovseg_raster::class_colours;
use serde_json::{Value, json};

use crate::common::*;

/// A Worker that never loads anything.
const NEVER_LOADS: &str = "await new Promise(() => {});\n";

#[test]
fn a_stored_mask_and_stored_stages_are_there_before_the_model_is() -> Result<()> {
    with_worker_script("first-stored", NEVER_LOADS, async |page| {
        page.goto("?device=cpu").await?;
        page.wait_for(&test_id("stored"), SOON).await?;
        let (width, pixels) = canvas(page, "mask-canvas").await?;
        assert_eq!((width, pixels.len()), (256, 256 * 256));
        let colours: std::collections::BTreeSet<_> = pixels.iter().collect();
        assert!(colours.len() >= 4, "{colours:?}");
        let chips = "document.querySelectorAll('[data-testid=class-chip][data-share]').length";
        assert_eq!(number(page, chips).await?, 7.0);
        // It does not pass for one of this visit, and what it cannot answer is not offered.
        assert_eq!(
            value(page, &format!("{PAGE}.current")).await?,
            json!("false")
        );
        open_tab(page, "save").await?;
        let exports =
            "Array.from(document.querySelectorAll('[data-testid^=export-]'), (b) => b.disabled)";
        let exports = value(page, exports).await?;
        assert!(
            exports
                .as_array()
                .is_some_and(|all| all.iter().all(|off| *off == json!(true)))
        );
        open_tab(page, "stages").await?;
        page.wait_until(
            "document.querySelectorAll('[data-testid=stage]').length >= 5",
            SOON,
        )
        .await?;
        page.expect_clean_console().await
    })
}

/// The stored files are of the default model as it is now; else
/// `tests/browser/src/bin/first_scene.rs` has to make them again.
#[test]
fn the_first_mask_comes_without_a_click_and_agrees_with_the_stored_one() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    let stored: Value = serde_json::from_slice(&fs::read(dist()?.join("first/scene.json"))?)?;
    let mut wanted: Vec<u8> = Vec::new();
    for run in stored["label_runs"].as_array().context("no runs")? {
        let (label, count) = (
            run[0].as_u64().context("no label")?,
            run[1].as_u64().context("no count")?,
        );
        wanted.extend(std::iter::repeat_n(
            u8::try_from(label)?,
            usize::try_from(count)?,
        ));
    }
    with_page("first-mask", &dist()?, async |page| {
        page.goto("?device=cpu").await?;
        page.wait_until(&format!("{PAGE}.current === 'true'"), LONG)
            .await?;
        page.wait_until("!document.querySelector('[data-testid=stored]')", SOON)
            .await?;
        let named = package_colours()?;
        let names: Vec<&String> = named.iter().map(|(name, _)| name).collect();
        let palette = class_colours(&names, &named);
        let (_, pixels) = canvas(page, "mask-canvas").await?;
        assert_eq!(pixels.len(), wanted.len());
        let same = pixels
            .iter()
            .zip(&wanted)
            .filter(|(pixel, label)| **pixel == palette[usize::from(**label)]);
        let share = same.count() as f64 / wanted.len() as f64;
        assert!(
            share >= 0.995,
            "{share} of the stored labels are what the model computes"
        );
        page.expect_clean_console().await
    })
}

#[test]
fn three_large_pictures_and_their_controls_are_in_sight_and_swipe_on_a_phone() -> Result<()> {
    with_page("first-layout", &dist()?, async |page| {
        page.goto("?device=cpu&model=absent").await?;
        page.wait_for("[data-testid=rgb-canvas][data-ready=true]", SOON)
            .await?;
        // The alert about the missing model is not part of the layout.
        page.wait_for(&test_id("retry"), SOON).await?;
        page.click("[data-testid=error] button:last-child").await?;
        for (width, height) in [(1440, 900), (1280, 800)] {
            page.resize(width, height).await?;
            for frame in ["rgb-frame", "sar-frame", "mask-frame"] {
                let side = number(
                    page,
                    &format!("document.querySelector('[data-testid={frame}]').clientWidth"),
                )
                .await?;
                assert!(
                    side >= 380.0,
                    "{frame} is {side} px wide at {width} x {height}"
                );
            }
            for control in [
                "class-input",
                "new-scene",
                "rgb-file",
                "modality",
                "cloud-thick",
                "cloud-opacity",
                "zoom-in",
                "overlay",
                "opacity",
                "swipe",
            ] {
                let bottom = number(page, &format!("document.querySelector('[data-testid={control}]').getBoundingClientRect().bottom")).await?;
                assert!(
                    bottom <= f64::from(height),
                    "{control} ends at {bottom} px of {width} x {height}"
                );
            }
        }
        page.resize(360, 740).await?;
        let swipe = value(
            page,
            "(() => { const panes = document.querySelector('.panes'); const frame = document.querySelector('[data-testid=rgb-frame]');\
              return [panes.scrollWidth > panes.clientWidth + 300, getComputedStyle(panes).scrollSnapType.startsWith('x'),\
                frame.getBoundingClientRect().top < 300, frame.clientWidth > 280]; })()",
        )
        .await?;
        assert_eq!(swipe, json!([true, true, true, true]));
        Ok(())
    })
}

#[test]
fn chips_are_reordered_by_dragging_and_by_keys() -> Result<()> {
    with_page("first-reorder", &dist()?, async |page| {
        page.goto("?device=cpu&model=absent&classes=a,b,c").await?;
        page.wait_for(&test_id("class-chip"), SOON).await?;
        let list = "Array.from(document.querySelectorAll('[data-testid=class-chip]'), (chip) => chip.dataset.class)";
        page.execute(
            "const [from, , to] = document.querySelectorAll('[data-testid=class-chip]');\
             const data = new DataTransfer();\
             for (const [target, kind] of [[from, 'dragstart'], [to, 'dragover'], [to, 'drop'], [from, 'dragend']])\
               target.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));",
            vec![],
        )
        .await?;
        page.wait_until(&format!("{list}.join() === 'b,c,a'"), SOON)
            .await?;
        page.execute(
            "const field = document.querySelector('[data-class=a] input'); field.focus();\
             field.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft', altKey: true, bubbles: true, cancelable: true }));",
            vec![],
        )
        .await?;
        page.wait_until(&format!("{list}.join() === 'b,a,c'"), SOON)
            .await?;
        // The focus stays on the chip that was moved.
        page.wait_until(
            "document.activeElement?.closest('[data-testid=class-chip]')?.dataset.class === 'a'",
            SOON,
        )
        .await
    })
}

#[test]
fn doubt_is_drawn_and_none_of_these_is_counted() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    with_page("first-doubt", &dist()?, async |page| {
        ready_scene(page, "scene=11").await?;
        run_to_mask(page).await?;
        let classes = canvas(page, "mask-canvas").await?;
        let mut seen = vec![classes.1.clone()];
        for overlay in ["entropy", "margin"] {
            set(page, "overlay", overlay).await?;
            page.wait_until(
                "document.querySelector('[data-testid=overlay-facts]').textContent !== ''",
                SOON,
            )
            .await?;
            seen.push(canvas(page, "mask-canvas").await?.1);
        }
        assert!(seen[0] != seen[1] && seen[1] != seen[2]);
        set(page, "overlay", "sensors").await?;
        page.wait_until("document.querySelector('[data-testid=overlay-facts]').textContent.includes('differ on')", LONG).await?;

        // Below a threshold a pixel has no class; the count is that of the pixels that are drawn
        // so.
        set(page, "overlay", "classes").await?;
        set(page, "none-below", "60").await?;
        page.wait_until("document.querySelector('[data-testid=overlay-facts]').textContent.startsWith('None of these')", SOON).await?;
        let told = page.text(&test_id("overlay-facts")).await?;
        let pixels = canvas(page, "mask-canvas").await?.1;
        let none = pixels
            .iter()
            .zip(&classes.1)
            .filter(|(now, before)| now != before)
            .count();
        assert!(
            none > 0 && told.contains(&format!("None of these: {none} pixels")),
            "{none} pixels are drawn so, but: {told}"
        );
        set(page, "none-below", "0").await?;
        assert!(canvas(page, "mask-canvas").await? == classes);
        page.expect_clean_console().await
    })
}

#[test]
fn a_page_of_somebody_elses_runs_the_engine_through_its_interface() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    with_page("first-embed", &dist()?, async |page| {
        page.goto("embed.html").await?;
        page.wait_until(
            "document.querySelector('#out').textContent.includes('%')",
            LONG,
        )
        .await?;
        let told = page
            .execute_async(
                "const { Engine } = await import('./engine/mmovseg.js');\
                 const engine = await Engine.load({ model: 'models/nano/' });\
                 await engine.setScene(11);\
                 const words = ['water', 'forest', 'city'];\
                 const { labels, logits, width, height, grid, classes } = await engine.run(words);\
                 const counts = words.map((_, i) => labels.reduce((n, label) => n + (label === i), 0) / labels.length);\
                 const sum = classes.reduce((sum, { share }, i) => sum + Math.abs(share - counts[i]), 0);\
                 const picture = new ImageData(64, 64); picture.data.fill(120);\
                 const tiles = await engine.setTiles(picture, picture);\
                 const again = await engine.run(words, 'sar');\
                 const refused = await engine.run([]).catch((error) => error.message);\
                 engine.close();\
                 return [labels.constructor.name, labels.length === width * height, logits.length === 3 * grid[0] * grid[1],\
                   sum < 1e-6, tiles.width_px, again.labels.length, typeof refused];",
            )
            .await?;
        assert_eq!(
            told,
            json!(["Uint8Array", true, true, true, 64, 4096, "string"])
        );
        page.expect_clean_console().await
    })
}
