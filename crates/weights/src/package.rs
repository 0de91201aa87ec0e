//! Package folders: writing one in a single step, and checking one.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::manifest::sha256_hex;
use crate::pack::{Packer, Placement};
use crate::{
    FORMAT_VERSION, HostTensor, MANIFEST_FILE, MAX_SHARD_BYTES, Manifest, ShardRef, TokenizerRef,
    WeightsError, parse_manifest,
};

/// Writes a package folder and returns its manifest, with tokenizer, shards and format version
/// filled in.
///
/// **Bits.** `manifest.dtypes()` says how matrices are stored, `[shape[0], product of the rest]`.
/// Whatever it says, vectors and scalars (norms, biases, layer scales) stay f32. In a q8 or q4
/// package these stay f16: learned tables and masks (class, storage, mask and padding tokens,
/// positional embeddings, `attn_mask`), what `place` calls [`Bits::Wide`](crate::Bits::Wide),
/// tensors of fewer than 4096 values, and rows shorter than one block of 32.
///
/// **Shards.** Tensors are read one at a time and at most one shard of each of `place`'s groups is
/// in memory. Each group has its own shards. Larger tensors are split by rows.
/// The same tensors in the same order always give the same files, and two packages share the
/// shards of every group that is equal in both.
///
/// **Folder.** Everything is written to a temporary folder beside `dir` and renamed at the end. A
/// package that is already there is replaced (files in it that are not the package's own are kept).
///
/// # Errors
/// The first error of `tensors`; [`WeightsError::Tensor`] for a tensor that cannot be stored, such
/// as a value that overflows f16; [`WeightsError::File`] when `dir` holds something else than a
/// package, or cannot be written; [`WeightsError::Manifest`] when the manifest would not read back.
pub fn write_package(
    dir: &Path,
    manifest: Manifest,
    tensors: impl IntoIterator<Item = Result<HostTensor, WeightsError>>,
    tokenizer_json: &[u8],
    place: &dyn Fn(&str) -> Placement,
) -> Result<Manifest, WeightsError> {
    write_package_then(dir, manifest, tensors, tokenizer_json, place, |_, _| Ok(()))
}

/// [`write_package`], with a last step between writing and renaming: `finish` gets the temporary
/// folder, which is a whole package by then, and may change the manifest, as for adding a self-test
/// measured on it. Shards and tokenizer must stay as they are.
///
/// # Errors
/// Those of [`write_package`], and that of `finish`; nothing is left behind then.
pub fn write_package_then<E: From<WeightsError>>(
    dir: &Path,
    manifest: Manifest,
    tensors: impl IntoIterator<Item = Result<HostTensor, WeightsError>>,
    tokenizer_json: &[u8],
    place: &dyn Fn(&str) -> Placement,
    finish: impl FnOnce(&Path, &mut Manifest) -> Result<(), E>,
) -> Result<Manifest, E> {
    write_with_limit(
        dir,
        manifest,
        tensors,
        tokenizer_json,
        (place, MAX_SHARD_BYTES),
        finish,
    )
}

fn write_with_limit<E: From<WeightsError>>(
    dir: &Path,
    mut manifest: Manifest,
    tensors: impl IntoIterator<Item = Result<HostTensor, WeightsError>>,
    tokenizer_json: &[u8],
    (place, limit): (&dyn Fn(&str) -> Placement, usize),
    finish: impl FnOnce(&Path, &mut Manifest) -> Result<(), E>,
) -> Result<Manifest, E> {
    let old = existing_package(dir)?;
    let building = Temporary(sibling(dir, "partial")?);
    let folder = &building.0;
    fs::create_dir_all(folder).map_err(|e| cannot("create", folder, &e))?;

    let mut shards: BTreeMap<usize, Vec<ShardRef>> = BTreeMap::new();
    let mut packer = Packer::new(manifest.dtypes(), place, limit, |group, bytes: Vec<u8>| {
        let sha256 = sha256_hex(&bytes);
        let file = format!("{}.safetensors", &sha256[..16]);
        write(&folder.join(&file), &bytes)?;
        shards.entry(group).or_default().push(ShardRef {
            file,
            bytes: bytes.len() as u64,
            sha256,
        });
        Ok(())
    });
    for tensor in tensors {
        packer.push(&tensor?)?;
    }
    packer.finish()?;
    manifest.shards = shards.into_values().flatten().collect();
    if manifest.shards.is_empty() {
        return Err(WeightsError::file(dir, "no tensors to write; nothing done").into());
    }

    let sha256 = sha256_hex(tokenizer_json);
    manifest.tokenizer = TokenizerRef {
        file: format!("tokenizer-{}.json", &sha256[..16]),
        bytes: tokenizer_json.len() as u64,
        sha256,
    };
    write(&folder.join(&manifest.tokenizer.file), tokenizer_json)?;

    manifest.format_version = FORMAT_VERSION;
    write_manifest(folder, &manifest)?;
    finish(folder, &mut manifest)?;
    write_manifest(folder, &manifest)?;

    publish(folder, dir, old)?;
    Ok(manifest)
}

