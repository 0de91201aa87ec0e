//! Runs the bench's page in Chromium: `bench SITE JOBS` measures each job of a JSON list in turn and
//! prints the reports as JSON lines as they come.

use std::path::Path;

use anyhow::{Context, Result, bail};
use mmovseg_browser_tests::with_page;
use serde_json::Value;
use std::time::Duration;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [site, jobs] = &arguments[..] else {
        bail!("usage: bench SITE JOBS");
    };
    let jobs: Vec<Value> = serde_json::from_str(jobs).context("JOBS is a JSON list")?;
    with_page("bench", Path::new(site), async |page| {
        page.goto("").await?;
        page.wait_for("[data-ready=yes]", Duration::from_secs(60))
            .await?;
        let browser = page.execute("return navigator.userAgent", vec![]).await?;
        println!("{}", serde_json::json!({ "browser": browser }));
        for job in &jobs {
            let report = page
                .execute_async(&format!("return window.measure({job})"))
                .await?;
            println!("{report}");
        }
        Ok(())
    })
}
