//! The last steps of building the site: files that hosts read, the list of files that the service
//! worker stores for offline use, and a compressed copy of each file that shrinks.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use xtask::paths;
use xtask::server::headers;

/// Folders whose files the engine downloads, caches and checks itself.
const PACKAGES: &str = "models";

/// Brotli's highest quality. It takes two minutes on the engine and saves a sixth over 9.
const QUALITY: i32 = 11;

/// The level that hosts usually use when they compress while sending.
const GZIP_LEVEL: u32 = 6;

/// Base-two logarithm of Brotli's window: the largest that every browser takes.
const WINDOW_BITS: i32 = 24;

/// Files that hosts read and do not serve: `_headers` for Cloudflare Pages and Netlify, `README.md`
/// for a static Space of Hugging Face. Both ask for the headers without which a page has no
/// threads.
///
/// # Errors
/// When a file cannot be written.
pub fn write_hosting_files(folder: &Path) -> Result<()> {
    let mut cloudflare = "/*\n".to_owned();
    let mut space =
        "---\ntitle: mmovseg\nsdk: static\napp_file: index.html\ncustom_headers:\n".to_owned();
    for (name, value) in headers() {
        cloudflare += &format!("  {name}: {value}\n");
        if name.starts_with("cross-origin-") {
            space += &format!("  {name}: {value}\n");
        }
    }
    space += "---\n\nSegments optical and SAR tiles by the words you type, in your own browser.\n";
    fs::write(folder.join("_headers"), cloudflare)?;
    fs::write(folder.join("README.md"), space)?;
    Ok(())
}

/// Writes the names of the site's files into its service worker.
///
/// # Errors
/// When a file cannot be read or written.
pub fn keep_offline(folder: &Path) -> Result<()> {
    let file = folder.join("offline.js");
    let program =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut hasher = DefaultHasher::new();
    let mut names = vec!["./".to_owned()];
    for path in files(folder)? {
        let name = path
            .strip_prefix(folder)?
            .to_string_lossy()
            .replace('\\', "/");
        // The first two are stored under other names; not every host serves the others.
        if ["offline.js", "index.html", "_headers", "README.md"].contains(&name.as_str()) {
            continue;
        }
        (&name, fs::read(&path)?).hash(&mut hasher);
        names.push(format!("./{name}"));
    }
    fs::read(folder.join("index.html"))?.hash(&mut hasher);
    let head = format!(
        "const STORE = \"mmovseg-page-{:016x}\";\nconst FILES = {};\n",
        hasher.finish(),
        serde_json::to_string(&names)?
    );
    fs::write(&file, head + &program)?;
    Ok(())
}

/// Puts `NAME.br` beside each file of text or wasm. Compressing the engine takes a while, so
/// results are cached by content.
///
/// # Errors
/// When a file cannot be read or written.
pub fn compress(folder: &Path) -> Result<()> {
    let cache = paths::cache().join("brotli");
    fs::create_dir_all(&cache)?;
    let files = files(folder)?.into_iter().filter(|path| {
        let ending = path.extension().and_then(|text| text.to_str());
        matches!(
            ending,
            Some("wasm" | "js" | "json" | "css" | "html" | "svg")
        )
    });
    thread::scope(|scope| {
        // Nearly all of the time goes into the two engines.
        let copies: Vec<_> = files
            .map(|path| {
                let cache = &cache;
                scope.spawn(move || compressed_copy(&path, cache))
            })
            .collect();
        for copy in copies {
            // A panic in the thread is a bug: pass it on.
            copy.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        }
        Ok(())
    })
}