fn write_manifest(folder: &Path, manifest: &Manifest) -> Result<(), WeightsError> {
    let mut json = serde_json::to_vec_pretty(manifest).map_err(|e| WeightsError::Manifest {
        reason: e.to_string(),
    })?;
    json.push(b'\n');
    // JSON has no NaN and no infinity: a self-test with one would only fail at the reader.
    parse_manifest(&json)?;
    write(&folder.join(MANIFEST_FILE), &json)
}

fn cannot(act: &str, path: &Path, error: &std::io::Error) -> WeightsError {
    WeightsError::file(path, format!("cannot {act} it ({error})"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), WeightsError> {
    fs::write(path, bytes).map_err(|e| {
        WeightsError::file(
            path,
            format!("cannot write it ({e}); check the disk's free space and the folder's rights"),
        )
    })
}

/// A hidden folder next to `dir`, on the same file system, so that renaming is one step.
fn sibling(dir: &Path, purpose: &str) -> Result<PathBuf, WeightsError> {
    let name = dir.file_name().ok_or_else(|| {
        WeightsError::file(
            dir,
            "is not the name of a folder to create; name one, as in out/b16",
        )
    })?;
    let name = format!(
        ".{}.{purpose}-{}",
        name.to_string_lossy(),
        std::process::id()
    );
    Ok(dir.with_file_name(name))
}

/// Removes the folder when writing ends early.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nothing to report to: after a successful rename it is gone anyway.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The package in `dir`, if there is one; an error if there is something else.
fn existing_package(dir: &Path) -> Result<Option<Manifest>, WeightsError> {
    let refuse = |why: String| {
        Err(WeightsError::file(
            dir,
            format!("{why}, so it is not overwritten; choose another folder or remove it first"),
        ))
    };
    match fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) if e.kind() == ErrorKind::NotADirectory => {
            return refuse("is not a folder".to_owned());
        }
        Err(e) => return Err(cannot("read", dir, &e)),
        Ok(mut entries) => {
            if entries.next().is_none() {
                return Ok(None);
            }
        }
    }
    match fs::read(dir.join(MANIFEST_FILE)) {
        Err(_) => refuse(format!("holds files but no {MANIFEST_FILE}")),
        Ok(json) => match parse_manifest(&json) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(e) => refuse(format!("does not hold a package of this format ({e})")),
        },
    }
}

/// Renames the finished folder to `dir`, moving an old package out of the way first.
fn publish(folder: &Path, dir: &Path, old: Option<Manifest>) -> Result<(), WeightsError> {
    let Some(old) = old else {
        // On some systems a rename does not replace an empty folder.
        let _ = fs::remove_dir(dir);
        return fs::rename(folder, dir).map_err(|e| cannot("create", dir, &e));
    };
    let aside = sibling(dir, "old")?;
    fs::rename(dir, &aside).map_err(|e| cannot("replace", dir, &e))?;
    if let Err(e) = fs::rename(folder, dir) {
        // Put the old package back; if even that fails, the message says where it is.
        return Err(match fs::rename(&aside, dir) {
            Ok(()) => cannot("replace", dir, &e),
            Err(_) => WeightsError::file(
                dir,
                format!(
                    "cannot replace it ({e}); the old package is in {}",
                    aside.display()
                ),
            ),
        });
    }
    let owned = |name: &str| {
        name == MANIFEST_FILE
            || name == old.tokenizer.file
            || old.shards.iter().any(|s| s.file == name)
    };
    let keep = || -> std::io::Result<()> {
        for entry in fs::read_dir(&aside)? {
            let entry = entry?;
            let name = entry.file_name();
            if !owned(&name.to_string_lossy()) {
                fs::rename(entry.path(), dir.join(name))?;
            }
        }
        fs::remove_dir_all(&aside)
    };
    keep().map_err(|e| {
        WeightsError::file(
            dir,
            format!(
                "the new package is in place, but clearing the old one failed ({e}); \
                 what is left of it is in {}",
                aside.display()
            ),
        )
    })
}

