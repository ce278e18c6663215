//! All commands that a logical unit has, with the bits of their CDBs that are looked at.
//!
//! CDB usage data is that of REPORT SUPPORTED OPERATION CODES (SPC-4, clause 6.35.3): the operation code, the service
//! action, and a one for each bit that is evaluated. All other bits must be zero, but for obsolete ones that initiators
//! still set.

use crate::sense::Sense;
use crate::view::UnitView;
use luge_spec::scsi::{Opcode, ServiceAction, flags};

/// A command, by its operation code and service action.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// CDB usage data: as many bytes as the CDB has.
    pub usage: &'static [u8],
    /// Service action, where the operation code has some.
    pub service_action: Option<ServiceAction>,
    pub(crate) kind: Kind,
    /// Obsolete bits that are ignored, from the first byte on; fewer bytes than the CDB has.
    ignored: &'static [u8],
}

/// Kind of a command, whatever the length of its CDB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Read,
    Write,
    WriteAndVerify,
    Verify,
    SynchronizeCache,
    Unmap,
    WriteSame,
    CompareAndWrite,
    /// START STOP UNIT: a command of the device server, which may leave a flush to a core.
    StartStop,
    /// A command of the device server.
    DeviceServer,
}

impl Kind {
    /// Whether a command needs the medium, and so is none of the device server.
    pub(crate) const fn needs_medium(self) -> bool {
        !matches!(self, Self::StartStop | Self::DeviceServer)
    }
}

impl Entry {
    const fn new(kind: Kind, usage: &'static [u8]) -> Self {
        Self { usage, service_action: None, kind, ignored: &[] }
    }

    /// A command of the device server.
    const fn other(usage: &'static [u8]) -> Self {
        Self::new(Kind::DeviceServer, usage)
    }

    /// A command of the device server that has its usage data's service action.
    const fn action(usage: &'static [u8]) -> Self {
        let [_, second, ..] = usage else { return Self::other(usage) };
        let action = ServiceAction(*second & ServiceAction::MASK);
        Self { service_action: Some(action), ..Self::other(usage) }
    }

    const fn ignoring(self, ignored: &'static [u8]) -> Self {
        Self { ignored, ..self }
    }

    /// Operation code.
    #[must_use]
    pub fn opcode(&self) -> Opcode {
        Opcode(self.usage.first().copied().unwrap_or_default())
    }

    /// Whether a unit has the command.
    #[must_use]
    pub fn is_supported(&self, view: &UnitView) -> bool {
        self.kind != Kind::Unmap || view.unmap_blocks_max > 0
    }

    /// Whether the CDB is one of this command, as far as operation code and service action tell.
    fn is_of(&self, opcode: u8, flags: u8) -> bool {
        let action = self.service_action;
        self.opcode().0 == opcode && action.is_none_or(|action| action.0 == flags & ServiceAction::MASK)
    }

    /// Refuses a CDB that has bits which must be zero. The pointer is to the most significant bit of the field.
    fn check_bits(&self, cdb: &[u8]) -> Result<(), Sense> {
        let ignored = self.ignored.iter().copied().chain(std::iter::repeat(0));
        let bytes = cdb.iter().zip(self.usage).zip(ignored);
        for (place, ((&byte, &used), ignored)) in (0_u16..).zip(bytes).skip(1) {
            let wrong = byte & !(used | ignored | self.action_bits(place));
            if let Some(highest) = wrong.checked_ilog2() {
                return Err(Sense::invalid_bit_in_cdb(place, self.field_bit(place, highest)));
            }
        }
        Ok(())
    }

    /// Bits of a byte that the service action is in, which was compared before.
    fn action_bits(&self, place: u16) -> u8 {
        if place == 1 && self.service_action.is_some() { ServiceAction::MASK } else { 0 }
    }

    /// Most significant bit of the field that a bit which must be zero belongs to: RDPROTECT and the group number have
    /// several.
    fn field_bit(&self, place: u16, bit: u32) -> u8 {
        let bit = u8::try_from(bit).unwrap_or(0);
        match self.kind {
            Kind::DeviceServer | Kind::StartStop => bit,
            _ if place == 1 && flags::PROTECT >> bit & 1 == 1 => 7,
            _ if Some(place) == self.group_at() && bit < 5 => 4,
            _ => bit,
        }
    }

