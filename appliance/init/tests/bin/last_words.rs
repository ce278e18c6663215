//! PID 1 of a machine that ends as its argument says, for the tests of last words.

use luge_init::{PowerSwitch, Settings, catch_panics};
use rustix::process::{Pid, Signal, getpid, kill_process};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    if getpid() != Pid::INIT || !std::env::args().any(|argument| argument == "--in-namespaces") {
        return Err("this ends the machine: run it in a PID namespace of its own".into());
    }
    match std::env::args().nth(1).as_deref() {
        Some("fault") => {
            catch_panics(Settings::of_this_machine().0.panic);
            panic!("a fault of Luge");
        }
        Some("signals") => ask_twice(),
        other => Err(format!("unknown end of the machine: {other:?}").into()),
    }
}

/// Sends SIGTERM twice: the second request ends the machine at once.
fn ask_twice() -> Result<(), Box<dyn Error>> {
    let (switch, requests) = PowerSwitch::new();
    switch.listen_to_signals()?;
    for _ in 0..2 {
        kill_process(getpid(), Signal::TERM)?;
        assert_eq!(requests.recv()?.from, "SIGTERM");
    }
    Ok(())
}
