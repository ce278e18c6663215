//! Documents: the files that they name exist, and the walk of a request is as short as promised.

use super::language::documents;
use super::workspace::{assert_none, sources};
use std::collections::BTreeSet;

/// Files that a newcomer opens to follow a request from the guest's ring to the doorbell and back.
const WALK_FILES_MAX: usize = 8;

/// Section of ARCHITECTURE.md with the walk, a table of steps, files and functions.
const WALK_SECTION: &str = "## The data path";

/// A step of the walk.
#[derive(Debug, PartialEq, Eq)]
struct Step<'a> {
    file: &'a str,
    functions: Vec<&'a str>,
}

fn walk(document: &str) -> Vec<Step<'_>> {
    let section = document.split(WALK_SECTION).nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    section.lines().filter_map(step_in).collect()
}

/// Step in a line such as ``| 1 | `a/b.rs` | `X::take`, `y` | text |``.
fn step_in(line: &str) -> Option<Step<'_>> {
    let cells: Vec<&str> = line.split('|').collect();
    let file = quoted(cells.get(2)?).into_iter().find(|name| name.ends_with(".rs"))?;
    Some(Step { file, functions: quoted(cells.get(3)?) })
}

/// Texts between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Whether a file defines a function, which may be named with its type.
fn defines(text: &str, function: &str) -> bool {
    let name = function.rsplit("::").next().unwrap_or_default();
    [format!("fn {name}("), format!("fn {name}<")].iter().any(|start| text.contains(start))
}

/// Names of Rust files in a document, by backticks.
fn files_named(document: &str) -> Vec<&str> {
    let names = document.lines().flat_map(quoted);
    names.filter(|name| name.ends_with(".rs") && !name.contains(' ')).collect()
}

#[test]
fn files_that_documents_name_exist() {
    let sources = sources();
    let exists = |name: &str| sources.keys().any(|path| path == name || path.ends_with(&format!("/{name}")));
    let documents = documents();
    let named = documents.iter().flat_map(|(document, text)| {
        files_named(text).into_iter().map(move |name| (document.as_str(), name))
    });
    let missing = named.filter(|(_, name)| !exists(name));
    assert_none(
        "files that do not exist",
        missing.map(|(document, name)| format!("{document}: {name}")).collect(),
    );
}

#[test]
fn the_walk_of_a_request_is_short_and_its_functions_exist() {
    let (documents, sources) = (documents(), sources());
    let steps = walk(&documents["ARCHITECTURE.md"]);
    let files: BTreeSet<&str> = steps.iter().map(|step| step.file).collect();
    assert!((1..=WALK_FILES_MAX).contains(&files.len()), "the walk names {} files: {files:?}", files.len());
    let missing = steps.iter().flat_map(|Step { file, functions }| {
        let text = sources.get(*file).map_or("", String::as_str);
        let missing = functions.iter().filter(|function| !defines(text, function));
        missing.map(move |function| format!("{file}: {function}"))
    });
    assert_none("functions of the walk that are not in their files", missing.collect());
}

#[test]
fn steps_are_read_from_the_table_of_the_section_only() {
    let document = "| 0 | `z.rs` | `z` | |\n## The data path\n| Step | File |\n|---|---|\n\
                    | 1 | `a/b.rs` | `X::take`, `y` | reads |\n\n## Next\n| 2 | `c.rs` | `c` | |\n";
    assert_eq!(walk(document), [Step { file: "a/b.rs", functions: vec!["X::take", "y"] }]);
}

#[test]
fn a_function_is_found_by_its_definition() {
    let text = "impl X {\n    fn take<T>(self) {}\n    fn give(self) {}\n}\n";
    assert!(defines(text, "X::take"));
    assert!(defines(text, "give"));
    assert!(!defines(text, "tak"));
}

#[test]
fn names_of_files_are_found_in_backticks() {
    assert_eq!(files_named("`a.rs` and b.rs, `c d.rs`, `e/f.rs`"), ["a.rs", "e/f.rs"]);
}
