//! Everyone: automated accessibility checks, small screens, the keyboard alone, no other server.

use std::fs;

use anyhow::{Context, Result};
use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use mmovseg_browser_tests::{Page, dist, test_id, with_page};
use serde_json::{Value, json};
use xtask::paths;

use crate::common::*;

/// Widths of a phone, a tablet and a desktop, in CSS pixels.
const WIDTHS_PX: [u32; 4] = [360, 768, 1280, 1920];

/// axe-core, where the set-up has put it.
fn axe() -> Option<String> {
    let file = paths::tools().join("node_modules/axe-core/axe.min.js");
    match fs::read_to_string(&file) {
        Ok(text) => Some(text),
        Err(error) => {
            mmovseg_test_support::skip(&format!(
                "no axe-core ({error}); `cargo xtask setup` installs it where there is npm"
            ));
            None
        }
    }
}

/// What axe finds serious or critical.
async fn violations(page: &Page, axe: &str) -> Result<Vec<String>> {
    if value(page, "typeof axe").await? == json!("undefined") {
        page.execute(axe, vec![]).await?;
    }
    let found = page
        .execute_async(
            // Colours on their way from light to dark are neither.
            "const frame = () => new Promise((done) => requestAnimationFrame(done));\
             await frame(); await frame();\
             const motions = document.getAnimations().map((motion) => motion.finished);\
             const rest = new Promise((done) => setTimeout(done, 2000));\
             await Promise.race([Promise.allSettled(motions), rest]);\
             const { violations } = await axe.run(document, { resultTypes: ['violations'] });\
             return violations.filter((v) => ['serious', 'critical'].includes(v.impact))\
               .map((v) => `${v.id}: ${v.help}: ${v.nodes.slice(0, 4).map((n) => n.html).join(' | ')}`);",
        )
        .await?;
    let found = found.as_array().context("no list")?;
    Ok(found
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect())
}

#[test]
fn axe_finds_nothing_serious_at_any_width_in_light_and_dark() -> Result<()> {
    let Some(axe) = axe() else {
        return Ok(());
    };
    let has_model = model()?.is_some();
    with_page("everyone-axe", &dist()?, async |page| {
        let query = if has_model { "" } else { "&model=absent" };
        page.goto(&format!("?device=cpu&scene=11{query}")).await?;
        page.wait_for("[data-testid=rgb-canvas][data-ready=true]", SOON)
            .await?;
        if has_model {
            run_to_mask(page).await?;
            // Pinned, so that the probe is there and similar patches have their place.
            page.click(&test_id("mask-frame")).await?;
        }
        // Each panel, and what shows that it has its content.
        for (panel, proof) in [
            ("compare", "compared"),
            ("stages", "stage"),
            ("words", "cosines"),
            ("alike", "alike-map"),
            ("save", "save"),
            ("reading", "reading"),
            ("batch", "batch"),
            ("model", "model"),
        ] {
            open_tab(page, panel).await?;
            if has_model {
                page.wait_for(&test_id(proof), LONG).await?;
            }
            for dark in [false, true] {
                page.prefer_dark(dark).await?;
                for width in WIDTHS_PX {
                    page.resize(width, 900).await?;
                    let found = violations(page, &axe).await?;
                    assert!(
                        found.is_empty(),
                        "{panel}, {width} px, dark {dark}:\n{}",
                        found.join("\n")
                    );
                    // Named for the message; what scrolls by itself may be as wide as it likes.
                    let wide = value(
                    page,
                    "Array.from(document.querySelectorAll('body *'))\
                       .filter((e) => e.getBoundingClientRect().right > innerWidth && !e.closest('.scroll'))\
                       .map((e) => `${e.tagName} ${e.className} ${e.dataset.testid ?? ''}`)",
                )
                .await?;
                    let overflow =
                        number(page, "document.documentElement.scrollWidth - innerWidth").await?;
                    assert!(
                        overflow <= 0.0,
                        "{panel}: at {width} px the page is {overflow} px too wide: {wide}"
                    );
                }
            }
        }
        Ok(())
    })
}

#[test]
fn the_keyboard_alone_reaches_every_control_and_every_focus_is_seen() -> Result<()> {
    with_page("everyone-keys", &dist()?, async |page| {
        page.goto("?device=cpu&model=absent&scene=7").await?;
        page.wait_for(&test_id("retry"), SOON).await?;
        page.resize(360, 800).await?;
        let mut seen = Vec::new();
        for _ in 0..120 {
            let tab = KeyActions::new("keys".into())
                .then(KeyAction::Down { value: '\u{e004}' })
                .then(KeyAction::Up { value: '\u{e004}' });
            page.client().perform_actions(tab).await?;
            let here = value(
                page,
                "(() => { const e = document.activeElement; if (e === document.body) return null;\
                  const ring = [e, e.nextElementSibling, e.closest('.slot')].some((x) => x &&\
                    getComputedStyle(x).outlineStyle !== 'none' && parseFloat(getComputedStyle(x).outlineWidth) >= 2);\
                  return [e.dataset.testid ?? e.tagName, ring]; })()",
            )
            .await?;
            let Some(name) = here[0].as_str() else {
                break;
            };
            assert_eq!(here[1], json!(true), "the focus on {name} is not seen");
            seen.push(name.to_owned());
        }
        for wanted in [
            "rgb-file",
            "new-scene",
            "class-input",
            "cloud-opacity",
            "retry",
            "toggle",
            "solo",
            "presets",
            "tab-compare",
            "rgb-frame",
            "opacity",
            "swipe",
        ] {
            assert!(
                seen.iter().any(|name| name == wanted),
                "Tab never reaches {wanted}: {seen:?}"
            );
        }
        Ok(())
    })
}

#[test]
fn no_other_server_is_asked_and_foreign_scripts_do_not_run() -> Result<()> {
    with_page("everyone-policy", &dist()?, async |page| {
        page.goto("?device=cpu&scene=7").await?;
        page.wait_for("[data-testid=rgb-canvas][data-ready=true]", SOON)
            .await?;
        let foreign = value(
            page,
            "performance.getEntriesByType('resource').map((e) => e.name).filter((n) => !n.startsWith(location.origin))",
        )
        .await?;
        assert_eq!(foreign, json!([]));
        let blocked = page
            .execute_async(
                "const seen = [];\
                 document.addEventListener('securitypolicyviolation', (e) => seen.push(e.effectiveDirective));\
                 const script = document.createElement('script'); script.textContent = 'window.ran = true';\
                 document.head.append(script);\
                 await fetch('https://example.org/').catch(() => 0);\
                 await new Promise((done) => setTimeout(done, 300));\
                 return [window.ran === undefined, seen.some((d) => d.startsWith('script-src')), seen.includes('connect-src')];",
            )
            .await?;
        assert_eq!(blocked, json!([true, true, true]));
        Ok(())
    })
}
