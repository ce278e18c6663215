//! Last words: a message that is to get out even if nothing else works.
//!
//! Invariant: [`say`] waits neither for another thread nor for a terminal that accepts no output.

use crate::console::Screen;
use rustix::fs::{Mode, OFlags, open};
use std::fs::File;
use std::io::Write;

/// Most characters of a line of the kernel's log, which takes about 1000 bytes.
const PIECE_CHARACTERS_MAX: usize = 240;
/// Most lines of a message.
const PIECES_MAX: usize = 40;

/// Writes a message to the console and to the kernel's log, which survives in pstore.
pub fn say(text: &str) {
    let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if let Ok(console) = open("/dev/console", flags, Mode::empty()) {
        Screen::new(console, 80).print(&format!("\r\nluge: {text}\r\n"));
    }
    if let Ok(mut log) = File::options().write(true).open("/dev/kmsg") {
        pieces(text).for_each(|piece| drop(log.write_all(format!("<5>luge: {piece}").as_bytes())));
    }
}

/// Text in pieces that the kernel's log takes as lines.
fn pieces(text: &str) -> impl Iterator<Item = String> {
    let all = text.lines().flat_map(|line| {
        let characters: Vec<char> = line.chars().collect();
        characters.chunks(PIECE_CHARACTERS_MAX).map(String::from_iter).collect::<Vec<_>>()
    });
    all.take(PIECES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_in_pieces_that_the_kernel_takes_and_a_longer_one_ends() {
        assert_eq!(pieces("one\ntwo").collect::<Vec<_>>(), ["one", "two"]);
        let long = "\u{20ac}".repeat(1000);
        assert_eq!(pieces(&long).collect::<String>(), long);
        assert!(pieces(&long).all(|piece| piece.len() < 1000));
        assert_eq!(pieces(&"x\n".repeat(1000)).count(), PIECES_MAX);
    }
}
