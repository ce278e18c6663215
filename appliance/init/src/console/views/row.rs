//! A view and its rows, and access to the members of a result.

use crate::units;
use serde_json::{Map, Value};

/// Row of a table: headings and texts, in the order of the columns.
pub(in crate::console) type Row = Map<String, Value>;

/// View of a result.
pub(in crate::console) struct View {
    /// Members that are printed as pairs above the table.
    pub(in crate::console) pairs: Map<String, Value>,
    /// Rows of the table.
    pub(in crate::console) rows: Vec<Row>,
    /// Text below the table.
    pub(in crate::console) note: Option<String>,
}

impl View {
    /// View that is only a table.
    pub(super) fn table(rows: Vec<Row>) -> Self {
        Self { pairs: Map::new(), rows, note: None }
    }
}

/// Row of cells, each with its heading.
pub(super) fn cells<const N: usize>(texts: [(&str, String); N]) -> Row {
    texts.into_iter().map(|(heading, text)| (heading.to_owned(), text.into())).collect()
}

/// Rows of a list; `None` if the result is no list, or an entry has another shape.
pub(super) fn rows(list: &Value, row: impl FnMut(&Value) -> Option<Row>) -> Option<Vec<Row>> {
    list.as_array()?.iter().map(row).collect()
}

/// Text in a member; `-` if it is absent.
pub(super) fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or(units::ABSENT).to_owned()
}

/// Number in a member.
pub(super) fn number(value: &Value, key: &str) -> Option<f64> {
    value[key].as_f64()
}

/// Number with its unit; `-` if it is absent.
pub(super) fn shown(number: Option<f64>, unit: impl Fn(f64) -> String) -> String {
    number.map_or_else(|| units::ABSENT.to_owned(), unit)
}

/// Entries of a list in a member; none if it is no list.
pub(super) fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

/// Words with commas; `-` if there are none.
pub(super) fn joined(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words.collect();
    if words.is_empty() { units::ABSENT.to_owned() } else { words.join(",") }
}
