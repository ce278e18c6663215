//! Printer of results: tables for lists of objects, aligned pairs for one object.
//!
//! Invariant: no control character of a result reaches the terminal.

use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Style of printed text: with or without colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Style {
    Plain,
    Colour,
}

impl Style {
    /// Text of a heading or a name.
    pub(crate) fn strong(self, text: &str) -> String {
        self.sgr("1", text)
    }

    /// Text of an error.
    pub(crate) fn failure(self, text: &str) -> String {
        self.sgr("31", text)
    }

    fn faint(self, text: &str) -> String {
        self.sgr("36", text)
    }

    /// Wraps text into an SGR sequence (ECMA-48, 8.3.117).
    fn sgr(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

/// Keys of the first columns, which are kept if a table is too wide.
const FIRST: [&str; 10] = [
    "name",
    "ctrlr",
    "lcore",
    "state",
    "product_name",
    "block_size",
    "num_blocks",
    "cpus",
    "memory_mib",
    "bytes_read",
];

/// Text of a result, without a final end of line.
pub(crate) fn render(value: &Value, style: Style, columns: usize) -> String {
    match value {
        Value::Array(list) if list.is_empty() => "(none)".into(),
        Value::Array(list) => objects(list).map_or_else(
            || list.iter().map(|item| render(item, style, columns)).collect::<Vec<_>>().join("\n"),
            |rows| {
                if let [only] = rows[..] {
                    pairs(only, style, 0)
                } else {
                    sorted_table(&rows, style, columns)
                }
            },
        ),
        Value::Object(map) if map.is_empty() => "(empty)".into(),
        // Includes an object around a single list of objects: a table with a title.
        Value::Object(map) => pairs_and_tables(map, style, columns),
        Value::Bool(true) => "ok".into(),
        other => cell(other),
    }
}

fn objects(list: &[Value]) -> Option<Vec<&Map<String, Value>>> {
    list.iter().map(Value::as_object).collect()
}

fn pairs_and_tables(map: &Map<String, Value>, style: Style, columns: usize) -> String {
    let is_table = |value: &&Value| {
        value.as_array().is_some_and(|list| list.len() > 1 && list.iter().all(Value::is_object))
    };
    let (tables, rest): (Vec<_>, Vec<_>) = map.iter().partition(|(_, value)| is_table(value));
    let rest: Map<String, Value> =
        rest.into_iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut parts = Vec::new();
    if !rest.is_empty() {
        parts.push(pairs(&rest, style, 0));
    }
    for (key, value) in tables {
        parts.push(format!("{}:\n{}", style.faint(&clean(key)), render(value, style, columns)));
    }
    parts.join("\n")
}

/// Lines of `key  value`. Members of a nested object are indented below its key.
fn pairs(map: &Map<String, Value>, style: Style, indent: usize) -> String {
    let keys = ordered(map.keys());
    let width = keys.iter().map(|key| width(key)).max().unwrap_or(0);
    let lines = keys.iter().map(|key| {
        let name = style.faint(&padded(key, width));
        let space = " ".repeat(indent);
        match map.get(*key) {
            Some(Value::Object(inner)) if !inner.is_empty() => {
                format!("{space}{}\n{}", style.faint(&clean(key)), pairs(inner, style, indent + 2))
            }
            Some(Value::Array(list)) if !list.is_empty() && list.iter().all(Value::is_object) => {
                let blocks =
                    list.iter().filter_map(Value::as_object).map(|inner| pairs(inner, style, indent + 2));
                let blocks: Vec<String> = blocks.collect();
                format!("{space}{}\n{}", style.faint(&clean(key)), blocks.join("\n"))
            }
            value => format!("{space}{name}  {}", value.map_or_else(String::new, cell)),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A column of a table.
struct Column<'a> {
    key: &'a str,
    cells: Vec<String>,
    width: usize,
    alignment: Alignment,
}

/// Alignment of a column.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alignment {
    Left,
    Right,
}

/// Table whose most important columns come first.
fn sorted_table(rows: &[&Map<String, Value>], style: Style, columns: usize) -> String {
    columns_under_headings(all_columns(rows, &ordered(keys(rows).into_iter())), rows.len(), style, columns)
}

/// Table whose columns have the order of the rows' members.
pub(crate) fn table(rows: &[&Map<String, Value>], style: Style, columns: usize) -> String {
    let keys: Vec<&str> = keys(rows).into_iter().map(String::as_str).collect();
    columns_under_headings(all_columns(rows, &keys), rows.len(), style, columns)
}

/// Aligned columns under headings, as many as fit. Columns of numbers are aligned at the right.
fn columns_under_headings(all: Vec<Column<'_>>, rows: usize, style: Style, columns: usize) -> String {
    let mut shown = Vec::new();
    let mut left = columns;
    let total = all.len();
    for column in all {
        // The first column is always shown, even if it is too wide.
        if column.width <= left || shown.is_empty() {
            left = left.saturating_sub(column.width + 2);
            shown.push(column);
        }
    }
    let line = |cell: &dyn Fn(&Column<'_>) -> String| shown.iter().map(cell).collect::<Vec<_>>().join("  ");
    let mut lines = vec![style.strong(line(&|column| column.padded(&heading(column.key))).trim_end())];
    for row in 0..rows {
        lines.push(line(&|column| column.padded(&column.cells[row])).trim_end().to_owned());
    }
    if shown.len() < total {
        lines.push(style.faint(&format!("({} more columns: add --json)", total - shown.len())));
    }
    lines.join("\n")
}

impl Column<'_> {
    fn padded(&self, text: &str) -> String {
        match self.alignment {
            Alignment::Left => padded(text, self.width),
            Alignment::Right => format!("{}{text}", " ".repeat(self.width.saturating_sub(width(text)))),
        }
    }
}

/// Right if all cells are numbers, which may have units, or absent.
fn alignment(cells: &[String]) -> Alignment {
    let is_number = |cell: &String| {
        let number = cell.split(' ').next().unwrap_or_default();
        let has_digits = number.starts_with(|first: char| first.is_ascii_digit());
        let others = number.chars().filter(|one| !one.is_ascii_digit() && *one != '.').count();
        has_digits && others <= 1 || cell == "-" || cell.is_empty()
    };
    let any = cells.iter().any(|cell| cell.starts_with(|first: char| first.is_ascii_digit()));
    if any && cells.iter().all(is_number) { Alignment::Right } else { Alignment::Left }
}

/// Keys of all rows, each once.
fn keys<'a>(rows: &[&'a Map<String, Value>]) -> Vec<&'a String> {
    let mut seen = BTreeSet::new();
    rows.iter().flat_map(|row| row.keys()).filter(|key| seen.insert(*key)).collect()
}

fn all_columns<'a>(rows: &[&'a Map<String, Value>], keys: &[&'a str]) -> Vec<Column<'a>> {
    let column = |key: &'a str| {
        let cells: Vec<String> = rows.iter().map(|row| row.get(key).map_or_else(String::new, cell)).collect();
        let widest = cells.iter().map(|cell| width(cell)).max().unwrap_or(0);
        Column { key, width: widest.max(width(&heading(key))), alignment: alignment(&cells), cells }
    };
    keys.iter().map(|key| column(key)).collect()
}

