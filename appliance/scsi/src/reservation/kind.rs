//! Types of reservations on the wire. SPC-4, table 203.

use luge_reservations::ReservationType;

/// Reads the type.
pub(super) const fn of_code(code: u8) -> Option<ReservationType> {
    match code {
        1 => Some(ReservationType::WriteExclusive),
        3 => Some(ReservationType::ExclusiveAccess),
        5 => Some(ReservationType::WriteExclusiveRegistrantsOnly),
        6 => Some(ReservationType::ExclusiveAccessRegistrantsOnly),
        7 => Some(ReservationType::WriteExclusiveAllRegistrants),
        8 => Some(ReservationType::ExclusiveAccessAllRegistrants),
        _ => None,
    }
}

/// Code of a type. The scope, in the high bits, is the logical unit: zero.
pub(super) const fn code(kind: ReservationType) -> u8 {
    match kind {
        ReservationType::WriteExclusive => 1,
        ReservationType::ExclusiveAccess => 3,
        ReservationType::WriteExclusiveRegistrantsOnly => 5,
        ReservationType::ExclusiveAccessRegistrantsOnly => 6,
        ReservationType::WriteExclusiveAllRegistrants => 7,
        ReservationType::ExclusiveAccessAllRegistrants => 8,
    }
}
