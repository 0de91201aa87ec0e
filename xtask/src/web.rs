//! Building the page: three wasm programs (the small page, the engine, and the engine for several threads), their
//! bindings, and the files that `web/page/index.html` asks for, all in one folder of static files.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail};
use xtask::paths;
use xtask::server::POLICY;

use crate::run::{run, threads_cargo, threads_output, wasm_cargo, wasm_output};
use crate::setup::WebTools;
use crate::site;

const WORKER: &str = include_str!("../../web/worker/worker.js");

/// Starts the page: a file of its own, since the policy allows no scripts within the page.
const START: &str =
    "import init from \"./page.js\";\nawait init({ module_or_path: \"./page_bg.wasm\" });\n";

/// The crate of golden tests that also run in the browser.
pub const GOLDEN_TESTS: &str = "mmovseg-golden-tests";

/// The packages for wasm32. They are always built together: cargo unites the features of what is
/// selected, and a different set would compile Burn a second time.
pub fn wasm_packages() -> Vec<&'static str> {
    let mut packages = vec!["mmovseg-worker", "mmovseg-page"];
    if paths::project().join("tests/golden/Cargo.toml").is_file() {
        packages.push(GOLDEN_TESTS);
    }
    packages
}

/// `cargo VERB` for wasm32 over [`wasm_packages`].
pub fn wasm_command(tools: &WebTools, verb: &str) -> Command {
    let mut command = wasm_cargo(&tools.toolchain);
    command.args([verb, "--release", "--target", "wasm32-unknown-unknown"]);
    for package in wasm_packages() {
        command.args(["-p", package]);
    }
    command
}

/// Builds the whole page into `folder`, which is replaced.
///
/// # Errors
/// When a build step fails or `index.html` names a file that is missing.
pub fn build(tools: &WebTools, folder: &Path) -> Result<()> {
    compile(tools)?;
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot replace {}", folder.display()))?;
    }
    fs::create_dir_all(folder)?;
    engine(tools, folder)?;
    let page = wasm_output().join("mmovseg-page.wasm");
    bind(tools, &page, "page", folder, &["-Oz"])?;
    let source = paths::project().join("web/page");
    let html =
        fs::read_to_string(source.join("index.html")).context("cannot read web/page/index.html")?;
    let html = plain_html(&html, &source, folder)?;
    fs::write(folder.join("index.html"), with_policy(&html)?)?;
    fs::write(folder.join("start.js"), START)?;
    site::keep_offline(folder)?;
    site::compress(folder)
}

/// The page under its content security policy.
fn with_policy(html: &str) -> Result<String> {
    const CHARSET: &str = "<meta charset=\"utf-8\">";
    let (before, after) = html
        .split_once(CHARSET)
        .with_context(|| format!("web/page/index.html has no `{CHARSET}`"))?;
    Ok(format!(
        "{before}{CHARSET}\n    <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">{after}"
    ))
}

/// Adds the engine and the default model to `folder`: what Trunk cannot build by itself.
///
/// # Errors
/// When a build step fails.
pub fn build_engine(tools: &WebTools, folder: &Path) -> Result<()> {
    compile(tools)?;
    fs::create_dir_all(folder)?;
    engine(tools, folder)
}

/// Builds the bench's page into `folder`.
///
/// # Errors
/// When a build step fails.
pub fn build_bench(tools: &WebTools, folder: &Path) -> Result<()> {
    compile_with(tools, &["mmovseg-bench"])?;
    paths::copy_tree(&paths::project().join("tests/bench/page"), folder)?;
    let program = "mmovseg_bench";
    let wasm = wasm_output().join(format!("{program}.wasm"));
    bind(tools, &wasm, program, folder, &["-O2"])?;
    for_the_cpu(tools, "mmovseg-bench", program, folder)
}

fn compile(tools: &WebTools) -> Result<()> {
    compile_with(tools, &[])
}

fn compile_with(tools: &WebTools, more: &[&str]) -> Result<()> {
    let mut command = wasm_command(tools, "build");
    for package in more {
        command.args(["-p", package]);
    }
    run(&mut command)
}

/// A package once more, for the CPU alone, in `cpu` within `folder`, and beside that what starts its threads: the GPU layer
/// does not compile for memory that threads share.
fn for_the_cpu(tools: &WebTools, package: &str, program: &str, folder: &Path) -> Result<()> {
    run(threads_cargo(&tools.threads_toolchain)
        .args(["build", "--release", "--target", "wasm32-unknown-unknown"])
        .arg("-Zbuild-std=std,panic_abort")
        .args(["-p", package, "--no-default-features"])
        .args(["--features", "threads"]))?;
    let wasm = threads_output().join(format!("{program}.wasm"));
    let optimisation = ["-O2", "--enable-threads"];
    bind(tools, &wasm, program, &folder.join("cpu"), &optimisation)?;
    let source = paths::project().join("web/threads");
    for script in ["threads.js", "helper.js"] {
        fs::copy(source.join(script), folder.join(script))?;
    }
    Ok(())
}

