//! Imports between the files of one crate, read from its syntax tree.
//!
//! A file imports another when it names something that the other defines, by `use` or by a path,
//! outside of its tests. Declaring a module and re-exporting (`pub use`) are no imports: what is
//! re-exported counts as defined where it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, Visibility};

/// Which file of a crate imports which.
pub type Imports = BTreeMap<PathBuf, BTreeSet<PathBuf>>;

/// The imports between the files of the crate with this root file.
///
/// # Panics
/// When a file cannot be read or is no Rust.
#[must_use]
pub fn imports(root: &Path) -> Imports {
    let mut tree = Tree::default();
    tree.read(root, &root.with_file_name(""), Vec::new());
    let mut imports = Imports::new();
    for (module, names) in &tree.names {
        let own = &tree.modules[module].file;
        let found = imports.entry(own.clone()).or_default();
        for path in names {
            if let Some(other) = tree.file_of(module, path, 8)
                && other != own
            {
                found.insert(other.clone());
            }
        }
    }
    imports
}

/// Groups of files that import one another, directly or by way of others.
#[must_use]
pub fn cycles(imports: &Imports) -> Vec<Vec<PathBuf>> {
    let reached: BTreeMap<&PathBuf, BTreeSet<&PathBuf>> = imports
        .keys()
        .map(|file| {
            let mut seen = BTreeSet::new();
            let mut next: Vec<&PathBuf> = imports[file].iter().collect();
            while let Some(other) = next.pop() {
                if seen.insert(other) {
                    next.extend(imports.get(other).into_iter().flatten());
                }
            }
            (file, seen)
        })
        .collect();
    let mut groups = BTreeSet::new();
    for (file, seen) in &reached {
        let group: Vec<PathBuf> = seen
            .iter()
            .filter(|other| reached.get(*other).is_some_and(|back| back.contains(file)))
            .map(|other| (*other).clone())
            .collect();
        if group.len() > 1 {
            groups.insert(group);
        }
    }
    groups.into_iter().collect()
}

/// A module's path from the crate's root.
type ModulePath = Vec<String>;

#[derive(Default)]
struct Module {
    file: PathBuf,
    /// Names that the module brings in by `use`, and the path behind each.
    aliases: BTreeMap<String, Vec<String>>,
}

#[derive(Default)]
struct Tree {
    modules: BTreeMap<ModulePath, Module>,
    /// Paths that each module names.
    names: BTreeMap<ModulePath, Vec<Vec<String>>>,
}

impl Tree {
    /// Reads a file and the files of its modules, which lie in `folder`.
    fn read(&mut self, file: &Path, folder: &Path, module: ModulePath) {
        let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let syntax = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        self.items(&syntax.items, file, folder, module);
    }

    fn items(&mut self, items: &[Item], file: &Path, folder: &Path, module: ModulePath) {
        self.modules.entry(module.clone()).or_default().file = file.to_path_buf();
        self.names.entry(module.clone()).or_default();
        for item in items {
            match item {
                Item::Mod(inner) if !is_test(&inner.attrs) => {
                    let name = inner.ident.to_string();
                    let path = [module.clone(), vec![name.clone()]].concat();
                    match &inner.content {
                        Some((_, items)) => self.items(items, file, &folder.join(&name), path),
                        None => {
                            let flat = folder.join(format!("{name}.rs"));
                            let nested = folder.join(&name).join("mod.rs");
                            let file = if flat.is_file() { flat } else { nested };
                            self.read(&file, &folder.join(&name), path);
                        }
                    }
                }
                Item::Use(item) if !is_test(&item.attrs) => {
                    let mut leaves = Vec::new();
                    flatten(&item.tree, Vec::new(), &mut leaves);
                    for (path, alias) in leaves {
                        self.modules
                            .entry(module.clone())
                            .or_default()
                            .aliases
                            .insert(alias, path.clone());
                        if matches!(item.vis, Visibility::Inherited) {
                            self.names.entry(module.clone()).or_default().push(path);
                        }
                    }
                }
                item => {
                    let mut paths = Paths(Vec::new());
                    paths.visit_item(item);
                    self.names
                        .entry(module.clone())
                        .or_default()
                        .extend(paths.0);
                }
            }
        }
    }

