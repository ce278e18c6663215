//! The end of the machine: who may ask for it, and how it is done.
//!
//! Invariants
//! - The first request begins an orderly end; a second one does not wait for it.
//! - PID 1 ends with the machine, never before it.
//!
//! Not here: what an orderly end is (`luge`, which drains and shuts the SSDs down).

use crate::emergency;
use rustix::system::{RebootCommand, reboot};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// How the machine is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Without power.
    PowerOff,
    /// With a new beginning.
    Reboot,
}

/// A wish for the end of the machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PowerRequest {
    /// Which end.
    pub ending: Ending,
    /// Who asks.
    pub from: String,
}

/// What to ask. Clones are the same switch.
#[derive(Clone, Debug)]
pub struct PowerSwitch {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    requests: Mutex<Sender<PowerRequest>>,
    asked: AtomicBool,
}

impl PowerSwitch {
    /// A switch, and where the first request arrives.
    #[must_use]
    pub fn new() -> (Self, Receiver<PowerRequest>) {
        let (sender, receiver) = channel();
        let shared = Shared { requests: Mutex::new(sender), asked: AtomicBool::new(false) };
        (Self { shared: Arc::new(shared) }, receiver)
    }

    /// Asks for the end. Whoever asks again does not want to wait for the orderly one: the
    /// machine ends at once.
    pub fn ask(&self, ending: Ending, from: impl Into<String>) {
        let request = PowerRequest { ending, from: from.into() };
        // Relaxed: it orders nothing else.
        if self.shared.asked.swap(true, Ordering::Relaxed) {
            emergency::say(&format!("{} asks again: ending at once", request.from));
            end_machine(ending);
        }
        // Nobody receives only where the machine is ending already.
        let _ = self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).send(request);
    }

    /// Lets signals ask: SIGTERM and SIGUSR2 for power off, SIGINT, which ctrl-alt-del sends to
    /// PID 1, for a reboot. The kernel keeps from PID 1 what it does not catch.
    ///
    /// # Errors
    /// The kernel's.
    pub fn listen_to_signals(&self) -> io::Result<()> {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR2])?;
        let switch = self.clone();
        thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                match signal {
                    SIGINT => switch.ask(Ending::Reboot, "ctrl-alt-del"),
                    SIGUSR2 => switch.ask(Ending::PowerOff, "SIGUSR2"),
                    _ => switch.ask(Ending::PowerOff, "SIGTERM"),
                }
            }
        })?;
        Ok(())
    }
}

/// Makes ctrl-alt-del a signal to PID 1 in place of an immediate reboot.
///
/// # Errors
/// The kernel's: only PID 1's owner may.
pub fn catch_ctrl_alt_del() -> io::Result<()> {
    Ok(reboot(RebootCommand::CadOff)?)
}

/// Ends the machine now. What is to be saved has been saved.
pub fn end_machine(ending: Ending) -> ! {
    rustix::fs::sync();
    let (command, name) = match ending {
        Ending::PowerOff => (RebootCommand::PowerOff, "power off"),
        Ending::Reboot => (RebootCommand::Restart, "reboot"),
    };
    if let Err(error) = reboot(command) {
        emergency::say(&format!("the kernel does not {name}: {error}; switch the machine off by hand"));
    }
    loop {
        thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_request_arrives_whoever_asks() {
        let (switch, requests) = PowerSwitch::new();
        switch.clone().ask(Ending::Reboot, "a test");
        let expected = PowerRequest { ending: Ending::Reboot, from: "a test".into() };
        assert_eq!(requests.try_recv(), Ok(expected));
    }
}
