//! End of the machine: requests for it, and power off or reboot.
//!
//! Invariants
//! - The first request begins an orderly shutdown. A second request ends the machine at once.
//! - PID 1 ends with the machine, never before it.
//!
//! Not here: the orderly shutdown (`luge`, which drains the disks and shuts the SSDs down).

use crate::last_words::say;
use rustix::system::{RebootCommand, reboot};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// End of a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Power off.
    PowerOff,
    /// Reboot.
    Reboot,
}

/// Request for the end of the machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PowerRequest {
    /// Requested end.
    pub ending: Ending,
    /// Source of the request, for messages.
    pub from: String,
}

/// Sender of power requests. All clones share the receiver.
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
    /// Switch, and the receiver of the first request.
    #[must_use]
    pub fn new() -> (Self, Receiver<PowerRequest>) {
        let (sender, receiver) = channel();
        let shared = Shared { requests: Mutex::new(sender), asked: AtomicBool::new(false) };
        (Self { shared: Arc::new(shared) }, receiver)
    }

    /// Sends a request. A second request ends the machine at once, without the orderly shutdown.
    pub fn ask(&self, ending: Ending, from: impl Into<String>) {
        let request = PowerRequest { ending, from: from.into() };
        // Relaxed: the flag orders no other memory.
        if self.shared.asked.swap(true, Ordering::Relaxed) {
            say(&format!("{} asks again: ending at once", request.from));
            end_machine(ending);
        }
        // Fails if the receiver is gone: the machine is ending already then.
        let _ = self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).send(request);
    }

    /// Turns signals into requests: SIGTERM and SIGUSR2 for power off, SIGINT, which ctrl-alt-del sends
    /// to PID 1, for a reboot. The kernel does not deliver other signals to PID 1.
    ///
    /// # Errors
    /// The signals cannot be caught, or the thread cannot be started.
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

/// Makes ctrl-alt-del send SIGINT to PID 1 instead of rebooting at once.
///
/// # Errors
/// Errors of reboot(2): only root may do this.
pub fn catch_ctrl_alt_del() -> io::Result<()> {
    Ok(reboot(RebootCommand::CadOff)?)
}

/// Ends the machine at once, after sync(2).
pub fn end_machine(ending: Ending) -> ! {
    rustix::fs::sync();
    let (command, name) = match ending {
        Ending::PowerOff => (RebootCommand::PowerOff, "power off"),
        Ending::Reboot => (RebootCommand::Restart, "reboot"),
    };
    if let Err(error) = reboot(command) {
        say(&format!("the kernel does not {name}: {error}; switch the machine off by hand"));
    }
    loop {
        thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_request_of_any_clone_arrives() {
        let (switch, requests) = PowerSwitch::new();
        switch.clone().ask(Ending::Reboot, "a test");
        let expected = PowerRequest { ending: Ending::Reboot, from: "a test".into() };
        assert_eq!(requests.try_recv(), Ok(expected));
    }
}
