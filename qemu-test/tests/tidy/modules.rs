//! Modules of a crate, and where each name that they use is defined.
//!
//! Names are followed through `use`, `pub use` and globs to the file of their definition. Not
//! seen: methods called on a value, and names that a macro makes.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::Path;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, Macro, UseTree, Visibility};

/// `use` items that are followed for one name, at most: two globs may name each other.
const STEPS_MAX: u8 = 16;

type Sources = BTreeMap<String, String>;

/// A module: a file, or an inline module of one.
#[derive(Default)]
struct Module {
    file: String,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    items: BTreeSet<String>,
    imports: Vec<Import>,
    paths: BTreeSet<Vec<String>>,
}

/// A name that a `use` brings into a module; a glob brings all names of `path`.
struct Import {
    name: Option<String>,
    path: Vec<String>,
}

/// Modules that one root file declares; tests beside the code (`#[cfg(test)]`) are left out.
#[derive(Default)]
pub(crate) struct Modules {
    modules: Vec<Module>,
}

/// Referent of a path.
#[derive(Clone, Copy)]
enum Target {
    Module(usize),
    ItemIn(usize),
}

impl Modules {
    pub(crate) fn of(root: &str, sources: &Sources) -> Self {
        let mut modules = Self::default();
        modules.add_file(root, None, sources);
        modules
    }

    /// Names that files use of other files: from a file, to a file, and one of the names.
    pub(crate) fn uses(&self) -> BTreeMap<&str, BTreeMap<&str, &str>> {
        let mut uses: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
        for (from, module) in self.modules.iter().enumerate() {
            for path in &module.paths {
                let Some(Target::ItemIn(to)) = self.resolve(from, path, STEPS_MAX) else { continue };
                let to = &self.modules[to].file;
                if *to != module.file {
                    let names = uses.entry(&module.file).or_default();
                    names.entry(to).or_insert(shown_of(path));
                }
            }
        }
        uses
    }

    fn add_file(&mut self, file: &str, parent: Option<usize>, sources: &Sources) -> usize {
        let parsed = syn::parse_file(&sources[file]).unwrap();
        self.add_module(file, parent, &parsed.items, sources)
    }

    fn add_module(&mut self, file: &str, parent: Option<usize>, items: &[Item], sources: &Sources) -> usize {
        let number = self.modules.len();
        self.modules.push(Module { file: file.to_owned(), parent, ..Module::default() });
        for item in items.iter().filter(|item| !is_test(attributes_of(item))) {
            match item {
                Item::Mod(child) => self.add_child(number, child, sources),
                _ => self.modules[number].add_item(item),
            }
        }
        number
    }

    fn add_child(&mut self, parent: usize, child: &ItemMod, sources: &Sources) {
        let file = self.modules[parent].file.clone();
        let name = child.ident.to_string();
        let number = match &child.content {
            Some((_, items)) => Some(self.add_module(&file, Some(parent), items, sources)),
            None => file_of(&file, &name, sources).map(|file| self.add_file(&file, Some(parent), sources)),
        };
        if let Some(number) = number {
            self.modules[parent].children.insert(name, number);
        }
    }

    fn resolve(&self, from: usize, path: &[String], steps: u8) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        let first = match first.as_str() {
            "crate" => Target::Module(0),
            "self" => Target::Module(from),
            "super" => Target::Module(self.modules[from].parent?),
            name => self.look_up(from, name, steps)?,
        };
        rest.iter().try_fold(first, |target, name| self.step(target, name, steps))
    }

    /// Goes on from `target` by one name. A name that a module lacks is taken for one that a macro
    /// defined there.
    fn step(&self, target: Target, name: &str, steps: u8) -> Option<Target> {
        match target {
            Target::ItemIn(_) => Some(target),
            Target::Module(module) if name == "super" => self.modules[module].parent.map(Target::Module),
            Target::Module(module) => self.look_up(module, name, steps).or(Some(Target::ItemIn(module))),
        }
    }

    fn look_up(&self, module: usize, name: &str, steps: u8) -> Option<Target> {
        let steps = steps.checked_sub(1)?;
        let here = &self.modules[module];
        if here.items.contains(name) {
            return Some(Target::ItemIn(module));
        }
        if let Some(&child) = here.children.get(name) {
            return Some(Target::Module(child));
        }
        if let Some(import) = here.imports.iter().find(|import| import.name.as_deref() == Some(name)) {
            return self.resolve(module, &import.path, steps);
        }
        let globs = here.imports.iter().filter(|import| import.name.is_none());
        globs
            .filter_map(|glob| match self.resolve(module, &glob.path, steps)? {
                Target::Module(to) if to != module => self.look_up(to, name, steps),
                _ => None,
            })
            .next()
    }
}

