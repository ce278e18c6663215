//! What virtual machines print, on the appliance's own consoles.
//!
//! Invariants
//! - A line is bounded, and nothing in it controls a terminal.
//! - A machine that prints faster than the consoles can show loses lines, not time.

use super::voice::Voice;
use luge_vm::{VmRunner, VmState, VmStatus};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::thread;

/// The longest line that is shown, in bytes; what is longer goes on in a further one.
const LINE_MAX: u64 = 400;

/// Shows what every machine prints from its next start on.
///
/// # Errors
/// If there is no thread for it.
pub fn follow(vms: &VmRunner, voice: Voice) -> io::Result<()> {
    let events = vms.events();
    thread::Builder::new().name("vm output".into()).spawn(move || {
        for vm in events.iter().filter(|vm| vm.state == VmState::Running) {
            if let Err(error) = follow_one(&vm, voice.clone()) {
                tracing::warn!("the output of VM {} is not shown: {error}", vm.name);
            }
        }
    })?;
    Ok(())
}

fn follow_one(vm: &VmStatus, voice: Voice) -> io::Result<()> {
    let Some(console) = &vm.console else { return Ok(()) };
    let stream = UnixStream::connect(console)?;
    let name = vm.name.to_string();
    let say = move |line: &str| voice.say(&format!("{name}: {line}"));
    thread::Builder::new().name("vm output".into()).spawn(move || relay(stream, say))?;
    Ok(())
}

/// Says each line of `text` until it ends.
fn relay(text: impl Read, say: impl Fn(&str)) {
    let mut text = BufReader::new(text);
    let mut line = Vec::new();
    while let Ok(1..) = text.by_ref().take(LINE_MAX).read_until(b'\n', &mut line) {
        let shown = printable(&String::from_utf8_lossy(&line));
        if !shown.is_empty() {
            say(&shown);
        }
        line.clear();
    }
}

/// Without what a terminal would obey: escape sequences go as a whole.
fn printable(line: &str) -> String {
    let mut shown = String::new();
    let mut characters = line.trim_end().chars();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' => drop(characters.by_ref().find(|c| c.is_ascii_alphabetic())),
            '\t' => shown.push(' '),
            other if other.is_control() => {}
            other => shown.push(other),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn relayed(text: &[u8]) -> Vec<String> {
        let said = RefCell::new(Vec::new());
        relay(text, |line| said.borrow_mut().push(line.to_owned()));
        said.into_inner()
    }

    #[test]
    fn lines_are_relayed_without_what_a_terminal_would_obey() {
        let text = b"one\r\n\r\n\x1b[2J\x1b[1;31mtwo\x1b[0m\tand\x07 more\xff\r\nlast";
        assert_eq!(relayed(text), ["one", "two and more\u{fffd}", "last"]);
    }

    #[test]
    fn a_line_without_an_end_is_shown_in_bounded_pieces() {
        let pieces = relayed(&[b'x'; 1000]);
        assert_eq!(pieces.iter().map(String::len).collect::<Vec<_>>(), [400, 400, 200]);
    }
}
