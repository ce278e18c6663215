//! Standard INQUIRY data. SPC-4, clause 6.6.2.

use crate::bytes::length_8;
use crate::unit::{LogicalUnit, VENDOR};
use luge_spec::scsi::{StandardInquiry, inquiry_flags, peripheral, version_descriptor};
use zerocopy::{FromZeros, IntoBytes};

/// Revision of all units: the version of the product, as far as there is room.
const REVISION: &[u8; 4] = b"0001";

/// Data of a unit.
pub(super) fn of_unit(unit: &LogicalUnit) -> Vec<u8> {
    let mut data = plain(peripheral::DISK);
    data.product = unit.names().product;
    data.protection = inquiry_flags::IMPLICIT_ACCESS;
    data.ports = inquiry_flags::MULTIP;
    let [first, second, third, ..] = &mut data.versions;
    first.set(version_descriptor::SAM_5);
    second.set(version_descriptor::SPC_4);
    third.set(version_descriptor::SBC_3);
    data.as_bytes().to_vec()
}

/// Data of a LUN that has no volume.
pub(super) fn without_unit(peripheral: u8) -> Vec<u8> {
    plain(peripheral).as_bytes().to_vec()
}

fn plain(peripheral: u8) -> StandardInquiry {
    let mut data = StandardInquiry::new_zeroed();
    data.peripheral = peripheral;
    data.version = inquiry_flags::SPC_4;
    data.format = inquiry_flags::HISUP | inquiry_flags::FORMAT;
    data.additional_length = length_8(size_of::<StandardInquiry>().saturating_sub(5));
    data.queueing = inquiry_flags::CMDQUE;
    data.vendor = *VENDOR;
    data.product = [b' '; 16];
    data.revision = *REVISION;
    data
}
