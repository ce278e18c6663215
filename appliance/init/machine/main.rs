//! PID 1 of a PID namespace, which the tests of the machine's end start: it panics, or gets signals.

use luge_init::{PowerSwitch, Settings, catch_panics};
use rustix::process::{Pid, Signal, getpid, kill_process};

fn main() {
    assert_eq!(getpid(), Pid::INIT, "this program ends the machine: start it in a PID namespace");
    match std::env::args().nth(1).as_deref() {
        Some("panic") => {
            catch_panics(Settings::of_this_machine().0.panic);
            panic!("the panic of a test");
        }
        Some("signals") => send_signals(),
        other => eprintln!("{other:?} is not an end of a machine: panic or signals"),
    }
}

/// Sends SIGTERM twice. The second one ends the machine.
fn send_signals() {
    let (switch, requests) = PowerSwitch::new();
    switch.listen_to_signals().expect("signals can be caught");
    for _ in 0..2 {
        kill_process(getpid(), Signal::TERM).expect("a process may signal itself");
        assert_eq!(requests.recv().map(|request| request.from).as_deref(), Ok("SIGTERM"));
    }
}
