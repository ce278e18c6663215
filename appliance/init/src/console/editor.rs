//! Line editor: a line of input, its cursor and the history. Does no input or output.

use super::keys::Key;

/// Maximum length of a line in characters: enough for any parameters, and a bound for a stuck key.
const LINE_MAX: usize = 64 * 1024;
/// Maximum number of lines in the history.
const HISTORY_MAX: usize = 500;

/// Effect of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// No visible change.
    Nothing,
    /// A character was added at the end of the line.
    Appended(char),
    /// The line or the cursor changed.
    Changed,
    /// The line is complete.
    Line(String),
    /// The line was cancelled.
    Cancelled,
    /// The input has ended.
    End,
    /// The text before the cursor is to be completed.
    Complete,
    /// The screen is to be cleared.
    ClearScreen,
}

/// A line, its cursor and the history.
#[derive(Default, Debug)]
pub(crate) struct Editor {
    line: Vec<char>,
    cursor: usize,
    history: Vec<String>,
    browsing: Option<Browsing>,
}

/// State while a line of the history is shown.
#[derive(Debug)]
struct Browsing {
    /// Index of the shown line in the history.
    at: usize,
    /// Line that was typed before.
    typed: Vec<char>,
}

impl Editor {
    /// Text before the cursor.
    pub(crate) fn before_cursor(&self) -> String {
        self.line[..self.cursor].iter().collect()
    }

    /// All characters of the line.
    pub(crate) fn line(&self) -> &[char] {
        &self.line
    }

    /// Number of characters before the cursor.
    pub(crate) fn cursor(&self) -> usize {
        self.cursor
    }

    /// Inserts text at the cursor.
    pub(crate) fn insert(&mut self, text: &str) {
        for character in text.chars().take(LINE_MAX.saturating_sub(self.line.len())) {
            self.line.insert(self.cursor, character);
            self.cursor += 1;
        }
    }

    /// Applies a key.
    pub(crate) fn press(&mut self, key: Key) -> Outcome {
        match key {
            Key::Char(character) => self.add(character),
            Key::Enter => Outcome::Line(self.finish()),
            Key::Tab => Outcome::Complete,
            Key::Cancel => {
                self.clear();
                Outcome::Cancelled
            }
            Key::EndOfInput if self.line.is_empty() => Outcome::End,
            Key::ClearScreen => Outcome::ClearScreen,
            other => self.edit(other),
        }
    }

    fn add(&mut self, character: char) -> Outcome {
        if self.line.len() >= LINE_MAX {
            return Outcome::Nothing;
        }
        self.line.insert(self.cursor, character);
        self.cursor += 1;
        if self.cursor == self.line.len() { Outcome::Appended(character) } else { Outcome::Changed }
    }

    fn edit(&mut self, key: Key) -> Outcome {
        let before = (self.line.len(), self.cursor);
        match key {
            Key::Backspace if self.cursor > 0 => {
                self.cursor -= 1;
                self.line.remove(self.cursor);
            }
            Key::Delete | Key::EndOfInput if self.cursor < self.line.len() => {
                self.line.remove(self.cursor);
            }
            Key::Left => self.cursor = self.cursor.saturating_sub(1),
            Key::Right => self.cursor = (self.cursor + 1).min(self.line.len()),
            Key::Home => self.cursor = 0,
            Key::End => self.cursor = self.line.len(),
            Key::KillToStart => self.remove_before_cursor(0),
            Key::KillToEnd => self.line.truncate(self.cursor),
            Key::KillWord => self.remove_before_cursor(self.start_of_word()),
            Key::Up => return self.browse_back(),
            Key::Down => return self.browse_forward(),
            _ => {}
        }
        if before == (self.line.len(), self.cursor) { Outcome::Nothing } else { Outcome::Changed }
    }

    fn remove_before_cursor(&mut self, from: usize) {
        self.line.drain(from..self.cursor);
        self.cursor = from;
    }

    fn start_of_word(&self) -> usize {
        let before = &self.line[..self.cursor];
        let end = before.iter().rposition(|c| *c != ' ').map_or(0, |last| last + 1);
        before[..end].iter().rposition(|c| *c == ' ').map_or(0, |space| space + 1)
    }

    fn finish(&mut self) -> String {
        let line: String = self.line.iter().collect();
        self.clear();
        if !line.trim().is_empty() && self.history.last() != Some(&line) {
            if self.history.len() == HISTORY_MAX {
                self.history.remove(0);
            }
            self.history.push(line.clone());
        }
        line
    }

    fn clear(&mut self) {
        self.line.clear();
        self.cursor = 0;
        self.browsing = None;
    }

