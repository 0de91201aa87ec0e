//! Looking: linked panes, mask over either picture, legend, probe.

use anyhow::{Context, Result};
use fantoccini::actions::{InputSource, KeyAction, KeyActions, MouseActions, PointerAction};
use mmovseg_browser_tests::{Page, dist, test_id, with_page};
use serde_json::json;

use crate::common::*;

/// The transforms of the two tiles' canvases.
async fn windows(page: &Page) -> Result<[String; 2]> {
    let style = |id: &str| format!("document.querySelector('[data-testid={id}]').style.transform");
    let read = value(
        page,
        &format!("[{}, {}]", style("rgb-canvas"), style("sar-canvas")),
    )
    .await?;
    Ok([0, 1].map(|i| read[i].as_str().unwrap_or("").to_owned()))
}

/// Keys on the focused element; `shift` holds Shift down.
async fn keys(page: &Page, keys: &[char], shift: bool) -> Result<()> {
    const SHIFT: char = '\u{e008}';
    let mut actions = KeyActions::new("keys".into());
    if shift {
        actions = actions.then(KeyAction::Down { value: SHIFT });
    }
    for &value in keys {
        actions = actions
            .then(KeyAction::Down { value })
            .then(KeyAction::Up { value });
    }
    if shift {
        actions = actions.then(KeyAction::Up { value: SHIFT });
    }
    page.client().perform_actions(actions).await?;
    Ok(())
}

const ARROW_RIGHT: char = '\u{e014}';

#[test]
fn the_panes_share_one_window_and_one_cursor() -> Result<()> {
    with_page("look-linked", &dist()?, async |page| {
        page.goto("?device=cpu&model=absent&scene=7").await?;
        page.wait_for("[data-testid=rgb-canvas][data-ready=true]", SOON)
            .await?;
        let whole = windows(page).await?;
        assert_eq!(whole[0], whole[1]);

        // The wheel enlarges both about the pointer, pixel-sharp.
        page.execute(
            "const frame = document.querySelector('[data-testid=rgb-frame]');\
             const box = frame.getBoundingClientRect();\
             frame.dispatchEvent(new WheelEvent('wheel', { deltaY: -600, bubbles: true, cancelable: true,\
               clientX: box.left + box.width / 4, clientY: box.top + box.height / 4 }));",
            vec![],
        )
        .await?;
        let near = windows(page).await?;
        assert_eq!(near[0], near[1]);
        assert_ne!(near[0], whole[0]);
        let sharp = value(
            page,
            "getComputedStyle(document.querySelector('[data-testid=rgb-canvas]')).imageRendering",
        )
        .await?;
        assert_eq!(sharp, json!("pixelated"));

        // Dragging one moves both.
        let frame = page.test_id("sar-frame").await?;
        let (x, y, w, h) = frame.rectangle().await?;
        let (x, y) = ((x + w / 2.0) as i64, (y + h / 2.0) as i64);
        let button = fantoccini::actions::MOUSE_BUTTON_LEFT;
        let at = |x, y| PointerAction::MoveTo {
            duration: None,
            x: x as f64,
            y: y as f64,
        };
        let drag = MouseActions::new("mouse".into())
            .then(at(x, y))
            .then(PointerAction::Down { button })
            .then(at(x - 30, y - 20))
            .then(at(x - 60, y - 40))
            .then(PointerAction::Up { button });
        page.client().perform_actions(drag).await?;
        let dragged = windows(page).await?;
        assert_eq!(dragged[0], dragged[1]);
        assert_ne!(dragged[0], near[0]);
        // A drag pins nothing.
        assert_eq!(
            value(page, "document.querySelectorAll('.pinned').length").await?,
            json!(0)
        );

        // Keys: 0 shows all again, plus enlarges, Shift and an arrow moves the probe in every pane.
        page.execute(
            "document.querySelector('[data-testid=rgb-frame]').focus();",
            vec![],
        )
        .await?;
        keys(page, &['0'], false).await?;
        assert_eq!(windows(page).await?, whole);
        keys(page, &['+'], false).await?;
        assert_ne!(windows(page).await?, whole);
        keys(page, &['0'], false).await?;
        keys(page, &[ARROW_RIGHT], true).await?;
        let before = cursors(page).await?;
        keys(page, &[ARROW_RIGHT], true).await?;
        let after = cursors(page).await?;
        assert_eq!(before.len(), 3, "{before:?}");
        assert!(after.iter().all(|left| *left == after[0]), "{after:?}");
        // One pixel of 256.
        assert!(
            (after[0] - before[0] - 100.0 / 256.0).abs() < 0.01,
            "{before:?} {after:?}"
        );
        Ok(())
    })
}

/// How far from the left each pane's cursor is, in percent.
async fn cursors(page: &Page) -> Result<Vec<f64>> {
    let found = value(
        page,
        "Array.from(document.querySelectorAll('.viewer .cursor'), (mark) => parseFloat(mark.style.left))",
    )
    .await?;
    Ok(found
        .as_array()
        .context("no list")?
        .iter()
        .filter_map(serde_json::Value::as_f64)
        .collect())
}

