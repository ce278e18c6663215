//! REPORT TARGET PORT GROUPS. SPC-4, clause 6.37.

use crate::bytes::{cut, length_8, length_32, u8_at, u32_at};
use crate::ports::{AccessState, PortGroup};
use crate::sense::Sense;
use crate::unit::{Link, LogicalUnit};
use luge_spec::scsi::{
    PortDescriptor, PortGroupDescriptor, PortGroupsExtension, PortGroupsHeader, access_state,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use zerocopy::IntoBytes;

/// PARAMETER DATA FORMAT: header with the length only, or the extended one.
const LENGTH_ONLY: u8 = 0;
const EXTENDED: u8 = 1;

/// Value of the format in the extended header.
const EXTENDED_FORMAT: u8 = 0x10;

/// A group, with the relative identifiers of its ports in ascending order.
struct Group {
    group: Arc<PortGroup>,
    ports: Vec<u16>,
}

/// Answers REPORT TARGET PORT GROUPS: all ports through which initiators reach the unit now.
pub(crate) fn port_groups(unit: &LogicalUnit, cdb: &[u8]) -> Result<Vec<u8>, Sense> {
    let groups = groups(&unit.links());
    let extension = match u8_at(cdb, 1) >> 5 {
        LENGTH_ONLY => Vec::new(),
        EXTENDED => extension(groups.values()).as_bytes().to_vec(),
        _ => return Err(Sense::invalid_bit_in_cdb(1, 7)),
    };
    let descriptors: Vec<u8> = groups.values().flat_map(describe).collect();
    let length = length_32(extension.len().saturating_add(descriptors.len()));
    let header = PortGroupsHeader { length: length.into() };
    Ok(cut([header.as_bytes(), &extension, &descriptors].concat(), u32_at(cdb, 6)))
}

/// Groups by their numbers.
fn groups(links: &[Arc<Link>]) -> BTreeMap<u16, Group> {
    let mut groups = BTreeMap::<u16, Group>::new();
    for port in links.iter().map(|link| &link.port) {
        let group = port.group();
        let new = || Group { group: group.clone(), ports: Vec::new() };
        let Group { ports, .. } = groups.entry(group.number()).or_insert_with(new);
        if let Err(at) = ports.binary_search(&port.number()) {
            ports.insert(at, port.number());
        }
    }
    groups
}

fn extension<'a>(groups: impl Iterator<Item = &'a Group>) -> PortGroupsExtension {
    let transition_seconds = groups.map(|group| group.group.transition_seconds()).max().unwrap_or(0);
    PortGroupsExtension { format: EXTENDED_FORMAT, transition_seconds, ..PortGroupsExtension::default() }
}

/// Descriptor of a group with its ports, of which a byte has the number.
fn describe(Group { group, ports }: &Group) -> Vec<u8> {
    let is_declared = group.transition_seconds() > 0;
    let state = match group.state() {
        AccessState::Active => access_state::ACTIVE,
        AccessState::Transitioning => access_state::TRANSITIONING,
    };
    let transitioning = if is_declared { access_state::TRANSITIONING_SUPPORTED } else { 0 };
    let ports: Vec<u16> = ports.iter().copied().take(u8::MAX.into()).collect();
    let descriptor = PortGroupDescriptor {
        state,
        supported: access_state::ACTIVE_SUPPORTED | transitioning,
        group: group.number().into(),
        status: if is_declared { access_state::CHANGED_IMPLICITLY } else { 0 },
        ports: length_8(ports.len()),
        ..PortGroupDescriptor::default()
    };
    let mut bytes = descriptor.as_bytes().to_vec();
    for port in ports {
        let descriptor = PortDescriptor { port: port.into(), ..PortDescriptor::default() };
        bytes.extend_from_slice(descriptor.as_bytes());
    }
    bytes
}
