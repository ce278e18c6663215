//! Last words: what is said when nothing else works any more.
//!
//! Invariant: nothing here waits for another thread, or for a terminal that takes nothing.

use crate::console::Screen;
use crate::settings::AfterPanic;
use crate::{Ending, end_machine};
use rustix::fs::{Mode, OFlags, open};
use std::fs::File;
use std::io::Write;
use std::panic;
use std::thread;
use std::time::Duration;

/// Writes a line to the console, and into the kernel's log, which survives in pstore.
pub fn say(text: &str) {
    let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if let Ok(console) = open("/dev/console", flags, Mode::empty()) {
        Screen::new(console, 80).print(&format!("\r\nluge: {text}\r\n"));
    }
    if let Ok(mut log) = File::options().write(true).open("/dev/kmsg") {
        let _ = log.write_all(format!("<5>luge: {text}").as_bytes());
    }
}

/// From now on a panic of any thread of PID 1 ends the machine, after its message is on the
/// console and the time that `then` says.
pub fn catch_panics(then: AfterPanic) {
    panic::set_hook(Box::new(move |info| {
        say(&info.to_string());
        match then {
            AfterPanic::RebootAfter { seconds } => {
                say(&format!("this is a fault of Luge: the machine reboots in {seconds} s (luge.panic=)"));
                thread::sleep(Duration::from_secs(seconds.into()));
                end_machine(Ending::Reboot);
            }
            AfterPanic::Stay => {
                say("this is a fault of Luge: the machine stays as it is (luge.panic=0)");
                loop {
                    thread::park();
                }
            }
        }
    }));
}
