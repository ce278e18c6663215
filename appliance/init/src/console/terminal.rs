//! A terminal: the two ends of it, and its mode.

use rustix::fs::{Mode, OFlags, open};
use rustix::termios::{InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty};
use rustix::termios::{tcgetattr, tcgetwinsize, tcsetattr};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// What a serial line is taken to have: it cannot be asked.
const COLUMNS: usize = 80;

/// Where a console's keys come from and its text goes.
#[derive(Debug)]
pub struct Terminal {
    pub(crate) input: OwnedFd,
    pub(crate) output: OwnedFd,
    pub(crate) columns: usize,
    pub(crate) manner: Manner,
    /// The mode that the terminal had before.
    before: Option<Termios>,
}

/// Who is on the other side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Manner {
    /// A person: a prompt, an echo, colours.
    Person,
    /// A program: lines in, text out.
    Program,
}

impl Terminal {
    /// A terminal device, such as `/dev/ttyS0`, of which every key is to be told at once.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::NOCTTY | OFlags::CLOEXEC;
        let input = open(path, OFlags::RDONLY | flags, Mode::empty())?;
        // A terminal may stop taking text at any time; a file of its own, so that reading still waits.
        let output = open(path, OFlags::WRONLY | OFlags::NONBLOCK | flags, Mode::empty())?;
        Self::new(input, output)
    }

    /// Any two ends; not a terminal where the input is none.
    ///
    /// # Errors
    /// The kernel's, for a terminal that does not let its mode be changed.
    pub fn new(input: OwnedFd, output: OwnedFd) -> io::Result<Self> {
        if !isatty(&input) {
            return Ok(Self { input, output, columns: COLUMNS, manner: Manner::Program, before: None });
        }
        let before = tcgetattr(&input)?;
        let mut mode = before.clone();
        mode.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN;
        mode.input_modes -= InputModes::ICRNL | InputModes::INLCR | InputModes::IGNCR | InputModes::IXON;
        mode.special_codes[SpecialCodeIndex::VMIN] = 1;
        mode.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&input, OptionalActions::Now, &mode)?;
        let columns = tcgetwinsize(&output).map_or(0, |size| usize::from(size.ws_col));
        let columns = if (20..=500).contains(&columns) { columns } else { COLUMNS };
        Ok(Self { input, output, columns, manner: Manner::Person, before: Some(before) })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(&self.input, OptionalActions::Now, before);
        }
    }
}
