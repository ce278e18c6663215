//! Parser of command lines: a method, and its parameters as JSON.
//!
//! ```text
//! METHOD                          no parameters
//! METHOD key=value key="a b"      values of the parameters' types; JSON for unknown parameters
//! METHOD {"key": "value"}         parameters as JSON
//! METHOD ... --json               result as JSON
//! ```

use super::methods::{MethodHelp, ParameterHelp};
use serde_json::{Map, Value};

/// Format of a printed result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Table,
    Json,
}

/// A parsed line.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Line {
    pub(crate) command: String,
    /// Text after the command, without `--json`.
    pub(crate) rest: String,
    pub(crate) format: Format,
}

impl Line {
    /// Parses a line; `None` if it is empty.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (text, format) = match text.strip_suffix("--json") {
            Some(text) if text.ends_with(' ') => (text.trim_end(), Format::Json),
            _ => (text, Format::Table),
        };
        let (command, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let line = Self { command: command.to_owned(), rest: rest.trim().to_owned(), format };
        (!line.command.is_empty()).then_some(line)
    }

    /// Parameters for `method`, as JSON.
    ///
    /// # Errors
    /// A message with the problem and the remedy.
    pub(crate) fn params(&self, method: &MethodHelp) -> Result<Value, String> {
        if self.rest.is_empty() {
            return Ok(Value::Null);
        }
        if self.rest.starts_with('{') {
            return serde_json::from_str(&self.rest).map_err(|error| format!("this is not JSON: {error}"));
        }
        let mut params = Map::new();
        for word in words(&self.rest)? {
            let (key, value) = word.split_once('=').ok_or_else(|| {
                format!(
                    "'{word}' is not understood: write parameters as name=value; see help {}",
                    self.command
                )
            })?;
            let known = method.parameters.iter().find(|parameter| parameter.name == key);
            if params.insert(key.to_owned(), as_value(value, known)).is_some() {
                return Err(format!("'{key}' is there twice: name it once"));
            }
        }
        Ok(Value::Object(params))
    }
}

/// Splits a text into words at spaces outside of quotes, braces and brackets. A backslash quotes the
/// next character, except in single quotes and in JSON.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut characters = text.chars().peekable();
    while characters.next_if(|c| c.is_whitespace()).is_some() || characters.peek().is_some() {
        let word = word(&mut characters)?;
        if let Some(word) = word {
            words.push(word);
        }
    }
    Ok(words)
}

/// Next word; `None` if there is none.
fn word(characters: &mut impl Iterator<Item = char>) -> Result<Option<String>, String> {
    let (mut word, mut quote, mut depth, mut any) = (String::new(), None, 0_u32, false);
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, space) if space.is_whitespace() && depth == 0 => break,
            // Within JSON, quotes are a part of the word.
            (None, '"' | '\'') if depth == 0 => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            (None | Some('"'), '\\') if depth == 0 => word.extend(characters.next()),
            (None, '{' | '[') => {
                depth += 1;
                word.push(character);
            }
            (None, '}' | ']') => {
                depth = depth.saturating_sub(1);
                word.push(character);
            }
            (_, other) => word.push(other),
        }
        any = true;
    }
    match quote {
        Some(quote) => Err(format!("a {quote} is opened and never closed: close it")),
        None => Ok(any.then_some(word)),
    }
}

/// JSON value of a word, for a parameter's type. `None` for an unknown parameter.
fn as_value(text: &str, parameter: Option<&ParameterHelp>) -> Value {
    let literal = || serde_json::from_str(text).ok();
    let string = || Value::String(text.to_owned());
    match parameter.map(|parameter| parameter.kind.as_str()) {
        Some("number" | "boolean" | "json" | "object") => literal().unwrap_or_else(string),
        Some("list" | "array") => literal().filter(Value::is_array).unwrap_or_else(|| as_list(text)),
        Some(_) => string(),
        None => literal().unwrap_or_else(string),
    }
}

/// List of the values in `a,b,3`: numbers and strings.
fn as_list(text: &str) -> Value {
    let item = |word: &str| match serde_json::from_str(word) {
        Ok(number @ Value::Number(_)) => number,
        _ => Value::String(word.to_owned()),
    };
    text.split(',').filter(|word| !word.is_empty()).map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn method() -> MethodHelp {
        let parameter = |name: &str, kind: &str| ParameterHelp {
            name: name.into(),
            kind: kind.into(),
            required: false,
            help: String::new(),
        };
        MethodHelp {
            name: "m".into(),
            help: String::new(),
            parameters: vec![
                parameter("name", "string"),
                parameter("size", "number"),
                parameter("on", "boolean"),
                parameter("disks", "list"),
                parameter("level", "ERROR|DEBUG"),
            ],
        }
    }

    fn params(text: &str) -> Result<Value, String> {
        Line::parse(&format!("m {text}")).unwrap().params(&method())
    }

    #[test]
    fn a_line_has_a_command_a_rest_and_a_format() {
        let line = |command: &str, rest: &str, format| {
            Some(Line { command: command.into(), rest: rest.into(), format })
        };
        assert_eq!(Line::parse("  m   a=1  b=2 "), line("m", "a=1  b=2", Format::Table));
        assert_eq!(Line::parse("m a=1 --json"), line("m", "a=1", Format::Json));
        assert_eq!(Line::parse("m --json"), line("m", "", Format::Json));
        assert_eq!(Line::parse("m a=--json"), line("m", "a=--json", Format::Table));
        assert_eq!(Line::parse("   "), None);
    }

    #[test]
    fn values_have_the_types_of_their_parameters() {
        let expected = json!({ "name": "7", "size": 7, "on": true, "disks": ["a", 3], "level": "DEBUG" });
        assert_eq!(params("name=7 size=7 on=true disks=a,3 level=DEBUG"), Ok(expected));
        assert_eq!(params("size=many"), Ok(json!({ "size": "many" })));
        assert_eq!(
            params(r#"other=7 more=x deep={"a": [1, "} b"]}"#).unwrap()["deep"],
            json!({ "a": [1, "} b"] })
        );
        assert_eq!(params(r#"disks=["a b", {"c": 1}]"#), Ok(json!({ "disks": ["a b", { "c": 1 }] })));
        assert_eq!(params(""), Ok(Value::Null));
    }

    #[test]
    fn quotes_and_backslashes_keep_spaces() {
        assert_eq!(params(r#"name="a b""#), Ok(json!({ "name": "a b" })));
        assert_eq!(params(r"name='a \ b'"), Ok(json!({ "name": r"a \ b" })));
        assert_eq!(params(r#"name=a\ b"#), Ok(json!({ "name": "a b" })));
        assert_eq!(params(r#"name="say \"x\"" size=1"#), Ok(json!({ "name": "say \"x\"", "size": 1 })));
        assert_eq!(params("name="), Ok(json!({ "name": "" })));
    }

    #[test]
    fn parameters_may_be_json() {
        assert_eq!(params(r#"{"name": "a b", "size": [1]}"#), Ok(json!({ "name": "a b", "size": [1] })));
    }

    #[test]
    fn a_mistake_is_named_in_the_error() {
        assert!(params("name").unwrap_err().contains("help m"));
        assert!(params("name=a name=b").unwrap_err().contains("twice"));
        assert!(params("name=\"a").unwrap_err().contains("never closed"));
        assert!(params("{name: 1}").unwrap_err().contains("not JSON"));
    }
}
