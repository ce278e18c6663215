//! Dependencies: each has a reason, and versions stand in one place.

use super::workspace::{ROOMS, assert_none, files_below, manifest, name_of, workspace};
use std::fs;

#[test]
fn every_dependency_has_a_reason_beside_it() {
    let manifest = manifest();
    let section = manifest.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let entries = section.lines().filter(|line| line.contains(" = ") && !line.contains("path = "));
    let bare = entries.filter(|line| !line.contains(" # "));
    assert_none("dependencies without a reason", bare.map(str::to_owned).collect());
}

#[test]
fn crates_take_their_dependencies_from_the_workspace() {
    let manifests = ROOMS.iter().flat_map(|room| files_below(&workspace().join(room)));
    let own = manifests.filter(|path| path.ends_with("Cargo.toml")).flat_map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        own_dependencies(&text).into_iter().map(move |line| format!("{}: {line}", name_of(&path)))
    });
    assert_none("dependencies that are not the workspace's", own.collect());
}

/// Lines of a crate's dependency sections that do not refer to the workspace.
fn own_dependencies(manifest: &str) -> Vec<String> {
    let sections = manifest
        .split("\n[")
        .filter(|section| section.split(']').next().is_some_and(|name| name.ends_with("dependencies")));
    let entries = sections.flat_map(|section| section.lines().skip(1));
    let entries = entries.filter(|line| line.contains('=') && !line.starts_with('#'));
    let shared = |line: &&str| line.contains("workspace = true") || line.contains("path = \".\"");
    entries.filter(|line| !shared(line)).map(str::to_owned).collect()
}
