//! Documents and comments: what they cite exists, and comments fit their width.

use std::collections::BTreeSet;
use std::fs;

use mmovseg_structure_tests::workspace::{files, packages, project};

/// Columns of a line with a comment.
const COMMENT_COLUMNS: usize = 100;

#[test]
fn cited_sections_of_the_network_document_exist() {
    let text = fs::read_to_string(project().join("docs/network.md")).expect("docs/network.md");
    let sections: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| {
            line.trim_start_matches('#')
                .strip_prefix(' ')
                .filter(|_| line.starts_with("##"))
        })
        .filter_map(|title| title.split_whitespace().next())
        .collect();
    let mut wrong = Vec::new();
    for file in files(&project(), &[".rs", ".py", ".md"]) {
        let text = fs::read_to_string(&file).expect("text");
        for cited in text.split("docs/network.md §").skip(1) {
            let line = cited.lines().next().unwrap_or_default();
            let end = line
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(line.len());
            let section = line[..end].trim_end_matches('.');
            if !section.is_empty() && !sections.contains(section) {
                wrong.push(format!("{}: §{section}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "no such section: {}", wrong.join(", "));
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    for file in files(&project(), &[".md"]) {
        let text = fs::read_to_string(&file).expect("text");
        let folder = file.parent().expect("a folder");
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
        {
            let (path, _) = target.0.split_once('#').unwrap_or((target.0, ""));
            if !path.is_empty() && !path.contains("://") && !folder.join(path).exists() {
                wrong.push(format!("{}: {path}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "broken links: {}", wrong.join(", "));
}

#[test]
fn comments_fit_their_width() {
    let mut wide = Vec::new();
    for package in packages() {
        for file in files(&project().join(&package.folder), &[".rs"]) {
            let text = fs::read_to_string(&file).expect("text");
            for (number, line) in text.lines().enumerate() {
                if line.trim_start().starts_with("//") && line.chars().count() > COMMENT_COLUMNS {
                    wide.push(format!("{}:{}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(
        wide.is_empty(),
        "comments wider than {COMMENT_COLUMNS} columns:\n{}",
        wide.join("\n")
    );
}
