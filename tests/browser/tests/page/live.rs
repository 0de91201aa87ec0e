//! Changing one's mind: words, sensors and clouds run again by themselves, and the sensors compare.

use anyhow::Result;
use mmovseg_browser_tests::{dist, test_id, with_page};
use serde_json::json;

use crate::common::*;

/// The classes that the mask has numbers for, in the order of the list.
const ROWS: &str = "Array.from(document.querySelectorAll('[data-testid=class-chip][data-share]'), (chip) => chip.dataset.class)";

#[test]
fn a_changed_word_runs_text_and_head_only_and_the_newest_wish_wins() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    with_page("live-words", &dist()?, async |page| {
        ready_scene(page, "scene=11").await?;
        run_to_mask(page).await?;

        page.type_text(&test_id("class-input"), "orchard\u{e007}")
            .await?;
        page.wait_until(&format!("{ROWS}.length === 8"), LONG)
            .await?;
        status(page, "Only the new class names and the head ran", LONG).await?;

        // Another order needs no text either.
        page.execute(
            "document.querySelector('[data-class=orchard] input').dispatchEvent(\
               new KeyboardEvent('keydown', { key: 'ArrowLeft', altKey: true, bubbles: true, cancelable: true }));",
            vec![],
        )
        .await?;
        page.wait_until(&format!("{ROWS}[6] === 'orchard'"), LONG)
            .await?;
        status(page, "Only the head ran", LONG).await?;

        // Renaming, as one types: the mask follows when the field is left.
        page.execute(
            "const field = document.querySelector('[data-class=orchard] input');\
             field.value = 'vineyard'; field.dispatchEvent(new Event('change', { bubbles: true }));",
            vec![],
        )
        .await?;
        page.wait_until(&format!("{ROWS}[6] === 'vineyard'"), LONG)
            .await?;

        // Many wishes in a row: the last is what is shown in the end.
        for word in ["pond", "harbour", "dunes"] {
            page.type_text(&test_id("class-input"), &format!("{word}\u{e007}"))
                .await?;
        }
        page.execute(
            "document.querySelector('[data-testid=modality] [value=sar]').click();",
            vec![],
        )
        .await?;
        page.wait_until(
            "document.querySelector('.viewer').textContent.includes('Mask: SAR only')",
            LONG,
        )
        .await?;
        assert_eq!(
            value(page, &format!("{ROWS}.slice(-3)")).await?,
            json!(["pond", "harbour", "dunes"])
        );
        idle(page).await?;
        expect_no_error(page).await?;
        page.expect_clean_console().await
    })
}

#[test]
fn a_cloud_hides_the_ground_from_the_optical_mask_and_the_three_are_compared() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    with_page("live-cloud", &dist()?, async |page| {
        ready_scene(page, "scene=11").await?;
        run_to_mask(page).await?;
        open_tab(page, "compare").await?;
        let compared = "document.querySelectorAll('[data-testid=compared-canvas]').length === 3";
        page.wait_until(compared, LONG).await?;
        let shares = "Array.from(document.querySelectorAll('[data-testid=difference] b'), (b) => parseFloat(b.textContent) / 100)";
        let told = value(page, shares).await?;
        // Counted again from the pictures themselves.
        let counted = page
            .execute_async(
                "const data = Array.from(document.querySelectorAll('[data-testid=compared-canvas]'),\
                   (c) => new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer));\
                 return [[0, 1], [0, 2], [1, 2]].map(([a, b]) => {\
                   let n = 0; for (let i = 0; i < data[a].length; i++) n += data[a][i] !== data[b][i];\
                   return n / data[a].length; });",
            )
            .await?;
        for i in 0..3 {
            let (told, counted) = (told[i].as_f64().unwrap(), counted[i].as_f64().unwrap());
            assert!(
                (told - counted).abs() < 6e-4,
                "{told} was told, {counted} counted"
            );
        }
        assert_eq!(
            number(
                page,
                "document.querySelectorAll('[data-testid=compared-iou]').length"
            )
            .await?,
            3.0
        );

        // The optical mask suffers from a thick cloud, SAR alone does not change.
        let sar = "document.querySelector('[data-modality=sar] canvas').toDataURL()";
        let optical = "document.querySelector('[data-modality=optical] canvas').toDataURL()";
        let before = [value(page, sar).await?, value(page, optical).await?];
        set(page, "cloud-cover", "95").await?;
        set(page, "cloud-opacity", "100").await?;
        page.wait_until(&format!("{optical} !== {}", before[1]), LONG)
            .await?;
        assert_eq!(value(page, sar).await?, before[0], "SAR sees no cloud");
        idle(page).await?;

        // Closed, also while three masks are on their way.
        let gone = "!document.querySelector('[data-testid=compared-canvas]')";
        page.click(&test_id("tab-compare")).await?;
        page.wait_until(gone, SOON).await?;
        page.click(&test_id("tab-compare")).await?;
        page.click(&test_id("tab-compare")).await?;
        idle(page).await?;
        // The other two masks take about a second more; nothing tells that they have arrived.
        page.execute_async("await new Promise((resolve) => setTimeout(resolve, 5000));")
            .await?;
        page.wait_until(gone, SOON).await?;
        expect_no_error(page).await
    })
}

#[test]
fn a_word_that_the_vocabulary_does_not_have_is_named() -> Result<()> {
    if model()?.is_none() {
        return Ok(());
    }
    with_page("live-unknown", &dist()?, async |page| {
        ready_scene(page, "scene=11").await?;
        run_to_mask(page).await?;
        let note = "(document.querySelector('[data-testid=unknown-words]')?.textContent ?? '')";
        assert_eq!(value(page, note).await?, json!(""));
        page.type_text(&test_id("class-input"), "qzxv\u{e007}")
            .await?;
        page.wait_until(&format!("{note}.includes('qzxv')"), LONG)
            .await?;
        expect_no_error(page).await
    })
}
