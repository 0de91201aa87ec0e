//! `web/page/index.html` for a build without Trunk: elements for Trunk become plain links, and the
//! files that they name are copied.
//!
//! Such an element has the attribute `data-trunk` and stands on a line of its own, so the file is
//! read line by line.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xtask::paths;
use xtask::server::POLICY;

/// The line after which the build adds its own.
const CHARSET: &str = "<meta charset=\"utf-8\">";

/// `html` without Trunk's elements, under the content security policy, naming the engines that the
/// site has. The files that Trunk's elements name are copied from `source` to `folder`.
///
/// # Errors
/// When a file is missing, or the page uses something of Trunk's that this build does not know.
pub fn plain_html(html: &str, source: &Path, folder: &Path, engines: &[&str]) -> Result<String> {
    let mut out = String::with_capacity(html.len());
    let mut has_charset = false;
    for line in html.lines() {
        let indent = &line[..line.len() - line.trim_start().len()];
        let mut add = |text: &str| {
            out.push_str(indent);
            out.push_str(text);
            out.push('\n');
        };
        if line.contains("data-trunk") {
            for text in plain_lines(line, source, folder)? {
                add(&text);
            }
            continue;
        }
        add(line.trim_start());
        if line.trim() == CHARSET {
            has_charset = true;
            add(&format!(
                "<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">"
            ));
            add(&format!(
                "<meta name=\"mmovseg-engines\" content=\"{}\">",
                engines.join(" ")
            ));
        }
    }
    if !has_charset {
        bail!("web/page/index.html has no line `{CHARSET}`");
    }
    Ok(out)
}

/// What a line of Trunk's becomes.
fn plain_lines(line: &str, source: &Path, folder: &Path) -> Result<Vec<String>> {
    let element = line.trim();
    let rel = attribute(element, "rel").unwrap_or_default();
    if rel == "rust" {
        return Ok([
            "<link rel=\"modulepreload\" href=\"./page.js\">",
            "<link rel=\"preload\" href=\"./page_bg.wasm\" as=\"fetch\" type=\"application/wasm\" crossorigin>",
            "<script type=\"module\" src=\"./start.js\"></script>",
        ]
        .map(str::to_owned)
        .into());
    }
    let href = attribute(element, "href")
        .with_context(|| format!("web/page/index.html: `{element}` names no file"))?;
    let from = source.join(href);
    let name = from
        .file_name()
        .with_context(|| format!("web/page/index.html: `{element}` names no file"))?;
    let place = attribute(element, "data-target-path").map_or_else(PathBuf::new, PathBuf::from);
    let copied = || -> Result<String> {
        fs::create_dir_all(folder.join(&place))?;
        fs::copy(&from, folder.join(&place).join(name)).with_context(|| {
            format!(
                "web/page/index.html names {}, which cannot be read",
                from.display()
            )
        })?;
        Ok(place.join(name).to_string_lossy().replace('\\', "/"))
    };
    Ok(match rel {
        "copy-dir" => {
            let to = if place.as_os_str().is_empty() {
                Path::new(name)
            } else {
                &place
            };
            paths::copy_tree(&from, &folder.join(to))?;
            Vec::new()
        }
        "copy-file" => {
            copied()?;
            Vec::new()
        }
        "css" => vec![format!(
            "<link rel=\"stylesheet\" href=\"./{}\">",
            copied()?
        )],
        "icon" => {
            let kind = attribute(element, "type")
                .map_or_else(String::new, |kind| format!(" type=\"{kind}\""));
            vec![format!(
                "<link rel=\"icon\" href=\"./{}\"{kind}>",
                copied()?
            )]
        }
        other => bail!(
            "web/page/index.html: `{element}` uses Trunk's `{other}`, which this build does not know; \
             use rust, css, icon, copy-file or copy-dir, each element on a line of its own"
        ),
    })
}

/// The value of an attribute in double quotes.
fn attribute<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = element.split_once(&format!(" {name}=\""))?;
    Some(rest.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn trunk_lines_become_plain_ones_and_their_files_are_copied() {
        let base = std::env::temp_dir().join(format!("xtask-html-{}", std::process::id()));
        let (source, folder) = (base.join("page"), base.join("dist"));
        fs::create_dir_all(source.join("icons")).unwrap();
        fs::create_dir_all(&folder).unwrap();
        fs::write(source.join("style.css"), "p{}").unwrap();
        fs::write(source.join("icons/a.svg"), "<svg/>").unwrap();
        let plain = |lines: &str| {
            let html = format!("<!doctype html>\n  {CHARSET}\n{lines}");
            plain_html(&html, &source, &folder, &["cpu"])
        };
        let html = plain(
            "  <link data-trunk rel=\"rust\" data-bin=\"mmovseg-page\">\n\
             \x20 <link data-trunk rel=\"css\" href=\"style.css\">\n\
             \x20 <link data-trunk rel=\"copy-dir\" href=\"icons\">\n<p>1 < 2</p>",
        )
        .unwrap();
        assert!(html.contains("src=\"./start.js\""), "{html}");
        assert!(
            html.contains("\n  <link rel=\"stylesheet\" href=\"./style.css\">\n"),
            "{html}"
        );
        assert!(
            html.contains("name=\"mmovseg-engines\" content=\"cpu\""),
            "{html}"
        );
        assert!(
            html.ends_with("<p>1 < 2</p>\n") && !html.contains("data-trunk"),
            "{html}"
        );
        assert!(folder.join("style.css").is_file() && folder.join("icons/a.svg").is_file());

        let odd = plain("<link data-trunk rel=\"sass\" href=\"style.css\">");
        assert!(odd.unwrap_err().to_string().contains("`sass`"));
        let missing = plain("<link data-trunk rel=\"css\" href=\"no.css\">");
        assert!(missing.unwrap_err().to_string().contains("no.css"));
        fs::remove_dir_all(base).unwrap();
    }
}
