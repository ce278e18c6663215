//! Settings of Luge on the kernel's command line.

/// Keys and values of `luge.KEY=VALUE` and `luge.KEY` on a kernel command line, in their order. A value
/// may be in double quotes.
#[must_use]
pub fn luge_settings(command_line: &str) -> Vec<(String, String)> {
    let words = split(command_line);
    let ours = words.iter().filter_map(|word| word.strip_prefix("luge."));
    ours.map(|word| {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        (key.to_owned(), value.to_owned())
    })
    .collect()
}

/// Splits a text at spaces outside of quotes, and removes the quotes.
fn split(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            space if space.is_whitespace() && !quoted => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.into(), value.into())
    }

    #[test]
    fn settings_of_others_are_ignored_and_values_keep_their_equals_signs() {
        let text =
            "console=ttyS0 luge.ssds=0000:01:00.0,0000:02:00.0 quiet xluge.a=1 luge.x=a=b luge.debug\n";
        let expected = [pair("ssds", "0000:01:00.0,0000:02:00.0"), pair("x", "a=b"), pair("debug", "")];
        assert_eq!(luge_settings(text), expected);
    }

    #[test]
    fn quotes_keep_spaces_and_may_begin_before_the_key() {
        assert_eq!(
            luge_settings(r#"luge.a="one two" "luge.b=three four""#),
            [pair("a", "one two"), pair("b", "three four")]
        );
        assert_eq!(luge_settings(r#"luge.a="never closed luge.b=1"#), [pair("a", "never closed luge.b=1")]);
    }

    #[test]
    fn an_empty_line_has_no_settings() {
        assert_eq!(luge_settings(""), []);
        assert_eq!(luge_settings("  \t\n "), []);
    }
}
