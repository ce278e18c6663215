//! Last words: what is said when nothing else works any more.
//!
//! Invariant: nothing here takes a lock, needs a thread or fails.

use crate::settings::AfterPanic;
use crate::{Ending, end_machine};
use std::fs::File;
use std::io::Write;
use std::panic;
use std::thread;
use std::time::Duration;

/// Writes a line to the console, and into the kernel's log, which survives in pstore.
pub fn say(text: &str) {
    for (path, line) in
        [("/dev/console", format!("\r\nluge: {text}\r\n")), ("/dev/kmsg", format!("<5>luge: {text}"))]
    {
        if let Ok(mut file) = File::options().write(true).open(path) {
            let _ = file.write_all(line.as_bytes());
        }
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
