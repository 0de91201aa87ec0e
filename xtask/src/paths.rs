//! Where the project and everything built from it lie on disk.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use std::{env, fs};

/// The folder of the workspace's `Cargo.toml`: the nearest around what cargo runs, since a build
/// folder shared by checkouts may give this program to another checkout than it was compiled in.
#[must_use]
pub fn project() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    [
        env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from),
        env::current_dir().ok(),
    ]
    .into_iter()
    .flatten()
    .find_map(|start| {
        start
            .ancestors()
            .find(|folder| folder.join("Cargo.lock").is_file())
            .map(Path::to_path_buf)
    })
    .unwrap_or_else(|| own.parent().unwrap_or(own).to_path_buf())
}

/// The folder for what outlives a checkout: `$MMOVSEG_CACHE_DIR`, else `~/.cache/mmovseg`.
#[must_use]
pub fn cache() -> PathBuf {
    if let Some(dir) = env::var_os("MMOVSEG_CACHE_DIR") {
        return PathBuf::from(dir);
    }
    match env::home_dir() {
        Some(home) => home.join(".cache").join("mmovseg"),
        None => project().join("target").join("cache"),
    }
}

/// The one target directory of every cargo that is started here, so that a fresh clone does not
/// build Burn again: `$MMOVSEG_TARGET_DIR`, else `target` in [`cache`].
#[must_use]
pub fn target() -> PathBuf {
    env::var_os("MMOVSEG_TARGET_DIR").map_or_else(|| cache().join("target"), PathBuf::from)
}

/// Tools that were installed for this project alone.
#[must_use]
pub fn tools() -> PathBuf {
    cache().join("tools")
}

/// The finished web page: `$MMOVSEG_DIST_DIR`, else `dist` in the project.
#[must_use]
pub fn dist() -> PathBuf {
    env::var_os("MMOVSEG_DIST_DIR").map_or_else(|| project().join("dist"), PathBuf::from)
}

/// The file or folder beside `path` that has its name and this ending.
#[must_use]
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{ending}"));
    PathBuf::from(name)
}

/// The first of `names` that is a file in a folder of `PATH`.
#[must_use]
pub fn find_program(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    names.iter().find_map(|name| {
        let file = format!("{name}{}", env::consts::EXE_SUFFIX);
        folders
            .iter()
            .map(|folder| folder.join(&file))
            .find(|candidate| candidate.is_file())
    })
}

/// Copies a folder with all that it holds.
///
/// # Errors
/// When a file cannot be read or written.
pub fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let path = entry?.path();
        let target = to.join(path.file_name().context("a file without a name")?);
        if path.is_dir() {
            copy_tree(&path, &target)?;
        } else {
            fs::copy(&path, &target).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}
