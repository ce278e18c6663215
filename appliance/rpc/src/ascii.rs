//! JSON in ASCII, as SPDK writes it: some clients decode answers as ASCII, or in pieces that would
//! split a longer character.

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use std::io::{self, Write};

/// Compact JSON with all characters beyond ASCII escaped.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        escape(writer, fragment)
    }

    /// Writes a part that is JSON already; characters beyond ASCII are in its strings only.
    fn write_raw_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        escape(writer, fragment)
    }
}

fn escape<W: ?Sized + Write>(writer: &mut W, fragment: &str) -> io::Result<()> {
    if fragment.is_ascii() {
        return writer.write_all(fragment.as_bytes());
    }
    for unit in fragment.encode_utf16() {
        match u8::try_from(unit).ok().filter(u8::is_ascii) {
            Some(byte) => writer.write_all(&[byte])?,
            None => write!(writer, "\\u{unit:04x}")?,
        }
    }
    Ok(())
}

/// Appends a value as JSON. Keys of maps must be strings.
pub(crate) fn write_ascii(text: &mut Vec<u8>, value: &impl Serialize) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(text, Ascii))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn to_ascii(value: &impl Serialize) -> Vec<u8> {
        let mut text = Vec::new();
        write_ascii(&mut text, value).unwrap();
        text
    }

    #[test]
    fn any_text_is_read_back_from_ascii_unchanged() {
        for text in ["", "a", "é", "aé", "éa", "Größe", "€😀", "a\"\\\n\u{1}é\u{2028}\u{7f}", "\u{10ffff}"]
        {
            let value = json!({ text: [text, 1, null] });
            let ascii = to_ascii(&value);
            let raw = serde_json::value::to_raw_value(&value).unwrap();
            assert_eq!(to_ascii(&raw), ascii);
            assert!(ascii.is_ascii(), "{text:?}");
            assert_eq!(serde_json::from_slice::<Value>(&ascii).unwrap(), value);
        }
        assert_eq!(to_ascii(&"é😀"), br#""\u00e9\ud83d\ude00""#);
    }
}