/// Checks size and sha256 of every file that a package folder's manifest names. An empty list
/// means that all is well.
///
/// # Errors
/// [`WeightsError::File`] when `dir` has no readable `model.json`, and what [`parse_manifest`]
/// finds wrong with it.
pub fn verify_hashes(dir: &Path) -> Result<Vec<WeightsError>, WeightsError> {
    let path = dir.join(MANIFEST_FILE);
    let json = fs::read(&path).map_err(|e| {
        WeightsError::file(
            &path,
            format!("cannot read it ({e}); give the folder of a package"),
        )
    })?;
    let manifest = parse_manifest(&json)?;
    let tokenizer = &manifest.tokenizer;
    let files = std::iter::once((&tokenizer.file, tokenizer.bytes))
        .chain(manifest.shards.iter().map(|s| (&s.file, s.bytes)));
    let mut problems = Vec::new();
    for (i, (file, expected)) in files.enumerate() {
        let path = dir.join(file);
        let checked = fs::metadata(&path)
            .map_err(|e| cannot("read", &path, &e))
            .and_then(|meta| {
                // The size first, so that a wrong file of any size is never loaded.
                if meta.len() != expected {
                    return Err(WeightsError::Size {
                        file: file.clone(),
                        expected,
                        found: meta.len(),
                    });
                }
                let bytes = fs::read(&path).map_err(|e| cannot("read", &path, &e))?;
                match i.checked_sub(1) {
                    None => tokenizer.check(&bytes),
                    Some(shard) => manifest.shards[shard].check(&bytes),
                }
            });
        problems.extend(checked.err());
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::{Assembler, Bits, StoreDtype, decode_shard};

    /// The tower apart from the rest.
    fn place(name: &str) -> Placement {
        Placement {
            group: usize::from(!name.starts_with("dino")),
            bits: Bits::Package,
        }
    }

    fn tensors(offset: f32) -> Vec<Result<HostTensor, WeightsError>> {
        [
            ("dino_model.a.weight", vec![64, 64]),
            ("dino_model.b.weight", vec![300, 64]),
            ("upsample1.weight", vec![64, 65]),
            ("upsample1.bias", vec![65]),
        ]
        .into_iter()
        .map(|(name, shape)| {
            let shift = if name.starts_with("dino") {
                0.0
            } else {
                offset
            };
            let n: usize = shape.iter().product();
            Ok(HostTensor {
                name: name.to_owned(),
                shape,
                data: (0..n).map(|i| (i as f32 * 0.37).sin() + shift).collect(),
            })
        })
        .collect()
    }

    fn manifest() -> Manifest {
        Manifest::new(
            "t",
            serde_json::json!({"b": 1, "a": 2}),
            StoreDtype::Q8,
            "a {}",
        )
    }

    fn put(dir: &Path, offset: f32) -> Result<Manifest, WeightsError> {
        write_with_limit(
            dir,
            manifest(),
            tensors(offset),
            b"{}",
            (&place, 9000),
            |_, _| Ok(()),
        )
    }

    fn listing(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_written_package_reads_back_and_shares_its_tower() {
        let root = tempfile::tempdir().unwrap();
        let (a, b) = (root.path().join("deep/a"), root.path().join("b"));
        let written = put(&a, 0.0).unwrap();
        assert!(written.shards.len() >= 4, "{}", written.shards.len());
        let read = parse_manifest(&fs::read(a.join(MANIFEST_FILE)).unwrap()).unwrap();
        assert_eq!(read, written);
        assert_eq!(listing(&a).len(), written.shards.len() + 2);
        assert!(verify_hashes(&a).unwrap().is_empty());

        let mut assembler = Assembler::new();
        let mut whole = Vec::new();
        for shard in &read.shards {
            for part in decode_shard(&fs::read(a.join(&shard.file)).unwrap(), shard).unwrap() {
                whole.extend(assembler.push(part).unwrap());
            }
        }
        assembler.finish().unwrap();
        for want in tensors(0.0).into_iter().map(Result::unwrap) {
            let got = whole.iter().find(|t| t.name == want.name).unwrap();
            assert_eq!(got.shape, want.shape);
            let worst = got
                .data
                .iter()
                .zip(&want.data)
                .map(|(x, y)| (x - y).abs())
                .fold(0.0, f32::max);
            assert!(worst <= 0.5 / 124.0, "{} {worst}", want.name);
        }

        assert_eq!(put(&b, 0.0).unwrap(), written, "same input, same names");
        let other = put(&b, 0.5).unwrap();
        let shared = other.shards.iter().filter(|s| written.shards.contains(s));
        assert!(shared.count() >= 3, "the tower's shards are shared");
        assert_ne!(other.shards.last(), written.shards.last());
        assert_eq!(listing(root.path()), ["b", "deep"], "nothing left behind");
    }

    #[test]
    fn replaces_packages_only_and_keeps_what_is_not_its_own() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("m");
        let first = put(&dir, 0.0).unwrap();
        fs::write(dir.join("NOTES.txt"), "mine").unwrap();
        let second = put(&dir, 1.0).unwrap();
        assert!(verify_hashes(&dir).unwrap().is_empty());
        assert_eq!(fs::read(dir.join("NOTES.txt")).unwrap(), b"mine");
        let gone = first.shards.iter().find(|s| !second.shards.contains(s));
        assert!(!dir.join(&gone.unwrap().file).exists());
        assert_eq!(listing(root.path()), ["m"]);

        let photos = root.path().join("photos");
        fs::create_dir(&photos).unwrap();
        put(&photos, 0.0).unwrap(); // an empty folder may be filled
        fs::remove_file(photos.join(MANIFEST_FILE)).unwrap();
        let before = listing(&photos);
        let line = put(&photos, 0.0).unwrap_err().to_string();
        assert!(
            line.contains("photos") && line.contains("choose another"),
            "{line}"
        );
        fs::write(photos.join(MANIFEST_FILE), r#"{"format_version": 2}"#).unwrap();
        assert!(put(&photos, 0.0).is_err());
        fs::remove_file(photos.join(MANIFEST_FILE)).unwrap();
        assert_eq!(listing(&photos), before);
        let file = root.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(put(&file, 0.0).is_err());
        assert!(put(Path::new(".."), 0.0).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"x");
    }

    #[test]
    fn a_failed_write_leaves_the_old_package() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("m");
        put(&dir, 0.0).unwrap();
        let before = listing(&dir);
        let mut bad = tensors(1.0);
        bad.push(Err(WeightsError::tensor("x", "cannot be read")));
        let result: Result<_, WeightsError> =
            write_with_limit(&dir, manifest(), bad, b"{}", (&place, 9000), |_, _| Ok(()));
        assert!(result.unwrap_err().to_string().starts_with("tensor x"));
        let mut nan = manifest();
        nan.self_test = Some(crate::SelfTest {
            seed: 1,
            classes: vec![],
            logit_mean: f64::NAN,
            logit_std: 0.0,
            probes: vec![],
            tolerance: 0.0,
        });
        assert!(write_package(&dir, nan, tensors(1.0), b"{}", &place).is_err());
        assert!(write_package(&dir, manifest(), [], b"{}", &place).is_err());
        assert_eq!(listing(&dir), before);
        assert_eq!(listing(root.path()), ["m"]);
    }

    #[test]
    fn the_last_step_sees_a_whole_package_and_adds_to_its_manifest() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("m");
        let write = |fails: bool| {
            write_package_then(
                &dir,
                manifest(),
                tensors(0.0),
                b"{}",
                &place,
                |folder, manifest| {
                    assert!(verify_hashes(folder).unwrap().is_empty());
                    manifest.licence = "measured".into();
                    if fails {
                        return Err(WeightsError::file(folder, "no"));
                    }
                    Ok(())
                },
            )
        };
        assert!(write(true).is_err());
        assert!(listing(root.path()).is_empty(), "nothing left behind");
        let written = write(false).unwrap();
        let read = parse_manifest(&fs::read(dir.join(MANIFEST_FILE)).unwrap()).unwrap();
        assert_eq!(read, written);
        assert_eq!(read.licence, "measured");
    }

    #[test]
    fn lists_each_damaged_file() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("m");
        let manifest = put(&dir, 0.0).unwrap();
        let path = |i: usize| dir.join(&manifest.shards[i].file);
        let mut bytes = fs::read(path(0)).unwrap();
        bytes[500] ^= 1;
        fs::write(path(0), bytes).unwrap();
        fs::remove_file(path(1)).unwrap();
        fs::write(path(2), "short").unwrap();
        fs::write(dir.join(&manifest.tokenizer.file), "[]").unwrap();
        let problems = verify_hashes(&dir).unwrap();
        assert_eq!(problems.len(), 4, "{problems:?}");
        let (tokenizer, shards) = problems.split_first().unwrap();
        assert!(
            matches!(tokenizer, WeightsError::Hash { file } if *file == manifest.tokenizer.file)
        );
        assert!(
            matches!(&shards[0], WeightsError::Hash { file } if *file == manifest.shards[0].file)
        );
        assert!(matches!(&shards[1], WeightsError::File { .. }));
        assert!(matches!(&shards[2], WeightsError::Size { found: 5, .. }));
        assert!(verify_hashes(root.path()).is_err());
    }
}
