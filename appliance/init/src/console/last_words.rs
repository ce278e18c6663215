//! Crashes that the firmware has kept, for the command `last_words`.

use super::table::clean;
use serde_json::Value;
use std::fmt::Write as _;

/// Method that lists the crashes.
pub(crate) const METHOD: &str = "luge_get_last_words";

/// Text of one crash, by its name; of the newest one without a name. The names of the others follow.
pub(crate) fn text(kept: &Value, name: &str) -> Result<String, String> {
    let crashes = kept.as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(newest) = crashes.last() else { return Ok("(none)".to_owned()) };
    let wanted = match name {
        "" => Some(newest),
        name => crashes.iter().find(|crash| crash["name"] == name),
    };
    let wanted =
        wanted.ok_or_else(|| format!("there are no last words '{}': last_words lists them", clean(name)))?;
    let mut text = format!("{}\n", title(wanted));
    for line in field(wanted, "text").lines() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {}", clean(line));
    }
    let others = crashes.iter().filter(|crash| crash["name"] != wanted["name"]);
    others.for_each(|crash| {
        let _ = writeln!(text, "{}", title(crash));
    });
    Ok(text + "luge_delete_last_words removes them.")
}

fn title(crash: &Value) -> String {
    let [name, cause, time] = ["name", "cause", "time"].map(|key| clean(field(crash, key)));
    format!("{time}  {cause}  {name}")
}

fn field<'a>(crash: &'a Value, key: &str) -> &'a str {
    crash[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kept() -> Value {
        let crash = |name: &str, text: &str| json!({ "name": name, "cause": "luge_panic", "time": "2026-01-01T00:00:00Z", "text": text });
        json!([crash("a", "first\n"), crash("b", "<5>[1.0] luge: evil\u{1b}[2J\nend\n")])
    }

    #[test]
    fn the_newest_is_shown_without_what_a_terminal_would_obey_and_the_others_are_named() {
        let text = text(&kept(), "").unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "2026-01-01T00:00:00Z  luge_panic  b",
                "  <5>[1.0] luge: evil?[2J",
                "  end",
                "2026-01-01T00:00:00Z  luge_panic  a",
                "luge_delete_last_words removes them.",
            ]
        );
    }

    #[test]
    fn one_is_shown_by_its_name() {
        assert!(text(&kept(), "a").unwrap().contains("\n  first\n"));
        assert!(text(&kept(), "c").unwrap_err().contains("no last words 'c'"));
        assert_eq!(text(&json!([]), "").unwrap(), "(none)");
    }
}
