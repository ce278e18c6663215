//! Events that tell of LUNs (virtio 1.3, clause 5.6.6.3).

use super::life::LunChange;
use crate::scsi::lun::LunAddress;
use luge_spec::scsi::AdditionalSense;
use luge_spec::virtio::scsi::{Event, EventKind, reset_reason};

/// The event that tells of a change.
pub(super) fn event(address: LunAddress, change: LunChange) -> Event {
    let (kind, reason) = match change {
        LunChange::Added => (EventKind::TRANSPORT_RESET, reset_reason::RESCAN),
        LunChange::Removed => (EventKind::TRANSPORT_RESET, reset_reason::REMOVED),
        LunChange::Resized => {
            let code = AdditionalSense::CAPACITY_CHANGED;
            (EventKind::PARAMETER_CHANGE, u32::from(code.code()) | u32::from(code.qualifier()) << 8)
        }
    };
    Event { kind, lun: address.to_field(), reason: reason.into() }
}