    /// The file that defines what `module` calls `path`; none for what lies outside of the crate.
    fn file_of(&self, module: &ModulePath, path: &[String], depth: usize) -> Option<&PathBuf> {
        let (first, rest) = path.split_first()?;
        let (mut at, mut rest) = match first.as_str() {
            "crate" => (ModulePath::new(), rest),
            "self" => (module.clone(), rest),
            "super" => (module[..module.len().checked_sub(1)?].to_vec(), rest),
            name => {
                let child = [module.clone(), vec![name.to_owned()]].concat();
                if self.modules.contains_key(&child) {
                    (child, rest)
                } else {
                    // Brought in by `use`, which is counted by itself, or from another crate.
                    return None;
                }
            }
        };
        loop {
            let Some((name, after)) = rest.split_first() else {
                return Some(&self.modules[&at].file);
            };
            if name == "super" {
                at.pop()?;
                rest = after;
                continue;
            }
            let child = [at.clone(), vec![name.clone()]].concat();
            if self.modules.contains_key(&child) {
                (at, rest) = (child, after);
                continue;
            }
            let here = self.modules.get(&at)?;
            let behind = here.aliases.get(name).filter(|_| depth > 0);
            return match behind {
                // A name from another crate that passes through this file is no import of the file.
                Some(path) => self.file_of(&at, path, depth - 1),
                None => Some(&here.file),
            };
        }
    }
}

/// Every path of a tree of imports, with the name that it gets.
fn flatten(tree: &UseTree, before: Vec<String>, out: &mut Vec<(Vec<String>, String)>) {
    let with = |name: &syn::Ident| [before.clone(), vec![name.to_string()]].concat();
    match tree {
        UseTree::Path(path) => flatten(&path.tree, with(&path.ident), out),
        UseTree::Name(name) if name.ident == "self" => {
            let alias = before.last().cloned().unwrap_or_default();
            out.push((before, alias));
        }
        UseTree::Name(name) => out.push((with(&name.ident), name.ident.to_string())),
        UseTree::Rename(rename) => out.push((with(&rename.ident), rename.rename.to_string())),
        UseTree::Glob(_) => out.push((before, "*".to_owned())),
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, before.clone(), out);
            }
        }
    }
}

/// Paths within an item, tests left out.
struct Paths(Vec<Vec<String>>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() && path.segments.len() > 1 {
            let segments = path.segments.iter();
            self.0
                .push(segments.map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        // Within a function.
        let mut leaves = Vec::new();
        flatten(&item.tree, Vec::new(), &mut leaves);
        self.0.extend(leaves.into_iter().map(|(path, _)| path));
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {
        // `pub(super)` names no file.
    }
}

/// Whether an item is compiled for tests only.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|path| path.is_ident("test"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports_of(files: &[(&str, &str)]) -> Vec<(String, String)> {
        let folder = std::env::temp_dir().join(format!(
            "structure-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        for (name, text) in files {
            let file = folder.join(name);
            fs::create_dir_all(file.parent().expect("a folder")).expect("writable");
            fs::write(file, text).expect("writable");
        }
        let short = |file: &Path| {
            let file = file.strip_prefix(&folder).expect("a file of the crate");
            file.to_string_lossy().into_owned()
        };
        let found = imports(&folder.join("lib.rs"));
        let pairs = found
            .iter()
            .flat_map(|(a, others)| others.iter().map(move |b| (a, b)))
            .map(|(a, b)| (short(a), short(b)))
            .collect::<BTreeSet<_>>();
        fs::remove_dir_all(&folder).expect("removable");
        pairs.into_iter().collect()
    }

    #[test]
    fn names_lead_to_the_file_that_defines_them() {
        let found = imports_of(&[
            ("lib.rs", "mod a; mod b; pub use a::A; pub struct Root;"),
            (
                "a.rs",
                "mod inner; pub struct A; fn f() -> crate::Root { crate::b::g() }",
            ),
            ("a/inner.rs", "use super::A; use std::fs;"),
            (
                "b.rs",
                "use crate::A; #[cfg(test)] mod tests { use crate::Root; }",
            ),
        ]);
        let found: Vec<_> = found
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("a.rs", "b.rs"),
                ("a.rs", "lib.rs"),
                ("a/inner.rs", "a.rs"),
                ("b.rs", "a.rs"),
            ]
        );
    }

    #[test]
    fn files_that_import_one_another_are_one_cycle() {
        let imports: Imports = [("a", ["b"]), ("b", ["c"]), ("c", ["a"]), ("d", ["a"])]
            .into_iter()
            .map(|(file, others)| (file.into(), others.map(PathBuf::from).into()))
            .collect();
        assert_eq!(
            cycles(&imports),
            [["a", "b", "c"].map(PathBuf::from).to_vec()]
        );
    }
}