    fn browse_back(&mut self) -> Outcome {
        let Browsing { at, typed } = match self.browsing.take() {
            Some(Browsing { at, typed }) => Browsing { at: at.saturating_sub(1), typed },
            None if self.history.is_empty() => return Outcome::Nothing,
            None => Browsing { at: self.history.len() - 1, typed: self.line.clone() },
        };
        self.show(self.history[at].chars().collect());
        self.browsing = Some(Browsing { at, typed });
        Outcome::Changed
    }

    fn browse_forward(&mut self) -> Outcome {
        let Some(Browsing { at, typed }) = self.browsing.take() else { return Outcome::Nothing };
        match self.history.get(at + 1) {
            Some(line) => {
                self.show(line.chars().collect());
                self.browsing = Some(Browsing { at: at + 1, typed });
            }
            None => self.show(typed),
        }
        Outcome::Changed
    }

    fn show(&mut self, line: Vec<char>) {
        self.cursor = line.len();
        self.line = line;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::keys::Decoder;

    /// Editor after these bytes were typed, and the complete lines.
    fn typed(bytes: &[u8]) -> (Editor, Vec<String>) {
        let (mut editor, mut decoder, mut lines) = (Editor::default(), Decoder::default(), Vec::new());
        for key in bytes.iter().filter_map(|byte| decoder.feed(*byte)) {
            if let Outcome::Line(line) = editor.press(key) {
                lines.push(line);
            }
        }
        (editor, lines)
    }

    fn lines(bytes: &[u8]) -> Vec<String> {
        typed(bytes).1
    }

    const LEFT: &str = "\x1b[D";
    const UP: &str = "\x1b[A";
    const DOWN: &str = "\x1b[B";

    #[test]
    fn text_is_inserted_and_deleted_at_the_cursor() {
        assert_eq!(lines(format!("ac{LEFT}b\r").as_bytes()), ["abc"]);
        assert_eq!(lines(b"abx\x7fc\r"), ["abc"]);
        assert_eq!(lines(b"xabc\x01\x1b[3~\r"), ["abc"]);
        assert_eq!(lines(b"bc\x1b[Ha\x1b[Fd\r"), ["abcd"]);
        assert_eq!(lines(b"\x7f\x1b[3~\x1b[D\x1b[Cabc\r"), ["abc"]);
    }

    #[test]
    fn ctrl_u_ctrl_k_and_ctrl_w_delete_to_start_to_end_and_a_word() {
        assert_eq!(lines(format!("nonsense abc{LEFT}{LEFT}{LEFT}\x15\r").as_bytes()), ["abc"]);
        assert_eq!(lines(format!("abc def{LEFT}{LEFT}{LEFT}{LEFT}\x0b\r").as_bytes()), ["abc"]);
        assert_eq!(lines(b"abc def  \x17\r"), ["abc "]);
        assert_eq!(lines(b"abc\x17\x17\r"), [""]);
    }

    #[test]
    fn ctrl_c_cancels_the_line_and_ctrl_d_ends_only_an_empty_one() {
        assert_eq!(lines(b"wrong\x03right\r"), ["right"]);
        let mut editor = Editor::default();
        editor.insert("x");
        assert_eq!(editor.press(Key::EndOfInput), Outcome::Nothing);
        assert_eq!(editor.press(Key::Cancel), Outcome::Cancelled);
        assert_eq!(editor.press(Key::EndOfInput), Outcome::End);
    }

    #[test]
    fn browsing_the_history_keeps_the_line_that_was_typed() {
        let text = format!("one\rtwo\rthr{UP}{UP}{DOWN}{DOWN}ee\r{UP}{UP}{UP}\r");
        assert_eq!(lines(text.as_bytes()), ["one", "two", "three", "one"]);
        assert_eq!(lines(format!("one\r{UP}{UP}{UP}{UP}!\r{DOWN}\r").as_bytes()), ["one", "one!", ""]);
    }

    #[test]
    fn repetitions_and_empty_lines_are_not_in_the_history() {
        let (editor, _) = typed(b"a\ra\r\r  \rb\ra\r");
        assert_eq!(editor.history, ["a", "b", "a"]);
    }

    #[test]
    fn a_stuck_key_fills_a_bounded_line_and_history() {
        let (editor, _) = typed(&vec![b'x'; LINE_MAX + 100]);
        assert_eq!(editor.line().len(), LINE_MAX);
        let many: String = (0..HISTORY_MAX + 10).map(|n| format!("{n}\r")).collect();
        assert_eq!(typed(many.as_bytes()).0.history.len(), HISTORY_MAX);
    }

    #[test]
    fn only_a_character_at_the_end_counts_as_appended() {
        let mut editor = Editor::default();
        assert_eq!(editor.press(Key::Char('a')), Outcome::Appended('a'));
        editor.press(Key::Left);
        assert_eq!(editor.press(Key::Char('b')), Outcome::Changed);
        assert_eq!(editor.press(Key::Home), Outcome::Changed);
        assert_eq!(editor.press(Key::Left), Outcome::Nothing);
    }
}
