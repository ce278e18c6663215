//! The kernel's log as the place of the trace, on the sled: what is in it survives in the firmware (pstore), also where
//! the kernel itself dies.
//!
//! Guests cause events, and the log has room for some thousand lines. So lines are bounded: a number of them at once,
//! and then some each second. The rings in memory have all events.

use super::print::piece;
use luge_trace::{Kind, Record};
use std::fs::{self, File};
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Most lines at once.
const BURST: u32 = 500;
/// Time in which one more line is allowed.
const PAUSE: Duration = Duration::from_millis(500);
/// Setting of the kernel: whether it bounds the lines of processes itself, to ten in five seconds.
const RATE_LIMIT: &str = "/proc/sys/kernel/printk_devkmsg";

/// The kernel's log, opened for writing.
pub(super) struct KernelLog {
    file: File,
    allowance: Allowance,
}

impl KernelLog {
    /// Opens the log, and switches the kernel's own bound off.
    pub(super) fn open() -> io::Result<Self> {
        let file = File::options().write(true).open("/dev/kmsg")?;
        // The kernel refuses the word without the end of its line.
        fs::write(RATE_LIMIT, "on\n")?;
        Ok(Self { file, allowance: Allowance::new(Instant::now()) })
    }

    /// Writes an event as a line, if one is allowed.
    pub(super) fn write(&mut self, record: &Record) {
        let Some(left_out) = self.allowance.take(Instant::now()) else { return };
        if left_out > 0 {
            self.line(&format!("<4>luge: {left_out} events are not here: luge_get_trace has them"));
        }
        self.line(&format!("<{}>luge: {}", level(record.kind), piece(record)));
    }

    fn line(&mut self, line: &str) {
        // There is no other place to report that the kernel refuses a line.
        let _ = self.file.write_all(line.as_bytes());
    }
}

/// Level of a line: no event is shown on the console unless the operator wants more than errors of the kernel there.
const fn level(kind: Kind) -> u8 {
    match kind {
        Kind::ERROR | Kind::PANIC | Kind::WARNING => 4,
        _ => 6,
    }
}

/// Number of lines that may be written.
struct Allowance {
    lines: u32,
    /// Time up to which lines have been allowed.
    until: Instant,
    left_out: u64,
}

impl Allowance {
    const fn new(now: Instant) -> Self {
        Self { lines: BURST, until: now, left_out: 0 }
    }

    /// Takes a line; returns the number of those refused since the last one, or none where this one is refused.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let passed = now.saturating_duration_since(self.until).as_millis() / PAUSE.as_millis();
        let more = u32::try_from(passed).unwrap_or(u32::MAX);
        if self.lines.saturating_add(more) >= BURST {
            (self.lines, self.until) = (BURST, now);
        } else {
            self.lines += more;
            self.until += PAUSE * more;
        }
        if self.lines == 0 {
            self.left_out += 1;
            return None;
        }
        self.lines -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_at_once_and_each_second_and_those_left_out_are_counted() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        assert!((0..BURST).all(|_| allowance.take(start) == Some(0)));
        assert!((0..7).all(|_| allowance.take(start + PAUSE / 2).is_none()));
        assert_eq!(allowance.take(start + PAUSE), Some(7));
        assert_eq!(allowance.take(start + PAUSE), None);
        // Times that are not a multiple of the pause are not lost.
        assert_eq!(allowance.take(start + PAUSE * 5 / 2), Some(1));
        assert_eq!(allowance.take(start + PAUSE * 3), Some(0));
        assert_eq!(allowance.take(start + PAUSE * 3), None);
        let much_later = start + PAUSE * 10_000;
        assert_eq!((0..2 * BURST).filter(|_| allowance.take(much_later).is_some()).count(), 500);
    }

    #[test]
    fn no_event_is_loud_enough_for_the_console() {
        assert!((0..=u8::MAX).all(|kind| (4..8).contains(&level(Kind(kind)))));
    }
}