/// Writes `NAME.br` beside `path`.
fn compressed_copy(path: &Path, cache: &Path) -> Result<()> {
    let bytes = fs::read(path)?;
    let mut hasher = DefaultHasher::new();
    (&bytes, QUALITY, WINDOW_BITS).hash(&mut hasher);
    let ready = cache.join(format!("{:016x}-{}.br", hasher.finish(), bytes.len()));
    if !ready.is_file() {
        let settings = brotli::enc::BrotliEncoderParams {
            quality: QUALITY,
            lgwin: WINDOW_BITS,
            ..Default::default()
        };
        let mut packed = Vec::new();
        brotli::BrotliCompress(&mut bytes.as_slice(), &mut packed, &settings)?;
        let fresh = ready.with_extension(std::process::id().to_string());
        fs::write(&fresh, packed)?;
        fs::rename(fresh, &ready)?;
    }
    fs::copy(&ready, paths::beside(path, "br"))?;
    Ok(())
}

/// The size of a part of the site, in bytes: as it is, in gzip, and in brotli where it was
/// compressed so.
struct Size {
    plain: u64,
    gzip: u64,
    brotli: u64,
}

/// Prints how large the parts of a finished site are.
///
/// # Errors
/// When a file cannot be read.
pub fn print_sizes(folder: &Path) -> Result<()> {
    let mut parts: BTreeMap<String, Size> = BTreeMap::new();
    let mut all = files(folder)?;
    if folder.join(PACKAGES).is_dir() {
        all.extend(files(&folder.join(PACKAGES))?);
    }
    for path in all {
        let name = path
            .strip_prefix(folder)?
            .to_string_lossy()
            .replace('\\', "/");
        if name.ends_with(".br") {
            continue;
        }
        let part = match name.split('/').collect::<Vec<_>>()[..] {
            ["engine", "cpu", ..] => "engine for the CPU".to_owned(),
            ["engine", ..] => "engine for WebGPU, and what starts both".to_owned(),
            [PACKAGES, model, ..] => format!("model {model}"),
            _ => "page".to_owned(),
        };
        let plain = fs::read(&path)?;
        let mut packed = GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL));
        packed.write_all(&plain)?;
        let gzip = packed.finish()?.len() as u64;
        let brotli = fs::metadata(paths::beside(&path, "br"));
        let size = parts.entry(part).or_insert(Size {
            plain: 0,
            gzip: 0,
            brotli: 0,
        });
        size.plain += plain.len() as u64;
        size.gzip += gzip;
        size.brotli += brotli.map_or(plain.len() as u64, |file| file.len());
    }
    println!("| part | MB | gzip | brotli |\n|---|---|---|---|");
    for (part, size) in parts {
        let [plain, gzip, brotli] =
            [size.plain, size.gzip, size.brotli].map(|bytes| bytes as f64 / 1e6);
        println!("| {part} | {plain:.2} | {gzip:.2} | {brotli:.2} |");
    }
    Ok(())
}

/// Every file of the site but packages, in the order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in
            fs::read_dir(&next).with_context(|| format!("cannot read {}", next.display()))?
        {
            let path = entry?.path();
            if path.is_file() {
                found.push(path);
            } else if path.file_name().is_some_and(|name| name != PACKAGES) {
                folders.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn the_service_worker_names_every_file_but_packages_and_changes_with_them() {
        let folder = std::env::temp_dir().join(format!("xtask-site-{}", std::process::id()));
        fs::create_dir_all(folder.join("engine")).unwrap();
        fs::create_dir_all(folder.join("models/nano")).unwrap();
        write_hosting_files(&folder).unwrap();
        for file in [
            "index.html",
            "page.js",
            "engine/e.wasm",
            "models/nano/model.json",
        ] {
            fs::write(folder.join(file), "x").unwrap();
        }
        let program = "// program\n";
        let build = || {
            fs::write(folder.join("offline.js"), program).unwrap();
            keep_offline(&folder).unwrap();
            fs::read_to_string(folder.join("offline.js")).unwrap()
        };
        let first = build();
        assert!(
            first.contains(r#"["./","./engine/e.wasm","./page.js"]"#),
            "{first}"
        );
        assert!(first.ends_with(program));
        fs::write(folder.join("page.js"), "y").unwrap();
        assert_ne!(first, build());
        fs::remove_dir_all(folder).unwrap();
    }
}
