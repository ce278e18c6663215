//! A terminal: input, output and mode.

use rustix::fs::{Mode, OFlags, open};
use rustix::termios::{InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty};
use rustix::termios::{tcgetattr, tcgetwinsize, tcsetattr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Assumed width of a terminal whose width the kernel does not know, such as a serial line.
const COLUMNS: usize = 80;

/// Assumed height of such a terminal.
const ROWS: usize = 24;

/// Size of a terminal in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TerminalSize {
    /// Width.
    pub columns: usize,
    /// Height.
    pub rows: usize,
}

/// Input and output of a console.
#[derive(Debug)]
pub struct Terminal {
    pub(crate) input: OwnedFd,
    pub(crate) output: OwnedFd,
    pub(crate) columns: usize,
    pub(crate) kind: Kind,
    /// Mode of the terminal before it was opened, for restoring it.
    previous_mode: Option<Termios>,
}

/// Kind of a console's input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A terminal: prompt, echo, colours.
    Interactive,
    /// A pipe or a file: lines without prompt or echo.
    Batch,
}

impl Terminal {
    /// Opens a terminal device, such as `/dev/ttyS0`, in a mode in which each key is read at once.
    ///
    /// # Errors
    /// Errors of open(2) and tcsetattr(3).
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::NOCTTY | OFlags::CLOEXEC;
        let input = open(path, OFlags::RDONLY | flags, Mode::empty())?;
        // A second open file, so that output does not block, but input does.
        let output = open(path, OFlags::WRONLY | OFlags::NONBLOCK | flags, Mode::empty())?;
        Self::new(input, output)
    }

    /// Terminal of two open files. Input that is not a terminal makes a batch.
    ///
    /// # Errors
    /// Errors of tcgetattr(3) and tcsetattr(3).
    pub fn new(input: OwnedFd, output: OwnedFd) -> io::Result<Self> {
        if !isatty(&input) {
            return Ok(Self { input, output, columns: COLUMNS, kind: Kind::Batch, previous_mode: None });
        }
        let previous_mode = tcgetattr(&input)?;
        let mut mode = previous_mode.clone();
        mode.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN;
        mode.input_modes -= InputModes::ICRNL | InputModes::INLCR | InputModes::IGNCR | InputModes::IXON;
        mode.special_codes[SpecialCodeIndex::VMIN] = 1;
        mode.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&input, OptionalActions::Now, &mode)?;
        let columns = tcgetwinsize(&output).map_or(0, |size| usize::from(size.ws_col));
        let columns = if (20..=500).contains(&columns) { columns } else { COLUMNS };
        Ok(Self { input, output, columns, kind: Kind::Interactive, previous_mode: Some(previous_mode) })
    }

    /// File from which keys are read.
    #[must_use]
    pub fn input(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }

    /// File to which output is written; it may be one that does not block.
    #[must_use]
    pub fn output(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }

    /// Present size: 80 columns and 24 rows where the kernel does not know it.
    #[must_use]
    pub fn size(&self) -> TerminalSize {
        let known = tcgetwinsize(&self.output).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        known.map_or(TerminalSize { columns: COLUMNS, rows: ROWS }, |size| TerminalSize {
            columns: size.ws_col.into(),
            rows: size.ws_row.into(),
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(mode) = &self.previous_mode {
            let _ = tcsetattr(&self.input, OptionalActions::Now, mode);
        }
    }
}
