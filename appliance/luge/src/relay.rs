//! Relay of a VM's serial console to the log, line by line.
//!
//! Invariant: an entry is one line, short, and of printable characters, whatever a guest writes.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Maximum length of an entry in bytes; a longer line becomes several.
const LINE_BYTES: usize = 512;

/// Copies the console at `socket` to the log, from a thread of its own, until the VM ends.
///
/// # Errors
/// If there is no such console, or no thread.
pub fn start(vm: &str, socket: &Path) -> io::Result<()> {
    let console = UnixStream::connect(socket)?;
    let vm = vm.to_owned();
    let copy = move || each_line(console, |line| tracing::info!("{vm}: {line}"));
    std::thread::Builder::new().name("vm log".into()).spawn(copy).map(drop)
}

fn each_line(mut console: impl Read, mut take: impl FnMut(&str)) {
    let (mut chunk, mut line) = ([0; 4096], Vec::new());
    while let Ok(read @ 1..) = console.read(&mut chunk) {
        for &byte in chunk.iter().take(read) {
            if byte != b'\n' {
                line.push(byte);
            }
            if byte == b'\n' || line.len() == LINE_BYTES {
                give(&std::mem::take(&mut line), &mut take);
            }
        }
    }
    give(&line, &mut take);
}

fn give(line: &[u8], take: &mut impl FnMut(&str)) {
    let text = String::from_utf8_lossy(line);
    let plain: String = text.chars().filter(|c| !c.is_control()).collect();
    if !plain.trim().is_empty() {
        take(plain.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        each_line(text, |line| lines.push(line.to_owned()));
        lines
    }

    #[test]
    fn lines_are_printable_and_none_is_empty_or_long() {
        assert_eq!(lines(b"one\r\n\r\n \ntwo\x1b[2J\x07\xff\nrest"), ["one", "two[2J\u{fffd}", "rest"]);
        let long = lines(&[b'x'; 1300]);
        assert_eq!(long.iter().map(String::len).collect::<Vec<_>>(), [512, 512, 276]);
    }
}
