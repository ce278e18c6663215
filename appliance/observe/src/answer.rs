//! Access to the members of an answer, within limits.

use serde_json::Value;

/// Maximum number of entries that are taken from one list.
const ENTRIES_MAX: usize = 4096;

/// Maximum number of characters that are taken from one text.
const CHARACTERS_MAX: usize = 256;

/// Number in a member.
pub(crate) fn number(value: &Value, key: &str) -> Option<u64> {
    value.get(key)?.as_u64()
}

/// Number in a member, which may be below zero.
pub(crate) fn signed(value: &Value, key: &str) -> Option<i64> {
    value.get(key)?.as_i64()
}

/// Number with a fraction in a member.
pub(crate) fn fraction(value: &Value, key: &str) -> Option<f64> {
    value.get(key)?.as_f64().filter(|number| number.is_finite())
}

/// Boolean in a member.
pub(crate) fn flag(value: &Value, key: &str) -> Option<bool> {
    value.get(key)?.as_bool()
}

/// Text in a member: shortened, control characters replaced.
pub(crate) fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().map(clean)
}

/// Shortens a text, and replaces its control characters by `?`.
pub(crate) fn clean(text: &str) -> String {
    let shown = |character: char| if character.is_control() { '?' } else { character };
    text.chars().take(CHARACTERS_MAX).map(shown).collect()
}

/// Entries of a list in a member; none if there is no list.
pub(crate) fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    entries(value.get(key).unwrap_or(&Value::Null))
}

/// Texts of a list in a member.
pub(crate) fn texts(value: &Value, key: &str) -> Vec<String> {
    list(value, key).filter_map(Value::as_str).map(clean).collect()
}

/// Entries of a list; none if the value is no list.
pub(crate) fn entries(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten().take(ENTRIES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_short_and_printable() {
        let long = json!({ "a": format!("\x1b[2J{}", "x".repeat(1000)) });
        let text = text(&long, "a").unwrap();
        assert_eq!(text.chars().count(), CHARACTERS_MAX);
        assert!(text.starts_with("?[2J"), "{text}");
    }

    #[test]
    fn lists_end_at_a_limit() {
        let long = json!({ "a": vec![0; 10 * ENTRIES_MAX] });
        assert_eq!(list(&long, "a").count(), ENTRIES_MAX);
        assert_eq!(list(&long, "b").count(), 0);
    }

    #[test]
    fn a_value_of_a_wrong_type_is_absent() {
        let odd = json!({ "a": "7", "b": -1, "c": [] });
        assert_eq!(number(&odd, "a"), None);
        assert_eq!(number(&odd, "b"), None);
        assert_eq!(text(&odd, "c"), None);
        assert_eq!(flag(&odd, "c"), None);
    }
}
