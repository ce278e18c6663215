//! Rules that some crates do not keep yet.

use super::workspace::assert_none;
use std::collections::{BTreeMap, BTreeSet};

/// Breaches of a rule, by the file that breaks it.
pub(crate) type Breaches = BTreeMap<String, Vec<String>>;

/// Asserts that no file outside the `exempt` folders breaks the rule, and that each of those folders
/// still does.
#[track_caller]
pub(crate) fn assert_kept(rule: &str, exempt: &[&str], breaches: &Breaches) {
    assert_none(rule, unexpected(exempt, breaches));
    assert_none("exempt from the rule, but clean: take it off the list", clean(exempt, breaches));
}

fn unexpected(exempt: &[&str], breaches: &Breaches) -> Vec<String> {
    let files = breaches.iter().filter(|(file, _)| !exempt.contains(&folder_of(file)));
    files.flat_map(|(file, found)| found.iter().map(move |one| format!("{file}: {one}"))).collect()
}

fn clean(exempt: &[&str], breaches: &Breaches) -> Vec<String> {
    let broken = breaches.iter().filter(|(_, found)| !found.is_empty());
    let folders: BTreeSet<&str> = broken.map(|(file, _)| folder_of(file)).collect();
    exempt.iter().filter(|folder| !folders.contains(*folder)).map(|&folder| folder.to_owned()).collect()
}

/// Folder of the crate that a file belongs to; the file itself at the top level.
pub(crate) fn folder_of(file: &str) -> &str {
    let depth = if file.starts_with("appliance/") || file.starts_with("drivers/") { 2 } else { 1 };
    file.match_indices('/').nth(depth - 1).map_or(file, |(end, _)| &file[..end])
}

#[test]
fn a_file_belongs_to_its_crate() {
    assert_eq!(folder_of("appliance/core/src/lib.rs"), "appliance/core");
    assert_eq!(folder_of("image/src/lib.rs"), "image");
    assert_eq!(folder_of("README.md"), "README.md");
}

#[test]
fn a_breach_is_reported_unless_its_crate_is_exempt() {
    let breaches = Breaches::from([("image/src/lib.rs".to_owned(), vec!["line 3".to_owned()])]);
    assert_eq!(unexpected(&[], &breaches), ["image/src/lib.rs: line 3"]);
    assert_eq!(unexpected(&["image"], &breaches), [""; 0]);
}

#[test]
fn an_exempt_crate_without_a_breach_is_reported() {
    let breaches = Breaches::from([("image/src/lib.rs".to_owned(), Vec::new())]);
    assert_eq!(clean(&["image", "drivers/spec"], &breaches), ["image", "drivers/spec"]);
}
