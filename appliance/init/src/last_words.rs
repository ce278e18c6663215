//! Last words: a message that is to get out even if nothing else works.
//!
//! Invariant: [`say`] waits neither for another thread nor for a terminal that accepts no output.

use crate::console::Screen;
use rustix::fs::{Mode, OFlags, open};
use std::fs::File;
use std::io::Write;

/// Writes a line to the console and to the kernel's log, which survives in pstore.
pub fn say(text: &str) {
    let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if let Ok(console) = open("/dev/console", flags, Mode::empty()) {
        Screen::new(console, 80).print(&format!("\r\nluge: {text}\r\n"));
    }
    if let Ok(mut log) = File::options().write(true).open("/dev/kmsg") {
        let _ = log.write_all(format!("<5>luge: {text}").as_bytes());
    }
}
