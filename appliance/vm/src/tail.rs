//! The latest part of a text without end: output of QEMU, or of a guest's console.
//!
//! Invariant: memory is bounded by the limit.

use std::collections::VecDeque;
use std::io::{PipeReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Maximum size of a log.
const LOG_BYTES_MAX: usize = 64 * 1024;

/// Time limit of the wait for the rest of a log. A grandchild may keep the pipe open for longer.
const COMPLETE_TIMEOUT: Duration = Duration::from_secs(10);

/// Buffer of the last bytes of a text.
#[derive(Debug)]
pub(crate) struct Tail {
    bytes: VecDeque<u8>,
    limit: usize,
}

impl Tail {
    /// Buffer of at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { bytes: VecDeque::with_capacity(limit), limit }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let new = &bytes[bytes.len().saturating_sub(self.limit)..];
        let excess = (self.bytes.len() + new.len()).saturating_sub(self.limit);
        self.bytes.drain(..excess);
        self.bytes.extend(new);
    }

    /// Copy of all bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes.iter().copied().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Some of the oldest bytes; empty only if the buffer is.
    pub(crate) fn front(&self) -> &[u8] {
        self.bytes.as_slices().0
    }

    /// Removes the oldest `count` bytes.
    pub(crate) fn remove_front(&mut self, count: usize) {
        self.bytes.drain(..count);
    }

    /// Last `count` lines that are not empty, without control characters.
    pub(crate) fn lines(&self, count: usize) -> Vec<String> {
        let bytes = self.bytes();
        let text = String::from_utf8_lossy(&bytes);
        let clean = |line: &str| line.trim_end().replace(|c: char| c.is_control() && c != '\t', "");
        let lines: Vec<String> = text.lines().map(clean).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(count)..].to_vec()
    }
}

/// Log of a pipe, which a thread reads to its end.
#[derive(Debug)]
pub(crate) struct Log {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    text: Mutex<Text>,
    completed: Condvar,
}

#[derive(Debug)]
struct Text {
    tail: Tail,
    /// Whether the pipe has ended.
    is_complete: bool,
}

impl Shared {
    fn new() -> Self {
        let text = Text { tail: Tail::new(LOG_BYTES_MAX), is_complete: false };
        Self { text: Mutex::new(text), completed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Text> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    /// Starts a thread that reads `pipe` to its end.
    pub(crate) fn read(mut pipe: PipeReader) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::new());
        let reading = Arc::clone(&shared);
        thread::Builder::new().name("vm log".into()).spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                reading.lock().tail.push(&buffer[..count]);
            }
            reading.lock().is_complete = true;
            reading.completed.notify_all();
        })?;
        Ok(Self { shared })
    }

    /// Last `count` lines. Waits for the end of the pipe, at most [`COMPLETE_TIMEOUT`].
    pub(crate) fn last_lines(&self, count: usize) -> Vec<String> {
        let text = self.shared.lock();
        let waited =
            self.shared.completed.wait_timeout_while(text, COMPLETE_TIMEOUT, |text| !text.is_complete);
        let (text, _) = waited.unwrap_or_else(PoisonError::into_inner);
        text.tail.lines(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn only_the_last_bytes_are_kept() {
        let mut tail = Tail::new(8);
        for text in ["abc", "defgh", "ij", ""] {
            tail.push(text.as_bytes());
        }
        assert_eq!(tail.bytes(), b"cdefghij");
        tail.push(b"0123456789abcdef");
        assert_eq!(tail.bytes(), b"89abcdef");
    }

    #[test]
    fn lines_are_printable_and_none_is_empty() {
        let mut tail = Tail::new(100);
        tail.push(b"one\r\n\n\x1b[31mtwo\xff\nthree");
        assert_eq!(tail.lines(2), ["[31mtwo\u{fffd}", "three"]);
        assert_eq!(tail.lines(9).len(), 3);
    }

    #[test]
    fn a_log_is_complete_when_its_writer_has_ended() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let log = Log::read(reader).unwrap();
        for number in 0..20_000 {
            writeln!(writer, "line {number}").unwrap();
        }
        drop(writer);
        assert_eq!(log.last_lines(2), ["line 19998", "line 19999"]);
    }
}