    /// Byte of the group number. SBC-3, clause 5.
    fn group_at(&self) -> Option<u16> {
        match self.usage.len() {
            10 => Some(6),
            12 => Some(10),
            16 => Some(14),
            _ => None,
        }
    }
}

/// Finds the command of a CDB, all of whose bits that are not evaluated are zero.
///
/// # Errors
/// INVALID COMMAND OPERATION CODE where the unit has no such command, INVALID FIELD IN CDB where it has no such service
/// action, or the CDB is too short, or has other bits.
pub fn find(cdb: &[u8], view: &UnitView) -> Result<&'static Entry, Sense> {
    let opcode = *cdb.first().ok_or(Sense::invalid_opcode())?;
    let flags = cdb.get(1).copied().unwrap_or_default();
    let Some(entry) = CATALOG.iter().find(|entry| entry.is_of(opcode, flags)) else {
        let known = CATALOG.iter().any(|entry| entry.opcode().0 == opcode);
        return Err(if known { Sense::invalid_bit_in_cdb(1, 4) } else { Sense::invalid_opcode() });
    };
    if !entry.is_supported(view) {
        return Err(Sense::invalid_opcode());
    }
    if cdb.len() < entry.usage.len() {
        return Err(Sense::invalid_field_in_cdb(u16::try_from(cdb.len()).unwrap_or(0)));
    }
    entry.check_bits(cdb)?;
    Ok(entry)
}

/// LUN of SCSI-2 in the second byte: firmware sets it.
const LUN: &[u8] = &[0, 0xe0];

/// FUA_NV and RELADR, which test suites set.
const OLD_FLAGS: &[u8] = &[0, flags::FUA_NV | flags::RELADR];

