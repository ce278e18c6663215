//! Events of a trace that was read.

use crate::entry::Kind;
use crate::file::OTHERS;
use std::fmt;

/// Thread that an event is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Core of that number.
    Core(u16),
    /// Any thread that is no core.
    Others,
}

impl Source {
    /// Source of a ring, by the core that the file names.
    pub(crate) const fn of(core: u16) -> Self {
        match core {
            OTHERS => Self::Others,
            core => Self::Core(core),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Core(core) => write!(f, "core {core}"),
            Self::Others => f.write_str("process"),
        }
    }
}

/// Event of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Time in nanoseconds since 1970.
    pub time_ns: u64,
    /// Thread that it is of.
    pub source: Source,
    /// Kind of the event.
    pub kind: Kind,
    /// Number that belongs to it.
    pub number: u64,
    /// Text that belongs to it. May have any characters.
    pub text: String,
}
