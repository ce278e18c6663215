//! Panics of PID 1: a message, then a reboot or a stop.

use crate::last_words::say;
use crate::power::{Ending, end_machine};
use crate::settings::AfterPanic;
use std::panic;
use std::thread;
use std::time::Duration;

/// Makes a panic of any thread end the machine as `then` says, after its message is on the console.
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
