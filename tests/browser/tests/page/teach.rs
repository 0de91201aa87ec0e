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

        page.click("[data-testid=stages] summary").await?;
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

        page.click("[data-testid=alike] summary").await?;
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

        page.click("[data-testid=words] summary").await?;
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

#[test]
fn the_tour_shows_its_five_steps() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    with_page("tour", &dist()?, async |page| {
        page.goto("?device=cpu").await?;
        page.wait_for(&test_id("tour-start"), SOON).await?;
        page.click(&test_id("tour-start")).await?;
        page.wait_for("[data-testid=tour][data-step='1']", SOON)
            .await?;
        page.wait_for("[data-testid=rgb-canvas][data-ready=true]", SOON)
            .await?;
        page.click(&test_id("tour-next")).await?;
        page.wait_for(&test_id("legend"), LONG).await?;
        page.click(&test_id("tour-next")).await?;
        page.wait_until(
            "document.querySelectorAll('[data-testid=compared]').length === 3",
            LONG,
        )
        .await?;
        page.click(&test_id("tour-next")).await?;
        page.wait_for(&test_id("stage"), LONG).await?;
        page.click(&test_id("tour-next")).await?;
        page.wait_for(&test_id("cosines"), LONG).await?;
        page.click(&test_id("tour-end")).await?;
        page.wait_until("!document.querySelector('[data-testid=tour]')", SOON)
            .await?;
        expect_no_error(page).await
    })
}