/// Both engines, once the first is compiled, and the models.
fn engine(tools: &WebTools, folder: &Path) -> Result<()> {
    const PROGRAM: &str = "mmovseg_worker";
    let engine = folder.join("engine");
    let wasm = wasm_output().join(format!("{PROGRAM}.wasm"));
    // wasm-opt keeps one core busy for minutes; what is left to compile takes the others.
    thread::scope(|scope| {
        let first = scope.spawn(|| bind(tools, &wasm, PROGRAM, &engine, &["-O2"]));
        for_the_cpu(tools, "mmovseg-worker", PROGRAM, &engine)?;
        // A panic there is a fault of this program's.
        first.join().unwrap_or_else(|panic| resume_unwind(panic))
    })?;
    fs::write(engine.join("worker.js"), WORKER)?;
    let models = paths::project().join("models");
    let mut found = false;
    for entry in fs::read_dir(&models).context("cannot read models/")? {
        let path = entry?.path();
        if path.join("model.json").is_file() {
            let name = path.file_name().context("a model without a name")?;
            paths::copy_tree(&path, &folder.join("models").join(name))?;
            found = true;
        }
    }
    if !found {
        eprintln!("[web] models/ holds no model; the page will ask for one");
    }
    Ok(())
}

/// Runs wasm-bindgen on a wasm file, then wasm-opt: `name.js` and `name_bg.wasm` in `folder`.
fn bind(
    tools: &WebTools,
    input: &Path,
    name: &str,
    folder: &Path,
    optimisation: &[&str],
) -> Result<()> {
    run(Command::new(&tools.wasm_bindgen)
        .args(["--target", "web", "--no-typescript"])
        .args(["--remove-name-section", "--remove-producers-section"])
        .args(["--out-name", name, "--out-dir"])
        .arg(folder)
        .arg(input))?;
    let wasm = folder.join(format!("{name}_bg.wasm"));
    if let Some(wasm_opt) = &tools.wasm_opt {
        optimise(wasm_opt, &wasm, optimisation)?;
    }
    Ok(())
}

/// wasm-opt on a file in place. It takes minutes on the engine, so results are kept by content.
fn optimise(wasm_opt: &Path, wasm: &Path, optimisation: &[&str]) -> Result<()> {
    const ARGS: &[&str] = &[
        "--strip-debug",
        "--enable-simd",
        "--enable-bulk-memory",
        "--enable-bulk-memory-opt",
        "--enable-nontrapping-float-to-int",
        "--enable-sign-ext",
        "--enable-mutable-globals",
        "--enable-reference-types",
        "--enable-multivalue",
        "--enable-extended-const",
    ];
    let bytes = fs::read(wasm)?;
    let mut hasher = DefaultHasher::new();
    (&bytes, ARGS, optimisation).hash(&mut hasher);
    let folder = paths::cache().join("wasm-opt");
    let kept = folder.join(format!("{:016x}-{}.wasm", hasher.finish(), bytes.len()));
    if !kept.is_file() {
        eprintln!(
            "[web] wasm-opt on {} ({} MB)",
            wasm.display(),
            bytes.len() / 1_000_000
        );
        fs::create_dir_all(&folder)?;
        let fresh = kept.with_extension(format!("{}", std::process::id()));
        run(Command::new(wasm_opt)
            .args(optimisation)
            .args(ARGS)
            .arg(wasm)
            .arg("-o")
            .arg(&fresh))?;
        fs::rename(fresh, &kept)?;
    }
    fs::copy(&kept, wasm)?;
    Ok(())
}

