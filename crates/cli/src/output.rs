//! Files that are either written whole or not at all.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Files under way. Each is written beside its place under a temporary name; [`Outputs::commit`]
/// renames all of them, and when that is not reached nothing is left behind.
#[derive(Default)]
pub struct Outputs {
    /// Temporary and final path.
    waiting: Vec<(PathBuf, PathBuf)>,
}

impl Outputs {
    /// Checks before the work begins that results can be put where they were asked for.
    pub fn check<'a>(paths: impl IntoIterator<Item = &'a Path>) -> anyhow::Result<()> {
        let mut seen: Vec<&Path> = Vec::new();
        for path in paths {
            anyhow::ensure!(
                !path.is_dir(),
                "{}: is a folder; name a file to write",
                path.display()
            );
            anyhow::ensure!(
                !seen.contains(&path),
                "{}: is named for two results; name two files",
                path.display()
            );
            let folder = folder(path);
            anyhow::ensure!(
                folder.is_dir(),
                "{}: cannot be written since the folder {} does not exist; create it first",
                path.display(),
                folder.display()
            );
            seen.push(path);
        }
        Ok(())
    }

    /// Writes a file under its temporary name.
    pub fn add(&mut self, path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
        self.add_with(path, &mut |out| out.write_all(bytes))
    }

    /// Lets `write` write a file under its temporary name.
    pub fn add_with(
        &mut self,
        path: &Path,
        write: &mut dyn FnMut(&mut dyn Write) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        let write_to =
            |path: &Path, write: &mut dyn FnMut(&mut dyn Write) -> std::io::Result<()>| {
                let mut out = std::io::BufWriter::new(fs::File::create(path)?);
                write(&mut out)?;
                out.flush()
            };
        let failed = |error: std::io::Error| {
            anyhow::anyhow!(
                "{}: cannot be written ({error}); check the folder's rights and the free space",
                path.display()
            )
        };
        // A link stays a link: what it points to is replaced.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if fs::metadata(&target).is_ok_and(|meta| !meta.is_file()) {
            // A pipe or a device cannot be renamed over.
            return write_to(&target, write).map_err(failed);
        }
        let name = target
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let temporary = target.with_file_name(format!(".{name}.partial-{}", std::process::id()));
        self.waiting.push((temporary.clone(), target));
        write_to(&temporary, write).map_err(failed)
    }

    /// Puts all files in place.
    pub fn commit(mut self) -> anyhow::Result<()> {
        while let Some((temporary, target)) = self.waiting.first() {
            fs::rename(temporary, target).map_err(|error| {
                anyhow::anyhow!(
                    "{}: cannot be put in place ({error}); check the folder's rights",
                    target.display()
                )
            })?;
            self.waiting.remove(0);
        }
        Ok(())
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        for (temporary, _) in &self.waiting {
            // Nothing to report to: an error is already on its way.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// The folder that a path lies in.
pub fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Writes lines to stdout, each as [`printable`] gives it. A reader that has gone (`| head`) is no
/// failure.
pub fn say(text: &str) {
    let _ = std::io::stdout().write_all(printable_lines(text).as_bytes());
}

/// The lines of a text, each without characters that a terminal would obey.
fn printable_lines(text: &str) -> String {
    text.lines().map(|line| printable(line) + "\n").collect()
}

/// Text without characters that a terminal would obey: names come from files of strangers.
pub fn printable(text: &str) -> String {
    let show = |c: char| match c {
        c if c.is_control() => c.escape_unicode().to_string(),
        // Marks that reverse the order of what follows.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => c.escape_unicode().to_string(),
        c => c.to_string(),
    };
    text.chars().map(show).collect()
}

/// A report as JSON, for files.
pub fn json(report: &impl serde::Serialize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(report)?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::printable_lines;

    #[test]
    fn a_report_of_many_lines_is_printed_as_many_lines() {
        assert_eq!(
            printable_lines("| a |\n| b\u{1b} |"),
            "| a |\n| b\\u{1b} |\n"
        );
    }
}
