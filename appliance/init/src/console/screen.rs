//! Screen: output of a console, with a line that is being edited below it.
//!
//! Invariants
//! - The cursor is moved by carriage return and backspace only, which all terminals know.
//! - Other output, such as the log, never mixes with the edited line: the line is erased, and drawn
//!   again below the output.
//! - While a full-screen view is shown, other output is kept within a limit, and printed afterwards.
//! - A terminal that accepts no output is waited for once, and not again until it accepts some, because
//!   the log of the whole process is written here.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Time limit for a terminal to accept output: about a thousand characters at 9600 baud.
const WRITE_TIMEOUT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Maximum size of the output that is kept during a full-screen view, in bytes.
const HELD_MAX: usize = 256 << 10;

/// Note in place of output that was not kept.
const NOT_KEPT: &str = "(more output was not kept)\n";

/// Output of a console. All clones share it.
#[derive(Clone, Debug)]
pub struct Screen {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    output: OwnedFd,
    columns: usize,
    /// Edited line, if there is one.
    line: Option<VisibleLine>,
    /// Output that waits for the end of a full-screen view, if there is one.
    held: Option<String>,
    /// Whether the terminal accepted no output at the last attempt.
    is_stuck: bool,
}

/// The visible part of an edited line.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct VisibleLine {
    text: String,
    /// Number of characters.
    width: usize,
    /// Column of the cursor.
    cursor: usize,
}

impl VisibleLine {
    /// The prompt, and the part of a line around its cursor that fits into `columns`.
    pub(crate) fn of(prompt: &str, line: &[char], cursor: usize, columns: usize) -> Self {
        let prompt_width = prompt.chars().count();
        let room = columns.saturating_sub(prompt_width + 1).max(8);
        let start = cursor.saturating_sub(room - 1).min(line.len().saturating_sub(room - 1));
        let part: String = line[start..line.len().min(start + room)].iter().collect();
        let width = prompt_width + part.chars().count();
        Self { text: format!("{prompt}{part}"), width, cursor: prompt_width + cursor - start }
    }

    /// Output that draws the line over a previous one, and leaves the cursor in its column.
    fn draw(&self, previous_width: usize) -> String {
        let rest = previous_width.saturating_sub(self.width);
        let back = rest + self.width - self.cursor;
        format!("\r{}{}{}", self.text, " ".repeat(rest), "\x08".repeat(back))
    }
}

impl Screen {
    pub(crate) fn new(output: OwnedFd, columns: usize) -> Self {
        Self {
            shared: Arc::new(Mutex::new(Shared { output, columns, line: None, held: None, is_stuck: false })),
        }
    }

    /// Prints text. An edited line is drawn again below it.
    pub fn print(&self, text: &str) {
        let mut shared = self.lock();
        if let Some(held) = &mut shared.held {
            return keep(held, text);
        }
        let Some(line) = shared.line.clone() else { return shared.write(text) };
        let end = if text.ends_with('\n') { "" } else { "\n" };
        shared.write(&format!("\r{}\r{text}{end}{}", " ".repeat(line.width), line.draw(0)));
    }

    /// Keeps output from the terminal until the result is dropped, then prints it.
    pub(crate) fn hold(&self) -> Hold {
        self.lock().held = Some(String::new());
        Hold(self.clone())
    }

    pub(crate) fn columns(&self) -> usize {
        self.lock().columns
    }

    /// Shows an edited line in place of the previous one.
    pub(crate) fn show(&self, line: VisibleLine) {
        let mut shared = self.lock();
        let previous = shared.line.as_ref().map_or(0, |line| line.width);
        shared.write(&line.draw(previous));
        shared.line = Some(line);
    }

    /// Shows an edited line that has one more character at its end; writes the character only, if the
    /// visible part did not move.
    pub(crate) fn append(&self, character: char, line: VisibleLine) {
        let mut shared = self.lock();
        let is_longer = shared.line.as_ref().is_some_and(|before| {
            before.cursor == before.width
                && line.width == before.width + 1
                && line.text.starts_with(&before.text)
        });
        let previous = shared.line.as_ref().map_or(0, |line| line.width);
        let text = if is_longer { character.to_string() } else { line.draw(previous) };
        shared.write(&text);
        shared.line = Some(line);
    }

