//! The user's terminal, connected with the sled's console.
//!
//! Invariant: the terminal's settings are restored in any case.

use luge_qemu_test::{SledMachine, TestError};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{IsTerminal, Stdin, stdin};

/// Ctrl-], which leaves the console, as in telnet and virsh.
const LEAVE: u8 = 0x1d;

/// Connects the terminal with the sled's console until the sled powers off, or the user leaves, which
/// powers it off.
pub(crate) fn hand_over(mut sled: SledMachine) -> Result<(), TestError> {
    eprintln!("\r\nthis is the sled's console: `help` lists its commands; Ctrl-] powers it off and leaves\r");
    let raw = RawTerminal::enter(stdin())?;
    sled.running.process.send(b"\r")?;
    let end = forward_keys(&mut sled, &raw)?;
    drop(raw);
    match end {
        End::UserLeft => {
            eprintln!("\npowering the sled off ...");
            sled.power_off().map(drop)
        }
        End::SledOff => sled.ended().map(drop),
    }
}

/// Asks the user a question; without a terminal the answer is no.
pub(crate) fn agrees(what: &str) -> Result<bool, TestError> {
    if !stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("{what}? [yes/no] ");
    let mut answer = String::new();
    stdin().read_line(&mut answer).map_err(failed)?;
    Ok(answer.trim() == "yes")
}

/// Reason for the end of a connection.
enum End {
    UserLeft,
    SledOff,
}

fn forward_keys(sled: &mut SledMachine, raw: &RawTerminal) -> Result<End, TestError> {
    let mut buffer = [0; 256];
    loop {
        let mut awaited = [
            PollFd::new(&raw.terminal, PollFlags::IN),
            PollFd::new(sled.running.process.handle(), PollFlags::IN),
        ];
        rustix::io::retry_on_intr(|| poll(&mut awaited, None)).map_err(failed)?;
        let (typed, ended) = (!awaited[0].revents().is_empty(), !awaited[1].revents().is_empty());
        if ended {
            return Ok(End::SledOff);
        }
        if typed {
            let length = rustix::io::read(&raw.terminal, &mut buffer).map_err(failed)?;
            let keys = &buffer[..length];
            if keys.is_empty() || keys.contains(&LEAVE) {
                return Ok(End::UserLeft);
            }
            sled.running.process.send(keys)?;
        }
    }
}

/// A terminal in raw mode: each key is read as it is typed.
struct RawTerminal {
    terminal: Stdin,
    before: Termios,
}

impl RawTerminal {
    fn enter(terminal: Stdin) -> Result<Self, TestError> {
        let before = tcgetattr(&terminal).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Flush, &raw).map_err(failed)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that was closed needs no restoring.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

fn failed(error: impl Into<std::io::Error>) -> TestError {
    TestError::Io { doing: "using the terminal".to_owned(), source: error.into() }
}
