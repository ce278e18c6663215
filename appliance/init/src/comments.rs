//! Comments in JSON files, which parsers of JSON refuse.

/// Replaces the comments of a text, `// ...` and `/* ... */`, by spaces, so that lines and columns stay
/// the same. A block comment without an end stays, and the parser refuses it.
#[must_use]
pub fn without_comments(text: &[u8]) -> Vec<u8> {
    let mut plain = text.to_vec();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let length = match rest {
            [b'"', ..] => string_bytes(rest),
            [b'/', b'/', ..] => blank(&mut plain, at, line_bytes(rest)),
            [b'/', b'*', ..] => blank(&mut plain, at, block_bytes(rest)),
            _ => 1,
        };
        at += length.max(1);
    }
    plain
}

/// Blanks a comment of `length` bytes; returns that length.
fn blank(plain: &mut [u8], at: usize, length: usize) -> usize {
    let comment = plain.iter_mut().skip(at).take(length);
    comment.filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    length
}

/// Length of the string at the start of `text`, including its quotes.
fn string_bytes(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

fn line_bytes(text: &[u8]) -> usize {
    text.iter().position(|&byte| byte == b'\n').unwrap_or(text.len())
}

/// Length of the block comment at the start of `text`; zero if it has no end.
fn block_bytes(text: &[u8]) -> usize {
    let end = text.windows(2).skip(2).position(|two| two == b"*/");
    end.map_or(0, |end| end + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        String::from_utf8(without_comments(text.as_bytes())).unwrap()
    }

    #[test]
    fn comments_become_spaces_and_lines_stay() {
        assert_eq!(plain("// a\n[1, // b\n2]"), "    \n[1,     \n2]");
        assert_eq!(plain("[/* a\nb */1]//"), "[    \n    1]  ");
        assert_eq!(plain("/**/1/***/"), "    1     ");
    }

    #[test]
    fn strings_are_left_alone() {
        for text in [r#"["// a", "/* b */", "\"// c", "\\\\"]"#, r#"{"url": "http://x"}"#, r#""// no end \"#]
        {
            assert_eq!(plain(text), text);
        }
    }

    #[test]
    fn other_text_and_comments_without_an_end_stay() {
        for text in ["1 / 2", "/", "[1] /* a", "/*/", "\"", "\\"] {
            assert_eq!(plain(text), text);
        }
    }
}
