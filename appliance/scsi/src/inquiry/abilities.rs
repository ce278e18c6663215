//! Extended INQUIRY data, mode page policy, third-party copy. SPC-4, clauses 7.8.7, 7.8.9 and 7.8.17.

use crate::bytes::{length_8, length_16};
use crate::sense::SENSE_BYTES_MAX;
use luge_block::Geometry;
use luge_spec::scsi::{ExtendedInquiry, ModePage, ModePolicy, NoCopyCommands, extended_inquiry, mode_bits};
use zerocopy::{FromZeros, IntoBytes};

/// Extended INQUIRY data of a unit.
pub(super) fn extended_inquiry(geometry: &Geometry) -> Vec<u8> {
    let mut data = ExtendedInquiry::new_zeroed();
    data.tasks = extended_inquiry::SIMPLE_TASKS;
    data.cache = if geometry.volatile_cache { extended_inquiry::VOLATILE_CACHE } else { 0 };
    data.sense_bytes_max = length_8(SENSE_BYTES_MAX);
    data.as_bytes().to_vec()
}

/// Policy of all mode pages: all nexuses share one set of values.
pub(super) fn mode_policy() -> Vec<u8> {
    let all = ModePolicy { page: ModePage::ALL.0, subpage: mode_bits::ALL_SUBPAGES, ..ModePolicy::default() };
    all.as_bytes().to_vec()
}

/// Third-party copy commands: there are none.
pub(super) fn third_party_copy() -> Vec<u8> {
    let length = length_16(size_of::<NoCopyCommands>().saturating_sub(4)).into();
    let none = NoCopyCommands { kind: NoCopyCommands::KIND.into(), length, ..NoCopyCommands::default() };
    none.as_bytes().to_vec()
}
