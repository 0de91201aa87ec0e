//! `segment --pairs`: a table of many pairs, of which this process does its share.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Instant;

use anyhow::Context as _;
use serde::Serialize;

use crate::failure::{chain, complain};
use crate::job::{Job, Outcome};
use crate::label_files::LabelFiles;
use crate::output::{Outputs, json, say};

/// Every `of`th pair from the `first` (0-based) on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    first: usize,
    of: usize,
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<usize>().ok();
        let parts = text.split_once('/');
        match parts.and_then(|(i, n)| Some((number(i)?, number(n)?))) {
            Some((i, of)) if (1..=of).contains(&i) => Ok(Self { first: i - 1, of }),
            _ => Err("give a share as 3/16, counted from 1".into()),
        }
    }
}

/// A row of the table.
struct Row {
    optical: PathBuf,
    sar: PathBuf,
    name: String,
}

/// Reads the table and gives the jobs of a share. Results are `NAME.tif`, unless the name ends in
/// another type, and `NAME.json` beside it.
pub fn read(table: &Path, folder: &Path, share: Share) -> anyhow::Result<Vec<Job>> {
    let place = || table.display().to_string();
    let bytes = std::fs::read(table)
        .with_context(|| format!("{}: cannot be read; check the path", place()))?;
    let text = String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes));
    let rows = rows(&text).with_context(|| {
        format!(
            "{}: is not a table of pairs; its first line must be optical,sar,name and every other line a pair",
            place()
        )
    })?;
    let beside = table.parent().unwrap_or(Path::new(""));
    let mut names = HashSet::new();
    let mut jobs = Vec::new();
    for (i, row) in rows.into_iter().enumerate() {
        let name = Path::new(&row.name);
        let is_plain = name
            .file_name()
            .is_some_and(|file| file == name.as_os_str());
        anyhow::ensure!(
            is_plain && !row.name.chars().any(char::is_control),
            "{}: \"{}\" (pair {}) cannot be the name of a result; give a file name without folders",
            place(),
            row.name.escape_debug(),
            i + 1
        );
        let named = ["tif", "tiff", "png"]
            .iter()
            .any(|end| name.extension().is_some_and(|found| found == *end));
        let file = if named {
            row.name.clone()
        } else {
            format!("{}.tif", row.name)
        };
        anyhow::ensure!(
            names.insert(file.clone()),
            "{}: \"{}\" is the name of two pairs; give each pair a name of its own",
            place(),
            row.name
        );
        if i % share.of == share.first {
            let labels = folder.join(&file);
            jobs.push(Job {
                rgb: beside.join(row.optical),
                sar: Some(beside.join(row.sar)),
                json: Some(labels.with_extension("json")),
                files: LabelFiles {
                    labels,
                    ..LabelFiles::default()
                },
                logits: None,
            });
        }
    }
    Ok(jobs)
}

/// The rows of a table whose first line names its columns, in any order; further columns are passed
/// over.
fn rows(text: &str) -> anyhow::Result<Vec<Row>> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let head = fields(lines.next().unwrap_or_default());
    let column = |wanted: &str| {
        let found = head
            .iter()
            .position(|name| name.eq_ignore_ascii_case(wanted));
        found.with_context(|| format!("there is no column {wanted}"))
    };
    let columns = [column("optical")?, column("sar")?, column("name")?];
    lines
        .enumerate()
        .map(|(i, line)| {
            let fields = fields(line);
            let field = |column: usize| {
                let found = fields.get(column).filter(|field| !field.is_empty());
                found
                    .cloned()
                    .with_context(|| format!("pair {} is not complete", i + 1))
            };
            Ok(Row {
                optical: field(columns[0])?.into(),
                sar: field(columns[1])?.into(),
                name: field(columns[2])?,
            })
        })
        .collect()
}

/// The fields of a line: separated by commas, and in double quotes where they hold commas (RFC
/// 4180, but for line ends within a field).
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        let last = fields.len() - 1;
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                fields[last].push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields[last].push(c),
        }
    }
    fields.iter().map(|field| field.trim().to_owned()).collect()
}

