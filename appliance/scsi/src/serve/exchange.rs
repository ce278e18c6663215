//! Commands as the device server gets them, and its answers.

use crate::bytes::{u8_at, u16_at, u32_at};
use crate::sense::{Sense, SenseBytes, SenseFormat};
use crate::status::Ending;
use luge_reservations::Change;
use luge_spec::scsi::Opcode;

/// A command for the device server.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// CDB; bytes behind those that its operation code asks for are not looked at.
    pub cdb: &'a [u8],
    /// Data that came with it.
    pub data_out: &'a [u8],
    /// LUNs of the target, in ascending order.
    pub luns: &'a [u8],
}

impl Incoming<'_> {
    /// Bytes of data-out that the command asks for: the length of its parameter list. SPC-4, clause 4.2.5.5.
    #[must_use]
    pub fn parameter_bytes(&self) -> u32 {
        match Opcode(u8_at(self.cdb, 0)) {
            Opcode::MODE_SELECT_6 => u8_at(self.cdb, 4).into(),
            Opcode::MODE_SELECT_10 => u16_at(self.cdb, 7).into(),
            Opcode::SEND_DIAGNOSTIC => u16_at(self.cdb, 3).into(),
            Opcode::PERSISTENT_RESERVE_OUT => u32_at(self.cdb, 5),
            _ => 0,
        }
    }
}

/// The end of a command, with its data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Status and sense data.
    pub ending: Ending,
    /// Data for the initiator: no more than the allocation length. None where the status is not GOOD.
    pub data_in: Vec<u8>,
    /// Format of the sense data.
    pub format: SenseFormat,
}

impl Answer {
    /// An answer of an end without data.
    pub(crate) const fn bare(ending: Ending, format: SenseFormat) -> Self {
        Self { ending, data_in: Vec::new(), format }
    }

    /// An answer of data, or of sense data.
    pub(crate) fn of(result: Result<Vec<u8>, Sense>, format: SenseFormat) -> Self {
        match result {
            Ok(data_in) => Self { ending: Ending::GOOD, data_in, format },
            Err(sense) => Self::bare(sense.into(), format),
        }
    }

    /// Bytes of the sense data; none where there is nothing to tell.
    #[must_use]
    pub fn sense_bytes(&self) -> SenseBytes {
        self.ending.sense.map_or_else(SenseBytes::new, |sense| sense.to_bytes(self.format))
    }
}

/// Reply to a command.
#[derive(Debug)]
pub enum Reply {
    /// The command has ended.
    Done(Answer),
    /// Nothing keeps the core from serving the command.
    GoOn,
    /// The command has succeeded, without data, when the change is over.
    Later(Change),
}
