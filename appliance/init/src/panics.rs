//! Panics of PID 1: a message, then a reboot or a stop.
//!
//! Before that reboot the kernel writes the end of its log to the firmware (pstore), where the next boot finds it
//! (`crashes`). Of its own accord it does so only when it panics itself.

use crate::last_words::say;
use crate::power::{Ending, end_machine};
use crate::settings::AfterPanic;
use std::fs;
use std::panic;
use std::thread;
use std::time::Duration;

/// Parameter of the kernel: whether its log is kept at every reboot.
const KEEP_LOG: &str = "/sys/module/printk/parameters/always_kmsg_dump";

/// Makes a panic of any thread end the machine as `then` says, after its message is on the console.
pub fn catch_panics(then: AfterPanic) {
    panic::set_hook(Box::new(move |info| {
        // A reboot by hand keeps the log, too. There is one in any case.
        let _ = fs::write(KEEP_LOG, "Y");
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
