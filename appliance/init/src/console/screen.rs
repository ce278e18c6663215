//! The output of a console: answers, and a line being edited that other output goes around.
//!
//! Invariants
//! - Only carriage return and backspace move the cursor: any terminal understands them.
//! - Text from elsewhere (the log) never mixes with the line: the line is taken away, and
//!   drawn again below the text.

use rustix::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The output of one console. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Screen {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    output: OwnedFd,
    columns: usize,
    /// The line that is shown, if one is being edited.
    line: Option<Shown>,
}

/// A line on the screen.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Shown {
    text: String,
    /// Characters of it that are on the screen.
    width: usize,
    /// Where in it the cursor is.
    cursor: usize,
}

impl Shown {
    /// The part of a line around its cursor that fits, behind the prompt.
    pub(crate) fn of(prompt: &str, line: &[char], cursor: usize, columns: usize) -> Self {
        let prompt_width = prompt.chars().count();
        let room = columns.saturating_sub(prompt_width + 1).max(8);
        let start = cursor.saturating_sub(room - 1).min(line.len().saturating_sub(room - 1));
        let part: String = line[start..line.len().min(start + room)].iter().collect();
        let width = prompt_width + part.chars().count();
        Self { text: format!("{prompt}{part}"), width, cursor: prompt_width + cursor - start }
    }

    /// What takes the cursor from the start of the line to where it belongs.
    fn draw(&self, previous_width: usize) -> String {
        let rest = previous_width.saturating_sub(self.width);
        let back = rest + self.width - self.cursor;
        format!("\r{}{}{}", self.text, " ".repeat(rest), "\x08".repeat(back))
    }
}

impl Screen {
    /// A screen of so many columns.
    pub(crate) fn new(output: OwnedFd, columns: usize) -> Self {
        Self { shared: Arc::new(Mutex::new(Shared { output, columns, line: None })) }
    }

    /// Prints text. A line that is being edited is drawn again below it.
    pub fn print(&self, text: &str) {
        let shared = self.lock();
        let Some(line) = shared.line.clone() else { return shared.write(text) };
        let end = if text.ends_with('\n') { "" } else { "\n" };
        shared.write(&format!("\r{}\r{text}{end}{}", " ".repeat(line.width), line.draw(0)));
    }

    pub(crate) fn columns(&self) -> usize {
        self.lock().columns
    }

    /// Shows a line that is being edited, in place of the one before.
    pub(crate) fn show(&self, line: Shown) {
        let mut shared = self.lock();
        let previous = shared.line.as_ref().map_or(0, |line| line.width);
        shared.write(&line.draw(previous));
        shared.line = Some(line);
    }

    /// Shows a line that has become longer by one character at its end, if it still fits.
    pub(crate) fn append(&self, character: char, line: Shown) {
        let mut shared = self.lock();
        let fits = shared.line.as_ref().is_some_and(|before| {
            before.cursor == before.width
                && line.width == before.width + 1
                && line.text.starts_with(&before.text)
        });
        let previous = shared.line.as_ref().map_or(0, |line| line.width);
        let text = if fits { character.to_string() } else { line.draw(previous) };
        shared.write(&text);
        shared.line = Some(line);
    }

    /// Makes the terminal's noise.
    pub(crate) fn ring(&self) {
        self.lock().write("\x07");
    }

    /// The line is finished: it stays where it is, and output goes below.
    pub(crate) fn finish(&self, mark: &str) {
        let mut shared = self.lock();
        shared.line = None;
        shared.write(&format!("{mark}\n"));
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// A terminal that is gone takes nothing, and nobody is there to be told.
    fn write(&self, text: &str) {
        let mut bytes = text.as_bytes();
        while let Ok(count @ 1..) = rustix::io::retry_on_intr(|| rustix::io::write(&self.output, bytes)) {
            bytes = &bytes[count..];
            if bytes.is_empty() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn shown(line: &str, cursor: usize) -> Shown {
        Shown::of("> ", &line.chars().collect::<Vec<_>>(), cursor, 20)
    }

    /// All that these calls wrote.
    fn written(calls: impl FnOnce(&Screen)) -> String {
        let (mut reader, writer) = std::io::pipe().unwrap();
        calls(&Screen::new(writer.into(), 20));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_character_at_the_end_is_written_alone() {
        let text = written(|screen| {
            screen.show(shown("", 0));
            screen.append('a', shown("a", 1));
            screen.append('b', shown("ab", 2));
            screen.finish("");
        });
        assert_eq!(text, "\r> ab\n");
    }

    #[test]
    fn a_shorter_line_erases_what_was_there() {
        let text = written(|screen| {
            screen.show(shown("abc", 3));
            screen.show(shown("a", 1));
            screen.show(shown("a", 0));
        });
        assert_eq!(text, "\r> abc\r> a  \x08\x08\r> a\x08");
    }

    #[test]
    fn a_long_line_shows_the_part_around_its_cursor() {
        let long: String = ('a'..='z').collect();
        assert_eq!(shown(&long, 26).text, "> klmnopqrstuvwxyz");
        assert_eq!(shown(&long, 0).text, "> abcdefghijklmnopq");
        for cursor in 0..=26 {
            let line = shown(&long, cursor);
            assert!(line.width < 20 && line.cursor <= line.width, "{cursor}: {line:?}");
        }
    }

    #[test]
    fn the_log_goes_above_the_line_that_is_being_edited() {
        let text = written(|screen| {
            screen.print("before\n");
            screen.show(shown("ab", 1));
            screen.print("log");
        });
        assert_eq!(text, "before\n\r> ab\x08\r    \rlog\n\r> ab\x08");
    }
}
