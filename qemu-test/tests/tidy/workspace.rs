//! The workspace's files, and the form in which a rule reports what breaks it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold our code.
pub(crate) const ROOMS: [&str; 5] = ["appliance", "buildroot", "drivers", "image", "qemu-test"];

/// Files at the top level, besides rooms, dot-files and the build's folder.
pub(crate) const TOP_LEVEL: [&str; 11] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "GUIDE.md",
    "LICENSE",
    "PERFORMANCE.md",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "rust-toolchain.toml",
];

pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Every file below `folder`.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Texts of all Rust files, by their paths from the workspace.
pub(crate) fn sources() -> BTreeMap<String, String> {
    let files = ROOMS.iter().flat_map(|room| files_below(&workspace().join(room)));
    let rust = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|path| (name_of(&path), fs::read_to_string(&path).unwrap())).collect()
}

pub(crate) fn name_of(path: &Path) -> String {
    path.strip_prefix(workspace()).unwrap().display().to_string()
}

pub(crate) fn manifest() -> String {
    fs::read_to_string(workspace().join("Cargo.toml")).unwrap()
}

#[track_caller]
pub(crate) fn assert_none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}