/// Keys in the order of [`FIRST`], then the others in their own order.
fn ordered<'a>(keys: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let mut keys: Vec<&str> = keys.map(String::as_str).collect();
    keys.sort_by_key(|key| FIRST.iter().position(|first| first == key).unwrap_or(FIRST.len()));
    keys
}

fn heading(key: &str) -> String {
    clean(key).to_uppercase()
}

/// Text of a value, on one line.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => clean(text),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Array(list) if list.iter().all(|item| !item.is_object() && !item.is_array()) => {
            list.iter().map(cell).collect::<Vec<_>>().join(",")
        }
        other => clean(&other.to_string()),
    }
}

/// Replaces control characters by `?`.
pub(crate) fn clean(text: &str) -> String {
    text.replace(|character: char| character.is_control(), "?")
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn padded(text: &str, to: usize) -> String {
    format!("{}{}", clean(text), " ".repeat(to.saturating_sub(width(text))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plain(value: &Value) -> String {
        render(value, Style::Plain, 80)
    }

    #[test]
    fn a_list_of_objects_is_an_aligned_table_with_the_name_first() {
        let list = json!([
            { "aliases": ["x"], "name": "m0", "on": true, "size": 5 },
            { "extra": null, "name": "longer", "on": false, "size": 12345 },
        ]);
        let expected = "\
NAME    ALIASES  ON    SIZE  EXTRA
m0      x        yes      5
longer           no   12345  -";
        assert_eq!(plain(&list), expected);
    }

    #[test]
    fn a_table_that_is_too_wide_tells_how_many_columns_are_missing() {
        let row = |name: &str| json!({ "name": name, "b": "x".repeat(70), "c": "y".repeat(40), "d": 1 });
        let text = plain(&json!([row("one"), row("two")]));
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert!(text.starts_with("NAME"), "{text}");
        assert!(text.ends_with("(1 more columns: add --json)"), "{text}");
    }

    #[test]
    fn one_object_is_printed_as_pairs_with_nested_members_indented() {
        let object =
            json!({ "fields": { "longer": [1, 2], "major": 1 }, "name": "n", "none": {}, "version": "1" });
        let expected = "\
name     n
fields
  longer  1,2
  major   1
none     {}
version  1";
        assert_eq!(plain(&object), expected);
        assert_eq!(plain(&json!([object])), expected);
    }

    #[test]
    fn a_list_of_objects_in_an_object_is_printed_as_a_table_below_it() {
        let object = json!({ "bdevs": [{ "n": 1, "name": "a" }, { "n": 2, "name": "b" }], "ticks": 7 });
        assert_eq!(plain(&object), "ticks  7\nbdevs:\nNAME  N\na     1\nb     2");
    }

    #[test]
    fn simple_results_are_printed_without_punctuation() {
        assert_eq!(plain(&json!(true)), "ok");
        assert_eq!(plain(&json!([])), "(none)");
        assert_eq!(plain(&json!({})), "(empty)");
        assert_eq!(plain(&json!("Malloc0")), "Malloc0");
        assert_eq!(plain(&json!(["a", "b", 3])), "a\nb\n3");
        assert_eq!(plain(&json!([{ "a": 1 }, 2])), "a  1\n2");
    }

    #[test]
    fn no_control_character_of_a_result_reaches_the_terminal() {
        let evil = "\x1b[2J\r\n\u{9b}0m";
        let text = plain(&json!([{ evil: evil }, { "name": evil }]));
        assert!(text.chars().all(|character| character == '\n' || !character.is_control()), "{text:?}");
        assert_eq!(text.lines().count(), 3, "{text:?}");
        assert!(!plain(&json!({ evil: { evil: [evil] } })).contains('\x1b'));
    }

    #[test]
    fn colours_do_not_change_widths() {
        let list = json!([{ "name": "a", "b": 1 }, { "name": "bbb", "b": 2 }]);
        let coloured = render(&list, Style::Colour, 80);
        assert_eq!(coloured.replace("\x1b[1m", "").replace("\x1b[0m", ""), plain(&list));
        assert_ne!(coloured, plain(&list));
    }
}
