//! What a line means: a method and its parameters as JSON.
//!
//! ```text
//! METHOD                          no parameters
//! METHOD key=value key="a b"      a value is what the method says it takes; JSON where it says nothing
//! METHOD {"key": "value"}         JSON
//! METHOD ... --json               the result as JSON
//! ```

use super::{MethodHelp, ParameterHelp};
use serde_json::{Map, Value};

/// How a result is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    Table,
    Json,
}

/// A line, taken apart.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Line {
    pub(crate) command: String,
    /// Everything after the command but `--json`.
    pub(crate) rest: String,
    pub(crate) form: Form,
}

impl Line {
    /// `None` if there is nothing on the line.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (text, form) = match text.strip_suffix("--json") {
            Some(text) if text.ends_with(' ') => (text.trim_end(), Form::Json),
            _ => (text, Form::Table),
        };
        let (command, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let line = Self { command: command.to_owned(), rest: rest.trim().to_owned(), form };
        (!line.command.is_empty()).then_some(line)
    }

    /// The parameters for `method`, or what is wrong with them.
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

/// Words, separated by spaces outside of quotes; a backslash takes the next character as it is,
/// except in single quotes. Braces and brackets hold JSON together.
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

/// The next word; `None` if there is only space.
fn word(characters: &mut impl Iterator<Item = char>) -> Result<Option<String>, String> {
    let (mut word, mut quote, mut depth, mut any) = (String::new(), None, 0_u32, false);
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, space) if space.is_whitespace() && depth == 0 => break,
            // Inside of JSON its own quotes are a part of it.
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

/// What a word stands for, given what the parameter takes.
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

/// `a,b,3`: numbers are numbers.
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
    fn a_line_is_a_command_the_rest_and_a_form() {
        let line =
            |command: &str, rest: &str, form| Some(Line { command: command.into(), rest: rest.into(), form });
        assert_eq!(Line::parse("  m   a=1  b=2 "), line("m", "a=1  b=2", Form::Table));
        assert_eq!(Line::parse("m a=1 --json"), line("m", "a=1", Form::Json));
        assert_eq!(Line::parse("m --json"), line("m", "", Form::Json));
        assert_eq!(Line::parse("m a=--json"), line("m", "a=--json", Form::Table));
        assert_eq!(Line::parse("   "), None);
    }

    #[test]
    fn values_are_what_their_parameter_takes() {
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
    fn json_is_taken_as_it_is() {
        assert_eq!(params(r#"{"name": "a b", "size": [1]}"#), Ok(json!({ "name": "a b", "size": [1] })));
    }

    #[test]
    fn what_is_not_understood_is_said() {
        assert!(params("name").unwrap_err().contains("help m"));
        assert!(params("name=a name=b").unwrap_err().contains("twice"));
        assert!(params("name=\"a").unwrap_err().contains("never closed"));
        assert!(params("{name: 1}").unwrap_err().contains("not JSON"));
    }
}
