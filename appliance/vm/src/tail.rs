//! The end of an endless text: what QEMU printed, what a guest's console showed.
//!
//! Invariant: never more than its limit in memory, however much is written.

use std::collections::VecDeque;
use std::io::{PipeReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A child of the child may keep the pipe open; what there is by then is what is shown.
const WRITER_GONE_LIMIT: Duration = Duration::from_secs(10);

/// The last bytes of what was written.
#[derive(Debug)]
pub(crate) struct Tail {
    bytes: VecDeque<u8>,
    limit: usize,
}

impl Tail {
    /// Keeps `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { bytes: VecDeque::with_capacity(limit), limit }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let new = &bytes[bytes.len().saturating_sub(self.limit)..];
        let excess = (self.bytes.len() + new.len()).saturating_sub(self.limit);
        self.bytes.drain(..excess);
        self.bytes.extend(new);
    }

    /// All that is kept.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes.iter().copied().collect()
    }

    /// Whether nothing is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Some of the oldest bytes that are kept; none if nothing is.
    pub(crate) fn front(&self) -> &[u8] {
        self.bytes.as_slices().0
    }

    /// Drops the oldest `count` bytes.
    pub(crate) fn take(&mut self, count: usize) {
        self.bytes.drain(..count);
    }

    /// The last `count` lines that have something on them, without control characters.
    pub(crate) fn lines(&self, count: usize) -> Vec<String> {
        let bytes = self.bytes();
        let text = String::from_utf8_lossy(&bytes);
        let clean = |line: &str| line.trim_end().replace(|c: char| c.is_control() && c != '\t', "");
        let lines: Vec<String> = text.lines().map(clean).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(count)..].to_vec()
    }
}

/// A thread that reads a pipe to its end into a [`Tail`].
#[derive(Debug)]
pub(crate) struct Log {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    tail: Mutex<(Tail, bool)>,
    ended: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, (Tail, bool)> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    /// Reads `pipe` for as long as somebody writes to it.
    pub(crate) fn read(mut pipe: PipeReader) -> std::io::Result<Self> {
        let shared =
            Arc::new(Shared { tail: Mutex::new((Tail::new(64 * 1024), false)), ended: Condvar::new() });
        let thread = Arc::clone(&shared);
        thread::Builder::new().name("vm log".into()).spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                thread.lock().0.push(&buffer[..count]);
            }
            thread.lock().1 = true;
            thread.ended.notify_all();
        })?;
        Ok(Self { shared })
    }

    /// The last `count` lines, once the writer is gone, for which it has [`WRITER_GONE_LIMIT`].
    pub(crate) fn last_lines(&self, count: usize) -> Vec<String> {
        let waited = self.shared.ended.wait_timeout_while(self.shared.lock(), WRITER_GONE_LIMIT, |t| !t.1);
        let (tail, _) = waited.unwrap_or_else(PoisonError::into_inner);
        tail.0.lines(count)
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
    fn a_log_is_complete_when_its_writer_is_gone() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let log = Log::read(reader).unwrap();
        for number in 0..20_000 {
            writeln!(writer, "line {number}").unwrap();
        }
        drop(writer);
        assert_eq!(log.last_lines(2), ["line 19998", "line 19999"]);
    }
}
