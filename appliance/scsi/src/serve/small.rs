//! Commands that change nothing: the unit is always started, ready, and without a medium to be removed.

use crate::bytes::{u8_at, u16_at};
use crate::sense::Sense;

/// NO_FLUSH and LOEJ of START STOP UNIT, START, and its power condition.
const LOEJ: u8 = 1 << 1;
const START: u8 = 1;
const POWER_CONDITION: u8 = 0xf0;

/// SELF-TEST CODE of SEND DIAGNOSTIC.
const SELF_TEST_CODE: u8 = 0xe0;

/// Checks START STOP UNIT. The unit is started, has no medium to be ejected, and no power conditions. SBC-3, clause 5.20.
///
/// It cannot be stopped: stopped is a power condition (SBC-3, clause 4.20), and support of those is optional; a unit that
/// has some would tell them by a Power Condition page (SPC-4, clause 7.8). A guest that stopped its disk when it shut down
/// would take it away from all others that have it.
pub(super) fn start_stop_unit(cdb: &[u8]) -> Result<Vec<u8>, Sense> {
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
    if order & START == 0 { Err(Sense::invalid_bit_in_cdb(4, 0)) } else { Ok(Vec::new()) }
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
