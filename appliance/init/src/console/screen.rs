//! The output of a console: answers, and a line being edited that other output goes around.
//!
//! Invariants
//! - Only carriage return and backspace move the cursor: any terminal understands them.
//! - Text from elsewhere (the log) never mixes with the line: the line is taken away, and
//!   drawn again below the text.
//! - A terminal that takes nothing is waited for once, and then not again until it takes
//!   something: the log of the whole process goes through here.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How long a terminal may take nothing. At 9600 baud this is some thousand characters.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

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
    /// Whether it took nothing the last time.
    stuck: bool,
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
        Self { shared: Arc::new(Mutex::new(Shared { output, columns, line: None, stuck: false })) }
    }

    /// Prints text. A line that is being edited is drawn again below it.
    pub fn print(&self, text: &str) {
        let mut shared = self.lock();
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

/// Bytes as they are, from a virtual machine.
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

    /// A terminal that is gone takes nothing, and nobody is there to be told.
    fn write_bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match rustix::io::write(&self.output, bytes) {
                Ok(count @ 1..) => {
                    self.stuck = false;
                    bytes = &bytes[count..];
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !self.stuck => self.stuck = !self.will_take_more(),
                Ok(_) | Err(_) => return,
            }
        }
    }

    fn will_take_more(&self) -> bool {
        let mut output = [PollFd::new(&self.output, PollFlags::OUT)];
        matches!(poll(&mut output, Some(&PATIENCE)), Ok(1..) | Err(Errno::INTR))
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
    fn a_terminal_that_takes_nothing_is_waited_for_once_and_serves_again_when_it_can() {
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
    fn the_log_goes_above_the_line_that_is_being_edited() {
        let text = written(|screen| {
            screen.print("before\n");
            screen.show(shown("ab", 1));
            screen.print("log");
        });
        assert_eq!(text, "before\n\r> ab\x08\r    \rlog\n\r> ab\x08");
    }
}