/// Turns Trunk's asset tags into plain ones and copies the files they name, so that one
/// `index.html` serves `trunk serve` and this build.
fn plain_html(html: &str, source: &Path, folder: &Path) -> Result<String> {
    let mut out = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        if rest.starts_with("<!--") {
            let end = rest.find("-->").map_or(rest.len(), |end| end + 3);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        let end = rest.find('>').map_or(rest.len(), |end| end + 1);
        let (tag, after) = rest.split_at(end);
        rest = after;
        let attributes = attributes(tag);
        let has = |name: &str| attributes.iter().any(|(key, _)| key == name);
        if has("data-trunk") || has("data-trunk-public-url") {
            out.push_str(&plain_tag(tag, &attributes, source, folder)?);
        } else {
            out.push_str(tag);
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn plain_tag(
    tag: &str,
    attributes: &[(String, String)],
    source: &Path,
    folder: &Path,
) -> Result<String> {
    let value = |name: &str| {
        attributes
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    if tag.starts_with("<base") {
        return Ok("<base href=\"./\">".into());
    }
    let script = tag.starts_with("<script");
    let rel = if script {
        "script"
    } else {
        value("rel").unwrap_or("")
    };
    if rel == "rust" {
        return Ok(concat!(
            "<link rel=\"modulepreload\" href=\"./page.js\">",
            "<link rel=\"preload\" href=\"./page_bg.wasm\" as=\"fetch\" type=\"application/wasm\" crossorigin>",
            "<script type=\"module\" src=\"./start.js\"></script>",
        )
        .into());
    }
    let file = value(if script { "src" } else { "href" })
        .with_context(|| format!("web/page/index.html: `{tag}` names no file"))?;
    let from = source.join(file);
    let name = from
        .file_name()
        .with_context(|| format!("web/page/index.html: `{tag}` names no file"))?;
    let place = value("data-target-path").map_or_else(PathBuf::new, PathBuf::from);
    match rel {
        "copy-dir" => {
            let to = match value("data-target-path") {
                Some(path) => folder.join(path),
                None => folder.join(name),
            };
            paths::copy_tree(&from, &to)?;
            Ok(String::new())
        }
        "copy-file" | "css" | "icon" | "script" => {
            fs::create_dir_all(folder.join(&place))?;
            fs::copy(&from, folder.join(&place).join(name)).with_context(|| {
                format!(
                    "web/page/index.html names {}, which cannot be read",
                    from.display()
                )
            })?;
            let address = place.join(name);
            let address = address.to_string_lossy().replace('\\', "/");
            let kept: String = attributes
                .iter()
                .filter(|(key, _)| {
                    !key.starts_with("data-t") && !["rel", "href", "src"].contains(&key.as_str())
                })
                .map(|(key, value)| format!(" {key}=\"{value}\""))
                .collect();
            Ok(match rel {
                "css" => format!("<link rel=\"stylesheet\" href=\"./{address}\"{kept}>"),
                "icon" => format!("<link rel=\"icon\" href=\"./{address}\"{kept}>"),
                "script" => format!("<script src=\"./{address}\"{kept}>"),
                _ => String::new(),
            })
        }
        other => bail!(
            "web/page/index.html: `{tag}` uses Trunk's `{other}`, which this build does not know; \
             use rust, css, icon, copy-file, copy-dir or a script"
        ),
    }
}

/// The attributes of a tag; one without a value gets an empty one.
fn attributes(tag: &str) -> Vec<(String, String)> {
    let inner = tag.trim_start_matches('<').trim_end_matches('>');
    let inner = inner.trim_end().trim_end_matches('/');
    let mut rest = inner
        .split_once(char::is_whitespace)
        .map_or("", |(_, rest)| rest);
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return found;
        }
        let end = rest
            .find(|c: char| c == '=' || c.is_whitespace())
            .unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        rest = &rest[end..];
        let Some(after) = rest.strip_prefix('=') else {
            found.push((name, String::new()));
            continue;
        };
        let (value, after) = match after.chars().next() {
            Some(quote @ ('"' | '\'')) => after[1..].split_once(quote).unwrap_or((&after[1..], "")),
            _ => after.split_once(char::is_whitespace).unwrap_or((after, "")),
        };
        found.push((name, value.to_owned()));
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn trunk_tags_become_plain_ones_and_their_files_are_copied() {
        let base = std::env::temp_dir().join(format!("xtask-html-{}", std::process::id()));
        let (source, folder) = (base.join("page"), base.join("dist"));
        fs::create_dir_all(source.join("icons")).unwrap();
        fs::create_dir_all(&folder).unwrap();
        fs::write(source.join("style.css"), "p{}").unwrap();
        fs::write(source.join("icons/a.svg"), "<svg/>").unwrap();
        let html = "<!doctype html><!-- <link data-trunk rel=\"odd\"> -->\n\
            <link data-trunk rel=\"rust\" data-bin=\"mmovseg-page\" />\n\
            <link\n  data-trunk rel='css' href='style.css' media=\"screen\"/>\n\
            <link data-trunk rel=\"copy-dir\" href=\"icons\">\n\
            <p data-testid=\"x\">1 < 2</p>";
        let plain = plain_html(html, &source, &folder).unwrap();
        assert!(plain.contains("src=\"./start.js\""), "{plain}");
        assert!(
            plain.contains("<link rel=\"stylesheet\" href=\"./style.css\" media=\"screen\">"),
            "{plain}"
        );
        assert!(plain.contains("<p data-testid=\"x\">1 < 2</p>"), "{plain}");
        assert!(folder.join("style.css").is_file() && folder.join("icons/a.svg").is_file());

        let odd = plain_html(
            "<link data-trunk rel=\"sass\" href=\"style.css\">",
            &source,
            &folder,
        );
        assert!(odd.unwrap_err().to_string().contains("`sass`"));
        let missing = plain_html(
            "<link data-trunk rel=\"css\" href=\"no.css\">",
            &source,
            &folder,
        );
        assert!(missing.unwrap_err().to_string().contains("no.css"));
        fs::remove_dir_all(base).unwrap();
    }
}
