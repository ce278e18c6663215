//! Files: what lies at the top level, headers, names, and what no file may hold.

use super::workspace::{ROOMS, TOP_LEVEL, assert_none, files_below, name_of, sources, workspace};
use std::fs;
use std::path::Path;

#[test]
fn every_file_begins_by_saying_what_it_is() {
    let mute = sources().into_iter().filter(|(_, text)| !text.starts_with("//! "));
    assert_none("files without a header", mute.map(|(name, _)| name).collect());
}

#[test]
fn no_module_has_a_name_that_says_nothing() {
    let empty_words = ["util", "utils", "common", "base", "helper", "helpers", "misc"];
    let named = sources().into_keys().filter(|name| {
        Path::new(name)
            .iter()
            .any(|part| empty_words.contains(&part.to_str().unwrap().trim_end_matches(".rs")))
    });
    assert_none("modules whose names say nothing", named.collect());
}

#[test]
fn no_test_is_switched_off_and_none_expects_a_panic() {
    let marks = [concat!("#[", "ignore"), concat!("#[", "should_panic")];
    let found = sources().into_iter().filter(|(_, text)| marks.iter().any(|mark| text.contains(mark)));
    assert_none("files with such tests", found.map(|(name, _)| name).collect());
}

#[test]
fn the_top_level_holds_what_the_plan_names() {
    let entries = fs::read_dir(workspace()).unwrap().map(|entry| entry.unwrap().file_name());
    let names = entries.map(|name| name.to_str().unwrap().to_owned());
    let known = |name: &str| {
        name.starts_with('.') || name == "target" || ROOMS.contains(&name) || TOP_LEVEL.contains(&name)
    };
    assert_none("entries that the plan does not have", names.filter(|name| !known(name)).collect());
    let missing = ROOMS.iter().chain(&TOP_LEVEL).filter(|name| !workspace().join(name).exists());
    assert_none("entries that are missing", missing.map(|&name| name.to_owned()).collect());
}

#[test]
fn no_file_names_a_registry_or_a_path_of_one_machine() {
    let hosts = [
        ["crates", "io"],
        ["pypi", "org"],
        ["pythonhosted", "org"],
        ["deb.debian", "org"],
        ["security.debian", "org"],
    ];
    let mut marks: Vec<String> = hosts.iter().map(|parts| parts.join(".")).collect();
    marks.push(workspace().display().to_string());
    let rooms = ROOMS.iter().flat_map(|room| files_below(&workspace().join(room)));
    let top = TOP_LEVEL.iter().filter(|name| **name != "Cargo.lock").map(|name| workspace().join(name));
    let found = rooms.chain(top).filter(|path| {
        let text = fs::read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        marks.iter().any(|mark| text.contains(mark))
    });
    assert_none("files with such names", found.map(|path| name_of(&path)).collect());
}