#[test]
fn the_mask_lies_over_either_picture_and_legend_and_probe_agree_with_it() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    with_page("look-mask", &dist()?, async |page| {
        ready_scene(page, "scene=11").await?;
        run_to_mask(page).await?;

        // Base, opacity, divider.
        set(page, "opacity", "40").await?;
        set(page, "swipe", "50").await?;
        page.execute(
            "document.querySelector('[data-testid=base] [value=sar]').click();",
            vec![],
        )
        .await?;
        let style = value(
            page,
            "(() => { const mask = document.querySelector('[data-testid=mask-canvas]');\
             return [mask.style.opacity, mask.parentElement.style.clipPath]; })()",
        )
        .await?;
        assert_eq!(style, json!(["0.4", "inset(0px 0px 0px 50%)"]));
        assert_eq!(
            canvas(page, "mask-base").await?.1,
            canvas(page, "sar-canvas").await?.1
        );

        // Where the legend says most, the probe's most probable class is the mask's.
        let agreement = page
            .execute_async(
                "const frame = document.querySelector('[data-testid=rgb-frame]');\
                 const mask = document.querySelector('[data-testid=mask-canvas]');\
                 const pixels = mask.getContext('2d');\
                 const names = {};\
                 for (const row of document.querySelectorAll('[data-testid=class-chip]'))\
                   names[row.dataset.colour] = row.dataset.class;\
                 const box = frame.getBoundingClientRect();\
                 const found = [];\
                 for (let i = 0; i < 40; i++) {\
                   const [u, v] = [(i * 37 % 97 + 1) / 99, (i * 53 % 89 + 1) / 91];\
                   frame.dispatchEvent(new PointerEvent('pointermove', { bubbles: true, pointerId: 1,\
                     clientX: box.left + u * box.width, clientY: box.top + v * box.height }));\
                   let place, at;\
                   for (let wait = 0; wait < 100 && !at; wait++) {\
                     await new Promise((done) => setTimeout(done, 20));\
                     place = document.querySelector('[data-testid=probe-place]');\
                     if (place?.dataset.best) at = place.textContent.match(/\\d+/g);\
                   }\
                   const [x, y] = at.map(Number);\
                   const rgb = Array.from(pixels.getImageData(x, y, 1, 1).data).slice(0, 3).join();\
                   found.push([names[rgb], place.dataset.best]);\
                 }\
                 return found;",
            )
            .await?;
        let agreement = agreement.as_array().context("no list")?;
        assert_eq!(agreement.len(), 40);
        for pair in agreement {
            assert_eq!(pair[0], pair[1], "the mask and the probe differ");
        }

        // How sure it is, in numbers that a probability allows.
        for id in ["probe-entropy", "probe-margin"] {
            let part = number(
                page,
                &format!("parseFloat(document.querySelector('[data-testid={id}]').textContent)"),
            )
            .await?;
            assert!((0.0..=100.0).contains(&part), "{id} is {part} %");
        }

        // A class that is switched off is transparent, one shown alone leaves only itself.
        page.click("[data-testid=legend] li:nth-child(7) [data-testid=solo]")
            .await?;
        let drawn = "(() => { const c = document.querySelector('[data-testid=mask-canvas]');\
             const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;\
             for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n / (d.length / 4); })()";
        let share = number(
            page,
            "Number(document.querySelector('[data-testid=legend] li:nth-child(7)').dataset.share)",
        )
        .await?;
        let alone = number(page, drawn).await?;
        assert!(
            (alone - share).abs() < 2e-3,
            "{alone} of the mask is drawn, {share} is the share"
        );
        page.click("[data-testid=legend] li:nth-child(7) [data-testid=solo]")
            .await?;
        page.click("[data-testid=legend] li:nth-child(7) [data-testid=toggle]")
            .await?;
        let others = number(page, drawn).await?;
        assert!((others + share - 1.0).abs() < 2e-3);
        page.click("[data-testid=legend] li:nth-child(7) [data-testid=toggle]")
            .await?;

        // Patterns change the drawing and nothing else.
        let plain = canvas(page, "mask-canvas").await?.1;
        page.click(&test_id("hatched")).await?;
        let hatched = canvas(page, "mask-canvas").await?.1;
        let changed = plain.iter().zip(&hatched).filter(|(a, b)| a != b).count();
        assert!(
            changed > 0 && changed * 2 < plain.len(),
            "{changed} pixels have a pattern"
        );

        // A click pins the probe; it stays when the pointer has gone.
        page.click(&test_id("mask-frame")).await?;
        page.wait_for(".pinned", SOON).await?;
        page.execute(
            "document.querySelector('[data-testid=rgb-frame]').dispatchEvent(new PointerEvent('pointerleave'));",
            vec![],
        )
        .await?;
        assert!(page.text(&test_id("probe-place")).await?.contains("pinned"));
        page.expect_clean_console().await
    })
}