/// What is written at the end.
#[derive(Default, Serialize)]
struct Summary {
    /// The part of the pairs, as `3/16`.
    share: String,
    pairs: usize,
    done: usize,
    /// Had a result already.
    done_before: usize,
    failed: Vec<Failure>,
    /// Without loading the model.
    seconds: f64,
}

#[derive(Serialize)]
struct Failure {
    name: String,
    why: String,
}

/// Runs the jobs one after the other, with a line for each and a summary in `folder`. Exit status 1
/// when one of them failed.
pub fn run(
    jobs: Vec<Job>,
    folder: &Path,
    share: Share,
    work: &mut dyn FnMut(&Job) -> anyhow::Result<Outcome>,
) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("{}: cannot be made a folder for results", folder.display()))?;
    let started = Instant::now();
    let mut summary = Summary {
        share: format!("{}/{}", share.first + 1, share.of),
        pairs: jobs.len(),
        ..Summary::default()
    };
    for job in &jobs {
        let name = job.files.labels.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        // Results are put in place whole, so that one that is there is complete.
        if job.files.labels.is_file() {
            summary.done_before += 1;
            say(&format!("before  {name}"));
            continue;
        }
        let begun = Instant::now();
        match work(job) {
            Ok(outcome) => {
                summary.done += 1;
                let seconds = begun.elapsed().as_secs_f64();
                say(&format!("done    {name} {seconds:.1} s"));
                for note in outcome.notes {
                    complain(&format!("note: {name}: {note}"));
                }
            }
            Err(error) => {
                let why = chain(&error);
                say(&format!("failed  {name}: {why}"));
                summary.failed.push(Failure { name, why });
            }
        }
    }
    summary.seconds = started.elapsed().as_secs_f64();
    say(&format!(
        "{} pairs: {} done, {} done before, {} failed",
        summary.pairs,
        summary.done,
        summary.done_before,
        summary.failed.len()
    ));
    let file = if share.of == 1 {
        "summary.json".to_owned()
    } else {
        format!("summary-{}-of-{}.json", share.first + 1, share.of)
    };
    let mut outputs = Outputs::default();
    outputs.add(&folder.join(file), &json(&summary)?)?;
    outputs.commit()?;
    Ok(if summary.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::{Share, fields, read};

    #[test]
    fn shares_take_every_pair_once() {
        for text in ["0/4", "5/4", "a/b", "3", "1/0", ""] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("pairs.csv");
        let rows: String = (0..10)
            .map(|i| format!("a{i}.tif, b{i}.tif,n{i}\n"))
            .collect();
        std::fs::write(&table, format!("sar,optical,name\n{rows}")).unwrap();
        let mut seen = Vec::new();
        for i in 1..=4 {
            let jobs = read(&table, "out".as_ref(), format!("{i}/4").parse().unwrap()).unwrap();
            assert!(jobs.len() >= 2);
            for job in jobs {
                let number = number(&job.files.labels);
                assert!(job.sar.unwrap().ends_with(format!("a{number}.tif")));
                seen.push(number);
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn fields_may_be_quoted() {
        assert_eq!(fields(r#"a b, "c, ""d""" ,"#), ["a b", "c, \"d\"", ""]);
    }

    fn number(path: &std::path::Path) -> usize {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        stem[1..].parse().unwrap()
    }

    #[test]
    fn tables_that_cannot_work_are_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("pairs.csv");
        for (text, why) in [
            ("optical,sar\na,b\n", "optical,sar,name"),
            ("optical,sar,name\na,b,../c\n", "without folders"),
            ("optical,sar,name\na,b,c\nd,e,c\n", "two pairs"),
        ] {
            std::fs::write(&table, text).unwrap();
            let error = read(&table, "out".as_ref(), "1/1".parse().unwrap())
                .err()
                .unwrap();
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