    /// Rings the terminal's bell.
    pub(crate) fn ring(&self) {
        self.lock().write("\x07");
    }

    /// Ends the editing of the line. The line and `mark` stay, and output follows below.
    pub(crate) fn finish(&self, mark: &str) {
        let mut shared = self.lock();
        shared.line = None;
        shared.write(&format!("{mark}\n"));
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A full-screen view, during which other output is kept.
pub(crate) struct Hold(Screen);

impl Drop for Hold {
    fn drop(&mut self) {
        let held = self.0.lock().held.take();
        self.0.print(&held.unwrap_or_default());
    }
}

/// Adds a text to the output that is kept.
fn keep(held: &mut String, text: &str) {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    if held.len() + text.len() + end.len() <= HELD_MAX {
        held.push_str(text);
        held.push_str(end);
    } else if !held.ends_with(NOT_KEPT) {
        held.push_str(NOT_KEPT);
    }
}

/// Output of a VM, written unchanged.
impl io::Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().write_bytes(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn write(&mut self, text: &str) {
        self.write_bytes(text.as_bytes());
    }

    /// Writes bytes. Errors of a terminal are ignored, because there is no other place to report them.
    fn write_bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match rustix::io::write(&self.output, bytes) {
                Ok(count @ 1..) => {
                    self.is_stuck = false;
                    bytes = &bytes[count..];
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !self.is_stuck => self.is_stuck = !self.wait_for_output(),
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Waits until the terminal accepts output; false after [`WRITE_TIMEOUT`].
    fn wait_for_output(&self) -> bool {
        let mut output = [PollFd::new(&self.output, PollFlags::OUT)];
        matches!(poll(&mut output, Some(&WRITE_TIMEOUT)), Ok(1..) | Err(Errno::INTR))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn shown(line: &str, cursor: usize) -> VisibleLine {
        VisibleLine::of("> ", &line.chars().collect::<Vec<_>>(), cursor, 20)
    }

    /// Output of these calls.
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
    fn a_shorter_line_erases_the_rest_of_the_longer_one() {
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
            assert!(line.width < 20, "{cursor}: {line:?}");
            assert!(line.cursor <= line.width, "{cursor}: {line:?}");
        }
    }

    #[test]
    fn output_during_a_full_screen_view_comes_after_it() {
        let text = written(|screen| {
            let held = screen.hold();
            screen.print("first");
            screen.clone().write_all(b"view\n").unwrap();
            drop(held);
            screen.print("last\n");
        });
        assert_eq!(text, "view\nfirst\nlast\n");
    }

    #[test]
    fn output_that_is_kept_has_a_limit_and_says_so_once() {
        let mut held = String::new();
        (0..1000).for_each(|_| keep(&mut held, &"x".repeat(1000)));
        assert!(held.len() <= HELD_MAX + NOT_KEPT.len(), "{} bytes were kept", held.len());
        assert_eq!(held.matches(NOT_KEPT).count(), 1);
    }

    #[test]
    fn a_stuck_terminal_is_waited_for_once_and_gets_output_again_afterwards() {
        let (mut reader, writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let screen = Screen::new(writer.into(), 80);
        let began = std::time::Instant::now();
        (0..1000).for_each(|_| screen.print(&"x".repeat(1000)));
        assert!(began.elapsed().as_secs() < 10, "a thousand lines waited for a stuck terminal");
        let mut buffer = vec![0; 1 << 20];
        assert!(reader.read(&mut buffer).unwrap() > 1000);
        screen.print("again");
        drop(screen);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with("again"), "{rest:.20}");
    }

    #[test]
    fn other_output_appears_above_the_edited_line() {
        let text = written(|screen| {
            screen.print("before\n");
            screen.show(shown("ab", 1));
            screen.print("log");
        });
        assert_eq!(text, "before\n\r> ab\x08\r    \rlog\n\r> ab\x08");
    }
}
