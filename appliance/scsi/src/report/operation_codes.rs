//! REPORT SUPPORTED OPERATION CODES. SPC-4, clause 6.35.

use crate::bytes::{cut, length_16, length_32, u8_at, u16_at, u32_at};
use crate::catalog::{CATALOG, Entry};
use crate::sense::Sense;
use crate::view::UnitView;
use luge_spec::scsi::{CommandDescriptor, CommandTimeouts, OneCommandHeader, operation_codes as bits};
use zerocopy::IntoBytes;

/// A command that is asked for.
struct Asked {
    opcode: u8,
    service_action: u16,
    wants_timeouts: bool,
}

/// Answers REPORT SUPPORTED OPERATION CODES.
pub(crate) fn operation_codes(cdb: &[u8], view: &UnitView) -> Result<Vec<u8>, Sense> {
    let options = u8_at(cdb, 2);
    let asked = Asked {
        opcode: u8_at(cdb, 3),
        service_action: u16_at(cdb, 4),
        wants_timeouts: options & bits::TIMEOUTS != 0,
    };
    let report = match options & 7 {
        0 => all(view, &asked),
        1 => one(asked.without_action(view)?, &asked),
        2 => one(asked.with_action(view)?, &asked),
        3 => one(asked.either(view), &asked),
        _ => return Err(Sense::invalid_bit_in_cdb(2, 2)),
    };
    Ok(cut(report, u32_at(cdb, 6)))
}

fn supported(view: &UnitView) -> impl Iterator<Item = &'static Entry> {
    CATALOG.iter().filter(|entry| entry.is_supported(view))
}

impl Asked {
    fn entries(&self, view: &UnitView) -> impl Iterator<Item = &'static Entry> {
        supported(view).filter(|entry| entry.opcode().0 == self.opcode)
    }

    /// The command, if its operation code has no service actions.
    fn without_action(&self, view: &UnitView) -> Result<Option<&'static Entry>, Sense> {
        let has_actions = self.entries(view).any(|entry| entry.service_action.is_some());
        if has_actions { Err(Sense::invalid_bit_in_cdb(2, 2)) } else { Ok(self.entries(view).next()) }
    }

    /// The command, if its operation code has service actions.
    fn with_action(&self, view: &UnitView) -> Result<Option<&'static Entry>, Sense> {
        let has_none = self.entries(view).any(|entry| entry.service_action.is_none());
        if has_none { Err(Sense::invalid_bit_in_cdb(2, 2)) } else { Ok(self.of_action(view)) }
    }

    /// The command: by its service action, where its operation code has some; where it has none, that must be zero.
    fn either(&self, view: &UnitView) -> Option<&'static Entry> {
        let plain = self.entries(view).find(|entry| entry.service_action.is_none());
        self.of_action(view).or(plain.filter(|_| self.service_action == 0))
    }

    fn of_action(&self, view: &UnitView) -> Option<&'static Entry> {
        let is_asked = |entry: &&Entry| {
            entry.service_action.is_some_and(|action| u16::from(action.0) == self.service_action)
        };
        self.entries(view).find(is_asked)
    }
}

/// All commands.
fn all(view: &UnitView, asked: &Asked) -> Vec<u8> {
    let list: Vec<u8> = supported(view).flat_map(|entry| describe(entry, asked)).collect();
    [length_32(list.len()).to_be_bytes().as_slice(), &list].concat()
}

fn describe(entry: &Entry, asked: &Asked) -> Vec<u8> {
    let action_flag = if entry.service_action.is_some() { bits::HAS_SERVICE_ACTION } else { 0 };
    let timeouts_flag = if asked.wants_timeouts { bits::TIMEOUTS_FOLLOW } else { 0 };
    let descriptor = CommandDescriptor {
        opcode: entry.opcode().0,
        service_action: entry.service_action.map_or(0, |action| action.0.into()).into(),
        flags: action_flag | timeouts_flag,
        cdb_bytes: length_16(entry.usage.len()).into(),
        ..CommandDescriptor::default()
    };
    let mut bytes = descriptor.as_bytes().to_vec();
    bytes.extend(timeouts(asked));
    bytes
}

/// A command with its CDB usage data, or that it is not supported.
fn one(entry: Option<&Entry>, asked: &Asked) -> Vec<u8> {
    let Some(entry) = entry else {
        let header = OneCommandHeader { flags: bits::ABSENT, ..OneCommandHeader::default() };
        return header.as_bytes().to_vec();
    };
    let timeouts_flag = if asked.wants_timeouts { bits::ONE_TIMEOUTS_FOLLOW } else { 0 };
    let header = OneCommandHeader {
        flags: bits::SUPPORTED | timeouts_flag,
        cdb_bytes: length_16(entry.usage.len()).into(),
        ..OneCommandHeader::default()
    };
    [header.as_bytes(), entry.usage, &timeouts(asked)].concat()
}

/// Timeouts, which depend on the device beneath the volume: none is recommended.
fn timeouts(asked: &Asked) -> Vec<u8> {
    const REST: u16 = 10;
    let timeouts = CommandTimeouts { length: REST.into(), ..CommandTimeouts::default() };
    if asked.wants_timeouts { timeouts.as_bytes().to_vec() } else { Vec::new() }
}
