//! Explaining: stages, patches that look alike, words, the tour.

use anyhow::Result;
use mmovseg_browser_tests::{dist, test_id, with_page};
use serde_json::json;

use crate::common::*;

#[test]
fn stages_patches_and_words_explain_a_run() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    with_page("teach", &dist()?, async |page| {
        ready_scene(page, "scene=11").await?;
        run_to_mask(page).await?;

        open_tab(page, "stages").await?;
        page.wait_for(&test_id("stage"), LONG).await?;
        let stages = value(
            page,
            "Array.from(document.querySelectorAll('[data-testid=stage]'), (stage) => stage.dataset.stage)",
        )
        .await?;
        let stages: Vec<&str> = stages
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|s| s.as_str())
            .collect();
        assert_eq!(stages.first(), Some(&"clip-similarity"));
        assert_eq!(stages.last(), Some(&"probability"));
        // Each stage has its own picture and sentence.
        let shown = "[document.querySelector('[data-testid=stage-frame] canvas').toDataURL(),\
                      document.querySelector('.about p').textContent,\
                      document.querySelector('[data-testid=stage-title]').textContent]";
        let mut seen = vec![value(page, shown).await?];
        for _ in 1..stages.len() {
            page.click(&test_id("stage-next")).await?;
            seen.push(value(page, shown).await?);
        }
        for pair in seen.windows(2) {
            assert_ne!(pair[0][0], pair[1][0], "two stages look the same");
            assert_ne!(pair[0][2], pair[1][2], "two stages have one title");
        }
        // Another class has another map.
        let last = value(page, shown).await?;
        page.execute(
            "const select = document.querySelector('[data-testid=stage-class]');\
             select.value = 'city'; select.dispatchEvent(new Event('change', { bubbles: true }));",
            vec![],
        )
        .await?;
        assert!(
            page.text(&test_id("stage-class-name"))
                .await?
                .contains("city")
        );
        page.wait_until(
            &format!(
                "document.querySelector('[data-testid=stage-frame] canvas').toDataURL() !== {}",
                last[0]
            ),
            SOON,
        )
        .await?;

        open_tab(page, "alike").await?;
        page.click(&test_id("rgb-frame")).await?;
        page.wait_until(
            "document.querySelectorAll('[data-testid=alike-map]').length === 2",
            LONG,
        )
        .await?;
        // The chosen patch is the brightest of its own tile.
        page.wait_until(
            "document.querySelector('[data-sensor=optical] .scale > span:last-child')?.textContent === '1.00'",
            SOON,
        )
        .await?;

        open_tab(page, "words").await?;
        page.wait_for(&test_id("cosines"), LONG).await?;
        let table = value(
            page,
            "Array.from(document.querySelectorAll('[data-testid=cosines] tbody tr'),\
             (row) => Array.from(row.querySelectorAll('td'), (cell) => parseFloat(cell.textContent)))",
        )
        .await?;
        for row in 0..7 {
            assert_eq!(table[row][row], json!(1), "a word is itself");
            for column in 0..7 {
                assert_eq!(table[row][column], table[column][row]);
            }
        }
        expect_no_error(page).await?;
        page.expect_clean_console().await
    })
}

/// A step of the tour as shown: its number in the address, and the formula.
const STEP: &str = "[new URLSearchParams(location.search).get('tour'),\
    document.querySelector('[data-testid=tour-formula]')?.textContent ?? '']";

#[test]
fn the_tour_follows_one_pixel_through_eight_steps_and_checks_answers() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    with_page("tour", &dist()?, async |page| {
        ready_scene(page, "scene=11").await?;
        run_to_mask(page).await?;
        page.click(&test_id("tour-start")).await?;
        assert_eq!(
            number(
                page,
                "document.querySelectorAll('[data-testid=tour-step]').length"
            )
            .await?,
            8.0
        );
        // Each step has a formula of its own with numbers of this pixel, and the address names it.
        let mut seen = Vec::new();
        for step in 1..=8 {
            page.wait_until(
                &format!("(([at, formula]) => at === '{step}' && /\\d\\.\\d|\\d+ of/.test(formula))({STEP})"),
                LONG,
            )
            .await?;
            let here = "[document.querySelector('[data-testid=tour-step][aria-current=step]').textContent,\
                document.querySelector('[data-testid=tour-formula]').textContent]";
            seen.push(value(page, here).await?);
            if step < 8 {
                page.click(&test_id("tour-next")).await?;
            }
        }
        for pair in seen.windows(2) {
            assert!(
                pair[0][0] != pair[1][0] && pair[0][1] != pair[1][1],
                "{pair:?}"
            );
        }
        // The last step's highest class is the probe's.
        let highest = seen[7][1].as_str().unwrap_or_default().to_owned();
        assert!(highest.contains("highest here: "), "{highest}");

        // For teachers: the address brings back step, pixel and word.
        set(page, "tour-word", "forest").await?;
        page.wait_until("location.search.includes('word=forest')", SOON)
            .await?;
        let link = value(page, "location.search").await?;
        let link = link.as_str().unwrap_or_default().to_owned();
        assert!(link.contains("pixel="), "{link}");
        page.goto("?device=cpu&model=absent").await?;
        page.goto(&link).await?;
        page.wait_until(&format!("(([at, formula]) => at === '8' && formula.includes('forest') && formula.includes('your word'))({STEP})"), LONG)
            .await?;

        // The three questions are open until they are answered.
        let solved =
            |key: &str| format!("document.querySelector('[data-question={key}]').dataset.solved");
        for key in ["road", "margin", "cloud"] {
            assert_eq!(value(page, &solved(key)).await?, json!("false"), "{key}");
        }
        run_to_mask(page).await?;
        let found = page
            .execute_async(&format!(
                "const frame = document.querySelector('[data-testid=mask-frame]');\
                 for (let i = 0; i < 4000; i++) {{\
                   const box = frame.getBoundingClientRect();\
                   const [u, v] = [(i * 37 % 997) / 997, (i * 53 % 991) / 991];\
                   for (const kind of ['pointerdown', 'pointerup'])\
                     frame.dispatchEvent(new PointerEvent(kind, {{ bubbles: true, pointerId: 1, button: 0,\
                       clientX: box.left + u * box.width, clientY: box.top + v * box.height }}));\
                   await new Promise((done) => setTimeout(done, 0));\
                   if ({} === 'true') return i;\
                 }}\
                 return -1;",
                solved("margin")
            ))
            .await?;
        assert!(
            found.as_i64().is_some_and(|tries| tries >= 0),
            "no pixel was undecided"
        );
        page.type_text(&test_id("class-input"), "street, pavement\u{e007}")
            .await?;
        page.wait_until(&format!("{} === 'true'", solved("road")), LONG)
            .await?;
        page.click(&test_id("cloud-thick")).await?;
        page.execute(
            "document.querySelector('[data-testid=modality] [value=sar]').click();",
            vec![],
        )
        .await?;
        page.wait_until(&format!("{} === 'true'", solved("cloud")), LONG)
            .await?;

        page.click(&test_id("tour-end")).await?;
        page.wait_until("document.querySelector('[data-testid=tour]').hidden", SOON)
            .await?;
        expect_no_error(page).await
    })
}
