//! Commands that have little to do.

use crate::bytes::{u8_at, u16_at};
use crate::sense::Sense;
use luge_spec::scsi::start_stop_unit::{LOEJ, POWER_CONDITION, START};

/// SELF-TEST CODE of SEND DIAGNOSTIC.
const SELF_TEST_CODE: u8 = 0xe0;

/// Change that START STOP UNIT asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PowerChange {
    Start,
    Stop,
}

/// Reads START STOP UNIT. The unit can be stopped; it has no other power conditions, and no medium to be ejected. SBC-4,
/// clause 5.31.
pub(super) fn start_stop_unit(cdb: &[u8]) -> Result<PowerChange, Sense> {
    let order = u8_at(cdb, 4);
    if order & POWER_CONDITION != 0 {
        return Err(Sense::invalid_bit_in_cdb(4, 7));
    }
    if u8_at(cdb, 3) != 0 {
        return Err(Sense::invalid_bit_in_cdb(3, 3));
    }
    if order & LOEJ != 0 {
        return Err(Sense::invalid_bit_in_cdb(4, 1));
    }
    Ok(if order & START == 0 { PowerChange::Stop } else { PowerChange::Start })
}

/// Checks PREVENT ALLOW MEDIUM REMOVAL. Nobody can remove the medium. SBC-3, clause 5.12.
pub(super) fn prevent_allow(cdb: &[u8]) -> Result<Vec<u8>, Sense> {
    if u8_at(cdb, 4) > 1 { Err(Sense::invalid_bit_in_cdb(4, 1)) } else { Ok(Vec::new()) }
}

/// Checks SEND DIAGNOSTIC: there is the default self-test only, which a unit that answers has passed. SPC-4, clause
/// 6.42.
pub(super) fn send_diagnostic(cdb: &[u8]) -> Result<Vec<u8>, Sense> {
    if u8_at(cdb, 1) & SELF_TEST_CODE != 0 {
        return Err(Sense::invalid_bit_in_cdb(1, 7));
    }
    if u16_at(cdb, 3) != 0 { Err(Sense::invalid_field_in_cdb(3)) } else { Ok(Vec::new()) }
}
