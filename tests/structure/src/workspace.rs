//! The workspace as cargo and the file system show it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde_json::Value;

/// A package of the workspace.
#[derive(Clone, Debug)]
pub struct Package {
    /// Folder, relative to the project, such as `crates/raster`.
    pub folder: String,
    /// Folders of the packages of the workspace that it uses outside of its tests.
    pub uses: BTreeSet<String>,
    /// The root files of its library and programs.
    pub roots: Vec<PathBuf>,
}

/// The folder of the workspace.
#[must_use]
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All packages, by folder.
///
/// # Panics
/// When `cargo metadata` fails or gives something else than it documents.
#[must_use]
pub fn packages() -> Vec<Package> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(project())
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "cargo metadata: {output:?}");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let root = Path::new(text(&metadata["workspace_root"]));
    let listed = list(&metadata["packages"]);
    let folder = |package: &Value| {
        let manifest = Path::new(text(&package["manifest_path"]));
        let folder = manifest.parent().expect("a manifest lies in a folder");
        let folder = folder
            .strip_prefix(root)
            .expect("a package of the workspace");
        folder.to_string_lossy().replace('\\', "/")
    };
    let mut packages: Vec<_> = listed
        .iter()
        .map(|package| {
            let uses = list(&package["dependencies"])
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .filter_map(|dependency| {
                    listed
                        .iter()
                        .find(|other| other["name"] == dependency["name"])
                })
                .map(folder)
                .collect();
            let roots = list(&package["targets"])
                .iter()
                .filter(|target| {
                    list(&target["kind"])
                        .iter()
                        .any(|kind| ["lib", "bin", "cdylib"].contains(&text(kind)))
                })
                .map(|target| PathBuf::from(text(&target["src_path"])))
                .collect();
            Package {
                folder: folder(package),
                uses,
                roots,
            }
        })
        .collect();
    packages.sort_by(|a, b| a.folder.cmp(&b.folder));
    packages
}

fn text(value: &Value) -> &str {
    value.as_str().expect("cargo metadata gives text here")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("cargo metadata gives a list here")
}

/// Every file below `folder` that has one of these endings, sorted; build outputs are left out.
///
/// # Panics
/// When a folder cannot be read.
#[must_use]
pub fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a folder that can be read") {
            let path = entry.expect("an entry that can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                if !["target", "dist", "dist.new", "node_modules", "runs", ".git"]
                    .contains(&name.as_ref())
                {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