/// All commands, in the order of their operation codes and service actions.
pub const CATALOG: &[Entry] = &[
    // TEST UNIT READY
    Entry::other(&[0x00, 0, 0, 0, 0, 0]).ignoring(LUN),
    // REQUEST SENSE: DESC, allocation length
    Entry::other(&[0x03, 0x01, 0, 0, 0xff, 0]).ignoring(LUN),
    Entry::new(Kind::Read, &[0x08, 0x1f, 0xff, 0xff, 0xff, 0]),
    Entry::new(Kind::Write, &[0x0a, 0x1f, 0xff, 0xff, 0xff, 0]),
    // INQUIRY: EVPD, page, allocation length
    Entry::other(&[0x12, 0x01, 0xff, 0xff, 0xff, 0]).ignoring(LUN),
    // MODE SELECT (6): PF, SP, parameter list length
    Entry::other(&[0x15, 0x11, 0, 0, 0xff, 0]).ignoring(LUN),
    // RESERVE (6), RELEASE (6)
    Entry::other(&[0x16, 0, 0, 0, 0, 0]).ignoring(LUN),
    Entry::other(&[0x17, 0, 0, 0, 0, 0]).ignoring(LUN),
    // MODE SENSE (6): DBD, PC and page, subpage, allocation length
    Entry::other(&[0x1a, 0x08, 0xff, 0xff, 0xff, 0]).ignoring(LUN),
    // START STOP UNIT: IMMED, power condition modifier, power condition, NO_FLUSH, LOEJ, START
    Entry::new(Kind::StartStop, &[0x1b, 0x01, 0, 0x0f, 0xf7, 0]).ignoring(LUN),
    // SEND DIAGNOSTIC: self-test code, PF, SELFTEST, DEVOFFL, UNITOFFL, parameter list length
    Entry::other(&[0x1d, 0xf7, 0, 0xff, 0xff, 0]),
    // PREVENT ALLOW MEDIUM REMOVAL: PREVENT
    Entry::other(&[0x1e, 0, 0, 0, 0x03, 0]).ignoring(LUN),
    // READ CAPACITY (10): LBA and PMI are obsolete
    Entry::other(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]).ignoring(&[0, 0xe1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0x01]),
    Entry::new(Kind::Read, &[0x28, 0x18, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0]).ignoring(OLD_FLAGS),
    Entry::new(Kind::Write, &[0x2a, 0x18, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0]).ignoring(OLD_FLAGS),
    Entry::new(Kind::WriteAndVerify, &[0x2e, 0x16, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0])
        .ignoring(&[0, flags::RELADR]),
    Entry::new(Kind::Verify, &[0x2f, 0x16, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0])
        .ignoring(&[0, flags::RELADR]),
    Entry::new(Kind::SynchronizeCache, &[0x35, 0x02, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0])
        .ignoring(&[0, flags::SYNC_NV | flags::RELADR]),
    Entry::new(Kind::WriteSame, &[0x41, 0x08, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0]),
    Entry::new(Kind::Unmap, &[0x42, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0]),
    // LOG SENSE: SP, PC and page, subpage, parameter pointer, allocation length
    Entry::other(&[0x4d, 0x01, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, 0]),
    // MODE SELECT (10): PF, SP, parameter list length
    Entry::other(&[0x55, 0x11, 0, 0, 0, 0, 0, 0xff, 0xff, 0]).ignoring(LUN),
    // RESERVE (10), RELEASE (10)
    Entry::other(&[0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0]).ignoring(LUN),
    Entry::other(&[0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0]).ignoring(LUN),
    // MODE SENSE (10): LLBAA, DBD, PC and page, subpage, allocation length
    Entry::other(&[0x5a, 0x18, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 0]).ignoring(LUN),
    // PERSISTENT RESERVE IN: READ KEYS, READ RESERVATION, REPORT CAPABILITIES, READ FULL STATUS
    Entry::action(&[0x5e, 0x00, 0, 0, 0, 0, 0, 0xff, 0xff, 0]),
    Entry::action(&[0x5e, 0x01, 0, 0, 0, 0, 0, 0xff, 0xff, 0]),
    Entry::action(&[0x5e, 0x02, 0, 0, 0, 0, 0, 0xff, 0xff, 0]),
    Entry::action(&[0x5e, 0x03, 0, 0, 0, 0, 0, 0xff, 0xff, 0]),
    // PERSISTENT RESERVE OUT: REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT AND ABORT, REGISTER AND IGNORE
    Entry::action(&[0x5f, 0x00, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0]),
    Entry::action(&[0x5f, 0x01, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0]),
    Entry::action(&[0x5f, 0x02, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0]),
    Entry::action(&[0x5f, 0x03, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0]),
    Entry::action(&[0x5f, 0x04, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0]),
    Entry::action(&[0x5f, 0x05, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0]),
    Entry::action(&[0x5f, 0x06, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0]),
    Entry::new(
        Kind::Read,
        &[0x88, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
    )
    .ignoring(OLD_FLAGS),
    Entry::new(
        Kind::CompareAndWrite,
        &[0x89, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0xff, 0, 0],
    )
    .ignoring(OLD_FLAGS),
    Entry::new(
        Kind::Write,
        &[0x8a, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
    )
    .ignoring(OLD_FLAGS),
    Entry::new(
        Kind::WriteAndVerify,
        &[0x8e, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
    ),
    Entry::new(
        Kind::Verify,
        &[0x8f, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
    ),
    Entry::new(
        Kind::SynchronizeCache,
        &[0x91, 0x02, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
    )
    .ignoring(&[0, flags::SYNC_NV]),
    Entry::new(
        Kind::WriteSame,
        &[0x93, 0x09, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
    ),
    // READ CAPACITY (16): allocation length; LBA and PMI are obsolete
    Entry::action(&[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0])
        .ignoring(&[0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0x01]),
    // GET LBA STATUS: first block, allocation length
    Entry::action(&[
        0x9e, 0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0,
    ]),
    // REPORT LUNS: select report, allocation length
    Entry::other(&[0xa0, 0, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0]),
    // REPORT TARGET PORT GROUPS: parameter data format, allocation length
    Entry::action(&[0xa3, 0xea, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0]),
    // REPORT SUPPORTED OPERATION CODES: RCTD and options, operation code, service action, allocation length
    Entry::action(&[0xa3, 0x0c, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]),
    // REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS: REPD, allocation length
    Entry::action(&[0xa3, 0x0d, 0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0]),
    Entry::new(Kind::Read, &[0xa8, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0])
        .ignoring(OLD_FLAGS),
    Entry::new(Kind::Write, &[0xaa, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0])
        .ignoring(OLD_FLAGS),
    Entry::new(Kind::WriteAndVerify, &[0xae, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0])
        .ignoring(&[0, flags::RELADR]),
    Entry::new(Kind::Verify, &[0xaf, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0])
        .ignoring(&[0, flags::RELADR]),
];
