//! The person's terminal, lent to the sled's console.
//!
//! Invariant: the terminal is as it was when this ends, however it ends.

use luge_qemu_test::{Sled, TestError};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{IsTerminal, Stdin, stdin};

/// Ctrl-]: leaves the console, as in telnet and virsh.
const LEAVE: u8 = 0x1d;

/// Connects the terminal with the sled's console until the sled powers off or the person
/// leaves, which powers it off.
pub(crate) fn hand_over(mut sled: Sled) -> Result<(), TestError> {
    eprintln!("\r\nthis is the sled's console: `help` lists its commands; Ctrl-] powers it off and leaves\r");
    let raw = RawTerminal::enter(stdin())?;
    sled.running.process.send(b"\r")?;
    let left = talk(&mut sled, &raw)?;
    drop(raw);
    match left {
        Left::ByPerson => {
            eprintln!("\npowering the sled off ...");
            sled.power_off().map(drop)
        }
        Left::ByItself => sled.ended().map(drop),
    }
}

/// Asks the person; where there is none, the answer is no.
pub(crate) fn agrees(what: &str) -> Result<bool, TestError> {
    if !stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("{what}? [yes/no] ");
    let mut answer = String::new();
    stdin().read_line(&mut answer).map_err(failed)?;
    Ok(answer.trim() == "yes")
}

enum Left {
    ByPerson,
    ByItself,
}

fn talk(sled: &mut Sled, raw: &RawTerminal) -> Result<Left, TestError> {
    let mut buffer = [0; 256];
    loop {
        let mut awaited = [
            PollFd::new(&raw.terminal, PollFlags::IN),
            PollFd::new(sled.running.process.handle(), PollFlags::IN),
        ];
        rustix::io::retry_on_intr(|| poll(&mut awaited, None)).map_err(failed)?;
        let (typed, ended) = (!awaited[0].revents().is_empty(), !awaited[1].revents().is_empty());
        if ended {
            return Ok(Left::ByItself);
        }
        if typed {
            let length = rustix::io::read(&raw.terminal, &mut buffer).map_err(failed)?;
            let keys = &buffer[..length];
            if keys.is_empty() || keys.contains(&LEAVE) {
                return Ok(Left::ByPerson);
            }
            sled.running.process.send(keys)?;
        }
    }
}

/// A terminal that hands over every key as it is typed.
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
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

fn failed(error: impl Into<std::io::Error>) -> TestError {
    TestError::Io { doing: "speaking with the terminal".to_owned(), source: error.into() }
}
