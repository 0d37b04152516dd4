//! Checks the layout of the repository: no import cycles, no loose files at a crate's root, and no wrong names in the script
//! that runs the tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{ItemMod, ItemUse, UseTree};

/// The crates, and the files that are allowed at the root of each (empty: all).
const CRATES: [(&str, &[&str]); 5] = [
    ("agent/src", &["cli.rs", "lib.rs", "main.rs"]),
    ("launcher/src", &["cli.rs", "lib.rs", "main.rs"]),
    ("templates/src", &[]),
    ("tests/lab/src", &[]),
    ("tests/prove/src", &[]),
];

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// All files below `folder`, relative to it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                found.push(entry.strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    found
}

type Module = Vec<String>;

/// `peers/ask.rs` is `peers::ask`, `peers/mod.rs` is `peers`, `lib.rs` the root.
fn module(file: &Path) -> Module {
    let mut names: Module = file.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if names.last().is_some_and(|last| last == "mod") || names == ["lib"] {
        names.pop();
    }
    names
}

/// The modules that a file's imports name: `crate::…` and `super::…`, outside of its tests.
struct Imports<'a> {
    of: &'a Module,
    paths: Vec<Vec<String>>,
}

impl Imports<'_> {
    fn tree(&mut self, mut path: Vec<String>, tree: &UseTree) {
        match tree {
            UseTree::Path(next) => {
                path.push(next.ident.to_string());
                self.tree(path, &next.tree);
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(path.clone(), tree)),
            UseTree::Name(name) => self.path(path.into_iter().chain([name.ident.to_string()]).collect()),
            UseTree::Rename(rename) => self.path(path.into_iter().chain([rename.ident.to_string()]).collect()),
            UseTree::Glob(_) => self.path(path),
        }
    }

    fn path(&mut self, path: Vec<String>) {
        let ups = path.iter().take_while(|name| *name == "super").count();
        match path.first().map(String::as_str) {
            Some("crate") => self.paths.push(path[1..].to_vec()),
            Some("super") if ups <= self.of.len() => {
                self.paths.push([&self.of[..self.of.len() - ups], &path[ups..]].concat());
            }
            _ => {}
        }
    }
}

impl<'ast> Visit<'ast> for Imports<'_> {
    /// Skips inline modules: they are tests, which may import anything.
    fn visit_item_mod(&mut self, _: &'ast ItemMod) {}

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.tree(Vec::new(), &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.path(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }
}

/// The imports of each module of a crate, without `tests` modules.
fn imports(root: &Path) -> BTreeMap<Module, BTreeSet<Module>> {
    let sources: BTreeMap<Module, PathBuf> = files(root)
        .into_iter()
        .filter(|file| file.extension().is_some_and(|end| end == "rs"))
        .map(|file| (module(&file), file))
        .collect();
    let of = |(this, file): (&Module, &PathBuf)| {
        let syntax = syn::parse_file(&std::fs::read_to_string(root.join(file)).unwrap()).unwrap();
        let mut imports = Imports { of: this, paths: Vec::new() };
        imports.visit_file(&syntax);
        let named = imports.paths.iter().filter_map(|path| {
            (1..=path.len()).rev().map(|end| path[..end].to_vec()).find(|module| sources.contains_key(module))
        });
        (this.clone(), named.filter(|module| module != this).collect())
    };
    sources.iter().filter(|(this, _)| this.last().is_none_or(|name| name != "tests")).map(of).collect()
}

/// An import cycle, if any: each module imports the next, and the last one the first.
fn circle(imports: &BTreeMap<Module, BTreeSet<Module>>) -> Option<Vec<Module>> {
    fn from(
        at: &Module,
        imports: &BTreeMap<Module, BTreeSet<Module>>,
        way: &mut Vec<Module>,
        done: &mut BTreeSet<Module>,
    ) -> bool {
        if let Some(start) = way.iter().position(|module| module == at) {
            way.drain(..start);
            return true;
        }
        if !done.insert(at.clone()) {
            return false;
        }
        way.push(at.clone());
        if imports.get(at).into_iter().flatten().any(|next| from(next, imports, way, done)) {
            return true;
        }
        way.pop();
        false
    }
    let mut done = BTreeSet::new();
    imports.keys().find_map(|module| {
        let mut way = Vec::new();
        from(module, imports, &mut way, &mut done).then_some(way)
    })
}

#[test]
fn no_crate_has_an_import_cycle() {
    for (folder, _) in CRATES {
        let imports = imports(&checkout().join(folder));
        assert!(imports.values().any(|named| !named.is_empty()), "{folder}: no import was found");
        assert_eq!(
            circle(&imports).map(|way| way.iter().map(|at| at.join("::")).collect::<Vec<_>>()),
            None,
            "{folder}"
        );
    }
}

#[test]
fn an_import_cycle_is_found() {
    let modules = |names: &[&str]| names.iter().map(|name| vec![(*name).to_owned()]).collect::<BTreeSet<Module>>();
    let names = |text: &str| vec![text.to_owned()];
    let mut imports = BTreeMap::from([(names("a"), modules(&["b"])), (names("b"), modules(&["c", "d"]))]);
    assert_eq!(circle(&imports), None);
    imports.insert(names("d"), modules(&["b"]));
    assert_eq!(circle(&imports), Some(vec![names("b"), names("d")]));
}

#[test]
fn the_roots_of_agent_and_launcher_hold_folders() {
    for (folder, may) in CRATES.iter().filter(|(_, may)| !may.is_empty()) {
        let files = files(&checkout().join(folder));
        let loose: Vec<&PathBuf> = files.iter().filter(|file| file.iter().count() == 1).collect();
        let strange: Vec<&&PathBuf> = loose.iter().filter(|file| !may.contains(&file.to_str().unwrap())).collect();
        assert!(strange.is_empty(), "{folder}: {strange:?}");
    }
}

#[test]
fn every_test_that_the_script_names_exists() {
    let tests = checkout().join("tests");
    let script = std::fs::read_to_string(tests.join("run.sh")).unwrap();
    let sources = ["documents", "end_to_end", "faults"].map(|folder| tests.join(folder));
    let sources = sources.iter().flat_map(|folder| files(folder).into_iter().map(|file| folder.join(file)));
    let sources: String = sources.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let is_a_name =
        |word: &&str| word.matches('_').count() > 2 && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let named: Vec<&str> = script.split(|c: char| c.is_whitespace() || "()".contains(c)).filter(is_a_name).collect();
    assert!(named.len() > 9, "{named:?}");
    // A name may be the beginning of several.
    let missing: Vec<&str> = named.into_iter().filter(|name| !sources.contains(&format!("fn {name}"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
