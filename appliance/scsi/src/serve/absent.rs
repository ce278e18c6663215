//! LUNs of a target that have no logical unit, and the well-known logical unit REPORT LUNS.
//!
//! Whatever LUNs a target has, its LUN 0 answers INQUIRY, REPORT LUNS and REQUEST SENSE. SPC-4, clauses 4.5.5, 6.6
//! and 8.

use super::exchange::{Answer, Incoming};
use super::sense::request_sense;
use crate::bytes::{length_16, u8_at};
use crate::inquiry;
use crate::report::report_luns;
use crate::sense::{Sense, SenseFormat};
use luge_spec::scsi::{AdditionalSense, Opcode, SenseKey};

/// LUN that has no volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AbsentLun {
    /// A LUN without a logical unit.
    Lun,
    /// The well-known logical unit REPORT LUNS (C1 01).
    ReportLuns,
}

const NOT_SUPPORTED: Sense = Sense::illegal_request(AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED);

/// Serves a command for a LUN that has no volume, of a target that has LUNs.
#[must_use]
pub fn absent(incoming: &Incoming<'_>, lun: AbsentLun) -> Answer {
    Answer::of(data(incoming, lun), SenseFormat::Fixed)
}

fn data(incoming: &Incoming<'_>, lun: AbsentLun) -> Result<Vec<u8>, Sense> {
    let cdb = incoming.cdb;
    let opcode = Opcode(u8_at(cdb, 0));
    if opcode.cdb_bytes().is_some_and(|bytes| cdb.len() < bytes) {
        return Err(Sense::invalid_field_in_cdb(length_16(cdb.len())));
    }
    match (opcode, lun) {
        (Opcode::INQUIRY, AbsentLun::Lun) => inquiry::absent(cdb),
        (Opcode::INQUIRY, AbsentLun::ReportLuns) => inquiry::well_known(cdb),
        (Opcode::REPORT_LUNS, _) => report_luns(cdb, incoming.luns),
        (Opcode::REQUEST_SENSE, AbsentLun::Lun) => Ok(request_sense(cdb, NOT_SUPPORTED)),
        (Opcode::REQUEST_SENSE, AbsentLun::ReportLuns) => Ok(request_sense(cdb, NOTHING)),
        (Opcode::TEST_UNIT_READY, AbsentLun::ReportLuns) => Ok(Vec::new()),
        (_, AbsentLun::ReportLuns) => Err(Sense::invalid_opcode()),
        (_, AbsentLun::Lun) => Err(NOT_SUPPORTED),
    }
}

const NOTHING: Sense = Sense::new(SenseKey::NO_SENSE, AdditionalSense::NONE);
