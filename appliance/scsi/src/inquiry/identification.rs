//! Device identification. SPC-4, clause 7.8.6.

use crate::bytes::length_8;
use crate::ports::Port;
use crate::unit::{Names, VENDOR};
use luge_spec::scsi::{DesignatorHeader, designator};
use zerocopy::IntoBytes;

/// Designators of a unit: the same through all ports; and of the port through which they are read.
pub(super) fn designators(names: &Names, port: &Port) -> Vec<u8> {
    let [group_high, group_low] = port.group().number().to_be_bytes();
    let [port_high, port_low] = port.number().to_be_bytes();
    let vendor = [&VENDOR[..], names.serial.as_bytes()].concat();
    let uuid = [&[designator::UUID_RFC_4122, 0][..], &names.uuid].concat();
    [
        one(designator::BINARY, designator::NAA, &names.naa()),
        one(designator::ASCII, designator::VENDOR, &vendor),
        one(designator::BINARY, designator::UUID, &uuid),
        one(designator::BINARY, designator::PORT | designator::RELATIVE_PORT, &[0, 0, port_high, port_low]),
        one(designator::BINARY, designator::PORT | designator::PORT_GROUP, &[0, 0, group_high, group_low]),
    ]
    .concat()
}

fn one(code_set: u8, kind: u8, value: &[u8]) -> Vec<u8> {
    let header = DesignatorHeader { code_set, kind, reserved: 0, length: length_8(value.len()) };
    [header.as_bytes(), value].concat()
}
