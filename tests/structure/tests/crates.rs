//! Which crate uses which, against the crate map in ARCHITECTURE.md, and imports between files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use mmovseg_structure_tests::imports::{cycles, imports};
use mmovseg_structure_tests::workspace::{packages, project};

/// The crate map of ARCHITECTURE.md: folder and the folders that the column "may use" names.
fn crate_map() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(project().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("| crate |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [folder, _, uses] = cells[..] else {
            panic!("a row of the crate map has three cells: {row}");
        };
        let uses = uses
            .split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        (folder.trim_matches('`').to_owned(), uses)
    })
    .collect()
}

#[test]
fn the_crate_map_is_true() {
    let map = crate_map();
    let mut wrong = Vec::new();
    for package in packages() {
        match map.get(&package.folder) {
            None => wrong.push(format!("{} has no row", package.folder)),
            Some(listed) if *listed != package.uses => wrong.push(format!(
                "{} uses {:?}, the map says {listed:?}",
                package.folder, package.uses
            )),
            Some(_) => {}
        }
    }
    let folders: BTreeSet<_> = packages().into_iter().map(|p| p.folder).collect();
    for folder in map.keys().filter(|folder| !folders.contains(*folder)) {
        wrong.push(format!("{folder} is no package"));
    }
    assert!(wrong.is_empty(), "ARCHITECTURE.md: {}", wrong.join("; "));
}

#[test]
fn no_two_files_of_a_crate_import_each_other() {
    let mut wrong = Vec::new();
    for package in packages() {
        let mut found = 0;
        for root in &package.roots {
            for cycle in cycles(&imports(root)) {
                found += 1;
                let folder = project().canonicalize().expect("the project");
                let names: Vec<_> = cycle
                    .iter()
                    .map(|file| {
                        file.strip_prefix(&folder)
                            .unwrap_or(file)
                            .display()
                            .to_string()
                    })
                    .collect();
                println!("cycle: {}", names.join(", "));
            }
        }
        if found > 0 {
            wrong.push(format!("{}: {found}", package.folder));
        }
    }
    assert!(wrong.is_empty(), "import cycles in {}", wrong.join(", "));
}
