//! Circles: files of a crate do not use each other, directly or by way of others.

use super::exempt::{Breaches, assert_kept};
use super::modules::{Modules, is_target};
use super::workspace::sources;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

/// Crates that still have circles.
const WITH_CIRCLES: &[&str] = &[];

type Uses<'a> = BTreeMap<&'a str, BTreeMap<&'a str, &'a str>>;

/// Shortest circle through each group of files that reach each other, by the group's first file.
fn circles(uses: &Uses) -> BTreeMap<String, String> {
    let mut seen = BTreeSet::new();
    let mut found = BTreeMap::new();
    for &file in uses.keys() {
        let Some(circle) = shortest_circle(uses, file) else { continue };
        if seen.insert(file) {
            seen.extend(uses.keys().filter(|other| reaches(uses, file, other) && reaches(uses, other, file)));
            found.insert(file.to_owned(), readable(uses, &circle));
        }
    }
    found
}

fn reaches(uses: &Uses, from: &str, to: &str) -> bool {
    shortest_way(uses, from, to).is_some()
}

fn shortest_circle<'a>(uses: &'a Uses, file: &'a str) -> Option<Vec<&'a str>> {
    shortest_way(uses, file, file)
}

/// Files on the shortest way from one file to another, both ends included, by at least one use.
fn shortest_way<'a>(uses: &'a Uses, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
    let mut ways = VecDeque::from([vec![from]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for &next in uses.get(way.last()?).into_iter().flat_map(BTreeMap::keys) {
            let longer = [way.as_slice(), &[next]].concat();
            if next == to {
                return Some(longer);
            }
            if seen.insert(next) {
                ways.push_back(longer);
            }
        }
    }
    None
}

/// Text such as `a.rs -(Name)-> b.rs -(Other)-> a.rs`, with paths from the first file's folder.
fn readable(uses: &Uses, circle: &[&str]) -> String {
    let folder = Path::new(circle[0]).parent().unwrap_or(Path::new(""));
    let short = |file: &str| {
        Path::new(file).strip_prefix(folder).map_or(file.to_owned(), |path| path.display().to_string())
    };
    let steps = circle.windows(2).map(|step| format!(" -({})-> {}", uses[step[0]][step[1]], short(step[1])));
    short(circle[0]) + &steps.collect::<String>()
}

fn circles_of(sources: &BTreeMap<String, String>) -> Breaches {
    let roots = sources.keys().filter(|file| is_target(file));
    let found = roots.flat_map(|root| circles(&Modules::of(root, sources).uses()));
    found.map(|(file, circle)| (file, vec![circle])).collect()
}

#[test]
fn files_of_a_crate_do_not_use_each_other_in_a_circle() {
    assert_kept("circles of files", WITH_CIRCLES, &circles_of(&sources()));
}

/// Circles among made-up files of a crate `a`.
fn circles_among(files: &[(&str, &str)]) -> Vec<String> {
    let sources = files.iter().map(|(name, text)| (format!("a/src/{name}"), (*text).to_owned())).collect();
    circles_of(&sources).into_values().flatten().collect()
}

#[test]
fn two_files_that_import_each_other_are_a_circle() {
    let found = circles_among(&[
        ("lib.rs", "mod x; mod y;"),
        ("x.rs", "use crate::y::Y; pub struct X(Y);"),
        ("y.rs", "pub struct Y; fn f() { let _ = super::x::X(Y); }"),
    ]);
    assert_eq!(found, ["x.rs -(Y)-> y.rs -(X)-> x.rs"]);
}

#[test]
fn a_circle_through_three_files_and_a_re_export_is_found() {
    let found = circles_among(&[
        ("lib.rs", "mod x; mod y; mod z; pub use x::X;"),
        ("x.rs", "use crate::y; pub struct X(y::Y);"),
        ("y.rs", "use crate::z::*; pub struct Y(Z);"),
        ("z.rs", "pub struct Z; fn f() { assert!(crate::X::new()); }"),
    ]);
    assert_eq!(found, ["x.rs -(Y)-> y.rs -(Z)-> z.rs -(X)-> x.rs"]);
}

#[test]
fn a_child_and_the_module_that_uses_it_are_a_circle() {
    let found = circles_among(&[
        ("lib.rs", "mod x;"),
        ("x/mod.rs", "mod child; use child::Child; pub struct X(Child);"),
        ("x/child.rs", "use super::X; pub struct Child; fn f(_: X) {}"),
    ]);
    assert_eq!(found, ["child.rs -(X)-> a/src/x/mod.rs -(Child)-> child.rs".replace("a/src/x/", "")]);
}

#[test]
fn re_exports_and_tests_make_no_circle() {
    let found = circles_among(&[
        ("lib.rs", "mod x; mod y; pub use x::X; pub use y::Y; pub struct Z;"),
        ("x.rs", "use crate::{Y, Z}; pub struct X(Y, Z);"),
        ("y.rs", "pub struct Y; #[cfg(test)] mod tests { use crate::X; fn f(_: X) {} }"),
    ]);
    assert_eq!(found, [""; 0]);
}
