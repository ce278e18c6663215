//! Kernel log, for the command `dmesg`.

use super::table::clean;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

/// Last `count` lines of the kernel log.
pub(crate) fn last_lines(count: usize) -> io::Result<Vec<String>> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut log = File::options().read(true).custom_flags(nonblocking).open("/dev/kmsg")?;
    let mut lines = VecDeque::new();
    let mut record = [0; 8192];
    loop {
        match log.read(&mut record) {
            Ok(0) => break,
            Ok(length) => lines.extend(line(&String::from_utf8_lossy(&record[..length]))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            // The kernel has overwritten the next record; reading goes on with the oldest one left.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) => return Err(error),
        }
        while lines.len() > count {
            lines.pop_front();
        }
    }
    Ok(lines.into())
}

/// Formats a record as `[seconds] text`. A record is `priority,number,microseconds,flags;text`, then
/// lines with further fields (Documentation/ABI/testing/dev-kmsg).
fn line(record: &str) -> Option<String> {
    let (head, rest) = record.split_once(';')?;
    let microseconds: u64 = head.split(',').nth(2)?.parse().ok()?;
    let text = rest.lines().next().unwrap_or_default();
    Some(format!("[{:5}.{:06}] {}", microseconds / 1_000_000, microseconds % 1_000_000, clean(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_time_and_text() {
        let record = "6,339,5140900,-;NET: Registered PF_UNIX\n SUBSYSTEM=net\n";
        assert_eq!(line(record).unwrap(), "[    5.140900] NET: Registered PF_UNIX");
        assert_eq!(line("4,1,99,-;evil\x1b[2J").unwrap(), "[    0.000099] evil?[2J");
        for broken in ["", "x", "1;y", "1,2,x,-;y"] {
            assert_eq!(line(broken), None, "{broken}");
        }
    }
}