impl Module {
    fn add_item(&mut self, item: &Item) {
        self.items.extend(name_of(item));
        self.visit_item(item);
    }

    fn add_imports(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.add_imports(&with(&path.ident), &path.tree),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_imports(before, tree)),
            UseTree::Glob(_) => self.imports.push(Import { name: None, path: before.to_vec() }),
            UseTree::Name(name) if name.ident == "self" => {
                self.imports.push(Import { name: before.last().cloned(), path: before.to_vec() });
            }
            UseTree::Name(name) => self.import(name.ident.to_string(), with(&name.ident)),
            UseTree::Rename(rename) => self.import(rename.rename.to_string(), with(&rename.ident)),
        }
    }

    /// A name that is its own path (`use serde;`) leads nowhere in this crate.
    fn import(&mut self, name: String, path: Vec<String>) {
        if path.len() > 1 {
            self.imports.push(Import { name: Some(name), path });
        }
    }

    fn add_paths_of(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut signs = String::new();
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if signs != "::" {
                        self.paths.insert(std::mem::take(&mut path));
                    }
                    path.push(if signs == "." { String::new() } else { name.to_string() });
                    signs.clear();
                }
                TokenTree::Punct(sign) => signs.push(sign.as_char()),
                TokenTree::Group(group) => {
                    signs = "()".to_owned();
                    self.add_paths_of(group.stream());
                }
                TokenTree::Literal(_) => signs = "literal".to_owned(),
            }
        }
        self.paths.insert(path);
    }
}

impl<'ast> Visit<'ast> for Module {
    /// A re-export alone uses nothing: who takes the name from here uses its definition.
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let before = self.imports.len();
        self.add_imports(&[], &item.tree);
        if matches!(item.vis, Visibility::Inherited) {
            let named = self.imports[before..].iter().filter(|import| import.name.is_some());
            self.paths.extend(named.map(|import| import.path.clone()).collect::<Vec<_>>());
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.paths.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        self.add_paths_of(called.tokens.clone());
    }

    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}

/// Name that stands for a path in a report: its type's or trait's, else the last one.
fn shown_of(path: &[String]) -> &str {
    let camel = path.iter().find(|name| name.starts_with(char::is_uppercase));
    camel.or(path.last()).map_or("", String::as_str)
}

/// File of the module that `file` declares by name.
fn file_of(file: &str, name: &str, sources: &Sources) -> Option<String> {
    let path = Path::new(file);
    let is_root = matches!(path.file_stem()?.to_str()?, "lib" | "main" | "mod") || is_target(file);
    let folder = if is_root { path.parent()?.to_owned() } else { path.with_extension("") };
    let candidates = [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")];
    candidates.iter().map(|path| path.display().to_string()).find(|path| sources.contains_key(path))
}

/// Whether a file is the root of a crate: of a library, a program, a test or a benchmark.
pub(crate) fn is_target(file: &str) -> bool {
    let path = Path::new(file);
    let folder = path.parent().and_then(Path::file_name).and_then(OsStr::to_str).unwrap_or_default();
    path.ends_with("lib.rs")
        || path.ends_with("main.rs")
        || matches!(folder, "bin" | "tests" | "benches" | "examples")
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Ident>().is_ok_and(|name| name == "test")
    })
}

fn attributes_of(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}
