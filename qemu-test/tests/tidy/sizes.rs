//! Sizes of files and functions.

use super::workspace::{assert_none, sources};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

/// Functions of a formatted file that are longer than `max` lines. The formatter closes a function in
/// the column where it begins, so that columns suffice to find its end.
fn long_functions(text: &str, max: usize) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let begins = lines.iter().enumerate().filter(|(_, line)| begins_function(line));
    begins
        .filter_map(|(start, line)| {
            let close = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
            let length = lines[start..].iter().position(|line| *line == close)? + 1;
            (length > max && !line.trim_end().ends_with([';', '}']))
                .then(|| format!("line {}: {length} lines", start + 1))
        })
        .collect()
}

fn begins_function(line: &str) -> bool {
    let words = line.split_whitespace().take_while(|word| *word != "fn");
    let qualifiers = ["pub", "const", "async", "unsafe", "extern", "\"C\"", "default"];
    let count = words.clone().count();
    words.into_iter().all(|word| qualifiers.contains(&word) || word.starts_with("pub("))
        && line.split_whitespace().nth(count) == Some("fn")
}

#[test]
fn no_file_is_too_long() {
    let long = sources().into_iter().filter(|(_, text)| text.lines().count() > FILE_LINES_MAX);
    assert_none("files past the end of the house style", long.map(|(name, _)| name).collect());
}

#[test]
fn no_function_is_too_long() {
    let long = sources().into_iter().flat_map(|(name, text)| {
        long_functions(&text, FUNCTION_LINES_MAX).into_iter().map(move |found| format!("{name} {found}"))
    });
    assert_none("functions past the end of the house style", long.collect());
}

#[test]
fn the_measure_of_functions_sees_methods_and_generics_and_not_declarations() {
    let text = "trait A {\n    fn declared();\n}\n\nimpl A {\n    pub(crate) const fn long<T>(\n        a: u8,\n    ) {\n        \
                body();\n    }\n\n    fn short() {}\n}\n\nfn top() {\n    x();\n}\n";
    assert_eq!(long_functions(text, 2), ["line 6: 5 lines", "line 15: 3 lines"]);
    assert_eq!(long_functions(text, 4), ["line 6: 5 lines"]);
}
