//! Language of comments and names: how a doc comment begins, and words that are no longer used.

use super::exempt::{Breaches, assert_kept};
use super::workspace::{TOP_LEVEL, sources, workspace};
use std::collections::BTreeMap;
use std::fs;

/// Crates whose doc comments still begin otherwise.
const OTHER_BEGINNINGS: &[&str] = &[];

/// Crates and documents that still use retired words.
const OLD_WORDS: &[&str] = &[];

/// First words after which a sentence cannot say what the thing is or does.
const WRONG_BEGINNINGS: [&[&str]; 11] = [
    &["What"],
    &["How"],
    &["It"],
    &["Its"],
    &["They"],
    &["These"],
    &["Those"],
    &["This"],
    &["That"],
    &["The", "same"],
    &["One", "of"],
];

/// House-made words that gave way to the field's, in lower case.
const RETIRED: [&str; 12] = [
    "errand", "errands", "patience", "bed", "beds", "lane", "lanes", "wires", "trouble", "troubles",
    "manieth", "manyeth",
];

/// Path of this file, which has to spell the retired words.
const THIS_FILE: &str = "qemu-test/tests/tidy/language.rs";

/// Lines whose doc comment begins with a wrong word.
fn wrong_beginnings(text: &str) -> Vec<String> {
    let comments: Vec<Option<&str>> = text.lines().map(doc_comment).collect();
    let firsts = (0..comments.len()).filter(|&at| at == 0 || comments[at - 1].is_none());
    let wrong = firsts.filter_map(|at| Some((at, comments[at]?)));
    let wrong = wrong.filter(|(_, comment)| begins_wrongly(comment));
    wrong.map(|(at, comment)| format!("line {}: {comment}", at + 1)).collect()
}

/// Text of a line that is a doc comment.
fn doc_comment(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?;
    (!text.starts_with('/')).then(|| text.trim())
}

fn begins_wrongly(comment: &str) -> bool {
    let words: Vec<&str> = comment.split(|c: char| !c.is_alphanumeric()).take(2).collect();
    WRONG_BEGINNINGS.iter().any(|wrong| words.starts_with(wrong))
}

/// Lines that use a retired word, as a word of its own or as a part of a name.
fn retired_words(text: &str) -> Vec<String> {
    let lines = text.lines().enumerate();
    let found =
        lines.filter_map(|(at, line)| Some((at, words_of(line).into_iter().find(|word| is_retired(word))?)));
    found.map(|(at, word)| format!("line {}: {word}", at + 1)).collect()
}

fn is_retired(word: &str) -> bool {
    RETIRED.contains(&word)
}

/// Words of a line in lower case: `AnExample`, `an_example` and `an example` have two each.
fn words_of(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for letter in line.chars() {
        if !letter.is_alphabetic() || (after_lower && letter.is_uppercase()) {
            words.push(String::new());
        }
        if letter.is_alphabetic() {
            words.last_mut().unwrap().extend(letter.to_lowercase());
        }
        after_lower = letter.is_lowercase();
    }
    words
}

/// Documents at the top level, by their names.
pub(crate) fn documents() -> BTreeMap<String, String> {
    let names = TOP_LEVEL.iter().filter(|name| name.ends_with(".md"));
    names.map(|&name| (name.to_owned(), fs::read_to_string(workspace().join(name)).unwrap())).collect()
}

#[test]
fn doc_comments_begin_with_what_the_thing_is_or_does() {
    let found: Breaches = sources().into_iter().map(|(name, text)| (name, wrong_beginnings(&text))).collect();
    assert_kept("doc comments that begin otherwise", OTHER_BEGINNINGS, &found);
}

#[test]
fn retired_words_are_not_used() {
    let texts = sources().into_iter().chain(documents()).filter(|(name, _)| name != THIS_FILE);
    let found: Breaches = texts.map(|(name, text)| (name, retired_words(&text))).collect();
    assert_kept("retired words", OLD_WORDS, &found);
}

#[test]
fn a_wrong_beginning_is_found_in_the_first_line_of_a_doc_comment_only() {
    let text = "//! What it is.\n\n/// Whether it is.\n/// It goes on.\nfn a() {}\n    /// One of many.\n";
    assert_eq!(wrong_beginnings(text), ["line 1: What it is.", "line 6: One of many."]);
}

#[test]
fn ordinary_comments_may_begin_with_any_word() {
    assert_eq!(wrong_beginnings("// It is.\n//// It is.\n"), [""; 0]);
}

#[test]
fn a_retired_word_is_found_as_a_word_and_as_a_part_of_a_name() {
    let text = "let poll_patience = 1;\nstruct MyLane;\n// An errand.\nlet planes = embed();\n";
    assert_eq!(retired_words(text), ["line 1: patience", "line 2: lane", "line 3: errand"]);
}
