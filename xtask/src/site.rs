//! What a finished site gets last: the list of files that it keeps for offline use, and a compressed twin
//! of each file that shrinks.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};
use xtask::paths;

/// Folders whose files the engine fetches, keeps and checks itself.
const PACKAGES: &str = "models";

/// Brotli's highest quality. It takes two minutes on the engine and saves a sixth over 9.
const QUALITY: i32 = 11;

/// Base-two logarithm of Brotli's window: the largest that every browser takes.
const WINDOW_BITS: i32 = 24;

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
        if name == "offline.js" || name == "index.html" {
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

/// Puts `NAME.br` beside each file of text or wasm. Compressing the engine takes a while, so results
/// are kept by content.
///
/// # Errors
/// When a file cannot be read or written.
pub fn compress(folder: &Path) -> Result<()> {
    let kept = paths::cache().join("brotli");
    fs::create_dir_all(&kept)?;
    let files = files(folder)?.into_iter().filter(|path| {
        let ending = path.extension().and_then(|text| text.to_str());
        matches!(ending, Some("wasm" | "js" | "css" | "html" | "svg"))
    });
    thread::scope(|scope| {
        // The engines take all the time, and there are two.
        let twins: Vec<_> = files
            .map(|path| {
                let kept = &kept;
                scope.spawn(move || twin(&path, kept))
            })
            .collect();
        for twin in twins {
            // A panic there is a fault of this program's.
            twin.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        }
        Ok(())
    })
}

/// `NAME.br` beside `path`.
fn twin(path: &Path, kept: &Path) -> Result<()> {
    let bytes = fs::read(path)?;
    let mut hasher = DefaultHasher::new();
    (&bytes, QUALITY, WINDOW_BITS).hash(&mut hasher);
    let ready = kept.join(format!("{:016x}-{}.br", hasher.finish(), bytes.len()));
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
    let mut twin = path.as_os_str().to_owned();
    twin.push(".br");
    fs::copy(&ready, PathBuf::from(twin))?;
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
